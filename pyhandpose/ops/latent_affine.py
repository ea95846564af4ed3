"""``latent_affine``: undo an image-space affine in a latent of points."""

from typing import Any

import torch
from torch import Tensor

from pyhandpose import _extension


def latent_affine(latent: Tensor, affine: Tensor, *, convention: str = "paper") -> Tensor:
    """Move a latent back by the inverse of the affine that its image was moved by.

    With ``affine = [A | v]`` and the latent's extent L = max - min of all its numbers::

        q_p = z_p - v L,    out_p = A^-1 q_p                                      (paper)

    so that two views of one image agree in the latent. An image point moved by x' = A x + v, in
    units of the image's side about its centre, y down; for a positive OpenCV angle
    A = s [[cos, sin], [-sin, cos]].

    Args:
        latent: (B,P,2) float64, float32, float16 or bfloat16; P points. Computed in float32 (in
            float64 where the latent is).
        affine: (B,2,3) = [A | v], v a fraction of the side; float64 for a float64 latent, else
            float32. Data: it receives no gradient.
        convention: ``"paper"``, as above; ``"official"``, as the published training code: z / |z|
            first, the extent per axis and constant, the inverse of A's rotation alone, about the
            centroid; ``"direct"``: v subtracted as given, in latent units (the ablation of Fig. 7).

    Returns:
        (B,P,2) of the latent's dtype. NaN for a sample whose A is singular (``|det A| <= eps``) or
        whose affine is not finite. A zero latent has zero gradient under ``"official"``.

    Raises:
        ValueError: a wrong shape, device or convention.
        TypeError: a wrong dtype.

    The extent is differentiated under ``"paper"``: its largest and smallest number (the first, if
    there are several) receive its gradient. Second derivatives are not available. Under autocast
    the op computes in float32.

    Source: PeCLR (001) eq. 4; thesis (000) eq. 4.10. Derivation: docs/maths/latent_affine.md.
    """
    return torch.ops.pyhandpose.latent_affine(latent, affine, convention)


@torch.library.register_fake("pyhandpose::latent_affine")
def _fake(latent: Tensor, affine: Tensor, convention: str) -> Tensor:
    return torch.empty_like(latent, memory_format=torch.contiguous_format)


@torch.library.register_fake("pyhandpose::latent_affine_backward")
def _fake_backward(grad_out: Tensor, latent: Tensor, affine: Tensor, convention: str) -> Tensor:
    return torch.empty_like(latent, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: Tensor) -> None:
    latent, affine, convention = inputs
    ctx.save_for_backward(latent, affine)
    ctx.convention = convention


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None, None]:
    latent, affine = ctx.saved_tensors
    grad_latent = torch.ops.pyhandpose.latent_affine_backward(
        grad_out, latent, affine, ctx.convention
    )
    return grad_latent, None, None


_extension.register_gradient("latent_affine", _backward, _setup_context)
