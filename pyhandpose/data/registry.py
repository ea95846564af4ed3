"""Datasets by name: ``open_dataset("folder:photos")``, ``open_dataset("synthetic:8192")``.

Several, drawn with given weights: ``open_dataset("freihand:A@1,yt3d:B@1")``, see ``data/mixture``.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import parse_qsl

from torch import Tensor

from pyhandpose.data.sample import HandBatch


class Dataset(Protocol):
    """Images that can be read by index.

    A dataset may also have ``epoch_order(seed, epoch) -> (N,) int64``, the samples that an epoch of
    training visits; without it, an epoch is a random permutation of all samples.
    """

    @property
    def name(self) -> str:
        """A text that names it to a person."""

    def __len__(self) -> int:
        """Number of images."""

    def read(self, indices: Tensor) -> HandBatch:
        """The samples of (B,) int64 indices, in that order."""

    def fingerprint(self) -> str:
        """A hexadecimal digest that changes when the data change."""


class Form(NamedTuple):
    """One name that ``open_dataset`` knows."""

    opener: str
    """``module:function``. The function takes what stands after the colon as its first argument
    (of type ``Path`` or ``int``); ``read: ReadOptions``, if the dataset is an annotated one; and
    its own options as keyword-only arguments with a default and a type among int, float, bool, str,
    Path and Literal, perhaps optional."""
    target: str
    """What stands after the colon, for messages."""
    summary: str
    """What it opens."""


FORMS: dict[str, Form] = {
    "folder": Form(
        "pyhandpose.data.folder:open_folder", "PATH", "a folder of photos, searched recursively"
    ),
    "freihand": Form(
        "pyhandpose.data.freihand:open_freihand", "PATH", "FreiHAND v2: PATH is FreiHAND_pub_v2"
    ),
    "yt3d": Form(
        "pyhandpose.data.youtube3d:open_youtube3d",
        "PATH",
        "YouTube3DHands: PATH holds youtube_train.json and the folder youtube",
    ),
    "ho3d": Form("pyhandpose.data.ho3d:open_ho3d", "PATH", "HO-3D v2 or v3: PATH has train.txt"),
    "rhd": Form(
        "pyhandpose.data.rhd:open_rhd", "PATH", "Rendered Hand Pose: PATH is RHD_published_v2"
    ),
    "stb": Form(
        "pyhandpose.data.stb:open_stb", "PATH", "Stereo Tracking Benchmark: PATH has images, labels"
    ),
    "dexter": Form(
        "pyhandpose.data.dexter_object:open_dexter_object",
        "PATH",
        "Dexter+Object: PATH has the folder data",
    ),
    "egodexter": Form(
        "pyhandpose.data.egodexter:open_egodexter", "PATH", "EgoDexter: PATH has the folder data"
    ),
    "synthhands": Form(
        "pyhandpose.data.synthhands:open_synthhands", "PATH", "SynthHands: PATH is the release"
    ),
    "ganerated": Form(
        "pyhandpose.data.ganerated:open_ganerated", "PATH", "GANerated Hands: PATH is the release"
    ),
    "interhand": Form(
        "pyhandpose.data.interhand:open_interhand",
        "PATH",
        "InterHand2.6M: PATH has annotations and images",
    ),
    "synthetic": Form("pyhandpose.data.synthetic:open_synthetic", "N", "N rendered hands"),
}
"""Every dataset: a new one is a line here."""


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


def open_dataset(spec: str, **options: str) -> Dataset:
    """The dataset that a text such as ``folder:photos?size=128`` names.

    Several texts separated by commas make a ``Mixture``; each may end in ``@WEIGHT`` (1 if left
    out). ``describe_forms`` lists the names and their options.

    Args:
        spec: the text.
        options: overrule those in the text, for the datasets that have them.

    Raises:
        ValueError: a name that does not exist, or an option that it does not have.
        FileNotFoundError: a folder that is missing or has no readable image.
        DatasetError: files that are not what the dataset's format says.
    """
    # a comma may be a part of a path: it separates only before a known name
    parts = re.split(rf",(?=(?:{'|'.join(FORMS)}):)", spec)
    if len(parts) == 1:
        return _open_one(spec, options)
    from pyhandpose.data.mixture import Mixture

    weighted = [_weight(part) for part in parts]
    return Mixture([_open_one(text, options) for text, _ in weighted], [w for _, w in weighted])


def describe_forms() -> str:
    """The names, what each opens, and its options with their defaults, a paragraph for each."""
    lines = []
    for kind, form in FORMS.items():
        options = _options(_load(form))
        query = "&".join(f"{name}={_shown(default)}" for name, (_, default) in options.items())
        lines.append(f"{kind}:{form.target}  {form.summary}\n    ?{query}")
    return "\n".join(lines)


def _open_one(spec: str, overrule: dict[str, str]) -> Dataset:
    kind, _, rest = spec.partition(":")
    if kind not in FORMS or not rest:
        known = ", or ".join(
            f"{name}:{form.target} ({form.summary})" for name, form in FORMS.items()
        )
        raise ValueError(f"open_dataset: expected {known}; got {spec!r}")
    target, _, query = rest.partition("?")
    opener = _load(FORMS[kind])
    allowed = _options(opener)
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(given) - set(allowed)):
        raise ValueError(
            f"open_dataset: {spec!r}: unknown option {', '.join(unknown)}; "
            f"known: {', '.join(sorted(allowed))}"
        )
    given |= {name: text for name, text in overrule.items() if name in allowed}
    values = {name: _parsed(spec, name, text, allowed[name][0]) for name, text in given.items()}
    first = next(iter(inspect.signature(opener).parameters))
    hints = typing.get_type_hints(opener)
    what = "number of images" if hints[first] is int else first
    arguments: dict[str, Any] = {first: _parsed(spec, what, target, hints[first])}
    if "read" in hints:
        reading = {f.name for f in fields(hints["read"])}
        arguments["read"] = hints["read"](**{k: v for k, v in values.items() if k in reading})
        values = {k: v for k, v in values.items() if k not in reading}
    dataset: Dataset = opener(**arguments, **values)
    return dataset


def _weight(part: str) -> tuple[str, float]:
    """A text and the weight at its end."""
    text, at, weight = part.rpartition("@")
    if not at:
        return part, 1.0
    value = _parsed(part, "weight", weight, float)
    return text, value


def _load(form: Form) -> Callable[..., Dataset]:
    module, name = form.opener.split(":")
    opener: Callable[..., Dataset] = getattr(importlib.import_module(module), name)
    return opener


def _options(opener: Callable[..., Dataset]) -> dict[str, tuple[Any, Any]]:
    """``name -> (type, default)`` of what may stand after the question mark."""
    hints = typing.get_type_hints(opener)
    options: dict[str, tuple[Any, Any]] = {}
    if "read" in hints:
        types_of = typing.get_type_hints(hints["read"])
        options = {f.name: (types_of[f.name], f.default) for f in fields(hints["read"])}
    for parameter in inspect.signature(opener).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            options[parameter.name] = (hints[parameter.name], parameter.default)
    return options


def _parsed(spec: str, name: str, text: str, kind: Any) -> Any:
    """An option's text as a value of its type."""

    def refuse(expected: str) -> ValueError:
        return ValueError(f"open_dataset: {name} in {spec!r}: expected {expected}, got {text!r}")

    if typing.get_origin(kind) in (
        types.UnionType,
        typing.Union,
    ):  # T | None: there is no way to write None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is Literal:
        choices = {str(choice): choice for choice in typing.get_args(kind)}
        if text not in choices:
            raise refuse(" or ".join(choices))
        return choices[text]
    if kind is bool:
        if text not in ("true", "false"):
            raise refuse("true or false")
        return text == "true"
    if kind is int:
        lowest = 0 if name == "seed" else 1
        if not text.isdecimal() or int(text) < lowest:
            raise refuse(f"a whole number from {lowest}")
        return int(text)
    if kind is float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise refuse("a positive number")
        return value
    # a shell expands "~" at the start of a word only
    return Path(text).expanduser() if kind is Path else text


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) or default is None else str(default)
