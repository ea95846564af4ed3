"""``nt_xent`` beside the formulas and packages that compute it with or without the M x M matrix."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.comparison import OURS, Case, Comparison, Function, Inputs, Provider
from pyhandpose import ops, reference
from pyhandpose.testing.inputs import paired_rows

DIM = 128
CHUNK = 1024
"""Rows that the checkpointed rival holds similarities of at a time."""

Loss = Callable[[Tensor, float], Tensor]
"""(M,D) rows, temperature -> ()."""


def inputs(size: int) -> Inputs:
    """(M,128) rows; the two views of an image have cosine 0.5."""
    return Inputs((paired_rows(size, DIM, cosine=0.5).float(),))


def positives(num_rows: int, device: torch.device) -> Tensor:
    """(M,) the row of the other view."""
    return torch.arange(num_rows, device=device).roll(num_rows // 2)


def published(z: Tensor, temperature: float) -> Tensor:
    """The formula that PeCLR's experiments ran: exponentials, the diagonal masked out."""
    u = F.normalize(z, dim=1)
    M = len(u)
    exponentials = torch.exp(u @ u.T / temperature)
    others = ~torch.eye(M, dtype=torch.bool, device=z.device)
    denominators = exponentials.masked_select(others).view(M, -1).sum(1)
    first, second = u.chunk(2)
    positive = torch.exp((first * second).sum(1) / temperature)
    return -torch.log(torch.cat([positive, positive]) / denominators).mean()


def masked_cross_entropy(z: Tensor, temperature: float) -> Tensor:
    """A classification among the rows, itself masked out."""
    u = F.normalize(z, dim=1)
    s = u @ u.T / temperature
    s = s.masked_fill(torch.eye(len(u), dtype=torch.bool, device=z.device), -torch.inf)
    return F.cross_entropy(s, positives(len(u), z.device))


def filled_log_sum_exp(z: Tensor, temperature: float) -> Tensor:
    """The diagonal filled in place: one matrix fewer."""
    u = F.normalize(z, dim=1)
    log_sums = (u @ (u / temperature).T).fill_diagonal_(-torch.inf).logsumexp(1)
    first, second = u.chunk(2)
    return log_sums.mean() - (first * second).sum(1).mean() / temperature


def chunked(z: Tensor, temperature: float) -> Tensor:
    """Chunks of rows, each computed again in the backward pass: O(CHUNK M) memory."""
    u = F.normalize(z, dim=1)
    scaled = u / temperature

    def log_sums(start: int) -> Tensor:
        s = scaled[start : start + CHUNK] @ u.T
        row = torch.arange(len(s), device=z.device)
        s[row, row + start] = -torch.inf
        return s.logsumexp(1)

    if z.requires_grad:
        rows = [
            checkpoint(log_sums, start, use_reentrant=False) for start in range(0, len(u), CHUNK)
        ]
    else:
        rows = [log_sums(start) for start in range(0, len(u), CHUNK)]
    first, second = u.chunk(2)
    return torch.cat(rows).mean() - (first * second).sum(1).mean() / temperature


@functools.cache
def compiled() -> Loss:
    """``torch.compile`` of the careful formula, once for all sizes."""
    return torch.compile(filled_log_sum_exp, dynamic=True)


def lightly_loss(z: Tensor, temperature: float) -> Tensor:
    """``lightly.loss.NTXentLoss``."""
    from lightly.loss import NTXentLoss

    loss: Tensor = NTXentLoss(temperature=temperature)(*z.chunk(2))
    return loss


def without_self(row_losses: Tensor, u: Tensor, temperature: float) -> Tensor:
    """The mean loss from losses whose sums run over all rows, the row itself included.

    log(e^l - e^(1/t)) = l + log(1 - e^(1/t - l)), with l the sum and t the temperature.
    """
    positive = (u * u.roll(len(u) // 2, 0)).sum(1) / temperature
    log_sums = row_losses.float() + positive
    itself = (u * u).sum(1) / temperature
    return (log_sums + torch.log1p(-torch.exp(itself - log_sums)) - positive).mean()


def inf_cl_loss(z: Tensor, temperature: float) -> Tensor:
    """inf-cl's tiled cross-entropy."""
    from inf_cl.flash import cal_flash_loss

    u = F.normalize(z, dim=1)
    targets = positives(len(u), z.device)
    losses = cal_flash_loss(u, u, labels=targets, scale=1 / temperature, head_dim=u.shape[1])
    return without_self(losses, u, temperature)


def cut_cross_entropy_loss(z: Tensor, temperature: float, kind: str) -> Tensor:
    """Apple's cut cross-entropy, whose operands are bfloat16."""
    from cut_cross_entropy import linear_cross_entropy

    u = F.normalize(z, dim=1).bfloat16()
    losses = linear_cross_entropy(
        u / temperature, u, positives(len(u), z.device), reduction="none", impl=kind
    )
    return without_self(losses, u.float(), temperature)


def in_bfloat16(z: Tensor, temperature: float) -> Tensor:
    """The op on bfloat16 rows."""
    return ops.nt_xent(z.bfloat16(), temperature=temperature)


def of_rows(loss: Loss) -> Callable[[Case], Function]:
    """A provider's function from a loss of rows."""
    return lambda case: lambda z: (loss(z, case["temperature"]),)


RIVALS: tuple[tuple[str, Loss, dict[str, Any]], ...] = (
    ("published formula", published, {}),
    ("eager cross_entropy", masked_cross_entropy, {}),
    ("eager logsumexp", filled_log_sum_exp, {}),
    ("torch.compile", lambda z, temperature: compiled()(z, temperature), {}),
    ("chunk + checkpoint", chunked, {}),
    ("lightly", lightly_loss, {"requires": ("lightly",)}),
    ("inf-cl", inf_cl_loss, {"requires": ("inf_cl",), "devices": ("cuda",)}),
    *(
        (
            f"cut-cross-entropy {kind}",
            functools.partial(cut_cross_entropy_loss, kind=kind),
            {"requires": ("cut_cross_entropy",), "devices": ("cuda",)},
        )
        for kind in ("cce", "cce_exact")
    ),
)
DTYPES = {
    f"{OURS} bfloat16": "bfloat16",
    "cut-cross-entropy cce": "bfloat16",
    "cut-cross-entropy cce_exact": "bfloat16",
}


def temperature_cases(sizes: dict[int, tuple[float, ...]]) -> tuple[Case, ...]:
    """Cases of both passes from sizes and their temperatures."""
    return tuple(
        Case(size, passes, (("temperature", temperature),))
        for size, temperatures in sizes.items()
        for temperature in temperatures
        for passes in ("forward", "forward+backward")
    )


def exact(case: Case) -> Function:
    """The readable twin."""
    return lambda z: (reference.nt_xent(z, temperature=case["temperature"]),)


COMPARISON = Comparison(
    op="nt_xent",
    letter="M",
    growth=2,
    inputs=inputs,
    exact=exact,
    cases=temperature_cases(
        {4: (0.5,), 512: (0.5,), 2048: (0.5,), 4096: (0.5, 0.07), 8192: (0.5,), 32_768: (0.5,)}
    ),
    providers=(
        Provider(OURS, of_rows(lambda z, t: ops.nt_xent(z, temperature=t))),
        Provider(f"{OURS} bfloat16", of_rows(in_bfloat16), devices=("cuda",)),
        *(Provider(name, of_rows(loss), **options) for name, loss, options in RIVALS),
    ),
    exact_up_to=4096,
    grows_from=2048,
    note=f"D = {DIM}; the two views of an image have cosine {math.cos(math.pi / 3):.1f}.",
    dtypes=DTYPES,
)
