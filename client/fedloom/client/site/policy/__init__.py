"""What the site allows: a document that the site owns, and the rules that hold every task to it."""
