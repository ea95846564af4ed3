"""The one typed form in which hand images reach everything else.

Conventions: right hands, canonical joint order (``hand.skeleton``), metres, OpenCV camera axes
(x right, y down, z forward). Pixel coordinates name pixel CENTRES by integers: the centre of the
top-left pixel is (0, 0), the centre of a W x H image is ((W - 1) / 2, (H - 1) / 2), and K projects
to these coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Source(NamedTuple):
    """Where a sample came from."""

    dataset: str
    """The registry's name of the dataset, such as "freihand"."""
    file: str
    """The image's file."""
    entry: str
    """The entry in the dataset's annotations, in the dataset's own terms."""


@dataclass(frozen=True)
class HandBatch:
    """B hand images of H x W pixels and what is known about them.

    ``None`` is "not known" for the whole batch. Within a batch, labels that a sample does not have
    are NaN (``joints_img`` where ``joint_valid`` is False, ``joints_cam`` where
    ``joint_valid_cam`` is, ``intrinsics``).
    """

    image: Tensor
    """(B,H,W,3) uint8, RGB."""
    joints_img: Tensor | None = None
    """(B,21,2) float32, px of ``image``."""
    joints_cam: Tensor | None = None
    """(B,21,3) float32, m, camera axes."""
    intrinsics: Tensor | None = None
    """(B,3,3) float32, px of ``image``, upper triangular."""
    joint_valid: Tensor | None = None
    """(B,21) bool: this joint has a label (where ``joint_valid_cam`` is given: an image point)."""
    visibility: Tensor | None = None
    """(B,21) bool: this joint is inside the image and nothing hides it, the hand included."""
    mask: Tensor | None = None
    """(B,H,W) bool: the hand's visible pixels (in the synthetic world, the forearm's too)."""
    depth: Tensor | None = None
    """(B,H,W) float32, m along z; 0 where there is no surface."""
    occluded: Tensor | None = None
    """(B,) bool: an object hides a part of the hand."""
    joint_valid_cam: Tensor | None = None
    """(B,21) bool: this joint has a 3D label; True only where ``joint_valid`` is. ``None`` with
    ``joints_cam`` means that ``joint_valid`` speaks for both."""
    mirrored: Tensor | None = None
    """(B,) bool: a left hand, shown and labelled as a right one."""
    crop: Tensor | None = None
    """(B,2,3) float32, pixel affine from the source file's image to ``image``:
    p = T [p_source; 1]. Its linear part is a zoom, with a negative first entry if mirrored."""
    source: tuple[Source, ...] | None = None
    """(B) where each sample came from."""

    def __len__(self) -> int:
        return self.image.shape[0]

    def __getitem__(self, index: Tensor | slice) -> HandBatch:
        """The batch of the chosen samples, in the order of ``index``."""
        chosen = self._map(lambda value: value[index])
        if self.source is None:
            return chosen
        rows = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index]
        return replace(chosen, source=tuple(self.source[row] for row in rows.tolist()))

    def to(self, device: torch.device | str) -> HandBatch:
        """The same batch on another device."""
        return self._map(lambda value: value.to(device))

    def source_points(self, points: Tensor) -> Tensor:
        """Image points (B,J,2) px of ``image`` in px of the source files' images: T^-1 p."""
        if self.crop is None:
            return points
        linear = torch.linalg.inv(self.crop[:, :, :2])  # (B,2,2)
        return (points - self.crop[:, None, :, 2]) @ linear.mT

    def _map(self, change: Callable[[Tensor], Tensor]) -> HandBatch:
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {k: change(v) for k, v in known.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def concatenate(parts: Sequence[HandBatch]) -> HandBatch:
    """The samples of several batches, in order, as one.

    Joints, validity, intrinsics, ``mirrored`` and ``crop`` are kept if any part has them, and are
    NaN or False (``crop``: the identity) for the parts that do not. Mask, depth, visibility and
    occlusion are kept only if all parts have them: they have no value that means "not known".

    Raises:
        ValueError: no part, or images of different sizes.
    """
    shapes = {tuple(part.image.shape[1:3]) for part in parts}
    if len(shapes) != 1:
        raise ValueError(
            f"concatenate: expected images of one size, got {sorted(shapes)} px; give every "
            "dataset the same size, such as ?size=224"
        )
    parts = [_with_masks(part) for part in parts]
    joined: dict[str, Tensor | tuple[Source, ...] | None] = {}
    for f in fields(HandBatch):
        values = [getattr(part, f.name) for part in parts]
        if all(value is None for value in values):
            joined[f.name] = None
        elif f.name == "source":
            unknown = Source("", "", "")
            joined[f.name] = tuple(
                source for part in parts for source in part.source or (unknown,) * len(part)
            )
        elif all(value is not None for value in values):
            joined[f.name] = torch.cat(values)
        else:
            joined[f.name] = _with_unknown(f.name, parts, values)
    return HandBatch(**joined)  # type: ignore[arg-type]


def _with_masks(part: HandBatch) -> HandBatch:
    """The batch with its implied validity masks spelt out."""
    valid, valid_cam = part.joint_valid, part.joint_valid_cam
    if valid is None and part.joints_img is not None:
        valid = part.joints_img.isfinite().all(-1)
    if valid_cam is None and part.joints_cam is not None:
        valid_cam = valid
    return replace(part, joint_valid=valid, joint_valid_cam=valid_cam)


def _with_unknown(
    name: str, parts: Sequence[HandBatch], values: list[Tensor | None]
) -> Tensor | None:
    """The values joined, "not known" standing for those that are missing; None if none can."""
    known = next(value for value in values if value is not None)
    if name in ("joints_img", "joints_cam", "intrinsics"):
        unknown = torch.full_like(known[:1], torch.nan)
    elif name in ("joint_valid", "joint_valid_cam", "mirrored"):
        unknown = torch.zeros_like(known[:1])
    elif name == "crop":
        unknown = torch.eye(2, 3, dtype=known.dtype, device=known.device)[None]
    else:
        return None
    filled = [
        unknown.expand(len(part), *unknown.shape[1:]) if value is None else value
        for part, value in zip(parts, values, strict=True)
    ]
    return torch.cat(filled)
