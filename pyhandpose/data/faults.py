"""What is wrong with a dataset's files: raised at once, or counted and named."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal

OnError = Literal["raise", "skip"]

NAMED = 20
"""Faults of each kind that are kept by name; all are counted."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    kind: str
    """A few words that group faults in counts, such as "missing image"."""
    file: str
    """The file it was found in."""
    problem: str
    """What was expected and what was found."""
    entry: str = ""
    """The entry in that file, in the dataset's own terms; empty for the whole file."""

    def __str__(self) -> str:
        where = f"{self.file}[{self.entry}]" if self.entry else self.file
        return f"{where}: {self.problem}"


class DatasetError(ValueError):
    """A dataset's files are not what the format says; carries the ``Fault``."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class EmptyBatchError(DatasetError):
    """Every entry of a batch had to be skipped."""


class Faults:
    """The faults of one dataset. ``report`` raises, or counts and remembers.

    Args:
        on_error: "raise" makes the first fault a ``DatasetError``; "skip" counts it, keeps the
            first few of each kind by name, and logs a warning for each of these.
        keep: faults of each kind that are kept and logged.
    """

    def __init__(self, on_error: OnError = "raise", keep: int = NAMED) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error: expected raise or skip, got {on_error!r}")
        self.on_error = on_error
        self.counts: Counter[str] = Counter()
        """Faults by kind; one that is met again is not counted again."""
        self.named: list[Fault] = []
        """The first ``keep`` of each kind, in the order in which they were found."""
        self._keep = keep
        self._seen: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()

    def report(self, kind: str, file: object, problem: str, entry: object = "") -> None:
        """Say that something is wrong; with ``on_error="skip"`` the caller goes on without it."""
        self.add(Fault(kind, str(file), problem, str(entry)))

    def add(self, fault: Fault) -> None:
        """As ``report``, for a fault that exists already."""
        if self.on_error == "raise":
            raise DatasetError(fault)
        with self._lock:
            key = (fault.kind, fault.file, fault.entry)
            if key in self._seen:
                return
            self._seen.add(key)
            self.counts[fault.kind] += 1
            named = self.counts[fault.kind] <= self._keep
            if named:
                self.named.append(fault)
        if named:
            logger.warning("skipped: %s", fault)

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
