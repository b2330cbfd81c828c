"""How updates become one adapter. One algorithm a file; memory does not grow with sites."""
