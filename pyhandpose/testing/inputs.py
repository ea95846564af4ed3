"""Seeded inputs that look like what the ops meet in training."""

import torch
from torch import Tensor


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
