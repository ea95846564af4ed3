"""The Rendered Hand Pose dataset: two hands of rendered people, the better seen one is a sample.

``{training,evaluation}/{color,depth,mask}/%05d.png`` and ``anno_{split}.pickle``: id -> {K 3x3,
uv_vis 42x3 (px, px, 1 if seen), xyz 42x3 m}; 320x320. Left hand 0 to 20, right hand 21 to 41, each
finger from the tip to the palm. Zimmermann and Brox, ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.depth import read_levels, two_byte_levels
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.layout import require_file
from pyhandpose.data.photo import UnreadableImageError
from pyhandpose.data.restricted_pickle import load_pickle
from pyhandpose.hand.skeleton import NUM_JOINTS

SIZE = (320, 320)
NUM_IMAGES = {"training": 41258, "evaluation": 2728}
MAX_DEPTH = 5.0
"""m, of the largest level."""

LEFT_CLASSES, RIGHT_CLASSES = (2, 17), (18, 33)
"""First and last class of each hand in the mask; 0 is the background and 1 the person."""

_SHAPES = {"K": (3, 3), "uv_vis": (2 * NUM_JOINTS, 3), "xyz": (2 * NUM_JOINTS, 3)}


class Rhd:
    """The annotations of one split."""

    kind = "rhd"

    def __init__(self, root: Path, split: str, faults: Faults) -> None:
        self._folder = root / split
        self.published = NUM_IMAGES[split]
        path = require_file("RHD", self._folder, f"anno_{split}.pickle")
        self.files: Sequence[Path] = [path]
        self._ids, self._values = parse_annotations(load_pickle(path), str(path), faults)
        self._left: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def group(self, index: int) -> int:
        """The image."""
        return int(self._ids[index])

    def image_file(self, index: int) -> str:
        """The rendered image."""
        return str(self._folder / "color" / f"{self._ids[index]:05d}.png")

    def entry(self, index: int) -> Entry:
        """The hand with the larger mask."""
        name = f"{self._ids[index]:05d}"
        mask_file = self._folder / "mask" / f"{name}.png"
        if index not in self._left:  # the mask is read once
            self._left[index] = left_is_larger(_read_mask(mask_file, name))
        is_left = self._left[index]
        half = slice(0, NUM_JOINTS) if is_left else slice(NUM_JOINTS, 2 * NUM_JOINTS)
        points = self._values["uv_vis"][index, half].astype(np.float64)
        first, last = LEFT_CLASSES if is_left else RIGHT_CLASSES
        depth_file = self._folder / "depth" / f"{name}.png"

        def mask() -> NDArray[np.bool_]:
            classes = read_levels(mask_file)
            return (classes >= first) & (classes <= last)

        return Entry(
            name,
            joints_img=points[:, :2],
            joints_cam=self._values["xyz"][index, half].astype(np.float64),
            intrinsics=self._values["K"][index].astype(np.float64),
            order="rhd",
            visible=points[:, 2] > 0.5,
            is_left=is_left,
            image_size=SIZE,
            mask=mask,
            depth=lambda: read_depth(depth_file),
        )


def parse_annotations(
    record: Any, file: str, faults: Faults
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """``(ids (N), {K (N,3,3), uv_vis (N,42,3), xyz (N,42,3)})``, in the order of the ids.

    An entry without one of the arrays, or with one of another shape, is reported and left out.

    Raises:
        DatasetError: not a mapping of image numbers.
    """
    if not isinstance(record, dict) or not all(isinstance(i, (int, np.integer)) for i in record):
        raise DatasetError(
            Fault("annotation", file, "expected a dict of annotations by image number")
        )
    good = []
    for identifier in sorted(record):
        if problem := _odd_entry(record[identifier]):
            faults.report("annotation", file, problem, identifier)
        else:
            good.append(identifier)
    values = {
        name: np.array([record[i][name] for i in good], np.float32).reshape(-1, *shape)
        for name, shape in _SHAPES.items()
    }
    return np.array(good, dtype=np.int64), values


def _odd_entry(entry: Any) -> str:
    """What is wrong with an annotation, in words; empty if nothing is."""
    for name, shape in _SHAPES.items():
        found = entry.get(name) if isinstance(entry, dict) else None
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            return f"{name}: expected an array of numbers, got {type(found).__name__}"
        if found.shape != shape:
            return f"{name}: expected shape {shape}, got {found.shape}"
    return ""


def left_is_larger(classes: NDArray[np.integer[Any]]) -> bool:
    """Whether the left hand covers more pixels of the mask (H,W) than the right one."""
    left, right = (
        np.count_nonzero((classes >= first) & (classes <= last))
        for first, last in (LEFT_CLASSES, RIGHT_CLASSES)
    )
    return bool(left > right)


def read_depth(path: Path) -> NDArray[np.float32]:
    """(H,W) m: (256 R + G) / 65535 of ``MAX_DEPTH``."""
    return (two_byte_levels(path, high=0, low=1) / 65535 * MAX_DEPTH).astype(np.float32)


def _read_mask(path: Path, name: str) -> NDArray[np.integer[Any]]:
    try:
        classes = read_levels(path)
    except UnreadableImageError as error:
        raise DatasetError(
            Fault("unreadable mask or depth", str(path), str(error), name)
        ) from error
    if classes.shape != SIZE[::-1]:
        problem = f"mask: expected {SIZE[::-1]} classes, got {classes.shape}"
        raise DatasetError(Fault("mask or depth size", str(path), problem, name))
    return classes


def open_rhd(
    path: Path, read: ReadOptions, *, split: Literal["training", "evaluation"] = "training"
) -> AnnotatedDataset:
    """RHD_published_v2 at ``path``."""
    faults = Faults(read.on_error)
    return AnnotatedDataset(Rhd(path, split, faults), read, f"rhd:{path}?split={split}", faults)
