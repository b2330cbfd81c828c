"""The page's parts: templates and its style."""
