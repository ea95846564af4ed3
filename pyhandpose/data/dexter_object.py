"""Dexter+Object: a left hand that holds a cuboid, six sequences, fingertips in 3D.

``data/{Grasp1,Grasp2,Occlusion,Rigid,Pinch,Rotate}/{color,depth,annotations}``;
``annotations/SEQ3D.txt`` has five points ``x,y,z;`` in mm a row, thumb to little, in the depth
camera's axes with x and y NEGATED, 32001 where a fingertip is not labelled. Colour 640x480, depth
320x240 in mm. Sridhar et al., ECCV 2016.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.depth import Registration, intrinsics
from pyhandpose.data.faults import Faults
from pyhandpose.data.fingertips import INVALID_LEVEL, TipAnnotations
from pyhandpose.data.layout import require_folders
from pyhandpose.data.number_text import read_point_rows

SEQUENCES = ("Grasp1", "Grasp2", "Occlusion", "Rigid", "Pinch", "Rotate")

CAMERA = Registration(
    depth_intrinsics=intrinsics(224.502, 230.494, 160, 120),
    colour_intrinsics=intrinsics(587.45209, 600.67456, 325, 249),
    rotation=np.array(
        [[0.9999, 0.0034, 0.0161], [-0.0033, 1.0000, -0.0079], [-0.0162, 0.0079, 0.9998]]
    ),
    translation=np.array([19.0473, -1.8514, -4.7501]) / 1000,
)
"""As the dataset's calibration gives it, rounded to four decimals."""


def read_tips(path: Path, faults: Faults) -> NDArray[np.float64]:
    """(N,5,3) m in the depth camera's OpenCV axes; NaN where a fingertip is not labelled."""
    rows = read_point_rows(path, 5, 3, faults)
    rows[(np.abs(rows) == INVALID_LEVEL).any(2)] = np.nan
    return rows * [-1.0, -1.0, 1.0] / 1000


def open_dexter_object(
    path: Path,
    read: ReadOptions,
    *,
    sequence: Literal["all", "Grasp1", "Grasp2", "Occlusion", "Rigid", "Pinch", "Rotate"] = "all",
) -> AnnotatedDataset:
    """Dexter+Object at ``path``, the folder with ``data``: all sequences or one."""
    faults = Faults(read.on_error)
    wanted = SEQUENCES if sequence == "all" else (sequence,)
    folders = require_folders("Dexter+Object", path / "data", wanted)
    files = {folder: folder / "annotations" / f"{folder.name}3D.txt" for folder in folders}
    annotations = TipAnnotations("dexter", files, read_tips, CAMERA, faults)
    return AnnotatedDataset(annotations, read, f"dexter:{path}?sequence={sequence}", faults)
