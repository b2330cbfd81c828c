"""DP-SGD on LoRA: sampling, clipping and noise of one site."""
