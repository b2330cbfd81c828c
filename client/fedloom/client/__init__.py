"""The site: trains on its own records, under its own policy."""
