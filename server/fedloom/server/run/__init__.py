"""One run on the coordinator's disk: its folder, checkpoints and journal."""
