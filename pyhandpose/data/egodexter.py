"""EgoDexter: a left hand in clutter, seen from the wearer's head, four sequences, fingertips.

``data/{Desk,Fruits,Kitchen,Rotunda}/{color,depth,color_on_depth}``; ``annotation.txt`` has five
points ``x,y;`` in px of the depth image a row, -1 where a fingertip is not labelled, and
``annotation.txt_3D.txt`` has ``x,y,z;`` in mm in the depth camera's axes, 0 where it is not. All
images 640x480. Mueller et al., ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.depth import Registration, intrinsics
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.fingertips import pair_rows, tips_entry
from pyhandpose.data.layout import require_folders
from pyhandpose.data.number_text import read_point_rows

SEQUENCES = ("Desk", "Fruits", "Kitchen", "Rotunda")

CAMERA = Registration(
    depth_intrinsics=intrinsics(475.62, 475.62, 311.125, 245.965),
    colour_intrinsics=intrinsics(617.173, 617.173, 315.453, 242.259),
    rotation=np.array(
        [[1.0000, 0.00090442, -0.0074], [-0.00071933, 0.9997, 0.0248], [0.0075, -0.0248, 0.9997]]
    ),
    translation=np.array([20.2365, 1.2846, 5.7360]) / 1000,
)
"""As the dataset's calibration gives it, rounded to four decimals."""


class EgoDexter:
    """The annotations of some sequences."""

    kind = "egodexter"

    def __init__(self, root: Path, sequences: tuple[str, ...], faults: Faults) -> None:
        folders = require_folders("EgoDexter", root / "data", sequences)
        self.files: Sequence[Path] = [folder / "annotation.txt_3D.txt" for folder in folders]
        self._sequences = [
            pair_rows(f.name, f / "color", f / "depth", read_tips(f), file, faults)
            for f, file in zip(folders, self.files, strict=True)
        ]
        self._frames = [(s, i) for s in self._sequences for i in range(len(s.rows))]

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
        """A frame's fingertips."""
        sequence, i = self._frames[index]
        return tips_entry(sequence, i, CAMERA)


def read_tips(folder: Path) -> NDArray[np.float64]:
    """(N,5,3) m in the depth camera's axes; NaN where either file says "not labelled".

    Raises:
        DatasetError: a file is damaged, or they have different numbers of rows.
    """
    points = read_point_rows(folder / "annotation.txt", 5, 2)
    tips = read_point_rows(folder / "annotation.txt_3D.txt", 5, 3)
    if len(points) != len(tips):
        problem = f"{len(tips)} rows, but annotation.txt has {len(points)}"
        raise DatasetError(Fault("length", str(folder / "annotation.txt_3D.txt"), problem))
    tips[(points == -1).any(2) | (tips == 0).all(2)] = np.nan
    return tips / 1000


def open_egodexter(
    path: Path,
    read: ReadOptions,
    *,
    sequence: Literal["all", "Desk", "Fruits", "Kitchen", "Rotunda"] = "all",
) -> AnnotatedDataset:
    """EgoDexter at ``path``, the folder with ``data``: all sequences or one."""
    faults = Faults(read.on_error)
    annotations = EgoDexter(path, SEQUENCES if sequence == "all" else (sequence,), faults)
    return AnnotatedDataset(annotations, read, f"egodexter:{path}?sequence={sequence}", faults)
