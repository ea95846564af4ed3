"""The one typed form in which hand images reach everything else.

Conventions: right hands, canonical joint order (``hand.skeleton``), metres, OpenCV camera axes
(x right, y down, z forward). Pixel coordinates name pixel CENTRES by integers: the centre of the
top-left pixel is (0, 0), the centre of a W x H image is ((W - 1) / 2, (H - 1) / 2), and K projects
to these coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class HandBatch:
    """B hand images of H x W pixels and what is known about them; ``None`` is "not known"."""

    image: Tensor
    """(B,H,W,3) uint8, RGB."""
    joints_img: Tensor | None = None
    """(B,21,2) float32, px of ``image``."""
    joints_cam: Tensor | None = None
    """(B,21,3) float32, m, camera axes."""
    intrinsics: Tensor | None = None
    """(B,3,3) float32, px of ``image``, upper triangular."""
    joint_valid: Tensor | None = None
    """(B,21) bool: this joint has a label."""
    visibility: Tensor | None = None
    """(B,21) bool: this joint is inside the image and nothing hides it, the hand included."""
    mask: Tensor | None = None
    """(B,H,W) bool: the hand's visible pixels (in the synthetic world, the forearm's too)."""
    depth: Tensor | None = None
    """(B,H,W) float32, m along z; 0 where there is no surface."""
    occluded: Tensor | None = None
    """(B,) bool: an object hides a part of the hand."""

    def __len__(self) -> int:
        return self.image.shape[0]

    def __getitem__(self, index: Tensor | slice) -> HandBatch:
        """The batch of the chosen samples, in the order of ``index``."""
        return self._map(lambda value: value[index])

    def to(self, device: torch.device | str) -> HandBatch:
        """The same batch on another device."""
        return self._map(lambda value: value.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> HandBatch:
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: change(v) for k, v in known.items() if v is not None})
