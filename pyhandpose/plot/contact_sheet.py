"""Many small images on one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 255


def contact_sheet(
    images: NDArray[np.uint8], *, columns: int = 8, gap_px: int = 2, zoom: int = 1
) -> NDArray[np.uint8]:
    """Images in rows of ``columns``, with white between them.

    Args:
        images: (N,H,W,3) uint8.
        columns: images in a row.
        gap_px: between images.
        zoom: each pixel becomes zoom x zoom.

    Returns:
        (rows * (zoom H + gap) - gap, columns * (zoom W + gap) - gap, 3) uint8.

    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"contact_sheet: images must be (N,H,W,3) uint8, got {images.shape} {images.dtype}"
        )
    if columns < 1 or gap_px < 0 or zoom < 1:
        raise ValueError(
            f"contact_sheet: columns and zoom must be at least 1 and gap_px at least 0, got "
            f"{columns}, {zoom} and {gap_px}"
        )
    tiles = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = tiles.shape[1] + gap_px, tiles.shape[2] + gap_px
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height, columns * width, 3), BACKGROUND, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * height, i % columns * width
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet[: rows * height - gap_px, : columns * width - gap_px]
