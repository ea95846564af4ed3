"""Where to crop when nobody says where the hand is: a centred square, then around the first pose.

The protocol by which PeCLR's published numbers were made: each box is shown so that its longer side
takes 0.7 of the crop; first a centred box, then the box of the joints found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.photo import Box

MINIMUM_PX = 2.0
"""Side in the image of the smallest pose to crop around."""


@dataclass(frozen=True)
class TwoPass:
    """How the two crops are placed."""

    first_fraction: float | None
    """Side of the first, centred box in lengths of the image's longer side; None: the first crop is
    the largest centred square."""
    fill: float
    """Share of the crop's side that the box's longer side takes."""
    whole_pixels: bool = False
    """Truncate the found box to whole pixels of the first crop, as the published code does."""

    least: float = 0.0
    """Share of the first crop's side below which the box of the joints found is taken to be too
    small and enlarged about its centre: a network in doubt draws its joints together."""

    def first(self, size: tuple[int, int], side: int) -> Box:
        """The first crop of a (width, height) image to ``side`` px."""
        width, height = size
        if self.first_fraction is None:
            length = float(min(size))
            x, y = (width - length) / 2, (height - length) / 2
            return x, y, x + length, y + length
        length = self.first_fraction * max(size)
        return self._around(width / 2, height / 2, length, side)

    def second(
        self, joints_crop: NDArray[np.floating], first: Box, size: tuple[int, int], side: int
    ) -> Box:
        """The second crop, from the joints (J,2) px that were found in the first.

        What cannot be a hand leaves the first crop: a pose that is not finite, of less than two
        pixels, larger than the (width, height) image or outside it.
        """
        low, high = joints_crop.min(0).astype(np.float64), joints_crop.max(0).astype(np.float64)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            return first
        if self.whole_pixels:
            low, high = np.trunc(low), np.trunc(high)
        half = self.least * side / 2
        if (high - low).max() < 2 * half:
            low, high = (low + high) / 2 - half, (low + high) / 2 + half
        zoom = side / (first[2] - first[0])
        # pixel i of the crop is at (i + 1/2) / zoom of the box, where pixel j is at j + 1/2
        corner = np.array(first[:2])
        low, high = (corner + (point + 0.5) / zoom - 0.5 for point in (low, high))
        length = float((high - low).max())
        outside = (low >= size).any() or (high <= 0).any()
        if outside or not MINIMUM_PX <= length <= max(size):
            return first
        x, y = (low + high) / 2
        return self._around(float(x), float(y), length, side)

    def around(self, box: Box, side: int) -> Box:
        """The crop that shows a square box with its margin."""
        x, y = (box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2
        return self._around(x, y, box[2] - box[0], side)

    def _around(self, x_px: float, y_px: float, length: float, side: int) -> Box:
        """The crop in which the point lands on pixel side/2, as published, and length on fill."""
        zoom = self.fill * side / length
        half_px = (side / 2 + 0.5) / zoom
        x, y = x_px + 0.5 - half_px, y_px + 0.5 - half_px
        return x, y, x + side / zoom, y + side / zoom
