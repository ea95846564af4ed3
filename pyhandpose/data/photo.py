"""A user's photo, whatever its file format and mode, as RGB; and square crops of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

PhotoSource: TypeAlias = Union[
    str, "os.PathLike[str]", "Photo", "Image.Image", "NDArray[np.uint8]", Tensor
]
"""A file name, a PIL image, or a uint8 array (H,W,3); a ``Photo`` is taken as it is."""

Box: TypeAlias = tuple[float, float, float, float]
"""(x0, y0, x1, y1) px, pixel i covering [i, i+1]: (0, 0, W, H) is the whole image."""


class UnreadableImageError(ValueError):
    """A file that is missing, empty, cut off or not an image; the message names it."""


class BoxOutsideError(ValueError):
    """A box that does not overlap the image, or is mostly outside it."""


@dataclass(frozen=True)
class Photo:
    """An image as displayed: EXIF orientation applied, RGB, 8 bits a channel."""

    image: Image.Image
    source: str | None
    """The file it came from."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), px."""
        return self.image.size


def read_photo(source: PhotoSource) -> Photo:
    """Read a file, or take an image that is in memory.

    The EXIF orientation is applied. Greyscale is repeated over the channels, 16-bit greyscale is
    scaled to 8 bits, CMYK and palettes are converted, transparency is laid over white. Of an
    animation the first frame is taken.

    Raises:
        UnreadableImageError: the file is missing, or is not a whole image.
        ValueError: an array that is not uint8 (H,W,3), or a floating-point image, whose range of
            values cannot be known.

    """
    from PIL import Image, ImageOps

    if isinstance(source, Photo):
        return source
    if isinstance(source, (np.ndarray, Tensor)):
        array = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            raise ValueError(
                f"read_photo: an array must be uint8 (H,W,3), RGB, got {array.shape} {array.dtype}"
            )
        return Photo(Image.fromarray(array), None)
    if isinstance(source, Image.Image):
        return Photo(_to_rgb(ImageOps.exif_transpose(source)), None)
    name = os.fspath(source)
    try:
        with Image.open(name) as image:
            image.load()
            return Photo(_to_rgb(ImageOps.exif_transpose(image)), name)
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise UnreadableImageError(f"{name}: a folder, not an image") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        is_empty = os.path.isfile(name) and os.path.getsize(name) == 0
        reason = "the file is empty" if is_empty else str(error)
        raise UnreadableImageError(f"{name}: not a readable image ({reason})") from error


def square_box(box: Sequence[float] | None, size: tuple[int, int]) -> Box:
    """The square about the centre of ``box`` with its longer side; None: the largest centred one.

    Raises:
        BoxOutsideError: a box that is wholly outside the (width, height) image, or whose side is
            more than twice the image's longer one.
        ValueError: a box that is empty or not finite.

    """
    width, height = size
    if box is None:
        side = float(min(width, height))
        x0, y0 = (width - side) / 2, (height - side) / 2
        return x0, y0, x0 + side, y0 + side
    if len(box) != 4 or not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"box must be x0,y0,x1,y1 with x0 < x1 and y0 < y1, got {tuple(box)}")
    x0, y0, x1, y1 = box
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise BoxOutsideError(f"box {tuple(box)} lies outside the image of {width} x {height} px")
    half = max(x1 - x0, y1 - y0) / 2
    if half > max(size):
        raise BoxOutsideError(
            f"box {tuple(box)} is more than twice as large as the image of {width} x {height} px"
        )
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return x - half, y - half, x + half, y + half


def square_crop(photo: Photo, box: Box, side: int) -> Tensor:
    """(S,S,3) uint8: the square ``box`` resized to S = ``side`` px, antialiased, black outside."""
    from PIL import Image

    x0, y0 = math.floor(box[0]), math.floor(box[1])
    outer = Image.new("RGB", (math.ceil(box[2]) - x0, math.ceil(box[3]) - y0))
    outer.paste(photo.image, (-x0, -y0))
    inner = (box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0)
    resized = outer.resize((side, side), Image.Resampling.BILINEAR, box=inner)
    return torch.from_numpy(np.array(resized))


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "F":
        raise ValueError("a floating-point image: convert it to 8 bits first")
    if image.mode.startswith("I"):  # 16-bit greyscale; a plain convert would clip at 255
        levels = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
