"""The site's side of a federation: who owns the records, the policy and the ledger."""
