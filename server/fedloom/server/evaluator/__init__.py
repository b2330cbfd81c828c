"""Scores of adapters on held-out records."""
