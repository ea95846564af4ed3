"""Every fused op once more in plain PyTorch, to be read beside the paper. Never imports ops."""
