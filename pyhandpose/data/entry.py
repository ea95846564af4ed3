"""What a dataset's files say about one hand, and the checks that it has to pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.crop import Labels
from pyhandpose.data.faults import DatasetError, Fault
from pyhandpose.data.photo import Box, Photo, UnreadableImageError, read_photo
from pyhandpose.hand.skeleton import NUM_JOINTS, to_canonical

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Entry:
    """What a dataset's files say about one hand, in px of its image file, m and OpenCV axes."""

    name: str
    """The entry in the annotations, in the dataset's own terms: an id, or an index."""
    joints_img: Array | None = None
    """(21,2) px; NaN where there is no label."""
    joints_cam: Array | None = None
    """(21,3) m, camera axes; NaN where there is no label."""
    intrinsics: Array | None = None
    """(3,3) px. With it, image points that are missing are projected from ``joints_cam``."""
    order: str = "canonical"
    """Order of the joints, a key of ``hand.skeleton.JOINT_ORDERS``."""
    labelled: NDArray[np.bool_] | None = None
    """(21,) in the same order: which joints the dataset says it labels. These must be finite, the
    others are ignored. None: all."""
    visible: NDArray[np.bool_] | None = None
    """(21,) in the same order: which joints nothing hides, where the dataset says so."""
    is_left: bool = False
    """A left hand: it is mirrored."""
    box: Box | None = None
    """The square to crop, ``photo.Box``; None: the rule of ``crop``."""
    crop: str = "joints"
    """Without a box: "joints" (a square about the labelled joints) or "whole" (the largest centred
    square of the image)."""
    image_size: tuple[int, int] | None = None
    """(width, height) that the annotations are about; an image of another size is a fault."""
    edit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
    """Changes the picture (H,W,3) before it is cropped, such as a background replacement."""
    mask: Callable[[], NDArray[np.bool_]] | None = None
    """Reads the hand's mask (H,W) in the image's pixels; called with ``geometry`` only."""
    depth: Callable[[], NDArray[np.float32]] | None = None
    """Reads the depth map (H,W), m, in the image's pixels; called with ``geometry`` only."""


def check_labels(entry: Entry, file: str) -> Labels:
    """An entry's labels in canonical order, NaN where there is none, image points projected.

    Raises:
        DatasetError: a labelled joint is not finite, a shape is wrong, or K is no camera matrix.
    """

    def fault(kind: str, problem: str) -> DatasetError:
        return DatasetError(Fault(kind, file, problem, entry.name))

    camera = entry.intrinsics
    if camera is not None and (problem := odd_intrinsics(camera)):
        raise fault("intrinsics", problem)
    labelled = np.ones(NUM_JOINTS, bool) if entry.labelled is None else entry.labelled
    moved: list[Array | None] = []
    for what, joints, columns in (
        ("joints_img", entry.joints_img, 2),
        ("joints_cam", entry.joints_cam, 3),
    ):
        if joints is None:
            moved.append(None)
            continue
        if joints.shape != (NUM_JOINTS, columns):
            raise fault("joints", f"{what}: expected (21,{columns}), got {joints.shape}")
        bad = labelled & ~np.isfinite(joints).all(1)
        if bad.any():
            raise fault(
                "joints",
                f"{what} is not finite at joint {', '.join(map(str, np.flatnonzero(bad)))}",
            )
        known = np.where(labelled[:, None], joints.astype(np.float64), np.nan)
        moved.append(to_canonical(known, entry.order))
    joints_img, joints_cam = moved
    if joints_cam is not None and camera is not None:
        in_image = joints_cam @ camera.T
        with np.errstate(invalid="ignore", divide="ignore"):
            in_image = in_image[:, :2] / in_image[:, 2:]
        in_image[~np.isfinite(in_image).all(1)] = np.nan  # in the camera's own plane: no point
        if joints_img is None:
            joints_img = in_image
        else:
            joints_img = np.where(np.isnan(joints_img), in_image, joints_img)
    return Labels(joints_img, joints_cam, camera)


def odd_intrinsics(camera: Array) -> str:
    """What is wrong with K, in words; empty for a camera matrix."""
    if camera.shape != (3, 3):
        return f"K: expected 3x3, got {camera.shape}"
    if not np.isfinite(camera).all():
        return "K is not finite"
    if camera[0, 0] <= 0 or camera[1, 1] <= 0:
        return f"K: focal lengths must be positive, got {camera[0, 0]:g} and {camera[1, 1]:g}"
    if camera[1, 0] != 0 or camera[2].tolist() != [0, 0, 1]:
        return f"K: expected an upper triangle with 1 at the end, got {camera.tolist()}"
    return ""


def read_image(entry: Entry, file: str) -> Photo:
    """An entry's image, edited where the entry says so.

    Raises:
        DatasetError: it is missing, damaged, or of another size than the annotations say.
    """
    try:
        photo = read_photo(file)
    except UnreadableImageError as error:
        raise _image_fault(file, entry.name, error) from error
    if entry.image_size is not None and photo.size != entry.image_size:
        expected, got = ("{} x {} px".format(*size) for size in (entry.image_size, photo.size))
        raise DatasetError(Fault("image size", file, f"expected {expected}, got {got}", entry.name))
    return photo if entry.edit is None else read_photo(entry.edit(np.asarray(photo.image)))


def _image_fault(file: str, entry: str, error: UnreadableImageError) -> DatasetError:
    kind = "unreadable image" if os.path.exists(file) else "missing image"
    return DatasetError(Fault(kind, file, str(error).removeprefix(f"{file}: "), entry))


def read_map(
    load: Callable[[], NDArray[Any]], size: tuple[int, int], file: str, entry: str
) -> NDArray[Any]:
    """A mask or a depth map (H,W) as an entry loads it.

    Raises:
        DatasetError: its file is missing or damaged, or it is not of the image's (width, height).
    """
    try:
        values = load()
    except UnreadableImageError as error:
        raise DatasetError(Fault("unreadable mask or depth", file, str(error), entry)) from error
    if values.shape != size[::-1]:
        raise DatasetError(
            Fault(
                "mask or depth size",
                file,
                f"expected {size[::-1]} as the image has, got {values.shape}",
                entry,
            )
        )
    return values
