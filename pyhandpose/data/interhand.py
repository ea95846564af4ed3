"""InterHand2.6M v1.0: one or two hands before many calibrated cameras; each hand is a sample.

``annotations/SPLIT/InterHand2.6M_SPLIT_{data,camera,joint_3d}.json`` and
``images/SPLIT/FILE_NAME``. Right hand 0 to 20, left hand 21 to 41, tips first, the wrist last;
world coordinates in mm. X_cam = R (X_world - campos), pixel = f x / z + c. Moon et al., ECCV 2020.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, Entry, ReadOptions
from pyhandpose.data.depth import intrinsics
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.layout import require_file
from pyhandpose.hand.skeleton import NUM_JOINTS

RIGHT, LEFT = 0, 1
BOTH = 2 * NUM_JOINTS

Hands = Literal["all", "single", "interacting"]


@dataclass(frozen=True)
class Tables:
    """The three files as arrays: A annotations (images), F frames, C cameras."""

    file_name: NDArray[np.bytes_]
    """(A) relative to the split's images."""
    size: NDArray[np.int32]
    """(A,2) width, height."""
    frame: NDArray[np.int32]
    """(A) row of ``world``."""
    camera: NDArray[np.int32]
    """(A) row of the cameras."""
    valid: NDArray[np.bool_]
    """(A,42) labelled in the image and in the frame."""
    interacting: NDArray[np.bool_]
    """(A) both hands are in the image."""
    world: NDArray[np.float32]
    """(F,42,3) mm."""
    position: NDArray[np.float64]
    """(C,3) campos, mm."""
    rotation: NDArray[np.float64]
    """(C,3,3) R."""
    lens: NDArray[np.float64]
    """(C,4) fx, fy, cx, cy, px."""


class InterHand:
    """The hands of one split."""

    kind = "interhand"

    def __init__(self, root: Path, split: str, hands: Hands, faults: Faults) -> None:
        self.files: Sequence[Path] = [
            require_file(
                "InterHand2.6M", root, f"annotations/{split}/InterHand2.6M_{split}_{s}.json"
            )
            for s in ("data", "camera", "joint_3d")
        ]
        self._hands = hands
        self._images = root / "images" / split
        data, camera, joints = (_load(path) for path in self.files)
        self._tables = parse_annotations(data, camera, joints, self.files, faults)
        self._entries = hand_entries(self._tables, hands)

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


def parse_annotations(
    data: dict[str, Any],
    camera: dict[str, Any],
    joint_3d: dict[str, Any],
    files: list[Path],
    faults: Faults,
) -> Tables:
    """The three files' contents as arrays.

    Annotations that refer to an image, a camera or a frame that is not there are faults.

    Raises:
        DatasetError: a file has not the format's structure.
    """
    try:
        cameras, position, rotation, lens = _cameras(camera)
        frames, world, world_valid = _frames(joint_3d)
        rows = list(_rows(data, cameras, frames, files, faults))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        problem = f"not the format's structure ({type(error).__name__}: {error})"
        names = ", ".join(path.name for path in files)
        raise DatasetError(Fault("annotation", names, problem)) from error
    frame = np.array([row.frame for row in rows], np.int32)
    own = np.array([row.valid for row in rows], bool).reshape(-1, BOTH)
    return Tables(
        file_name=np.array([row.file_name.encode() for row in rows], np.bytes_),
        size=np.array([row.size for row in rows], np.int32).reshape(-1, 2),
        frame=frame,
        camera=np.array([row.camera for row in rows], np.int32),
        valid=own & world_valid[frame] if len(rows) else own,
        interacting=np.array([row.interacting for row in rows], bool),
        world=world,
        position=position,
        rotation=rotation,
        lens=lens,
    )


@dataclass(frozen=True)
class _Row:
    file_name: str
    size: tuple[int, int]
    frame: int
    camera: int
    valid: NDArray[np.bool_]
    interacting: bool


def _rows(
    data: dict[str, Any],
    cameras: dict[tuple[str, str], int],
    frames: dict[tuple[str, str], int],
    files: list[Path],
    faults: Faults,
) -> Iterable[_Row]:
    images = {image["id"]: image for image in data["images"]}
    for annotation in data["annotations"]:
        image = images.get(annotation["image_id"])
        if image is None:
            problem = f"there is no image {annotation['image_id']}"
            faults.report("annotation", files[0], problem, annotation["id"])
            continue
        capture, lens = str(image["capture"]), str(image["camera"])
        camera = cameras.get((capture, lens))
        frame = frames.get((capture, str(image["frame_idx"])))
        if camera is None:
            problem = f"there is no camera {lens} of capture {capture}"
            faults.report("annotation", files[1], problem, annotation["id"])
        elif frame is None:
            problem = f"there is no frame {image['frame_idx']} of capture {capture}"
            faults.report("annotation", files[2], problem, annotation["id"])
        else:
            yield _Row(
                image["file_name"],
                (int(image["width"]), int(image["height"])),
                frame,
                camera,
                np.asarray(annotation["joint_valid"], dtype=bool).reshape(BOTH),
                annotation["hand_type"] == "interacting",
            )


def _cameras(
    record: dict[str, Any],
) -> tuple[
    dict[tuple[str, str], int], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
]:
    """``((capture, camera) -> row, position (C,3), rotation (C,3,3), lens (C,4))``."""
    keys = [(capture, name) for capture, c in record.items() for name in c["campos"]]
    position = np.array([record[c]["campos"][name] for c, name in keys], float).reshape(-1, 3)
    rotation = np.array([record[c]["camrot"][name] for c, name in keys], float)
    lens = np.array(
        [[*record[c]["focal"][name], *record[c]["princpt"][name]] for c, name in keys], float
    )
    rows = {key: row for row, key in enumerate(keys)}
    return rows, position, rotation.reshape(-1, 3, 3), lens.reshape(-1, 4)


def _frames(
    record: dict[str, Any],
) -> tuple[dict[tuple[str, str], int], NDArray[np.float32], NDArray[np.bool_]]:
    """``((capture, frame) -> row, world (F,42,3) mm, valid (F,42))``."""
    keys = [(capture, frame) for capture, frames in record.items() for frame in frames]
    world = np.empty((len(keys), BOTH, 3), np.float32)
    valid = np.empty((len(keys), BOTH), bool)
    for row, (capture, frame) in enumerate(keys):
        joints = record[capture][frame]
        world[row] = joints["world_coord"]
        valid[row] = np.asarray(joints["joint_valid"], dtype=bool).reshape(BOTH)
    return {key: row for row, key in enumerate(keys)}, world, valid


def _load(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:
        raise DatasetError(Fault("annotation", str(path), f"not JSON ({error})")) from error
    if not isinstance(record, dict):
        raise DatasetError(Fault("annotation", str(path), "expected a JSON object"))
    return record


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
    faults = Faults(read.on_error)
    name = f"interhand:{path}?split={split}&hands={hands}"
    return AnnotatedDataset(InterHand(path, split, hands, faults), read, name, faults)
