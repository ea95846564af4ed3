"""Seeded inputs that look like what the ops meet in training."""

import torch
from torch import Tensor

from pyhandpose.hand.camera import project
from pyhandpose.hand.pose25d import to_25d


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` that starts at `seed`."""
    return torch.Generator(device).manual_seed(seed)


def latents(
    num_samples: int, num_points: int, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Tensor:
    """(B,P,2) standard normal."""
    return torch.randn(
        num_samples, num_points, 2, generator=generator(seed), dtype=torch.float64
    ).to(dtype)


def view_affines(
    num_samples: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, translation: float = 0.2
) -> Tensor:
    """(B,2,3): rotations over the full circle, scales in [0.6, 1.6], shifts in +-`translation`.

    A = s [[cos, sin], [-sin, cos]] as augmentation makes them (001 section 3.2).
    """
    uniform = torch.rand(num_samples, 4, generator=generator(seed), dtype=torch.float64)
    angle = 2 * torch.pi * uniform[:, 0]
    scale = 0.6 + uniform[:, 1]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    v = translation * (2 * uniform[:, 2:] - 1)
    return torch.stack(
        [torch.stack([cos, sin, v[:, 0]], 1), torch.stack([-sin, cos, v[:, 1]], 1)], 1
    ).to(dtype)


def noncontiguous(tensor: Tensor) -> Tensor:
    """The same values in a tensor whose elements do not lie side by side in memory."""
    return torch.stack([tensor, torch.zeros_like(tensor)], -1)[..., 0]


def hands_in_view(
    num_samples: int,
    *,
    num_joints: int = 21,
    bone: tuple[int, int] = (0, 5),
    root: int = 0,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random hands before random cameras: joints_cam, their 2.5D pose, intrinsics and scale.

    Joints lie within some 10 cm of a centre that is 0.4 to 1.2 m away and at most 0.4 of its depth
    off the axis; focal lengths are 300 to 700 px, principal points 80 to 150 px, skews +-20 px.

    Returns:
        ``(joints_cam (B,J,3) m, joints_25d (B,J,3), intrinsics (B,3,3) px, scale (B,) m)``.
    """
    random = generator(seed)
    centre = torch.rand(num_samples, 1, 3, generator=random, dtype=torch.float64)
    depth = 0.4 + 0.8 * centre[..., 2:]
    centre = torch.cat([0.8 * (centre[..., :2] - 0.5) * depth, depth], -1)  # (B,1,3)
    spread = torch.randn(num_samples, num_joints, 3, generator=random, dtype=torch.float64)
    joints_cam = centre + 0.05 * spread.clamp(-3, 3)  # (B,J,3)
    low = torch.tensor([300.0, -20.0, 80.0, 300.0, 80.0], dtype=torch.float64)
    span = torch.tensor([400.0, 40.0, 70.0, 400.0, 70.0], dtype=torch.float64)
    uniform = torch.rand(num_samples, 5, generator=random, dtype=torch.float64)
    intrinsics = camera_matrix(low + span * uniform)
    joints_25d, scale = to_25d(project(joints_cam, intrinsics), joints_cam, bone, root)
    return joints_cam.to(dtype), joints_25d.to(dtype), intrinsics.to(dtype), scale.to(dtype)


def camera_matrix(parameters: Tensor) -> Tensor:
    """(...,5) = fx, skew, cx, fy, cy -> (...,3,3), upper triangular; differentiable."""
    fx, skew, cx, fy, cy = parameters.unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    return torch.stack([fx, skew, cx, zero, fy, cy, zero, zero, one], -1).unflatten(-1, (3, 3))


def random_rotations(num: int, *, seed: int = 2, angle: float = torch.pi) -> Tensor:
    """(num,3,3) float64 rotations about uniform axes by uniform angles up to `angle` rad."""
    axis = torch.randn(num, 3, generator=generator(seed), dtype=torch.float64)
    turn = angle * torch.rand(num, 1, generator=generator(seed + 1), dtype=torch.float64)
    x, y, z = (turn * torch.nn.functional.normalize(axis, dim=1)).unbind(1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, 1) for row in ([zero, -z, y], [z, zero, -x], [-y, x, zero])]
    return torch.linalg.matrix_exp(torch.stack(rows, 1))


def point_sets(
    batch: tuple[int, ...], num_points: int, *, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy pairs of hand-sized sets and weights: source, target (...,N,3) m, weights (...,N).

    The target is a random similarity of the source plus noise of a fifth of its size, half a
    metre from the origin; weights are in [0.5, 1.5].
    """
    random = generator(seed)
    num = torch.Size(batch).numel()
    source = 0.05 * torch.randn(num, num_points, 3, generator=random, dtype=torch.float64)
    noise = 0.01 * torch.randn(num, num_points, 3, generator=random, dtype=torch.float64)
    scale = 0.5 + torch.rand(num, 1, 1, generator=random, dtype=torch.float64)
    shift = torch.tensor([0.1, -0.2, 0.5], dtype=torch.float64)
    target = scale * source @ random_rotations(num, seed=seed + 1).mT + noise + shift
    weights = 0.5 + torch.rand(num, num_points, generator=random, dtype=torch.float64)
    return (
        (source + shift.flip(0)).reshape(*batch, num_points, 3),
        target.reshape(*batch, num_points, 3),
        weights.reshape(*batch, num_points),
    )


def paired_rows(
    num_rows: int,
    dim: int,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    cosine: float = 0.0,
) -> Tensor:
    """(2N,D): normal rows of assorted lengths; `cosine` draws row i + N towards row i."""
    g = generator(seed)
    first, other = torch.randn(2, num_rows // 2, dim, generator=g, dtype=torch.float64)
    unit = torch.nn.functional.normalize
    second = cosine * unit(first) + (1 - cosine**2) ** 0.5 * unit(other)
    lengths = 0.5 + torch.rand(num_rows, 1, generator=g, dtype=torch.float64)
    return (torch.cat([unit(first), second]) * lengths).to(dtype)
