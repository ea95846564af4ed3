"""Fused operators for hand pose: CPU and CUDA, forward and backward. Needs torch alone."""

from pyhandpose.ops.equivariant_nt_xent import equivariant_nt_xent
from pyhandpose.ops.latent_affine import latent_affine
from pyhandpose.ops.nt_xent import nt_xent
from pyhandpose.ops.nt_xent_rows import nt_xent_log_sums, nt_xent_rows
from pyhandpose.ops.procrustes import Similarity, procrustes
from pyhandpose.ops.root_depth import RootDepth, root_depth

__all__ = [
    "RootDepth",
    "Similarity",
    "equivariant_nt_xent",
    "latent_affine",
    "nt_xent",
    "nt_xent_log_sums",
    "nt_xent_rows",
    "procrustes",
    "root_depth",
]
