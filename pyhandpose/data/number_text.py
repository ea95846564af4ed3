"""Annotations that are numbers in text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.faults import DatasetError, Fault, Faults


def read_numbers(path: Path, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """All numbers of a file, separated by commas or white space, as an array of ``shape``.

    Raises:
        DatasetError: no such file, another count of numbers, or something that is no number.
    """
    words = _text(path).replace(",", " ").split()
    expected = int(np.prod(shape))
    if len(words) != expected:
        raise _fault(path, f"expected {expected} numbers, got {len(words)}")
    return _floats(words, path).reshape(shape)


def read_point_rows(path: Path, points: int, columns: int, faults: Faults) -> NDArray[np.float64]:
    """Rows of points such as ``x,y,z; x,y,z;``, one row a frame: (N, points, columns).

    A row with other than points x columns numbers is reported with its line, and is NaN.

    Raises:
        DatasetError: no such file, or not a text.
    """
    lines = _text(path).rstrip().splitlines()
    rows = np.full((len(lines), points, columns), np.nan)
    for i, line in enumerate(lines):
        found = [point.split(",") for point in line.split(";") if point.strip()]
        entry = f"line {i + 1}"
        try:
            if [len(point) for point in found] != [columns] * points:
                problem = f"expected {points} points of {columns} numbers, each ended by ';'"
                raise _fault(path, f"{problem}, got {line!r}", entry)
            words = [word for point in found for word in point]
            rows[i] = _floats(words, path, entry).reshape(points, columns)
        except DatasetError as error:
            faults.add(error.fault)
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _fault(path, "no such file", kind="missing file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _fault(path, f"not readable as text ({error})") from error


def _floats(words: list[str], path: Path, entry: str = "") -> NDArray[np.float64]:
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise _fault(path, str(error), entry) from None


def _fault(path: Path, problem: str, entry: str = "", kind: str = "annotation") -> DatasetError:
    return DatasetError(Fault(kind, str(path), problem, entry))
