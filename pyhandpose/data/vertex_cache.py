"""YouTube3DHands' annotations, parsed once from 800 MB of JSON into arrays that are memory-mapped.

A table has a row per annotation and is read whole (11 MB for 47,125); of the vertices only the
pages in use are in memory. A vertex coordinate is stored in 16 bits over its annotation's range,
v = low + step k: for a hand of 600 px the rounding is under 0.005 px, and the arrays are a quarter
of the JSON. Where they are kept, and when they are made again: ``data/array_cache``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotation_json import stream_json
from pyhandpose.data.array_cache import cached_arrays
from pyhandpose.data.faults import DatasetError, Fault

VERSION = 1
NUM_VERTICES = 778
LEVELS = 2**16 - 1

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

    def __init__(self, source: Path) -> None:
        """Open the cache, and build it first if it is missing, damaged or out of date.

        Raises:
            DatasetError: the source is missing, cut off, or has no annotations.
        """
        if not source.is_file():
            raise DatasetError(Fault("missing file", str(source), "no such file"))
        self.source = source
        arrays = cached_arrays("yt3d", [source], VERSION, lambda: _parse(source))
        self.table: NDArray[np.void] = np.array(arrays["table"])
        self._levels = arrays["levels"]

    def vertices(self, index: int) -> NDArray[np.float64]:
        """(778,3): x, y px of the image and z in pixels, relative."""
        row = self.table[index]
        return row["low"] + row["step"].astype(np.float64) * self._levels[index]

    def __reduce__(self) -> tuple[type[VertexCache], tuple[Path]]:
        return VertexCache, (self.source,)  # another process maps the arrays itself


def _parse(source: Path) -> dict[str, NDArray[Any]]:
    """The table and the quantised vertices, which go through a temporary file, not the memory."""
    with tempfile.TemporaryFile() as file:
        table = _read_annotations(source, file)
        file.flush()
        shape = (len(table), NUM_VERTICES, 3)
        return {"table": table, "levels": np.memmap(file, "<u2", "r", shape=shape)}


def _read_annotations(source: Path, levels: IO[bytes]) -> NDArray[np.void]:
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
