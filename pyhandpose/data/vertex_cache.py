"""YouTube3DHands' annotations, parsed once from 800 MB of JSON into a file that is memory-mapped.

The file holds two ``.npy`` arrays one after another: a table with a row per annotation, which is
read whole (6 MB for 47,125), and the vertices, of which only the pages in use are in memory. A
vertex coordinate is stored in 16 bits over its annotation's range, v = low + step k: for a hand of
600 px the rounding is under 0.005 px, and the file is a quarter of the JSON.

Its name holds the version of this layout and the path, size and modification time of the source, so
that another source, or another version, is another file. It is written under a name of its own and
renamed, which is atomic; two processes that build it at once both end with a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotation_json import stream_json
from pyhandpose.data.faults import DatasetError, Fault
from pyhandpose.data.synthetic_cache import cache_directory

VERSION = 1
NUM_VERTICES = 778
LEVELS = 2**16 - 1
ABANDONED_S = 3600.0

TABLE = np.dtype(
    [
        ("annotation", np.int64),
        ("image", "S96"),
        ("width", np.int32),
        ("height", np.int32),
        ("is_left", np.bool_),
        ("low", np.float32, 3),
        ("step", np.float32, 3),
        ("problem", "S96"),
    ]
)


class VertexCache:
    """The annotations of one JSON file."""

    def __init__(self, source: Path, directory: Path | None = None) -> None:
        """Open the cache, and build it first if it is missing, damaged or out of date.

        Args:
            source: ``youtube_train.json`` or alike.
            directory: of the cache; None is ``yt3d`` in ``cache_directory()``.

        Raises:
            DatasetError: the source is missing, cut off, or has no annotations.
        """
        self.source = source
        folder = cache_directory() / "yt3d" if directory is None else directory
        self.path = folder / _cache_name(source)
        if not self._open():
            _build(source, self.path)
            if not self._open():
                raise OSError(
                    f"yt3d cache: {self.path} is damaged just after it was written; is the disk "
                    "full or failing?"
                )

    def vertices(self, index: int) -> NDArray[np.float64]:
        """(778,3): x, y px of the image and z in pixels, relative."""
        row = self.table[index]
        return row["low"] + row["step"].astype(np.float64) * self._levels[index]

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._open():
            raise OSError(f"yt3d cache: {self.path} has been removed or damaged meanwhile")

    def _open(self) -> bool:
        """Map the file; False if it is not there or not whole."""
        try:
            with open(self.path, "rb") as file:
                self.table = np.lib.format.read_array(file, allow_pickle=False)
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                start = file.tell()
            self._levels = np.memmap(self.path, dtype, "r", start, shape)
        except (OSError, ValueError, EOFError):
            return False
        return self.table.dtype == TABLE and len(self.table) == len(self._levels)


def _cache_name(source: Path) -> str:
    try:
        status = source.stat()
    except FileNotFoundError as error:
        raise DatasetError(Fault("missing file", str(source), "no such file")) from error
    where = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:12]
    return f"{source.stem}-{where}-{status.st_size}-{status.st_mtime_ns}-v{VERSION}.bin"


def _build(source: Path, path: Path) -> None:
    """Parse the source and put the cache in place; caches of the source's former states go."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"yt3d cache: cannot write to {path.parent} ({error.strerror}); set PYHANDPOSE_CACHE "
            "to a directory that can be written"
        ) from error
    for left in (*path.parent.glob("*.levels"), *path.parent.glob("*.tmp")):
        with contextlib.suppress(OSError):  # of processes that were killed
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                left.unlink()
    scratch = path.with_name(f"{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    levels, whole = scratch.with_suffix(".levels"), scratch.with_suffix(".tmp")
    try:
        with open(levels, "wb") as file:
            table = _parse(source, file)
        shape = (len(table), NUM_VERTICES, 3)
        with open(whole, "wb") as file:
            np.lib.format.write_array(file, table, allow_pickle=False)
            header = {"descr": "<u2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)  # its magic included
            with open(levels, "rb") as part:
                while block := part.read(1 << 22):
                    file.write(block)
        os.replace(whole, path)
    finally:
        for left in (levels, whole):
            with contextlib.suppress(FileNotFoundError):
                left.unlink()
    prefix = path.name.rsplit("-", 3)[0]
    for old in path.parent.glob(f"{prefix}-*-v*.bin"):
        if old != path:
            old.unlink(missing_ok=True)


def _parse(source: Path, levels: IO[bytes]) -> NDArray[np.void]:
    """Write the quantised vertices to ``levels``; the table of their annotations.

    An annotation that is not in the format gets a row all the same, which says what is wrong.
    """
    images: dict[Any, dict[str, Any]] = {}
    rows: list[tuple[Any, ...]] = []
    image_of: list[Any] = []
    for key, element in stream_json(source, progress=f"reading {source.name}"):
        if key == "images":
            images[element.get("id")] = element
        elif key == "annotations":
            vertices, problem = _vertices(element)
            low = vertices.min(0).astype(np.float32)
            step = np.maximum((vertices.max(0) - low) / LEVELS, np.finfo(np.float32).tiny)
            scaled = np.rint((vertices - low) / step.astype(np.float32)).clip(0, LEVELS)
            levels.write(np.nan_to_num(scaled).astype("<u2").tobytes())
            number, is_left = element.get("id", len(rows)), bool(element.get("is_left"))
            rows.append((number, b"", 0, 0, is_left, low, step, problem.encode()))
            image_of.append(element.get("image_id"))
    if not rows:
        raise DatasetError(Fault("annotation", str(source), "no annotations in the file"))
    table = np.array(rows, dtype=TABLE)
    for row, image_id in zip(table, image_of, strict=True):
        image = images.get(image_id, {})
        try:
            row["image"] = str(image["name"]).encode()
            row["width"], row["height"] = image["width"], image["height"]
        except (KeyError, TypeError, ValueError):
            row["problem"] = f"no image with id {image_id}, a name, width and height".encode()
    return table


def _vertices(element: dict[str, Any]) -> tuple[NDArray[np.float64], str]:
    """The vertices (778,3) of an annotation, NaN if there are none, and what is wrong with it."""
    nothing = np.full((NUM_VERTICES, 3), np.nan)
    if missing := {"vertices", "id", "image_id", "is_left"} - element.keys():
        return nothing, f"no {', '.join(sorted(missing))}"
    try:
        vertices = np.array(element["vertices"], dtype=np.float64)
    except (TypeError, ValueError):
        return nothing, "vertices are not all triples of numbers"
    if vertices.shape != nothing.shape:
        return nothing, f"expected {NUM_VERTICES} x 3 vertices, got {vertices.shape}"
    if not np.isfinite(vertices).all():
        return nothing, "a vertex is not finite"
    return vertices, ""
