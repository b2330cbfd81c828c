"""Base models by content and the LoRA adapters on them."""
