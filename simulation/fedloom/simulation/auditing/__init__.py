"""The one-run privacy audit: canaries among the records of a simulated federation."""
