"""Fused operators for hand pose: CPU and CUDA, forward and backward. Needs torch alone."""

from pyhandpose.ops.latent_affine import latent_affine

__all__ = ["latent_affine"]
