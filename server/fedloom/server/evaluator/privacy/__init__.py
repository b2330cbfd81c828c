"""What can be said of epsilon, membership and memory from measurements alone: pure functions."""
