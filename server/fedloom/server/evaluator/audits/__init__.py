"""Audits, one a file; `registry.py` names them all, one contract test holds them all."""
