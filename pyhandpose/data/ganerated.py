"""GANerated Hands: rendered left hands that a network made look real, ready-made crops.

``data/{noObject,withObject}/DDDD/NNNN_`` + ``color_composed.png`` (256x256), ``joint2D.txt`` (42
numbers, px of it), ``joint_pos_global.txt`` (63, mm, camera axes), ``joint_pos.txt`` (63, relative
to the middle MCP, which is at distance 1 from the wrist) and ``crop_params.txt`` (u, v, s). With
the renderer's camera K, u_crop = s (u - (crop_params u, v)). Mueller et al., CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.depth import intrinsics
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.layout import names_in, require_folders, stems_in
from pyhandpose.data.number_text import read_numbers
from pyhandpose.hand.skeleton import NUM_JOINTS

SIZE = (256, 256)
RENDERER_INTRINSICS = intrinsics(617.173, 617.173, 315.453, 242.259)
NUM_FRAMES = {"noObject": 143449, "withObject": 188050}
_IMAGE = "_color_composed.png"

_KINDS = {
    "all": ("noObject", "withObject"),
    "with": ("withObject",),
    "without": ("noObject",),
}


class Ganerated:
    """The frames below a folder."""

    kind = "ganerated"

    def __init__(self, root: Path, kinds: tuple[str, ...]) -> None:
        self.files: Sequence[Path] = []
        self.published = sum(NUM_FRAMES[kind] for kind in kinds)
        self._root = root / "data" if (root / "data").is_dir() else root
        self._frames = [
            (folder, stem)
            for kind in require_folders("GANerated", self._root, kinds)
            for part in names_in(kind)
            for folder in (kind / part,)
            for stem in stems_in(folder, (_IMAGE, "_joint2D.txt"))
        ]

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def signature(self) -> str:
        """The frames that were found."""
        return "\n".join(f"{f.relative_to(self._root)}/{name}" for f, name in self._frames)

    def group(self, index: int) -> str:
        """The folder: its frames follow one another."""
        return str(self._frames[index][0].relative_to(self._root))

    def image_file(self, index: int) -> str:
        """The crop."""
        folder, name = self._frames[index]
        return str(folder / f"{name}{_IMAGE}")

    def entry(self, index: int) -> Entry:
        """A frame's hand, in the camera of its crop."""
        folder, name = self._frames[index]
        crop = read_numbers(folder / f"{name}_crop_params.txt", (3,))
        return Entry(
            f"{folder.relative_to(self._root)}/{name}",
            joints_img=read_numbers(folder / f"{name}_joint2D.txt", (NUM_JOINTS, 2)),
            joints_cam=read_numbers(folder / f"{name}_joint_pos_global.txt", (NUM_JOINTS, 3))
            / 1000,
            intrinsics=crop_intrinsics(crop, str(folder / f"{name}_crop_params.txt")),
            is_left=True,
            crop="whole",
            image_size=SIZE,
        )


def crop_intrinsics(crop: NDArray[np.float64], file: str) -> NDArray[np.float64]:
    """(3,3) K of a crop (u, v, s): K' = diag(s, s, 1) (K with its centre moved by -(u, v)).

    Raises:
        DatasetError: a scale that is not positive.
    """
    if not (np.isfinite(crop).all() and crop[2] > 0):
        raise DatasetError(
            Fault("annotation", file, f"expected u, v, s with s > 0, got {crop.tolist()}")
        )
    camera = RENDERER_INTRINSICS.copy()
    camera[:2, 2] -= crop[:2]
    camera[:2] *= crop[2]
    return camera


def open_ganerated(
    path: Path, read: ReadOptions, *, objects: Literal["all", "with", "without"] = "all"
) -> AnnotatedDataset:
    """GANeratedHands_Release at ``path``: frames with an object in the hand, without, or all."""
    name = f"ganerated:{path}?objects={objects}"
    return AnnotatedDataset(Ganerated(path, _KINDS[objects]), read, name, Faults(read.on_error))
