"""What audits of bias are made of: groups of records, gaps between them, exchanged words."""
