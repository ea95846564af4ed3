"""InterHand2.6M v1.0: one or two hands before many calibrated cameras; each hand is a sample.

``annotations/SPLIT/InterHand2.6M_SPLIT_{data,camera,joint_3d}.json`` and
``images/SPLIT/FILE_NAME``. Right hand 0 to 20, left hand 21 to 41, tips first, the wrist last;
world coordinates in mm. X_cam = R (X_world - campos), pixel = f x / z + c. Moon et al., ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.depth import intrinsics
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.interhand_tables import PROBLEMS, Tables, load_tables
from pyhandpose.data.layout import require_file
from pyhandpose.hand.skeleton import NUM_JOINTS

RIGHT, LEFT = 0, 1

Hands = Literal["all", "single", "interacting"]


class InterHand:
    """The hands of one split."""

    kind = "interhand"

    def __init__(self, root: Path, split: str, hands: Hands) -> None:
        self.files: Sequence[Path] = [
            require_file(
                "InterHand2.6M", root, f"annotations/{split}/InterHand2.6M_{split}_{s}.json"
            )
            for s in ("data", "camera", "joint_3d")
        ]
        self._hands = hands
        self._images = root / "images" / split
        self._tables = load_tables(*self.files)
        self._entries = hand_entries(self._tables, hands)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tables"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tables = load_tables(*self.files)  # mapped again, not copied to every worker

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def signature(self) -> str:
        """What the annotation files do not tell."""
        return self._hands

    def group(self, index: int) -> str:
        """The capture: all cameras and frames of one session with one subject."""
        return self._tables.file_name[self._entries[index][0]].decode().split("/")[0]

    def image_file(self, index: int) -> str:
        """The image that shows the hand."""
        row, _ = self._entries[index]
        return str(self._images / self._tables.file_name[row].decode())

    def entry(self, index: int) -> Entry:
        """One hand in the axes of the image's camera."""
        t, (row, side) = self._tables, self._entries[index]
        if problem := PROBLEMS[t.problem[row]]:
            name = f"annotation {t.annotation[row]}"
            raise DatasetError(Fault("annotation", str(self.files[0]), problem, name))
        half = slice(side * NUM_JOINTS, (side + 1) * NUM_JOINTS)
        frame, camera = t.frame[row], t.camera[row]
        width, height = t.size[row].tolist()
        return Entry(
            f"{t.file_name[row].decode()} {'left' if side == LEFT else 'right'}",
            joints_cam=world_to_camera(
                t.world[frame, half].astype(np.float64), t.rotation[camera], t.position[camera]
            ),
            intrinsics=intrinsics(*t.lens[camera].tolist()),
            order="interhand",
            labelled=t.valid[row, half],
            is_left=side == LEFT,
            image_size=(width, height),
        )


def world_to_camera(
    world_mm: NDArray[np.float64], rotation: NDArray[np.float64], position_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(...,3) m in camera axes: R (X_world - campos) / 1000."""
    camera: NDArray[np.float64] = (world_mm - position_mm) @ rotation.T / 1000
    return camera


def hand_entries(tables: Tables, hands: Hands) -> NDArray[np.int64]:
    """(E,2) annotation and side of every hand with a labelled joint, in the annotations' order."""
    per_hand = tables.valid.reshape(-1, 2, NUM_JOINTS).any(-1)  # (A,2)
    if hands != "all":
        per_hand &= (tables.interacting == (hands == "interacting"))[:, None]
    return np.argwhere(per_hand)


def open_interhand(
    path: Path,
    read: ReadOptions,
    *,
    split: Literal["train", "val", "test"] = "train",
    hands: Hands = "all",
) -> AnnotatedDataset:
    """InterHand2.6M at ``path``, the folder with ``annotations`` and ``images``.

    Args:
        path: the dataset's folder.
        read: how samples are read.
        split: which images.
        hands: images of one hand, of two, or all.
    """
    name = f"interhand:{path}?split={split}&hands={hands}"
    return AnnotatedDataset(InterHand(path, split, hands), read, name, Faults(read.on_error))
