"""HO-3D v2 and v3: hands that hold objects, one pickle of annotations a frame.

``{train,evaluation}/SEQ/{rgb/ID.png (v2) or .jpg (v3), depth/ID.png, meta/ID.pkl}``; ``train.txt``
and ``evaluation.txt`` list the frames as ``SEQ/ID``. 640x480, right hands, metres, OpenGL axes
(x right, y up, z backward), MANO's joint order. The evaluation frames give the wrist alone, with a
bounding box. Hampali et al., HOnnotate, CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.crop import enlarged
from pyhandpose.data.depth import two_byte_levels
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.layout import names_in, require_file
from pyhandpose.data.photo import Box
from pyhandpose.data.restricted_pickle import load_pickle
from pyhandpose.hand.skeleton import NUM_JOINTS

SIZE = (640, 480)
NUM_FRAMES = {
    (".png", "train"): 66034,
    (".png", "evaluation"): 11524,
    (".jpg", "train"): 83325,
    (".jpg", "evaluation"): 20137,
}
"""By the images' suffix (v2, v3) and the split."""

OPENGL_TO_OPENCV = np.array([1.0, -1.0, -1.0])
METRES_PER_LEVEL = 0.00012498664727900177


class Ho3d:
    """The annotations of one split."""

    kind = "ho3d"

    def __init__(self, root: Path, split: str, margin: float, faults: Faults) -> None:
        self._folder, self._margin = root / split, margin
        frame_list = require_file("HO-3D", root, f"{split}.txt")
        self.files: Sequence[Path] = [frame_list]
        self._frames = _frames(frame_list, faults)
        self._suffix = self._image_suffix()
        self.published = NUM_FRAMES[self._suffix, split]

    def __len__(self) -> int:
        return len(self._frames)

    def group(self, index: int) -> str:
        """The sequence: its frames belong together."""
        return self._frames[index][0]

    def image_file(self, index: int) -> str:
        """Of v2 or v3, whichever is there."""
        sequence, frame = self._frames[index]
        return str(self._folder / sequence / "rgb" / f"{frame}{self._suffix}")

    def entry(self, index: int) -> Entry:
        """A frame's hand; of the evaluation split, its wrist and its box."""
        sequence, frame = self._frames[index]
        name = f"{sequence}/{frame}"
        meta_file = self._folder / sequence / "meta" / f"{frame}.pkl"
        hand = parse_meta(_meta(meta_file), str(meta_file), name)
        depth_file = self._folder / sequence / "depth" / f"{frame}.png"
        return Entry(
            name,
            joints_cam=hand.joints,
            intrinsics=hand.intrinsics,
            order="mano",
            labelled=hand.labelled,
            box=None if hand.box is None else enlarged(hand.box, self._margin),
            image_size=SIZE,
            depth=lambda: read_depth(depth_file),
        )

    def _image_suffix(self) -> str:
        """``.png`` (v2) or ``.jpg`` (v3), by the first sequence that is there."""
        for sequence in dict.fromkeys(sequence for sequence, _ in self._frames):
            for name in names_in(self._folder / sequence / "rgb"):
                if name.endswith((".png", ".jpg")):
                    return name[-4:]
        return ".jpg"


class Hand(NamedTuple):
    """What a frame's annotations say about the hand."""

    joints: NDArray[np.float64]
    """(21,3) m, OpenCV axes, MANO's order."""
    labelled: NDArray[np.bool_]
    """(21,): in evaluation frames the wrist alone."""
    intrinsics: NDArray[np.float64]
    """(3,3) px."""
    box: Box | None
    """px."""


def parse_meta(meta: dict[str, Any], file: str, name: str) -> Hand:
    """The hand of a frame's pickle.

    Raises:
        DatasetError: a frame without annotation, or a shape that is none of the format's.
    """

    def fault(kind: str, problem: str) -> DatasetError:
        return DatasetError(Fault(kind, file, problem, name))

    if meta.get("handJoints3D") is None or meta.get("camMat") is None:
        raise fault("frame without annotation", "handJoints3D or camMat is None")
    corners = meta.get("handBoundingBox")
    try:
        given = np.asarray(meta["handJoints3D"], dtype=np.float64)
        camera = np.asarray(meta["camMat"], dtype=np.float64)
        box = None if corners is None else [float(x) for x in np.asarray(corners).reshape(-1)]
    except (TypeError, ValueError) as error:
        raise fault("annotation", f"expected arrays of numbers ({error})") from error
    joints = np.full((NUM_JOINTS, 3), np.nan)
    labelled = np.ones(NUM_JOINTS, bool)
    if given.shape == (NUM_JOINTS, 3):
        joints[:] = given
    elif given.size == 3:
        joints[0] = given.reshape(3)
        labelled[1:] = False
    else:
        raise fault("joints", f"handJoints3D: expected (21,3) or (3,), got {given.shape}")
    if box is not None and len(box) != 4:
        raise fault("box", f"handBoundingBox: expected x0,y0,x1,y1, got {box}")
    corner_pair = None if box is None else (box[0], box[1], box[2], box[3])
    return Hand(joints * OPENGL_TO_OPENCV, labelled, camera, corner_pair)


def read_depth(path: Path) -> NDArray[np.float32]:
    """(H,W) m: (R + 256 G) levels of ``METRES_PER_LEVEL``."""
    return (two_byte_levels(path, high=1, low=0) * METRES_PER_LEVEL).astype(np.float32)


def _frames(path: Path, faults: Faults) -> list[tuple[str, str]]:
    frames = []
    for number, line in enumerate(path.read_text().split(), start=1):
        sequence, slash, frame = line.partition("/")
        if not (sequence and slash and frame) or "/" in frame or ".." in line:
            faults.report("frame list", path, f"expected SEQ/ID, got {line!r}", f"line {number}")
        else:
            frames.append((sequence, frame))
    return frames


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta = load_pickle(path)
    except FileNotFoundError:
        raise DatasetError(Fault("missing file", str(path), "no such file")) from None
    if not isinstance(meta, dict):
        raise DatasetError(
            Fault("annotation", str(path), f"expected a dict, got {type(meta).__name__}")
        )
    return meta


def open_ho3d(
    path: Path, read: ReadOptions, *, split: Literal["train", "evaluation"] = "train"
) -> AnnotatedDataset:
    """HO-3D below ``path``, version 2 or 3 by its files."""
    faults = Faults(read.on_error)
    annotations = Ho3d(path, split, read.margin, faults)
    return AnnotatedDataset(annotations, read, f"ho3d:{path}?split={split}", faults)
