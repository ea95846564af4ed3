"""A square crop of an image, with all that is known about the hand taken along.

Pixels as in ``data/sample.py``; S is the side of the crop. The zoom is z = S / side, and the pixel
affine of the crop is p' = z p + t with t = z (1/2 - corner) - 1/2: pixel i covers [i, i + 1] of the
box's coordinates and its centre is called i. A left hand is then mirrored, u' = (S - 1) - u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.photo import Box, Photo, square_box, square_crop
from pyhandpose.hand.skeleton import NUM_JOINTS

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Labels:
    """One hand's labels in canonical order, NaN where unknown; None where none is known."""

    joints_img: Array | None
    """(21,2) px."""
    joints_cam: Array | None
    """(21,3) m."""
    intrinsics: Array | None
    """(3,3) px."""


def square_around(joints_img: Array | None, margin: float) -> Box | None:
    """The square about the middle of the known joints, ``margin`` times as large as they need.

    Raises:
        ValueError: no joint is known, or they are all at one point.
    """
    known = np.empty((0, 2)) if joints_img is None else joints_img[np.isfinite(joints_img).all(1)]
    if not len(known):
        raise ValueError("no joint to place the crop by")
    low, high = known.min(0) + 0.5, known.max(0) + 0.5  # from pixel centres to areas
    if (low == high).all():
        raise ValueError("cannot place the crop: the known joints are all at one point")
    return enlarged((*low.tolist(), *high.tolist()), margin)


def enlarged(box: Box, factor: float) -> Box:
    """The square about the middle of a box, ``factor`` times its longer side."""
    x0, y0, x1, y1 = box
    half = factor * max(x1 - x0, y1 - y0) / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return x - half, y - half, x + half, y + half


@dataclass(frozen=True)
class Canvas:
    """Where a square of an image lands, and what it does to labels."""

    box: Box
    side: int
    """S, px."""
    mirrored: bool

    @classmethod
    def of(cls, box: Box | None, size: tuple[int, int], side: int, mirrored: bool) -> Canvas:
        """The square about ``box`` in an image of (width, height) px (``photo.square_box``)."""
        return cls(square_box(box, size), side, mirrored)

    @property
    def zoom(self) -> float:
        """Px of the crop per px of the image."""
        return self.side / (self.box[2] - self.box[0])

    @property
    def affine(self) -> NDArray[np.float64]:
        """(2,3) from px of the image to px of the crop, the mirror included."""
        z = self.zoom
        shift = z * (0.5 - np.array(self.box[:2])) - 0.5
        affine = np.array([[z, 0.0, shift[0]], [0.0, z, shift[1]]])
        if self.mirrored:
            affine[0] = -affine[0] + [0.0, 0.0, self.side - 1]
        return affine

    def contains(self, joints_img: Array | None) -> NDArray[np.bool_]:
        """(21,) which joints, px of the image, are known and in the crop."""
        if joints_img is None:
            return np.zeros(NUM_JOINTS, bool)
        areas = joints_img + 0.5
        inside = (areas >= np.array(self.box[:2])) & (areas <= np.array(self.box[2:]))
        return np.asarray(inside.all(1))

    def image(self, photo: Photo) -> NDArray[np.uint8]:
        """(S,S,3), antialiased, black outside the image."""
        pixels = square_crop(photo, self.box, self.side).numpy()
        return np.ascontiguousarray(pixels[:, ::-1]) if self.mirrored else pixels

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """(S,S) of a map (H,W): the value at each crop pixel's centre, 0 outside.

        Masks and depths are not interpolated: the mean of two surfaces is a third one.
        """
        height, width = values.shape
        grid = (np.arange(self.side) + 0.5) / self.zoom
        columns = np.floor(self.box[0] + grid).astype(np.int64)
        rows = np.floor(self.box[1] + grid).astype(np.int64)
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        found = values[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
        found = np.where(inside, found, np.zeros_like(found))
        return np.ascontiguousarray(found[:, ::-1]) if self.mirrored else found

    def labels(self, known: Labels) -> dict[str, Any]:
        """The fields of a ``HandBatch`` row; those that are not known at all are left out."""
        affine = self.affine
        fields: dict[str, Any] = {
            "crop": affine.astype(np.float32),
            "mirrored": np.array(self.mirrored),
        }
        if known.joints_img is not None:
            moved = known.joints_img @ affine[:, :2].T + affine[:, 2]
            fields["joints_img"] = moved.astype(np.float32)
            fields["joint_valid"] = np.isfinite(moved).all(1)
        if known.intrinsics is not None:
            camera = np.vstack([affine, [0.0, 0.0, 1.0]]) @ known.intrinsics
            if self.mirrored:  # with X' = -X the focal length stays positive
                camera[:, 0] *= -1
            fields["intrinsics"] = camera.astype(np.float32)
        if known.joints_cam is not None:
            hand = known.joints_cam * ([-1.0, 1.0, 1.0] if self.mirrored else 1.0)
            fields["joints_cam"] = hand.astype(np.float32)
            has_point = fields.get("joint_valid", np.ones(NUM_JOINTS, bool))
            fields["joint_valid_cam"] = np.isfinite(hand).all(1) & has_point
        return fields
