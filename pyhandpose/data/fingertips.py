"""What Dexter+Object and EgoDexter share: five labelled fingertips of a left hand, frame by frame.

Their annotation files have one row a frame, and their colour images a number in their name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.depth import Registration, millimetres
from pyhandpose.data.entry import Array, Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.layout import names_in
from pyhandpose.data.photo import Box
from pyhandpose.hand.skeleton import tips_to_canonical

SIZE = (640, 480)
INVALID_LEVEL = 32001
"""Of a depth image: nothing was measured."""

HAND_EXTENT = 0.32
"""m, side of the crop at the distance of the fingertips. A square about five fingertips can be
much smaller than the hand (a fist), and no other joint is labelled."""


@dataclass(frozen=True)
class TipSequence:
    """One sequence's frames that have at least one labelled fingertip and an image."""

    name: str
    images: list[Path]
    depths: dict[int, Path]
    """By row."""
    rows: list[int]
    """(N) the row of each image in the annotation file."""
    tips: NDArray[np.float64]
    """(rows,5,3) m, axes of the depth camera; NaN where not labelled."""


def pair_rows(folder: Path, tips: NDArray[np.float64], file: Path, faults: Faults) -> TipSequence:
    """Rows of an annotation file and the images they belong to, in ``color`` and ``depth``.

    An image's number is its row, counted from 0 (from 1 if there is no image 0 and the last number
    is that of the rows), so that a missing image does not shift the others. Rows without a labelled
    fingertip are no samples. A row whose image is missing, and an image without a row, is a fault.
    """
    numbered = numbered_images(folder / "color")
    first = 1 if 0 not in numbered and max(numbered, default=0) == len(tips) else 0
    images = {number - first: path for number, path in numbered.items()}
    for row in sorted(set(images) - set(range(len(tips)))):
        faults.report(
            "image without annotation",
            images[row],
            f"its number {row + first} is not one of the {len(tips)} rows, counted from {first}, "
            f"of {file}; on_error=skip leaves it out",
        )
    rows = []
    labelled = np.asarray(np.isfinite(tips).all(axis=2))  # (N,5)
    for row in np.flatnonzero(labelled.any(axis=1)).tolist():
        if row in images:
            rows.append(row)
        else:
            problem = f"no image with the number {row + first}"
            faults.report("missing image", folder / "color", problem, f"row {row}")
    depths = {number - first: path for number, path in numbered_images(folder / "depth").items()}
    return TipSequence(folder.name, [images[row] for row in rows], depths, rows, tips)


def numbered_images(folder: Path) -> dict[int, Path]:
    """The images of a folder by the number in their name; of several, the longest (the first)."""
    found = {}
    for name in names_in(folder):
        numbers = re.findall(r"\d+", name)
        if numbers and name.lower().endswith((".png", ".jpg", ".jpeg")):
            found[int(max(numbers, key=len))] = folder / name
    return found


class TipAnnotations:
    """The annotations of some sequences of one dataset."""

    def __init__(
        self,
        kind: str,
        files: dict[Path, Path],
        read_tips: Callable[[Path, Faults], NDArray[np.float64]],
        camera: Registration,
        faults: Faults,
    ) -> None:
        """Read the annotation files.

        Args:
            kind: the dataset's name in the registry.
            files: the annotation file of each sequence's folder.
            read_tips: (rows,5,3) m of an annotation file, in the axes of the depth camera.
            camera: the dataset's two cameras.
            faults: where images and rows that do not fit are reported.
        """
        self.kind, self._camera = kind, camera
        self.files = tuple(file for file in files.values() if file.is_file())
        self._frames: list[tuple[TipSequence, int]] = []
        for folder, file in files.items():
            try:
                sequence = pair_rows(folder, read_tips(file, faults), file, faults)
            except DatasetError as error:
                faults.add(error.fault)  # raises, or goes on with the other sequences
            else:
                self._frames += [(sequence, i) for i in range(len(sequence.rows))]

    def __len__(self) -> int:
        return len(self._frames)

    def group(self, index: int) -> str:
        """The sequence: its frames belong together."""
        return self._frames[index][0].name

    def image_file(self, index: int) -> str:
        """The colour image."""
        sequence, i = self._frames[index]
        return str(sequence.images[i])

    def entry(self, index: int) -> Entry:
        """A frame's fingertips as the colour camera sees them."""
        sequence, i = self._frames[index]
        row, camera = sequence.rows[i], self._camera
        name = f"{sequence.name}[{row}]"
        tips = camera.to_colour(sequence.tips[row])
        joints = tips_to_canonical(tips)
        return Entry(
            name,
            joints_cam=joints,
            intrinsics=camera.colour_intrinsics,
            labelled=np.isfinite(joints).all(1),
            is_left=True,
            box=hand_box(tips, camera.colour_intrinsics, name, self.image_file(index)),
            image_size=SIZE,
            depth=lambda: _depth(sequence, row, camera),
        )


def hand_box(tips: Array, camera: Array, name: str, file: str) -> Box:
    """The square of ``HAND_EXTENT`` about the mean fingertip, seen by a camera K, px.

    Raises:
        DatasetError: the fingertips are behind the camera.
    """
    mean = np.nanmean(tips, axis=0)
    if not mean[2] > 0:
        problem = f"the fingertips are at z = {mean[2]:.3f} m, behind the camera"
        raise DatasetError(Fault("joints", file, problem, name))
    x, y = camera[0, :] @ mean / mean[2] + 0.5, camera[1, :] @ mean / mean[2] + 0.5
    half = HAND_EXTENT / 2 * camera[0, 0] / mean[2]
    return float(x - half), float(y - half), float(x + half), float(y + half)


def _depth(sequence: TipSequence, row: int, camera: Registration) -> NDArray[np.float32]:
    if row not in sequence.depths:
        folder = sequence.images[0].parent.parent / "depth"
        raise DatasetError(
            Fault("missing depth", str(folder), f"no image with the number {row}", f"row {row}")
        )
    return camera.move(millimetres(sequence.depths[row], INVALID_LEVEL), SIZE)
