"""Public benchmarks, one a file: typed items, read straight out of pinned archives."""
