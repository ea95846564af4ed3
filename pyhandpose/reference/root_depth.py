"""The root's depth and the 3D pose of a 2.5D pose, as the thesis writes it (sign corrected)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

FLOORS = {"published-data": 1e-6, "published-model": 1e-8}
"""What a published mode clamps a and the discriminant at."""


class RootDepth(NamedTuple):
    """(B,), (B,J,3), (B,), (B,) int8; see ``ops.root_depth``."""

    depth: Tensor
    joints: Tensor
    other_depth: Tensor
    status: Tensor


def root_depth(
    joints_25d: Tensor,
    intrinsics: Tensor,
    scale: Tensor | None = None,
    *,
    bone: Sequence[int] = (0, 5),
    mode: str = "stable",
) -> RootDepth:
    """Twin of ``ops.root_depth``: (B,J,3), (B,3,3) or (3,3), (B,). Source: 000 eq. 3.7-3.10."""
    B, J = joints_25d.shape[:2]
    K = intrinsics.expand(B, 3, 3)
    s = joints_25d.new_ones(B) if scale is None else scale
    with torch.no_grad():
        status, refused = _judge(joints_25d, K, s, bone, mode)
    # A refused sample is replaced before anything is differentiated, as its zero gradient would
    # meet infinities on the way: by joints in a row, u = 0 1 2 ..., before the camera K = I.
    row = torch.zeros(J, 3, dtype=s.dtype, device=s.device)
    row[:, 0] = torch.arange(J)
    joints_25d = row.where(refused[:, None, None], joints_25d)
    K = torch.eye(3, dtype=s.dtype, device=s.device).where(refused[:, None, None], K)
    s = torch.ones_like(s).where(refused, s)

    rays = _rays(joints_25d, K)  # (B,J,3)
    depth, other, _ = _roots(rays, joints_25d[..., 2], bone, mode)
    joints = (s[:, None] * (depth[:, None] + joints_25d[..., 2]))[..., None] * rays
    return RootDepth(
        depth.masked_fill(refused, torch.nan),
        joints.masked_fill(refused[:, None, None], torch.nan),
        other.detach().masked_fill(refused, torch.nan),
        status,
    )


def _rays(joints_25d: Tensor, K: Tensor) -> Tensor:
    """(B,J,3) K^-1 (u, v, 1) for K = (fx, skew, cx; 0, fy, cy; 0, 0, 1)."""
    fx, skew, cx, fy, cy = (K[:, i, j, None] for i, j in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)])
    Y = (joints_25d[..., 1] - cy) / fy
    X = (joints_25d[..., 0] - cx - skew * Y) / fx
    return torch.stack([X, Y, torch.ones_like(X)], -1)


def _roots(
    rays: Tensor, z: Tensor, bone: Sequence[int], mode: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Z+ (B,), Z- (B,), clamped (B,) bool of a Z^2 + b Z + c = 0."""
    n, m = bone
    x_n, x_m, z_n, z_m = rays[:, n, :2], rays[:, m, :2], z[:, n], z[:, m]
    d = x_n - x_m  # (B,2)
    e = z_n[:, None] * x_n - z_m[:, None] * x_m  # (B,2)
    dz = z_n - z_m
    a, b, c = (d * d).sum(1), 2 * (d * e).sum(1), (e * e).sum(1) + dz**2 - 1
    if mode == "stable":
        cross = x_n[:, 0] * x_m[:, 1] - x_m[:, 0] * x_n[:, 1]
        disc = 4 * (a * (1 - dz**2) - (dz * cross) ** 2)
        clamped = ~(disc > 0)
        root = disc.masked_fill(clamped, 1.0).sqrt()
        q = -(b + torch.where(b < 0, -root, root)) / 2
        double = -b / (2 * a)
        larger, smaller = torch.maximum(q / a, c / q), torch.minimum(q / a, c / q)
        return double.where(clamped, larger), double.where(clamped, smaller), clamped
    if mode not in FLOORS:
        raise ValueError(f"mode expected 'stable', {', '.join(map(repr, FLOORS))}, got {mode!r}")
    floor = FLOORS[mode]
    disc = b**2 - 4 * a * c
    clamped = (a < floor) | (disc < floor)
    root = disc.clamp_min(floor).sqrt()
    larger = (root - b) / (2 * a.clamp_min(floor))
    smaller = -(root + b) / (2 * a.clamp_min(floor))
    if mode == "published-model":
        limited = larger.detach().clamp(4.0, 50.0)
        clamped |= limited != larger
        larger, smaller = limited, torch.minimum(smaller, limited)
    return larger, smaller, clamped


def _judge(
    joints_25d: Tensor, K: Tensor, s: Tensor, bone: Sequence[int], mode: str
) -> tuple[Tensor, Tensor]:
    """``status`` (B,) int8 and whether a sample is refused (NaN out), (B,) bool."""
    rays, z = _rays(joints_25d, K), joints_25d[..., 2]
    depth, other, clamped = _roots(rays, z, bone, mode)
    below = torch.stack([K[:, 1, 0], K[:, 2, 0], K[:, 2, 1], K[:, 2, 2] - 1], 1)
    finite = torch.cat([rays.flatten(1), joints_25d.flatten(1), K.flatten(1), s[:, None]], 1)
    finite = torch.cat([finite, depth[:, None], other[:, None]], 1).isfinite().all(1)
    broken = ~finite | (below != 0).any(1)
    behind = ~(depth[:, None] + z > 0).all(1)
    ambiguous = (other[:, None] + z > 0).all(1)

    r_n, r_m = rays[:, bone[0]], rays[:, bone[1]]
    eps = torch.finfo(z.dtype).eps
    agreement = 4 * eps**2 * ((r_n**2).sum(1) + (r_m**2).sum(1))
    undetermined = ((r_n - r_m) ** 2).sum(1) <= agreement

    refused = broken | (behind | undetermined) if mode == "stable" else broken
    status = torch.where(clamped, 2, torch.where(ambiguous, 1, 0))
    return status.masked_fill(refused | behind, 3).to(torch.int8), refused
