"""Decides whether an adapter may leave, writes it with all that speaks for it, and checks that."""
