"""What is looked at before a site joins, one kind of thing in each file; no record is shown."""
