"""``equivariant_nt_xent``: NT-Xent of latents that are first moved back by their views' affines."""

from typing import Any

import torch
from torch import Tensor

from pyhandpose import _extension
from pyhandpose.ops.precision import choose_precision


def equivariant_nt_xent(
    z: Tensor,
    affine: Tensor,
    *,
    temperature: float = 0.5,
    convention: str = "paper",
    precision: str = "auto",
) -> Tensor:
    """PeCLR's loss: contrast two views in the frame of the image, not in that of the view.

    Each row is a latent of P points; its view's affine is undone, then the rows are contrasted::

        y_i = latent_affine(z_i, affine_i),    u_i = y_i / |y_i|,    s_ij = u_i.u_j / temperature
        loss = 1/M sum_i ( log sum_{k != i} exp(s_ik) - s_{i,i+N} )

    One pass does both: the moved latents are never stored, nor is the M x M matrix.

    Args:
        z: (2N,2P) float64, float32, float16 or bfloat16, N >= 2, P >= 1; a row is x, y of point 0,
            x, y of point 1, ...; rows i and i + N are the two views of one image. Computed in
            float32 (in float64 where z is).
        affine: (2N,2,3) = [A | v] that each view's image points were moved by, as for
            ``latent_affine``; float64 for float64 z, else float32. Data: it receives no gradient.
        temperature: finite, > 0.
        convention: ``"paper"``, ``"official"`` or ``"direct"``, as for ``latent_affine``.
        precision: as for ``nt_xent``.

    Returns:
        () float64 for float64 z, else float32. NaN, with NaN gradients, if any A is singular
        (``|det A| <= eps``) or any number is not finite. A row that is moved back to
        ``|y_i| <= 1e-12`` counts as u_i = 0 and has zero gradient.

    Raises:
        ValueError: a wrong shape (an odd number of rows, fewer than four, an odd width), device,
            temperature, convention or precision.
        TypeError: a wrong dtype.

    Memory is O(M P). The result does not depend on the number of threads. Second derivatives are
    not available. Under autocast the op computes in float32, and on CUDA its products in bfloat16.

    Source: PeCLR (001) eq. 4 and 5. Derivation: docs/maths/equivariant_nt_xent.md.
    """
    loss, _ = torch.ops.pyhandpose.equivariant_nt_xent(
        z, affine, temperature, convention, choose_precision(z, precision)
    )
    return loss


@torch.library.register_fake("pyhandpose::equivariant_nt_xent")
def _fake(
    z: Tensor, affine: Tensor, temperature: float, convention: str, precision: str = "ffma"
) -> tuple[Tensor, Tensor]:
    loss = z.new_empty((), dtype=torch.promote_types(z.dtype, torch.float32))
    return loss, z.new_empty(z.shape[:1], dtype=torch.float64)


@torch.library.register_fake("pyhandpose::equivariant_nt_xent_backward")
def _fake_backward(
    grad_loss: Tensor,
    z: Tensor,
    affine: Tensor,
    log_sums: Tensor,
    temperature: float,
    convention: str,
    precision: str = "ffma",
) -> Tensor:
    return torch.empty_like(z, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    z, affine, ctx.temperature, ctx.convention, ctx.precision = inputs
    _, log_sums = output
    ctx.mark_non_differentiable(log_sums)
    ctx.save_for_backward(z, affine, log_sums)


def _backward(ctx: Any, grad_loss: Tensor, _: Any) -> tuple[Tensor, None, None, None, None]:
    z, affine, log_sums = ctx.saved_tensors
    grad_z = torch.ops.pyhandpose.equivariant_nt_xent_backward(
        grad_loss, z, affine, log_sums, ctx.temperature, ctx.convention, ctx.precision
    )
    return grad_z, None, None, None, None


_extension.register_gradient("equivariant_nt_xent", _backward, _setup_context)
