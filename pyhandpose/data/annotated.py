"""From a dataset's annotations to square crops of right hands in canonical form.

A dataset's file says, for each index, what its own files say about one hand (``data/entry``);
``AnnotatedDataset`` does everything that is the same for all: it reads the image, crops a square,
mirrors left hands, takes joints, camera, mask and depth along, checks the numbers, and counts what
has to be skipped. A new dataset is a class with ``entry`` and ``image_file``, an opener, and one
line in ``data/registry.py``.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyhandpose.data.crop import Canvas, Labels, square_around
from pyhandpose.data.entry import Entry, check_labels, read_image, read_map
from pyhandpose.data.faults import DatasetError, EmptyBatchError, Fault, Faults, OnError
from pyhandpose.data.photo import Photo
from pyhandpose.data.sample import HandBatch, Source
from pyhandpose.data.splits import Split
from pyhandpose.hand.skeleton import to_canonical

Array = NDArray[np.floating[Any]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadOptions:
    """How the samples of an annotated dataset are read: the options that all of them have."""

    size: int = 224
    """Side of the square images, px."""
    margin: float = 1.5
    """Where the crop is placed by the joints: its side, in sides of the square that just contains
    them. Datasets that ship ready-made crops ignore it."""
    on_error: OnError = "raise"
    """What to do about missing and damaged files: "raise" or "skip" (counted and named)."""
    geometry: bool = False
    """Read mask and depth as well, where the dataset has them."""
    splits: Path | None = None
    """A file of ``pyhandpose data split``; with it, only the entries of ``part`` are samples."""
    part: str = "train"
    """Which part of ``splits``."""

    def __post_init__(self) -> None:
        if self.size < 1 or not self.margin > 0:
            raise ValueError(
                f"ReadOptions: size and margin must be positive, got {self.size} and {self.margin}"
            )


class Annotations(Protocol):
    """One dataset's annotations.

    They may also have ``signature``, a text with what the annotation files do not tell and the
    samples depend on: their own options, or the names of files that hold one frame each.
    """

    @property
    def kind(self) -> str:
        """The dataset's name in the registry."""

    @property
    def files(self) -> Sequence[Path]:
        """The annotation files: their content decides the fingerprint."""

    def __len__(self) -> int:
        """Number of hands."""

    def image_file(self, index: int) -> str:
        """The path of an entry's image; must not touch the disk."""

    def entry(self, index: int) -> Entry:
        """An entry. Raises ``DatasetError`` if its annotations are broken."""


@runtime_checkable
class Grouped(Protocol):
    """Annotations whose entries belong together in groups, which a split must not part."""

    def group(self, index: int) -> int | str:
        """The number or the name of an entry's group."""


class AnnotatedDataset:
    """A dataset in canonical form; implements ``registry.Dataset``.

    Skipping (``on_error="skip"``) happens at two moments, both deterministic:

    - when the dataset is opened, entries whose image does not exist are left out, so that indices
      and batches are full; folders are listed once each, no file is looked at by itself;
    - when an entry turns out damaged as it is read, it is left out of its batch, which is then
      shorter. ``read`` raises if nothing is left of a batch.

    Either is counted in ``faults``.
    """

    def __init__(
        self, annotations: Annotations, options: ReadOptions, name: str, faults: Faults
    ) -> None:
        """Use the dataset's opener, or ``open_dataset``."""
        self.name = name
        self.annotations = annotations
        self.options = options
        self.faults = faults
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self.entries: NDArray[np.int64] = np.arange(len(annotations))
        """(N,) which of the annotations are samples of this dataset."""
        if options.splits is not None:
            self.entries = self._in_part(Split.read(options.splits))
        if options.on_error == "skip":
            wanted = len(self.entries)
            self.entries = self._present()
            if left_out := wanted - len(self.entries):
                logger.warning("%s: %d of %d images are missing", name, left_out, wanted)
        if not len(self.entries):
            raise FileNotFoundError(
                f"{name}: no usable entry"
                + "".join(f"; {count} x {kind}" for kind, count in faults.counts.items())
                + "".join(f"; {fault}" for fault in faults.named[:1])
            )

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, indices: Tensor) -> HandBatch:
        """The samples of (B,) indices, in that order; fewer if some are skipped."""
        chosen = self.entries[indices.numpy()]
        found = self._threads().map(self._read_or_skip, chosen.tolist())
        samples = [sample for sample in found if sample is not None]
        if not samples:
            raise EmptyBatchError(
                Fault("empty batch", self.name, f"none of {len(chosen)} entries could be read")
            )
        return _batch(samples)

    def sample(self, entry: int) -> dict[str, Any]:
        """One of the annotations as the fields of a ``HandBatch`` of one.

        Raises:
            DatasetError: anything that is wrong with it.
        """
        found = self.annotations.entry(entry)
        file = self.annotations.image_file(entry)
        labels = check_labels(found, file)
        return self.assemble(found, labels, read_image(found, file), file)

    def assemble(self, entry: Entry, labels: Labels, photo: Photo, file: str) -> dict[str, Any]:
        """The fields of a ``HandBatch`` of one from an entry, its checked labels and its image."""
        try:
            box = entry.box
            if box is None and entry.crop == "joints":
                box = square_around(labels.joints_img, self.options.margin)
            canvas = Canvas.of(box, photo.size, self.options.size, entry.is_left)
        except ValueError as error:
            raise DatasetError(Fault("crop", file, str(error), entry.name)) from error
        fields = {"image": canvas.image(photo), **canvas.labels(labels)}
        if entry.visible is not None:
            seen = to_canonical(entry.visible[:, None], entry.order)[:, 0]
            fields["visibility"] = seen & canvas.contains(labels.joints_img)
        if self.options.geometry:
            for kind, load in (("mask", entry.mask), ("depth", entry.depth)):
                if load is not None:
                    fields[kind] = canvas.nearest(read_map(load, photo.size, file, entry.name))
        fields["source"] = Source(self.annotations.kind, file, entry.name)
        return fields

    def fingerprint(self) -> str:
        """A digest of the annotation files' ends and sizes, the options and the entries."""
        shown = replace(self.options, splits=None, on_error="raise")  # told by the entries
        digest = hashlib.sha256(f"{self.annotations.kind} {shown}".encode())
        digest.update(getattr(self.annotations, "signature", "").encode())
        for path in self.annotations.files:
            digest.update(f"{path.name} {path.stat().st_size}".encode())
            with open(path, "rb") as file:
                digest.update(file.read(_END_BYTES))
                file.seek(max(0, path.stat().st_size - _END_BYTES))
                digest.update(file.read(_END_BYTES))
        digest.update(self.entries.tobytes())
        return digest.hexdigest()[:16]

    def groups(self) -> list[int | str]:
        """The groups that a split must not part, each once, in the order of the entries.

        Raises:
            ValueError: the dataset has none.
        """
        annotations = self.annotations
        if not isinstance(annotations, Grouped):
            raise ValueError(f"{self.name}: the entries of {annotations.kind} have no groups")
        return list(dict.fromkeys(annotations.group(i) for i in self.entries.tolist()))

    def _in_part(self, split: Split) -> NDArray[np.int64]:
        annotations = self.annotations
        if split.dataset != annotations.kind:
            raise ValueError(
                f"{self.name}: {self.options.splits} is a split of {split.dataset}, not of "
                f"{annotations.kind}"
            )
        self.groups()  # refuses a dataset without them
        assert isinstance(annotations, Grouped)
        part = split.part(self.options.part)
        chosen = [i for i in self.entries.tolist() if annotations.group(i) in part]
        return np.array(chosen, dtype=np.int64)

    def _present(self) -> NDArray[np.int64]:
        """The entries whose image exists, from one listing of each folder."""
        listings: dict[str, set[str]] = {}
        kept = []
        for index in self.entries.tolist():
            file = self.annotations.image_file(index)
            folder, name = os.path.split(file)
            if folder not in listings:
                listings[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if name in listings[folder]:
                kept.append(index)
            else:
                self.faults.report("missing image", file, "no such file", f"entry {index}")
        return np.array(kept, dtype=np.int64)

    def _read_or_skip(self, entry: int) -> dict[str, Any] | None:
        try:
            return self.sample(entry)
        except DatasetError as error:
            self.faults.add(error.fault)  # raises, or counts
            return None

    def _threads(self) -> ThreadPoolExecutor:
        """The reading threads of this process: a forked one has none of its parent's."""
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = os.getpid(), ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="read")
        return self._pool[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}


_END_BYTES = 1 << 20


def _batch(samples: list[dict[str, Any]]) -> HandBatch:
    """Samples as one batch; mask and depth only if every sample has them."""
    names = set(samples[0]).intersection(*samples)
    sources = tuple(sample["source"] for sample in samples)
    tensors = {
        name: torch.from_numpy(np.stack([sample[name] for sample in samples]))
        for name in names - {"source"}
    }
    return HandBatch(source=sources, **tensors)
