"""Another background for hands before a green screen.

I = I_hand M + I_background (1 - M), element by element, with M = 1 on the hand and 0 on the screen
(thesis 004, section 3.1).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.folder import find_images
from pyhandpose.data.photo import read_photo

SCREEN = (14, 255, 14)
"""SynthHands' green."""

TOLERANCE = 24
"""Levels by which each channel may differ from the screen's: JPEG copies of the data do."""

COLOURED = 0.35
"""Of a generated background's variation."""

Image = NDArray[np.uint8]


def foreground(image: Image) -> NDArray[np.bool_]:
    """M (H,W): what of an image (H,W,3) is not the screen."""
    off = np.abs(image.astype(np.int16) - np.array(SCREEN, np.int16))
    return np.asarray((off > TOLERANCE).any(-1))


def replace_background(image: Image, mask: NDArray[np.bool_], background: Image) -> Image:
    """I_hand M + I_background (1 - M).

    Args:
        image: (H,W,3), the hand before the screen.
        mask: (H,W) M, True on the hand.
        background: (H,W,3).
    """
    return np.where(mask[..., None], image, background)


class Backgrounds:
    """Where backgrounds come from: a folder of photos, or noise that is made.

    Args:
        folder: photos, searched recursively; None: backgrounds are generated.
        seed: of the choice.

    Raises:
        FileNotFoundError: a folder without an image.
    """

    def __init__(self, folder: Path | None, seed: int) -> None:
        self._seed = seed
        self._photos: list[Path] | None = None
        if folder is not None:
            self._photos = find_images(folder) if folder.is_dir() else []
            if not self._photos:
                raise FileNotFoundError(
                    f"background: no image below {str(folder)!r}; give a folder of photos, "
                    "'generated' or 'keep'"
                )

    def __str__(self) -> str:
        number = "generated" if self._photos is None else f"{len(self._photos)} photos"
        return f"{number}, seed {self._seed}"

    def draw(self, size: tuple[int, int], *key: int) -> Image:
        """The background (height,width,3) of a sample; the same ``key`` gives the same one.

        Of a photo that is larger than ``size`` (width, height) a random part is taken, others are
        enlarged first.

        Raises:
            UnreadableImageError: the photo is damaged.
        """
        random = np.random.default_rng((self._seed, *key))
        if self._photos is None:
            return generated(random, size)
        return part_of_photo(self._photos[random.integers(len(self._photos))], size, random)


def part_of_photo(path: Path, size: tuple[int, int], random: np.random.Generator) -> Image:
    """A random part (height,width,3) of a photo, enlarged first if it is too small."""
    from PIL import Image as PILImage

    photo = read_photo(path).image
    zoom = max(size[0] / photo.width, size[1] / photo.height, 1.0)
    if zoom > 1:
        wanted = (max(size[0], round(photo.width * zoom)), max(size[1], round(photo.height * zoom)))
        photo = photo.resize(wanted, PILImage.Resampling.BILINEAR)
    x = int(random.integers(photo.width - size[0] + 1))
    y = int(random.integers(photo.height - size[1] + 1))
    return np.asarray(photo.crop((x, y, x + size[0], y + size[1])))


def generated(random: np.random.Generator, size: tuple[int, int]) -> Image:
    """Coloured noise (height,width,3) whose power falls with the frequency, as photos' does.

    Grids of 2, 4, ..., 64 cells a side, each of 0.6 of the amplitude of the one before, enlarged
    smoothly and added to a random colour; most of it is brightness, ``COLOURED`` of it is each
    channel's own. Made at a quarter of the size.
    """
    from PIL import Image as PILImage

    smooth = PILImage.Resampling.BICUBIC
    small = (-(-size[0] // 4), -(-size[1] // 4))
    total = np.empty((small[1], small[0], 3), np.float32)
    total[:] = random.uniform(60, 195) + random.uniform(-40, 40, 3)
    amplitude = random.uniform(25, 60)
    for level in range(1, 7):
        grids = random.standard_normal((4, 2**level, 2**level), dtype=np.float32)
        brightness, *own = (np.asarray(PILImage.fromarray(g).resize(small, smooth)) for g in grids)
        total += amplitude * (brightness[..., None] + COLOURED * np.stack(own, -1))
        amplitude *= 0.6
    picture = PILImage.fromarray(total.clip(0, 255).astype(np.uint8))
    return np.asarray(picture.resize(size, smooth))
