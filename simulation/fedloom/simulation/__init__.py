"""Multi-client simulation on one machine: the same two apps over an in-process Grid."""
