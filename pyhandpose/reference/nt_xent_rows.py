"""A part of NT-Xent's rows against all of them, as the papers write it."""

import torch
from torch import Tensor

from pyhandpose.reference.nt_xent import unit_rows


def nt_xent_log_sums(
    rows: Tensor, columns: Tensor, itself: Tensor, positive: Tensor, *, temperature: float = 0.5
) -> Tensor:
    """Twin of ``ops.nt_xent_log_sums``: -> (m,)."""
    return _scores(rows, columns, itself, temperature).logsumexp(1)


def nt_xent_rows(
    rows: Tensor,
    columns: Tensor,
    itself: Tensor,
    positive: Tensor,
    log_sums: Tensor,
    *,
    temperature: float = 0.5,
) -> Tensor:
    """Twin of ``ops.nt_xent_rows``: -> (). Holds the m x M matrix. Source: 001 eq. 1."""
    s = _scores(rows, columns, itself, temperature)  # (m,M)
    towards = torch.zeros_like(s).scatter(1, positive[:, None], 1)  # (m,M)
    weight = (s - log_sums[itself, None]).exp() + (s - log_sums).exp() - 2 * towards
    finite = s.masked_fill(s.isneginf(), 0)
    share = (log_sums[itself] - finite.gather(1, positive[:, None])[:, 0]).sum()
    # A number whose gradient is the whole loss's: rows are columns of the other rows, too.
    pull = (weight.detach() * finite).sum()
    return (share.detach() + pull - pull.detach()) / len(columns)


def _scores(rows: Tensor, columns: Tensor, itself: Tensor, temperature: float) -> Tensor:
    """(m,M), -inf where a row meets itself."""
    precise = torch.promote_types(rows.dtype, torch.float32)
    u, v = unit_rows(rows.to(precise)), unit_rows(columns.to(precise))
    return (u @ v.T / temperature).scatter(1, itself[:, None], -torch.inf)
