"""A hand's skeleton drawn on its image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pyhandpose.hand.skeleton import BONES, NUM_JOINTS
from pyhandpose.plot.palette import JOINT_COLOURS, rgb

Image = NDArray[np.uint8]

HALO = (20, 20, 20)
"""Drawn under everything, so that a line is seen on skin, white walls and dark rooms alike."""


def draw_skeleton(
    image: Image, joints_img: NDArray[np.floating], *, line_px: float | None = None
) -> Image:
    """The image with bones and joints painted on a copy, antialiased, one colour per finger.

    Each stroke covers a pixel by clip(r + 1/2 - d, 0, 1), d the distance of its centre from the
    bone's segment (or the joint), r the half width.

    Args:
        image: (H,W,3) uint8.
        joints_img: (21,2) px, pixel centres at integers. A joint that is not finite, or further
            than one image side outside the image, is left out together with its bones.
        line_px: width of the bones; None scales with the hand: 2.5 % of its larger extent, and
            between 0.4 % and 1.2 % of the image's longer side, never under 1.2 px.

    Returns:
        (H,W,3) uint8.

    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"draw_skeleton: image must be (H,W,3) uint8, got {image.shape} {image.dtype}"
        )
    if joints_img.shape != (NUM_JOINTS, 2):
        raise ValueError(f"draw_skeleton: joints_img must be (21,2), got {joints_img.shape}")
    joints = joints_img.astype(np.float64)
    longer = max(image.shape[:2])
    with np.errstate(invalid="ignore"):  # NaN compares False: not drawn
        drawn = ((joints > -longer) & (joints < 2 * longer)).all(1)
    if not drawn.any():
        return image.copy()
    width = _line_width(joints[drawn], longer) if line_px is None else line_px
    bones = [(a, b) for a, b in BONES if drawn[a] and drawn[b]]
    canvas = image.copy()
    halo = width / 2 + max(0.6, width / 5)
    dot = 0.95 * width
    for a, b in bones:
        _stroke(canvas, joints[a], joints[b], halo, HALO)
    for j in np.flatnonzero(drawn):
        _stroke(canvas, joints[j], joints[j], dot + halo - width / 2, HALO)
    for a, b in bones:
        _stroke(canvas, joints[a], joints[b], width / 2, rgb(JOINT_COLOURS[b]))
    for j in np.flatnonzero(drawn):
        _stroke(canvas, joints[j], joints[j], dot, rgb(JOINT_COLOURS[j]))
    return canvas


def _line_width(joints: NDArray[np.float64], longer: int) -> float:
    extent = float(np.ptp(joints, axis=0).max())
    return max(1.2, min(max(0.025 * extent, 0.004 * longer), 0.012 * longer))


def _stroke(
    canvas: Image,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
    colour: tuple[int, int, int],
) -> None:
    """Blend one capsule (a disc where start and end coincide) into ``canvas`` in place."""
    height, width = canvas.shape[:2]
    low = np.minimum(start, end) - radius - 1
    high = np.maximum(start, end) + radius + 1
    x0, y0 = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
    x1, y1 = min(width, math.ceil(high[0]) + 1), min(height, math.ceil(high[1]) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    px = np.arange(x0, x1) - start[0]  # (w,)
    py = np.arange(y0, y1)[:, None] - start[1]  # (h,1)
    dx, dy = end - start
    length2 = dx * dx + dy * dy
    along = np.clip((px * dx + py * dy) / length2, 0.0, 1.0) if length2 > 0 else 0.0
    distance = np.hypot(px - along * dx, py - along * dy)  # (h,w)
    cover = np.clip(radius + 0.5 - distance, 0.0, 1.0)[..., None].astype(np.float32)
    part = canvas[y0:y1, x0:x1]
    part[:] = np.rint(part + cover * (np.asarray(colour, np.float32) - part))
