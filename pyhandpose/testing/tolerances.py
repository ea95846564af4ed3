"""How near is near enough, by dtype and by what is compared."""

import torch
from torch import Tensor

EXACT = {"rtol": 1e-10, "atol": 1e-10}
"""float64 against float64: the bound to which an op and its twin agree."""


def error(result: Tensor, exact: Tensor) -> float:
    """|result - exact| / |exact| in the Frobenius norm, both in float64."""
    difference = result.double() - exact.double()
    return float(
        difference.norm() / exact.double().norm().clamp_min(torch.finfo(torch.float64).tiny)
    )


def assert_no_worse(result: Tensor, eager: Tensor, exact: Tensor, *, factor: float = 2.0) -> None:
    """The op's error against float64 is at most `factor` times that of eager PyTorch in its dtype.

    Where eager happens to be exact, one rounding of the result's dtype is allowed.
    """
    ours, theirs = error(result, exact), error(eager, exact)
    floor = torch.finfo(result.dtype).eps
    assert ours <= factor * theirs + floor, f"error {ours:.2e}, eager PyTorch {theirs:.2e}"
