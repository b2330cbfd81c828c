"""Records: reading them, and keeping each privacy unit on one side of a split."""
