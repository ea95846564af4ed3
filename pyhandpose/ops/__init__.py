"""Fused operators for hand pose: CPU and CUDA, forward and backward. Needs torch alone."""
