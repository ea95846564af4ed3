"""Datasets by name: ``open_dataset("folder:photos")``, ``open_dataset("synthetic:8192")``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

from torch import Tensor

from pyhandpose.data.sample import HandBatch

FORMS = (
    "folder:PATH[?size=160] (a folder of photos, searched recursively; size is the side in pixels "
    "to which they are reduced) or synthetic:N[?look=studio&size=128&seed=0] (N rendered hands)"
)


class Dataset(Protocol):
    """Images that can be read by index."""

    @property
    def name(self) -> str:
        """A text that names it to a person."""

    def __len__(self) -> int:
        """Number of images."""

    def read(self, indices: Tensor) -> HandBatch:
        """The samples of (B,) int64 indices, in that order."""

    def fingerprint(self) -> str:
        """A hexadecimal digest that changes when the data change."""


class Subset:
    """Some samples of a dataset, as a dataset."""

    def __init__(self, dataset: Dataset, indices: Tensor) -> None:
        self.name = f"{dataset.name} ({len(indices)} of {len(dataset)})"
        self._dataset = dataset
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, indices: Tensor) -> HandBatch:
        """The samples of (B,) indices into the subset."""
        return self._dataset.read(self._indices[indices])

    def fingerprint(self) -> str:
        """Of the dataset and of the choice."""
        digest = hashlib.sha256(self._dataset.fingerprint().encode())
        digest.update(self._indices.numpy().tobytes())
        return digest.hexdigest()[:16]


def open_dataset(spec: str) -> Dataset:
    """The dataset that a text such as ``folder:photos?size=128`` names.

    Raises:
        ValueError: a form that does not exist, or an option that the form does not have.
        FileNotFoundError: a folder that is missing or has no readable image.
    """
    kind, _, rest = spec.partition(":")
    if kind not in _OPENERS or not rest:
        raise ValueError(f"open_dataset: expected {FORMS}, got {spec!r}")
    target, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    return _OPENERS[kind](spec, target, options)


def _integer(spec: str, name: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    lowest = 0 if name == "seed" else 1
    if value < lowest:
        raise ValueError(
            f"open_dataset: {name} in {spec!r}: expected a whole number from {lowest}, got {text!r}"
        )
    return value


def _refuse_unknown(spec: str, options: dict[str, str], known: set[str]) -> None:
    if unknown := sorted(set(options) - known):
        raise ValueError(
            f"open_dataset: {spec!r}: unknown option {', '.join(unknown)}; "
            f"known: {', '.join(sorted(known))}"
        )


def _open_folder(spec: str, target: str, options: dict[str, str]) -> Dataset:
    from pyhandpose.data.folder import FolderDataset

    _refuse_unknown(spec, options, {"size"})
    # a shell expands "~" at the start of a word only
    return FolderDataset(
        Path(target).expanduser(), _integer(spec, "size", options.get("size", "160"))
    )


def _open_synthetic(spec: str, target: str, options: dict[str, str]) -> Dataset:
    from pyhandpose.data.synthetic import SyntheticDataset

    _refuse_unknown(spec, options, {"look", "size", "seed"})
    return SyntheticDataset(
        _integer(spec, "number of images", target),
        look=options.get("look", "studio"),
        size=_integer(spec, "size", options.get("size", "128")),
        seed=_integer(spec, "seed", options.get("seed", "0")),
    )


_OPENERS: dict[str, Callable[[str, str, dict[str, str]], Dataset]] = {
    "folder": _open_folder,
    "synthetic": _open_synthetic,
}
