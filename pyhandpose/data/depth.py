"""Depth maps and label images: their files, and from one camera's pixels to another's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.photo import UnreadableImageError


def read_levels(path: Path) -> NDArray[np.integer[Any]]:
    """An image file's numbers as they are stored: (H,W) or (H,W,C), of any integer type.

    Unlike ``photo.read_photo``, nothing is converted: 16-bit levels and palette indices are kept.

    Raises:
        UnreadableImageError: the file is missing, or is not a whole image of integers.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            levels = np.array(image)
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{path}: no such file") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UnreadableImageError(f"{path}: not a readable image ({error})") from error
    if levels.dtype.kind == "b":
        levels = levels.astype(np.uint8)
    if levels.dtype.kind not in "iu":
        raise UnreadableImageError(f"{path}: expected whole numbers, got {levels.dtype}")
    return levels


def two_byte_levels(path: Path, high: int, low: int) -> NDArray[np.int64]:
    """(H,W) 256 high + low of an RGB image, ``high`` and ``low`` being channels.

    Raises:
        UnreadableImageError: as ``read_levels``, and for an image without these channels.
    """
    levels = read_levels(path)
    if levels.ndim != 3:
        raise UnreadableImageError(f"{path}: expected an RGB image, got shape {levels.shape}")
    wide = levels.astype(np.int64)
    return 256 * wide[..., high] + wide[..., low]


def millimetres(path: Path, invalid: int) -> NDArray[np.float32]:
    """(H,W) m, of 16-bit levels in millimetres; 0 where the level is ``invalid`` or 0.

    Raises:
        UnreadableImageError: as ``read_levels``, and for a colour image.
    """
    levels = read_levels(path)
    if levels.ndim != 2:
        raise UnreadableImageError(f"{path}: expected one channel, got shape {levels.shape}")
    return np.where(levels == invalid, 0, levels).astype(np.float32) / np.float32(1000)


@dataclass(frozen=True)
class Registration:
    """A depth camera beside a colour camera: X_colour = R X_depth + t."""

    depth_intrinsics: NDArray[np.float64]
    """(3,3) px of the depth map."""
    colour_intrinsics: NDArray[np.float64]
    """(3,3) px of the colour image."""
    rotation: NDArray[np.float64]
    """(3,3) R."""
    translation: NDArray[np.float64]
    """(3,) t, m."""

    def to_colour(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(...,3) m from the depth camera's axes to the colour camera's."""
        return points @ self.rotation.T + self.translation

    def move(self, depth: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """A depth map as the colour camera sees it.

        Every measured pixel becomes a square of the size it has in the colour image, and the
        nearest surface wins. Pixels that the depth camera does not see stay 0.

        Args:
            depth: (H,W) m; 0 where nothing was measured.
            size: (width, height) of the colour image, px.

        Returns:
            (height,width) m.
        """
        width, height = size
        rows, columns = np.nonzero(depth)
        z = depth[rows, columns].astype(np.float64)
        pixels = np.stack([columns, rows, np.ones_like(rows)], -1).astype(np.float64)
        in_depth = (pixels @ np.linalg.inv(self.depth_intrinsics).T) * z[:, None]
        in_colour = self.to_colour(in_depth)
        in_front = in_colour[:, 2] > 0
        in_colour = in_colour[in_front]
        projected = in_colour @ self.colour_intrinsics.T
        projected = projected[:, :2] / projected[:, 2:]

        zoom = self.colour_intrinsics[0, 0] / self.depth_intrinsics[0, 0]
        steps = np.arange(max(1, int(np.ceil(zoom)))) - (max(1, int(np.ceil(zoom))) - 1) / 2
        offsets = np.stack(np.meshgrid(steps, steps), -1).reshape(1, -1, 2)
        target = np.rint(projected[:, None] + offsets).astype(np.int64)  # (M,k*k,2)
        far_first = np.argsort(-in_colour[:, 2])  # of pixels written twice the last one stays
        target, near = target[far_first], in_colour[far_first, 2]
        inside = ((target >= 0) & (target < [width, height])).all(-1)
        moved = np.zeros((height, width), np.float32)
        values = np.broadcast_to(near[:, None], inside.shape)[inside]
        moved[target[..., 1][inside], target[..., 0][inside]] = values
        return moved


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> NDArray[np.float64]:
    """(3,3) K of a camera without skew, px."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
