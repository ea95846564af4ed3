"""From a batch of hand images to augmented views, with the exact affine that was applied.

One affine per view moves everything: the tensor that warps the image is the one that is returned
for the loss, and joints, 3D pose and camera are moved by the same numbers. Geometry is one
``grid_sample`` for the batch, with no loop over images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pyhandpose.data.colour import ColourConfig, Range, jitter_colour
from pyhandpose.data.sample import HandBatch
from pyhandpose.hand.camera import apply_image_affine, pixel_affine, transform_points

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class AugmentConfig:
    """How views differ from their image. The defaults change nothing: resize and normalise."""

    rotation_deg: float = 0.0
    """Largest rotation about the centre, degrees, either way, uniform."""
    translation: float = 0.0
    """Largest shift along each axis, as a fraction of the side, either way, uniform."""
    scale: Range = (1.0, 1.0)
    """Range of the zoom about the centre, uniform; above 1 the hand gets larger."""
    padding: Literal["border", "reflection", "zeros"] = "border"
    """What lies outside the source image: its edge continued (which hides how the view was cut
    better than black does), its reflection (which may show a second hand), or black."""
    colour: ColourConfig = field(default_factory=ColourConfig)
    """Appearance, after the geometry."""

    def __post_init__(self) -> None:
        if not 0 <= self.rotation_deg <= 180:
            raise ValueError(
                f"AugmentConfig.rotation_deg: expected 0 to 180 degrees, got {self.rotation_deg}"
            )
        if not 0 <= self.translation < 1:
            raise ValueError(
                "AugmentConfig.translation: expected a fraction of the side in [0, 1), got "
                f"{self.translation}; divide pixels by the side of the view"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"AugmentConfig.scale: expected 0 < low <= high, got {self.scale}")


@dataclass(frozen=True)
class View:
    """B augmented views of side S; labels are moved with the image, ``None`` where unknown."""

    image: Tensor
    """(B,3,S,S) float32, RGB, normalised by the ImageNet mean and standard deviation."""
    affine: Tensor
    """(B,2,3) float32 [A | v]: image points, in fractions of the side about the centre, y down,
    moved by n' = A n + v from the source's centred square to this view."""
    joints_img: Tensor | None = None
    """(B,21,2) float32, px of the view; 0 where not valid."""
    joints_cam: Tensor | None = None
    """(B,21,3) float32, m, axes of the view's camera; 0 where not valid."""
    intrinsics: Tensor | None = None
    """(B,3,3) float32, px of the view."""
    joint_valid: Tensor | None = None
    """(B,21) bool: labelled, with finite numbers. A joint may be valid outside the view."""
    joint_valid_cam: Tensor | None = None
    """(B,21) bool: its 3D label too; ``None`` means that ``joint_valid`` speaks for both."""

    def __len__(self) -> int:
        return self.image.shape[0]


def augment(
    batch: HandBatch, config: AugmentConfig, generator: torch.Generator, out_size: int
) -> View:
    """One random view of every image of a batch.

    Args:
        batch: B images of any size; the centred square of the shorter side is the canonical view.
        config: the ranges.
        generator: CPU generator; its state alone decides the views.
        out_size: side S of the views, px.

    Returns:
        ``View``. A view that shows the source more than twice as small is read from a
        correspondingly smaller, antialiased copy.
    """
    affine = sample_affines(len(batch), config, generator).to(batch.image.device)
    image = warp(batch.image, affine, out_size, config.padding)
    image = jitter_colour(image, config.colour, generator)
    return move_labels(batch, affine, normalise(image))


def make_views(
    batch: HandBatch,
    config: AugmentConfig,
    generator: torch.Generator,
    out_size: int,
    num_views: int,
) -> View:
    """``num_views`` independent views of every image, stacked: rows i, i + N, i + 2N, ... agree."""
    views = [augment(batch, config, generator, out_size) for _ in range(num_views)]
    if num_views == 1:
        return views[0]
    stacked: dict[str, Tensor | None] = {}
    for f in fields(View):
        parts = [getattr(view, f.name) for view in views]
        stacked[f.name] = None if parts[0] is None else torch.cat(parts)
    return View(**stacked)  # type: ignore[arg-type]


def sample_affines(num: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """``num`` affines [A | v], A = s [[cos, sin], [-sin, cos]]: (num,2,3) float32, fractions."""
    draws = torch.rand(4, num, generator=generator)  # (4,num) in [0, 1)
    angle = math.radians(config.rotation_deg) * (2 * draws[0] - 1)
    low, high = config.scale
    scale = low + (high - low) * draws[1]
    shift = config.translation * (2 * draws[2:] - 1)  # (2,num)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([cos, sin, shift[0], -sin, cos, shift[1]], dim=-1).view(num, 2, 3)


def warp(image: Tensor, affine: Tensor, out_size: int, padding: str = "border") -> Tensor:
    """The views of side S that the affines make of the images.

    Each view pixel reads the source at A^-1 (n' - v), bilinearly. A view that shrinks its source by
    f >= 2 reads a copy resized by 2^floor(log2 f) with antialiasing, so at most 2x is left.

    Args:
        image: (B,H,W,3) uint8.
        affine: (B,2,3) [A | v], fractions of the side min(H, W) about the centre.
        out_size: S, px.
        padding: as in ``AugmentConfig``.

    Returns:
        (B,3,S,S) float32 in [0, 1].
    """
    _, height, width, _ = image.shape
    side = min(height, width)
    source = image.permute(0, 3, 1, 2)  # (B,3,H,W) uint8
    inverse = torch.linalg.inv(affine[:, :, :2])  # (B,2,2)
    # grid_sample's coordinates run from -1 to 1 over the source's area: twice the fraction
    theta = torch.cat([inverse, -2 * inverse @ affine[:, :, 2:]], dim=2)  # (B,2,3)
    theta = theta * theta.new_tensor([[side / width], [side / height]])
    grid = _sampling_grid(theta, out_size)

    shrink = side / out_size / torch.linalg.det(affine[:, :, :2]).sqrt()  # (B,)
    level = shrink.log2().floor().clamp_(min=0).to(torch.int64)
    views = image.new_empty((len(image), 3, out_size, out_size), dtype=torch.float32)
    for power in level.unique().tolist():
        chosen = (level == power).nonzero()[:, 0]
        pixels = source[chosen].contiguous().float()
        if power > 0:
            smaller = (max(1, round(height / 2**power)), max(1, round(width / 2**power)))
            pixels = F.interpolate(pixels, smaller, mode="bilinear", antialias=True)
        views[chosen] = F.grid_sample(
            pixels, grid[chosen], mode="bilinear", padding_mode=padding, align_corners=False
        )
    return views.div_(255)


def _sampling_grid(theta: Tensor, out_size: int) -> Tensor:
    """``F.affine_grid(theta, ..., align_corners=False)`` as one broadcast sum, four times faster.

    (B,2,3) -> (B,S,S,2), the point at which each pixel of a view reads.
    """
    centre = (2 * torch.arange(out_size, device=theta.device) + 1) / out_size - 1  # (S,)
    along_x = theta[:, None, :, 0] * centre[:, None]  # (B,S,2), for each column
    along_y = theta[:, None, :, 1] * centre[:, None] + theta[:, None, :, 2]  # for each row
    return along_y[:, :, None, :] + along_x[:, None, :, :]


def normalise(image: Tensor) -> Tensor:
    """(B,3,S,S) in [0, 1] to zero mean and unit deviation over ImageNet, in place."""
    mean = image.new_tensor(IMAGENET_MEAN)[:, None, None]
    std = image.new_tensor(IMAGENET_STD)[:, None, None]
    return image.sub_(mean).div_(std)


def denormalise(image: Tensor) -> Tensor:
    """Inverse of ``normalise``, for pictures: (B,3,S,S) in [0, 1]."""
    mean = image.new_tensor(IMAGENET_MEAN)[:, None, None]
    std = image.new_tensor(IMAGENET_STD)[:, None, None]
    return (image * std + mean).clamp_(0, 1)


def move_labels(batch: HandBatch, affine: Tensor, image: Tensor) -> View:
    """The view whose pixels are ``image`` (B,3,S,S), with the batch's labels moved by ``affine``.

    Image points go through the pixel affine T of the view; T K splits into the new intrinsics and
    a rotation of the 3D pose (``hand.camera``), so projection still holds.
    """
    to_view = pixel_affine(affine, (batch.image.shape[1], batch.image.shape[2]), image.shape[-1])
    joints_img, joints_cam, intrinsics = batch.joints_img, batch.joints_cam, batch.intrinsics
    valid, valid_cam = _finite_labels(batch)
    if joints_img is not None and valid is not None:
        # zeros, because a masked NaN would still poison the gradient
        joints_img = transform_points(joints_img, to_view).masked_fill(~valid[..., None], 0.0)
    if intrinsics is not None:
        intrinsics, rotation = apply_image_affine(intrinsics, to_view)
        if joints_cam is not None:
            joints_cam = joints_cam @ rotation.mT
    has_3d = valid if valid_cam is None else valid_cam
    if joints_cam is not None and has_3d is not None:
        joints_cam = joints_cam.masked_fill(~has_3d[..., None], 0.0)
    return View(image, affine, joints_img, joints_cam, intrinsics, valid, valid_cam)


def _finite_labels(batch: HandBatch) -> tuple[Tensor | None, Tensor | None]:
    """``(joint_valid, joint_valid_cam)`` of the batch, less the joints with missing numbers.

    A batch with one mask for both keeps one: a joint is valid if both its labels are finite.
    """
    valid, valid_cam = batch.joint_valid, batch.joint_valid_cam
    if batch.joints_img is None:
        return valid, valid_cam
    finite = batch.joints_img.isfinite().all(-1)  # (B,21)
    if batch.joints_cam is not None:
        finite_cam = batch.joints_cam.isfinite().all(-1)
        if valid_cam is None:
            finite = finite & finite_cam
        else:
            valid_cam = valid_cam & finite_cam
    return finite if valid is None else valid & finite, valid_cam
