"""Which entries of a dataset are for what: seeded, written to a file, and read from it.

A split never parts what belongs together (``group``): the four versions of a FreiHAND hand, the
frames of a video or of a recorded sequence. The file is JSON:

    {"dataset": "freihand", "rule": "...", "seed": 0, "parts": {"train": [...], "test": [...]}}

where each part lists groups: numbers of hands, or names of sequences. ``open_dataset`` takes it as
``freihand:PATH?splits=FILE&part=train``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from pyhandpose.data.annotation_json import load_json
from pyhandpose.data.faults import DatasetError, Fault
from pyhandpose.data.loader import derived_seed
from pyhandpose.data.whole_file import write_json

Group = int | str


@dataclass(frozen=True)
class Split:
    """A dataset's groups in named parts that do not overlap."""

    dataset: str
    """The dataset's name in the registry."""
    rule: str
    """How the parts were made, in words."""
    seed: int
    """Of the random choice; 0 where there is none."""
    parts: dict[str, list[Group]]
    """Groups by the name of their part."""

    def __post_init__(self) -> None:
        groups = [group for part in self.parts.values() for group in part]
        if len(groups) != len(set(groups)):
            raise ValueError(f"Split: {self.dataset}: a group is in two parts, or twice in one")

    def write(self, path: Path) -> None:
        """As a JSON file, whole or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Split:
        """The inverse of ``write``.

        Raises:
            DatasetError: the file is missing or is not a split.
        """
        record = load_json(path)
        try:
            return cls(**record)
        except (TypeError, ValueError, AttributeError) as error:
            raise DatasetError(
                Fault("splits", str(path), f"not a file of `pyhandpose data split` ({error})")
            ) from error

    def part(self, name: str) -> set[Group]:
        """The groups of a part."""
        if name not in self.parts:
            raise ValueError(
                f"splits: expected part to be one of {', '.join(self.parts)}, got {name!r}"
            )
        return set(self.parts[name])


def random_split(
    dataset: str, groups: Sequence[Group], seed: int = 0, held_out: float = 0.1
) -> Split:
    """``train`` and ``val``, a share of the groups held out at random.

    With FreiHAND's hands as groups and a tenth held out, the 90/10 split of 001 section 4.
    """
    if not 0 < held_out < 1 or len(groups) < 2:
        raise ValueError(
            f"random_split: expected a share in (0, 1) of at least 2 groups, got {held_out} of "
            f"{len(groups)}"
        )
    generator = torch.Generator().manual_seed(derived_seed(seed, len(groups)))
    order = torch.randperm(len(groups), generator=generator).tolist()
    count = min(len(groups) - 1, max(1, round(held_out * len(groups))))
    chosen = set(order[:count])
    parts: dict[str, list[Group]] = {"train": [], "val": []}
    for number, group in enumerate(groups):
        parts["val" if number in chosen else "train"].append(group)
    rule = f"{held_out:g} of the groups at random, with all that belongs to them"
    return Split(dataset, rule, seed, parts)


def stb_split(groups: Sequence[Group], seed: int = 0) -> Split:
    """STB as the literature uses it: the two B1 sequences are for test, the other ten to train.

    Nothing is random in it: ``seed`` is there because every split has one.
    """
    return _by_name("stb", groups, "B1* is test", lambda name: name.startswith("B1"))


def dexter_object_split(groups: Sequence[Group], seed: int = 0) -> Split:
    """Dexter+Object has no training part: every sequence is for test, each under its own name.

    Nothing is random in it: ``seed`` is there because every split has one.
    """
    return Split(
        "dexter",
        "each sequence is a part, all are for test",
        0,
        {str(g): [g] for g in groups},
    )


PAPER_SPLITS: dict[str, Callable[[Sequence[Group], int], Split]] = {
    "freihand": lambda groups, seed: random_split("freihand", groups, seed),
    "stb": stb_split,
    "dexter": dexter_object_split,
}
"""The papers' splits by registry name; other datasets are split at random."""


def _by_name(
    dataset: str, groups: Sequence[Group], rule: str, is_test: Callable[[str], bool]
) -> Split:
    parts: dict[str, list[Group]] = {"train": [], "test": []}
    for group in groups:
        parts["test" if is_test(str(group)) else "train"].append(group)
    return Split(dataset, rule, 0, parts)
