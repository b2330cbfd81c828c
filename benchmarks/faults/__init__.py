"""One fault at a time in the middle of a deployed run: what is lost, and how long it takes."""
