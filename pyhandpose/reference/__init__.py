"""Every fused op once more in plain PyTorch, to be read beside the paper. Never imports ops.

The same names and signatures as ``pyhandpose.ops`` (but for ``precision``), differentiable by
autograd to any order, on any device. They are what the tests and benchmarks compare with, never a
silent fallback.
"""

from pyhandpose.reference.equivariant_nt_xent import equivariant_nt_xent
from pyhandpose.reference.latent_affine import latent_affine
from pyhandpose.reference.nt_xent import nt_xent
from pyhandpose.reference.nt_xent_rows import nt_xent_log_sums, nt_xent_rows
from pyhandpose.reference.procrustes import procrustes
from pyhandpose.reference.root_depth import root_depth

__all__ = [
    "equivariant_nt_xent",
    "latent_affine",
    "nt_xent",
    "nt_xent_log_sums",
    "nt_xent_rows",
    "procrustes",
    "root_depth",
]
