"""Public models and data sets by pinned hash."""
