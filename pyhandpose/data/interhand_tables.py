"""InterHand2.6M's three annotation files as arrays, parsed once (``data/array_cache``).

``data.json`` has over a million images and annotations and is read element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotation_json import load_json, stream_json
from pyhandpose.data.array_cache import cached_arrays
from pyhandpose.data.faults import DatasetError, Fault
from pyhandpose.hand.skeleton import NUM_JOINTS

BOTH = 2 * NUM_JOINTS
VERSION = 1

PROBLEMS = (
    "",
    "its image is not in the file, or has no file_name, width, height, capture, camera, frame_idx",
    "the camera of its image is not in the camera file",
    "the frame of its image is not in the joint_3d file",
    "its joint_valid is not of 42 joints",
)
"""What can be wrong with an annotation."""

Key = tuple[str, str]
"""A capture, and one of its cameras or frames."""


@dataclass(frozen=True)
class Tables:
    """A annotations (an image each), F frames, C cameras."""

    annotation: NDArray[np.int64]
    """(A) its id."""
    file_name: NDArray[np.bytes_]
    """(A) of the image, relative to the split's images."""
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
    problem: NDArray[np.int8]
    """(A) index into ``PROBLEMS``."""
    world: NDArray[np.float32]
    """(F,42,3) mm."""
    position: NDArray[np.float64]
    """(C,3) campos, mm."""
    rotation: NDArray[np.float64]
    """(C,3,3) R."""
    lens: NDArray[np.float64]
    """(C,4) fx, fy, cx, cy, px."""


def load_tables(data: Path, camera: Path, joint_3d: Path) -> Tables:
    """The tables of three files, from the cache or parsed.

    Raises:
        DatasetError: a file is missing, cut off, or has not the format's structure.
    """
    sources = [data, camera, joint_3d]
    arrays = cached_arrays("interhand", sources, VERSION, lambda: _parse(*sources))
    return Tables(**arrays)


class _Image(NamedTuple):
    """An image of the data file."""

    file_name: bytes
    width: int
    height: int
    camera: int
    frame: int
    problem: int


_NO_IMAGE = _Image(b"", 0, 0, 0, 0, 1)


def _parse(data: Path, camera: Path, joint_3d: Path) -> dict[str, NDArray[Any]]:
    cameras, rig = _structured(camera, _cameras)
    frames, joints = _structured(joint_3d, _frames)
    in_frame = joints.pop("valid")  # (F,42)
    images: dict[Any, _Image] = {}
    identifiers: list[int] = []
    image_of: list[Any] = []
    labelled: list[bytes] = []
    interacting: list[bool] = []
    for key, element in stream_json(data, progress=f"reading {data.name}"):
        if not isinstance(element, dict):
            kind = type(element).__name__
            raise DatasetError(
                Fault("annotation", str(data), f"{key}: expected objects, got {kind}")
            )
        if key == "images":
            images[element.get("id")] = _image(element, cameras, frames)
        elif key == "annotations":
            identifiers.append(element.get("id", len(identifiers)))
            image_of.append(element.get("image_id"))
            labelled.append(_validity(element.get("joint_valid")))
            interacting.append(element.get("hand_type") == "interacting")
    if not identifiers:
        raise DatasetError(Fault("annotation", str(data), "no annotations in the file"))
    rows = [images.get(identifier, _NO_IMAGE) for identifier in image_of]
    own = np.frombuffer(b"".join(labelled), np.uint8).reshape(-1, BOTH)
    problem = np.array([row.problem for row in rows], np.int8)
    problem[(own == _MALFORMED).any(1) & (problem == 0)] = 4
    frame = np.array([row.frame for row in rows], np.int32)
    valid = own == 1
    if len(in_frame):
        valid &= in_frame[frame]
    valid[problem > 0] = np.arange(BOTH) == 0  # one sample, which says what is wrong when read
    return {
        "annotation": np.array(identifiers, np.int64),
        "file_name": np.array([row.file_name for row in rows], np.bytes_),
        "size": np.array([(row.width, row.height) for row in rows], np.int32),
        "frame": frame,
        "camera": np.array([row.camera for row in rows], np.int32),
        "valid": valid,
        "interacting": np.array(interacting, bool),
        "problem": problem,
        **rig,
        **joints,
    }


def _image(element: dict[str, Any], cameras: dict[Key, int], frames: dict[Key, int]) -> _Image:
    try:
        name, size = element["file_name"].encode(), (int(element["width"]), int(element["height"]))
        capture, lens = str(element["capture"]), str(element["camera"])
        frame_key = (capture, str(element["frame_idx"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return _NO_IMAGE
    camera, frame = cameras.get((capture, lens)), frames.get(frame_key)
    problem = 2 if camera is None else 3 if frame is None else 0
    return _Image(name, *size, camera or 0, frame or 0, problem)


def _validity(record: Any) -> bytes:
    """42 bytes of 0 or 1; of a list that is none of 42 joints, all ``_MALFORMED``."""
    try:
        flags = np.asarray(record, dtype=bool).reshape(BOTH)
    except (TypeError, ValueError):
        return bytes([_MALFORMED]) * BOTH
    return flags.tobytes()


_MALFORMED = 2

Parsed = tuple[dict[Key, int], dict[str, NDArray[Any]]]
"""Rows by key, and the arrays."""


def _structured(path: Path, parse: Callable[[dict[str, Any]], Parsed]) -> Parsed:
    """What ``parse`` makes of a file; a ``DatasetError`` if it stumbles over its structure."""
    record = load_json(path)
    try:
        return parse(record)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        problem = f"not the format's structure ({type(error).__name__}: {error})"
        raise DatasetError(Fault("annotation", str(path), problem)) from error


def _cameras(record: dict[str, Any]) -> Parsed:
    keys = [(capture, name) for capture, c in record.items() for name in c["campos"]]
    position = np.array([record[c]["campos"][name] for c, name in keys], float)
    rotation = np.array([record[c]["camrot"][name] for c, name in keys], float)
    lens = np.array(
        [[*record[c]["focal"][name], *record[c]["princpt"][name]] for c, name in keys], float
    )
    return {key: row for row, key in enumerate(keys)}, {
        "position": position.reshape(len(keys), 3),
        "rotation": rotation.reshape(len(keys), 3, 3),
        "lens": lens.reshape(len(keys), 4),
    }


def _frames(record: dict[str, Any]) -> Parsed:
    keys = [(capture, frame) for capture, frames in record.items() for frame in frames]
    world = np.empty((len(keys), BOTH, 3), np.float32)
    valid = np.empty((len(keys), BOTH), bool)
    for row, (capture, frame) in enumerate(keys):
        joints = record[capture][frame]
        world[row] = joints["world_coord"]
        valid[row] = np.asarray(joints["joint_valid"], dtype=bool).reshape(BOTH)
    return {key: row for row, key in enumerate(keys)}, {"world": world, "valid": valid}
