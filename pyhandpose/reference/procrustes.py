"""The similarity that aligns one set of points with another, by singular value decomposition."""

from typing import NamedTuple

import torch
from torch import Tensor

RANK_TOLERANCE = 16  # times eps s1: what rounding leaves of a singular value that is zero


class Similarity(NamedTuple):
    """y = scale rotation x + translation; fields as those of ``ops.procrustes``."""

    rotation: Tensor  # (...,3,3)
    scale: Tensor  # (...)
    translation: Tensor  # (...,3)
    aligned: Tensor  # (...,N,3)
    conditioning: Tensor  # (...)


def procrustes(
    source: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    scale: bool = True,
    allow_reflection: bool = False,
) -> Similarity:
    """Twin of ``ops.procrustes``: (...,N,3) twice, (...,N). Source: Umeyama (1991), eq. 40-43.

    Its gradient is that of ``torch.linalg.svd``: NaN where two singular values are equal or the
    result is one of the degenerate cases.
    """
    w = torch.ones_like(source[..., :1]) if weights is None else weights[..., None]  # (...,N,1)
    W = w.where((w >= 0) & w.isfinite(), torch.nan).sum(-2, keepdim=True)  # (...,1,1)
    unobserved = (w == 0) & ~(source + target).isfinite().all(-1, keepdim=True)
    x, mu_x = _centre(source, w, W, unobserved)
    y, mu_y = _centre(target, w, W, unobserved)

    M = y.mT @ (w * x)  # (...,3,3)
    sigma = (w * x * x).sum((-2, -1))  # (...)
    checked = M.sum((-2, -1)) + sigma + W[..., 0, 0] + (mu_x + mu_y).sum((-2, -1))
    finite = checked.isfinite()  # (...)
    R, trace, conditioning = _rotation(M.where(finite[..., None, None], 0), allow_reflection)

    k = (
        (trace / sigma.where(sigma != 0, 1)).where(sigma != 0, 1)
        if scale
        else torch.ones_like(W[..., 0, 0])
    )
    R = R.where(finite[..., None, None], torch.nan)
    k = k.where(finite, torch.nan)
    t = mu_y - k[..., None, None] * mu_x @ R.mT  # (...,1,3)
    aligned = k[..., None, None] * source @ R.mT + t
    return Similarity(R, k, t[..., 0, :], aligned, conditioning.where(finite, torch.nan).detach())


def _centre(points: Tensor, w: Tensor, W: Tensor, unobserved: Tensor) -> tuple[Tensor, Tensor]:
    """Points relative to their weighted mean (...,N,3), and the mean (...,1,3); zero if W = 0.

    Subtracting a point of the set first makes equal points exactly zero.
    """
    if points.shape[-2] == 0:
        return points, points.sum(-2, keepdim=True)
    first = (w > 0).to(torch.int8).argmax(-2, keepdim=True).expand(*w.shape[:-2], 1, 3)
    origin = points.gather(-2, first).where((w > 0).any(-2, keepdim=True), 0)
    relative = (points - origin).where(~unobserved, 0)
    offset = (w * relative).sum(-2, keepdim=True) / W.where(W != 0, 1)
    return (relative - offset).where(~unobserved, 0), origin + offset


def _rotation(M: Tensor, allow_reflection: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(...,3,3) -> the orthogonal R of largest tr(R^T M), that trace, and conditioning (...)."""
    U, s, Vh = torch.linalg.svd(M)
    s1, s2, s3 = s.unbind(-1)
    tolerance = RANK_TOLERANCE * torch.finfo(M.dtype).eps * s1
    d = torch.linalg.det(U).sign() * torch.linalg.det(Vh).sign()  # (...), sign of det M
    if allow_reflection:
        d = d.where(s3 <= tolerance, 1)
    D = torch.stack([torch.ones_like(d), torch.ones_like(d), d], -1)
    R = (U * D[..., None, :]) @ Vh
    R = R.where((s2 > tolerance)[..., None, None], _minimal_rotation(Vh[..., 0, :], U[..., :, 0]))
    is_zero = s1 < torch.finfo(M.dtype).tiny
    R = R.where(~is_zero[..., None, None], torch.eye(3, dtype=M.dtype, device=M.device))
    trace = (s1 + s2 + d * s3).where(~is_zero, 0)
    conditioning = ((s2 + d * s3) / trace.where(~is_zero, 1)).where(~is_zero, 0)
    return R, trace, conditioning


def _minimal_rotation(v: Tensor, u: Tensor) -> Tensor:
    """(...,3) unit vectors twice -> (...,3,3): turns v to u about their common normal."""
    normal = torch.linalg.cross(v, u)
    length = normal.norm(dim=-1, keepdim=True)
    any_axis = torch.nn.functional.one_hot(v.abs().argmin(-1), 3).to(v.dtype)
    any_normal = torch.linalg.cross(v, any_axis)
    any_normal = any_normal / any_normal.norm(dim=-1, keepdim=True)
    parallel = length <= RANK_TOLERANCE * torch.finfo(v.dtype).eps
    axis = (normal / length.where(~parallel, 1)).where(~parallel, any_normal)
    frame_v = torch.stack([v, axis, torch.linalg.cross(v, axis)], -1)
    frame_u = torch.stack([u, axis, torch.linalg.cross(u, axis)], -1)
    return frame_u @ frame_v.mT
