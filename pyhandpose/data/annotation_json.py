"""Annotation files in JSON: whole, as arrays with one row per entry, or element by element.

FreiHAND's vertices and YouTube3DHands' annotations are about a gigabyte of text. ``stream_json``
reads such a file with a few megabytes of memory: it hands the decoder one element at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pyhandpose.data.faults import DatasetError, Fault, Faults

CHUNK_CHARACTERS = 1 << 22
MAX_ELEMENT_CHARACTERS = 1 << 26
"""A longer element is taken for a broken file: what is not complete is kept in memory."""

BROKEN = "broken JSON"

_DELIMITERS = tuple(",:]} \n\r\t")


def load_json(path: Path) -> Any:
    """A JSON file's content.

    Raises:
        DatasetError: the file is missing, cut off or not JSON.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError as error:
        raise DatasetError(Fault("missing file", str(path), "no such file")) from error
    except (ValueError, OSError) as error:
        raise DatasetError(Fault(BROKEN, str(path), f"cut off or not JSON ({error})")) from error


def load_rows(path: Path, shape: tuple[int, ...], faults: Faults) -> NDArray[np.float64] | None:
    """A JSON list of N arrays as (N, *shape).

    An entry of another shape is reported and becomes NaN; a file that cannot be read at all is
    reported and gives None.
    """
    try:
        rows = load_json(path)
    except DatasetError as error:
        faults.add(error.fault)
        return None
    if not isinstance(rows, list):
        faults.report(BROKEN, path, f"expected a list, got {type(rows).__name__}")
        return None
    out = np.full((len(rows), *shape), np.nan)
    try:
        out[:] = np.array(rows, dtype=np.float64).reshape(out.shape)
    except (ValueError, TypeError):  # not all alike: find out which
        for index, row in enumerate(rows):
            try:
                out[index] = np.array(row, dtype=np.float64).reshape(shape)
            except (ValueError, TypeError):
                faults.report("annotation", path, f"expected {_words(shape)} numbers", index)
    return out


def stream_json(path: Path, *, progress: str | None = None) -> Iterator[tuple[str, Any]]:
    """``(key, element)`` of the list that is a file's content, or of each list in its object.

    The key of a plain list is "". Values of the object that are not lists are passed over.

    Args:
        path: the file.
        progress: what to call it on a progress bar; None shows none.

    Raises:
        DatasetError: the file is missing, cut off or not JSON; the message says where.
    """
    if not path.is_file():
        raise DatasetError(Fault("missing file", str(path), "no such file"))
    with (
        open(path, encoding="utf-8", errors="strict") as file,
        tqdm(
            total=path.stat().st_size,
            desc=progress,
            unit="B",
            unit_scale=True,
            disable=None if progress else True,
        ) as bar,
    ):
        text = _Window(file, path, bar)
        if text.take("[{") == "[":
            for element in text.elements():
                yield "", element
        else:
            while text.peek() != "}":
                key = text.value()
                text.take(":")
                if text.peek() == "[":
                    text.take("[")
                    for element in text.elements():
                        yield key, element
                else:
                    text.value()
                if text.peek() == ",":
                    text.take(",")
            text.take("}")
        text.require_end()


class _Window:
    """The part of a JSON text that is being decoded."""

    def __init__(self, file: Any, path: Path, bar: Any) -> None:
        self._file, self._path, self._bar = file, path, bar
        self._text, self._at, self._before = "", 0, 0
        self._ended = False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """The next character, which must be one of the expected."""
        found = self.peek()
        if not found or found not in expected:
            raise self._broken(f"expected {' or '.join(expected)}, got {found or 'the end'}")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                too_long = len(self._text) - self._at > MAX_ELEMENT_CHARACTERS
                if too_long or not self._more():
                    raise self._broken(error.msg) from error
                continue
            # "23.5" cut after its point decodes as 23: a value ends where a delimiter follows
            if self._text[end : end + 1] in _DELIMITERS or not self._more():
                self._at = end
                return value

    def elements(self) -> Iterator[Any]:
        """The elements of a list, up to and including its closing bracket."""
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",]") == "]":
                return

    def require_end(self) -> None:
        """Nothing but white space may be left."""
        if found := self.peek():
            raise self._broken(f"expected the end of the file, got {found}")

    def _more(self) -> bool:
        """Read a chunk, and forget what has been decoded."""
        if self._ended:
            return False
        try:
            chunk = self._file.read(CHUNK_CHARACTERS)
        except UnicodeDecodeError as error:
            raise self._broken(str(error)) from error
        self._before += self._at
        self._text, self._at = self._text[self._at :] + chunk, 0
        self._ended = not chunk
        self._bar.update(len(chunk))
        return bool(chunk)

    def _broken(self, why: str) -> DatasetError:
        where = f"at character {self._before + self._at:,}"
        return DatasetError(
            Fault(BROKEN, str(self._path), f"cut off or not JSON {where}: {why}; copy it again")
        )


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) if shape else "one"
