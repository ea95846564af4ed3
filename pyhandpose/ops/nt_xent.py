"""``nt_xent``: the contrastive loss of two views, without the matrix of all similarities."""

from typing import Any

import torch
from torch import Tensor

from pyhandpose import _extension
from pyhandpose.ops.precision import choose_precision


def nt_xent(z: Tensor, *, temperature: float = 0.5, precision: str = "auto") -> Tensor:
    """Normalised temperature-scaled cross entropy of M = 2N rows, the two views of N images.

    Row i and row (i + N) mod M are the two views of one image. With unit rows u_i = z_i / |z_i|
    and s_ij = u_i.u_j / temperature::

        loss = 1/M sum_i ( log sum_{k != i} exp(s_ik) - s_{i,i+N} )

    Args:
        z: (2N,D) float64, float32, float16 or bfloat16, N >= 2, D >= 1. Computed in float32 (in
            float64 where z is).
        temperature: finite, > 0.
        precision: of the products over all pairs of rows, on CUDA: ``"auto"``, ``"ffma"``,
            ``"bf16x3"``, ``"tf32"`` or ``"bf16"`` (``pyhandpose.ops.precision``). On the CPU they
            all mean the dtype of the computation.

    Returns:
        () float64 for float64 z, else float32. A row with ``|z_i| <= 1e-12`` counts as u_i = 0 and
        has zero gradient; a row that is not finite makes loss and gradients NaN.

    Raises:
        ValueError: a wrong shape (an odd number of rows, fewer than four, D = 0), temperature or
            precision.
        TypeError: a wrong dtype.

    The M x M matrix is streamed in tiles, forward and backward: memory is O(M D). The result does
    not depend on the number of threads. Second derivatives are not available. Under autocast the op
    computes in float32, and on CUDA its products in bfloat16.

    Source: SimCLR's loss as PeCLR (001) eq. 1 uses it. Derivation: docs/maths/nt_xent.md.
    """
    loss, _ = torch.ops.pyhandpose.nt_xent(z, temperature, choose_precision(z, precision))
    return loss


@torch.library.register_fake("pyhandpose::nt_xent")
def _fake(z: Tensor, temperature: float, precision: str = "ffma") -> tuple[Tensor, Tensor]:
    loss = z.new_empty((), dtype=torch.promote_types(z.dtype, torch.float32))
    return loss, z.new_empty(z.shape[:1], dtype=torch.float64)


@torch.library.register_fake("pyhandpose::nt_xent_backward")
def _fake_backward(
    grad_loss: Tensor, z: Tensor, log_sums: Tensor, temperature: float, precision: str = "ffma"
) -> Tensor:
    return torch.empty_like(z, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    z, ctx.temperature, ctx.precision = inputs
    _, log_sums = output
    ctx.mark_non_differentiable(log_sums)
    ctx.save_for_backward(z, log_sums)


def _backward(ctx: Any, grad_loss: Tensor, _: Any) -> tuple[Tensor, None, None]:
    z, log_sums = ctx.saved_tensors
    grad_z = torch.ops.pyhandpose.nt_xent_backward(
        grad_loss, z, log_sums, ctx.temperature, ctx.precision
    )
    return grad_z, None, None


_extension.register_gradient("nt_xent", _backward, _setup_context)
