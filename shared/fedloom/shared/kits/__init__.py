"""What a coordinator and a site hand each other before a federation begins."""
