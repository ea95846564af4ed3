"""EgoDexter: a left hand in clutter, seen from the wearer's head, four sequences, fingertips.

``data/{Desk,Fruits,Kitchen,Rotunda}/{color,depth,color_on_depth}``; ``annotation.txt`` has five
points ``x,y;`` in px of the depth image a row, -1 where a fingertip is not labelled, and
``annotation.txt_3D.txt`` has ``x,y,z;`` in mm in the depth camera's axes, 0 where it is not. All
images 640x480. Mueller et al., ICCV 2017.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.depth import Registration, intrinsics
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.fingertips import TipAnnotations
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


def read_tips(path: Path, faults: Faults) -> NDArray[np.float64]:
    """(N,5,3) m in the depth camera's axes; NaN where either file says "not labelled".

    Args:
        path: ``annotation.txt_3D.txt``, which lies beside ``annotation.txt``.
        faults: where damaged rows are reported.

    Raises:
        DatasetError: a file is missing, or they have different numbers of rows.
    """
    points = read_point_rows(path.with_name("annotation.txt"), 5, 2, faults)
    tips = read_point_rows(path, 5, 3, faults)
    if len(points) != len(tips):
        problem = f"{len(tips)} rows, but annotation.txt has {len(points)}"
        raise DatasetError(Fault("length", str(path), problem))
    tips[~np.isfinite(points).all(2) | (points == -1).any(2) | (tips == 0).all(2)] = np.nan
    return tips / 1000


def open_egodexter(
    path: Path,
    read: ReadOptions,
    *,
    sequence: Literal["all", "Desk", "Fruits", "Kitchen", "Rotunda"] = "all",
) -> AnnotatedDataset:
    """EgoDexter at ``path``, the folder with ``data``: all sequences or one."""
    faults = Faults(read.on_error)
    wanted = SEQUENCES if sequence == "all" else (sequence,)
    folders = require_folders("EgoDexter", path / "data", wanted)
    files = {folder: folder / "annotation.txt_3D.txt" for folder in folders}
    annotations = TipAnnotations("egodexter", files, read_tips, CAMERA, faults)
    return AnnotatedDataset(annotations, read, f"egodexter:{path}?sequence={sequence}", faults)
