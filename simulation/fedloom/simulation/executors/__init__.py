"""Where ClientApps run in a simulation: in this process, or in worker processes."""
