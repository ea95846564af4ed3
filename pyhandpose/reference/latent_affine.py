"""Undo an image-space affine in a latent of points, as the paper writes it."""

import torch
from torch import Tensor


def latent_affine(latent: Tensor, affine: Tensor, *, convention: str = "paper") -> Tensor:
    """Twin of ``ops.latent_affine``: (B,P,2), (B,2,3) -> (B,P,2). 001 eq. 4, 000 eq. 4.10."""
    dtype = latent.dtype
    z = latent.to(affine.dtype)  # (B,P,2)
    A, v = affine[:, :, :2].detach(), affine[:, None, :, 2].detach()  # (B,2,2), (B,1,2)
    centre = torch.zeros_like(z[:, :1])  # (B,1,2)
    if convention == "paper":
        v_hat = v * _extent(z)
        B = _inverse(A, affine)
    elif convention == "official":
        z = z / z.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
        constant = z.detach()
        v_hat = v * (constant.amax(1, keepdim=True) - constant.amin(1, keepdim=True))
        centre = constant.mean(1, keepdim=True) - v_hat
        B = _inverse(_rotation(A), affine).where(_usable(A, affine), torch.nan)
    elif convention == "direct":
        v_hat = v
        B = _inverse(A, affine)
    else:
        raise ValueError(f"convention expected 'paper', 'official' or 'direct', got {convention!r}")
    q = z - v_hat
    return ((q - centre) @ B.mT + centre).to(dtype)


def _extent(z: Tensor) -> Tensor:
    """(B,P,2) -> (B,1,1): max - min; of equal numbers the first takes the gradient."""
    flat = z.flatten(1)
    if flat.shape[1] == 0:
        return z.new_zeros(len(z), 1, 1)
    largest = flat.gather(1, flat.argmax(1, keepdim=True))
    smallest = flat.gather(1, flat.argmin(1, keepdim=True))
    return (largest - smallest)[:, :, None]


def _usable(A: Tensor, affine: Tensor) -> Tensor:
    """(B,1,1) bool: A can be inverted and every entry of the affine is finite."""
    determinant = A[:, 0, 0] * A[:, 1, 1] - A[:, 0, 1] * A[:, 1, 0]
    finite = affine.flatten(1).isfinite().all(1)
    return (finite & (determinant.abs() > torch.finfo(A.dtype).eps))[:, None, None]


def _inverse(A: Tensor, affine: Tensor) -> Tensor:
    """(B,2,2) -> (B,2,2), NaN where it does not exist."""
    (a, b), (c, d) = A.unbind(1)[0].unbind(1), A.unbind(1)[1].unbind(1)
    adjugate = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1)
    return (adjugate / (a * d - b * c)[:, None, None]).where(_usable(A, affine), torch.nan)


def _rotation(A: Tensor) -> Tensor:
    """(B,2,2) -> (B,2,2): the rotation in A, by the angle atan2(A01 - A10, A00 + A11)."""
    angle = torch.atan2(A[:, 0, 1] - A[:, 1, 0], A[:, 0, 0] + A[:, 1, 1])
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
