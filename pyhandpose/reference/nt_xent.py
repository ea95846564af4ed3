"""The contrastive loss NT-Xent, as the papers write it."""

import torch
from torch import Tensor


def nt_xent(z: Tensor, *, temperature: float = 0.5) -> Tensor:
    """Twin of ``ops.nt_xent``: (2N,D) -> (). Holds the M x M matrix. Source: 001 eq. 1."""
    u = unit_rows(z if z.dtype == torch.float64 else z.float())  # (M,D), M = 2N
    s = u @ u.T / temperature  # (M,M)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    log_sums = s.masked_fill(itself, -torch.inf).logsumexp(1)  # (M,)
    positive = (u * u.roll(len(z) // 2, 0)).sum(1) / temperature  # (M,)
    return (log_sums - positive).mean()


def unit_rows(z: Tensor) -> Tensor:
    """(M,D) -> (M,D), z / |z|; a row of norm up to 1e-12 is zero and has zero gradient."""
    norm = torch.linalg.vector_norm(z, dim=1, keepdim=True)  # (M,1)
    zero = norm <= 1e-12
    return (z / norm.masked_fill(zero, 1)).masked_fill(zero, 0)
