"""A plain folder of photos as an unlabelled dataset, with or without boxes around the hands."""

from __future__ import annotations

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.boxes_file import BoxesFile, HandBox
from pyhandpose.data.crop import enlarged
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import Faults
from pyhandpose.data.photo import UnreadableImageError, read_photo, square_box, square_crop
from pyhandpose.data.sample import HandBatch

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

logger = logging.getLogger(__name__)


def find_images(folder: Path) -> list[Path]:
    """All files below ``folder`` with an image suffix, sorted by path."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(path for path in found if path.is_file())


def read_square(path: Path, size: int) -> Tensor:
    """The centred square of a photo at ``size`` px: (size,size,3) uint8 RGB.

    The shorter side becomes ``size``, antialiased.

    Raises:
        UnreadableImageError: not a whole image, or not permitted to be read.
    """
    photo = read_photo(path)
    return square_crop(photo, square_box(None, photo.size), size)


class FolderDataset:
    """The photos below a folder, read once, held in memory as squares of one size."""

    def __init__(self, folder: Path, size: int = 160) -> None:
        """Read every photo below ``folder``; those that cannot be read are skipped and named.

        Args:
            folder: searched recursively for jpg, jpeg, png, webp and bmp.
            size: side of the stored squares, px; at least the side of the views to be made. A
                photo takes 3 size^2 bytes of memory: 8 GB for 100,000 photos at 160 px.

        Raises:
            FileNotFoundError: no such folder, or no readable image in it.
        """
        _require_folder(folder)
        paths = find_images(folder)
        suffixes = ", ".join(sorted(s[1:] for s in IMAGE_SUFFIXES))
        if not paths:
            raise FileNotFoundError(
                f"folder dataset: no image ({suffixes}) below {str(folder)!r}; check the path"
            )
        self.name = f"folder:{folder}?size={size}"
        self._images, self.files, self.skipped = _read_all(paths, size)
        if not self.files:
            raise FileNotFoundError(
                f"folder dataset: none of the {len(paths)} images below {str(folder)!r} "
                f"could be read, the first being {paths[0].name!r}"
            )
        if self.skipped:
            names = ", ".join(str(path) for path in self.skipped[:10])
            more = ", ..." if len(self.skipped) > 10 else ""
            logger.warning(
                "%d of %d images could not be read and are skipped: %s%s",
                *(len(self.skipped), len(paths), names, more),
            )
        self._root = folder

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Tensor) -> HandBatch:
        """The images of (B,) indices; nothing else is known about them."""
        return HandBatch(self._images[indices])

    def fingerprint(self) -> str:
        """Digest of the relative names and the stored pixels."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(f"{path.relative_to(self._root)}\0".encode())
        digest.update(self._images.numpy().tobytes())
        return digest.hexdigest()[:16]


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"folder dataset: expected a folder of images, but {str(folder)!r} is not a folder"
        )


def _read_all(paths: list[Path], size: int) -> tuple[Tensor, list[Path], list[Path]]:
    """``(squares (N,size,size,3), the files read, the files skipped)``, in the order of paths."""

    def read(path: Path) -> Tensor | None:
        try:
            return read_square(path, size)
        except UnreadableImageError as error:
            logger.info("%s", error)
            return None

    squares = torch.empty((len(paths), size, size, 3), dtype=torch.uint8)
    files: list[Path] = []
    skipped: list[Path] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = tqdm(
            pool.map(read, paths), total=len(paths), desc="reading photos", unit="img", disable=None
        )
        for path, square in zip(paths, results, strict=True):
            if square is None:
                skipped.append(path)
            else:
                squares[len(files)] = square
                files.append(path)
    return squares[: len(files)], files, skipped


class BoxedPhotos:
    """The hands of a folder's photos, as a file of boxes lists them; an annotated dataset."""

    kind = "folder"

    def __init__(self, folder: Path, boxes: Path, margin: float) -> None:
        _require_folder(folder)
        known = BoxesFile(boxes)
        self.files = [boxes]
        self._margin = margin
        self._hands: list[tuple[str, str, HandBox]] = []
        """Of each hand its file, its name, and its box."""
        photos = find_images(folder)
        for path in photos:
            name = path.relative_to(folder).as_posix()
            for number, hand in enumerate(known.of(name)):
                self._hands.append((str(path), f"{name}#{number}", hand))
        boxed = len({file for file, _, _ in self._hands})
        self.notes = [f"{boxes.name} names {boxed:,} of {len(photos):,} photos"]
        self.signature = "\n".join(name for _, name, _ in self._hands)

    def __len__(self) -> int:
        return len(self._hands)

    def image_file(self, index: int) -> str:
        """The photo."""
        return self._hands[index][0]

    def group(self, index: int) -> str:
        """The photo: its hands are not parted."""
        return self._hands[index][1].rpartition("#")[0]

    def entry(self, index: int) -> Entry:
        """The square about a box, and which hand it holds."""
        _, name, hand = self._hands[index]
        return Entry(name, box=enlarged(hand.box, self._margin), is_left=hand.hand == "left")


def open_folder(
    path: Path, *, size: int = 160, boxes: Path | None = None, margin: float = 1.2
) -> FolderDataset | AnnotatedDataset:
    """``folder:PATH``: a ``FolderDataset``, or with a file of boxes one sample for each hand in it.

    Args:
        path: the folder.
        size: side of the squares, px.
        boxes: a file as ``BoxesFile`` reads; photos that it does not name are no samples.
        margin: side of the crop, in longer sides of the box.
    """
    if boxes is None:
        return FolderDataset(path, size)
    read = ReadOptions(size=size, margin=margin, on_error="skip")
    photos = BoxedPhotos(path, boxes, margin)
    name = f"folder:{path}?boxes={boxes.name}"
    return AnnotatedDataset(photos, read, name, Faults(read.on_error))
