"""What an adapter learns: how records become tensors, and what one record's loss is."""
