"""The report of a run: a typed value first; every page is a rendering of it."""
