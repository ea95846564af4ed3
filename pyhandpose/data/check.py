"""What is wrong with a dataset on disk: every entry looked at, every problem named.

Beyond what reading refuses (missing and damaged images, wrong sizes, non-finite joints, odd
cameras) this finds labels that can be read and make no sense: points that are not where the camera
puts the 3D joints, hands behind the camera or outside the image, hands of an impossible size
(wrong units).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyhandpose.data.annotated import AnnotatedDataset
from pyhandpose.data.crop import Labels
from pyhandpose.data.entry import Array, Entry, check_labels, read_image
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.folder import FolderDataset
from pyhandpose.data.mixture import Mixture
from pyhandpose.data.registry import Dataset
from pyhandpose.hand.skeleton import MIDDLE_MCP, WRIST, to_canonical

PALM_MM = (40.0, 140.0)
"""Length from the wrist to the middle MCP that a hand can have, from a child's to a giant's."""

MAX_REPROJECTION_PX = 3.0
"""Default limit for the distance of a labelled image point from its projected 3D joint."""

CHUNK = 256

Progress = Callable[[int], object]


@dataclass
class CheckReport:
    """What was looked at in one dataset, and what is wrong with it."""

    name: str
    entries: int
    """Samples of the dataset, those with a missing image left out."""
    faults: Faults
    """Every problem."""
    images: int = 0
    """Images that were read."""
    left: int = 0
    """Left hands (which reading mirrors)."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and no problem."""
    image_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(width, height) px of the image files read."""
    labelled: Counter[str] = field(default_factory=Counter)
    """Joints with an image point ("image") and with a 3D label ("3d")."""
    reprojection_px: list[float] = field(default_factory=list)
    """The largest of each entry that has both."""
    palm_mm: list[float] = field(default_factory=list)
    """From the wrist to the middle MCP."""

    @property
    def problems(self) -> list[Fault]:
        """All of them, in the order in which they were found."""
        return self.faults.named

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "dataset": self.name,
            "entries": self.entries,
            "images_read": self.images,
            "left_hands": self.left,
            "labelled_joints": dict(self.labelled),
            "image_sizes_px": {f"{w}x{h}": n for (w, h), n in self.image_sizes.most_common()},
            "reprojection_px": _spread(self.reprojection_px),
            "palm_mm": _spread(self.palm_mm),
            "notes": self.notes,
            "counts": dict(self.faults.counts),
            "problems": [vars(fault) for fault in self.problems],
        }


def check_dataset(
    dataset: Dataset,
    *,
    images: int | None = None,
    max_reprojection_px: float = MAX_REPROJECTION_PX,
    progress: Progress = lambda count: None,
) -> Iterator[CheckReport]:
    """A report for the dataset; for a mixture, one for each part.

    Args:
        dataset: opened with ``on_error="skip"``, so that opening it has not stopped at a problem.
        images: read so many images, evenly spread; None reads all. Labels are all checked.
        max_reprojection_px: a larger distance of image point and projection is a problem.
        progress: called with the number of entries done since the last call.
    """
    if isinstance(dataset, Mixture):
        for part in dataset.parts:
            yield from check_dataset(
                part, images=images, max_reprojection_px=max_reprojection_px, progress=progress
            )
        return
    if isinstance(dataset, AnnotatedDataset):
        yield _Checker(dataset, max_reprojection_px).run(images, progress)
        return
    report = CheckReport(dataset.name, len(dataset), Faults("skip"), images=len(dataset))
    if isinstance(dataset, FolderDataset):
        for path in dataset.skipped:
            report.faults.report("unreadable image", path, "not a whole image")
    progress(len(dataset))
    yield report


class _Checker:
    """Goes through the entries of one annotated dataset."""

    def __init__(self, dataset: AnnotatedDataset, max_reprojection_px: float) -> None:
        self.dataset = dataset
        self.limit_px = max_reprojection_px
        self.report = CheckReport(dataset.name, len(dataset), dataset.faults)

    def run(self, images: int | None, progress: Progress) -> CheckReport:
        entries = self.dataset.entries.tolist()
        count = len(entries) if images is None else min(images, len(entries))
        read = set(np.linspace(0, len(entries) - 1, count, dtype=np.int64).tolist())
        tasks = [(entry, number in read) for number, entry in enumerate(entries)]
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(tasks), CHUNK):
                chunk = tasks[start : start + CHUNK]
                for found in pool.map(self._look_at, chunk):
                    self._add(*found)
                progress(len(chunk))
        self.report.notes += getattr(self.dataset.annotations, "notes", [])
        published = getattr(self.dataset.annotations, "published", None)
        total = len(self.dataset.annotations)
        if published is not None and total != published:
            self.report.notes.append(f"{total:,} entries where {published:,} were published")
        return self.report

    def _look_at(self, task: tuple[int, bool]) -> tuple[list[Fault], Entry | None, Any, Any]:
        """``(problems, entry, its labels, the size of its image if it was read)``."""
        index, read = task
        annotations = self.dataset.annotations
        file = annotations.image_file(index)
        try:
            entry = annotations.entry(index)
            labels = check_labels(entry, file)
            photo = read_image(entry, file) if read else None
            size = None if photo is None else photo.size
            problems = self._implausible(entry, labels, file, size or entry.image_size)
            if photo is not None:
                self.dataset.assemble(entry, labels, photo, file)
        except DatasetError as error:
            return [error.fault], None, None, None
        return problems, entry, labels, size

    def _add(
        self,
        problems: list[Fault],
        entry: Entry | None,
        labels: Labels | None,
        size: tuple[int, int] | None,
    ) -> None:
        report = self.report
        for problem in problems:
            report.faults.add(problem)
        if entry is None or labels is None:
            return
        report.left += entry.is_left
        if size is not None:
            report.images += 1
            report.image_sizes[size] += 1
        for name, joints in (("image", labels.joints_img), ("3d", labels.joints_cam)):
            if joints is not None:
                report.labelled[name] += int(np.isfinite(joints).all(1).sum())
        if (distance := _reprojection(entry, labels)) is not None:
            report.reprojection_px.append(distance)
        if (palm := _palm_mm(labels)) is not None:
            report.palm_mm.append(palm)

    def _implausible(
        self, entry: Entry, labels: Labels, file: str, size: tuple[int, int] | None
    ) -> list[Fault]:
        """What is wrong with labels that can be read."""
        found: list[tuple[str, str]] = []
        distance = _reprojection(entry, labels)
        if distance is not None and not distance <= self.limit_px:
            found.append(
                ("reprojection", f"a joint's image point is {distance:.2f} px from its 3D")
            )
        hand = labels.joints_cam
        if hand is not None and (hand[:, 2] <= 0).any() and labels.intrinsics is not None:
            found.append(("behind the camera", "a joint has z <= 0"))
        palm = _palm_mm(labels)
        if palm is not None and not PALM_MM[0] <= palm <= PALM_MM[1]:
            low, high = PALM_MM
            found.append(
                ("hand size", f"wrist to middle MCP: expected {low:g} to {high:g} mm, got {palm:g}")
            )
        points = labels.joints_img
        if points is not None and size is not None:
            inside = ((points > -0.5) & (points < np.array(size) - 0.5)).all(1)
            if np.isfinite(points).all(1).any() and not inside.any():
                found.append(("outside the image", "no labelled joint is inside the image"))
        return [Fault(kind, file, problem, entry.name) for kind, problem in found]


def _reprojection(entry: Entry, labels: Labels) -> float | None:
    """Px between labelled and projected image points, the largest; None if one of them is none."""
    points, hand, camera = entry.joints_img, labels.joints_cam, labels.intrinsics
    if points is None or hand is None or camera is None:
        return None
    labelled = to_canonical(points, entry.order)
    homogeneous = hand @ camera.T
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.linalg.norm(homogeneous[:, :2] / homogeneous[:, 2:] - labelled, axis=1)
    known = np.isfinite(labelled).all(1) & np.isfinite(hand).all(1)
    return float(distance[known].max()) if known.any() else None


def _palm_mm(labels: Labels) -> float | None:
    hand: Array | None = labels.joints_cam
    if hand is None or not np.isfinite(hand[[WRIST, MIDDLE_MCP]]).all():
        return None
    return 1000 * float(np.linalg.norm(hand[WRIST] - hand[MIDDLE_MCP]))


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    array = np.array(values)
    return {
        "min": float(array.min()),
        "median": float(np.median(array)),
        "max": float(array.max()),
    }
