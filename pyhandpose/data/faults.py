"""What is wrong with a dataset's files: raised at once, or counted and named."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NoReturn

OnError = Literal["raise", "skip"]

LOGGED = 5
"""Faults of each kind that are logged; all are kept and counted."""

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

    def __init__(self, fault: Fault, earlier: tuple[Fault, ...] = ()) -> None:
        super().__init__(str(fault))
        self.fault = fault
        self.earlier = earlier
        """What had been skipped until then."""


class EmptyBatchError(DatasetError):
    """Every entry of a batch had to be skipped."""


class Faults:
    """The faults of one dataset. ``report`` raises, or counts and remembers.

    Args:
        on_error: "raise" makes the first fault a ``DatasetError``; "skip" keeps and counts it, and
            logs a warning for the first few of each kind.
    """

    def __init__(self, on_error: OnError = "raise") -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error: expected raise or skip, got {on_error!r}")
        self.on_error = on_error
        self.counts: Counter[str] = Counter()
        """Faults by kind; one that is met again is not counted again."""
        self.named: list[Fault] = []
        """All of them, in the order in which they were found."""
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
            self.named.append(fault)
            number = self.counts[fault.kind]
        if number <= LOGGED:
            more = "; further ones are only counted" if number == LOGGED else ""
            logger.warning("%s: %s%s", fault.kind, fault, more)

    def stop(self, kind: str, file: object, problem: str) -> NoReturn:
        """Raise, whatever ``on_error`` says: the dataset cannot be used at all."""
        raise DatasetError(Fault(kind, str(file), problem), tuple(self.named))

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
