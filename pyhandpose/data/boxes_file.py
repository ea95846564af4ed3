"""Files that say where the hands are: CSV, or COCO's JSON."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FORMS = (
    "a CSV file with the columns file,x,y,w,h and, if known, hand (right or left); or COCO's JSON "
    "with images (id, file_name) and annotations (image_id, bbox [x,y,w,h], if known hand_type)"
)


class BoxesFileError(ValueError):
    """A file of boxes that cannot be read; the message names file and entry."""


@dataclass(frozen=True)
class HandBox:
    """One hand of one image."""

    box: tuple[float, float, float, float]
    """(x0, y0, x1, y1) px."""
    hand: Literal["right", "left"] | None
    """None where the file does not say."""


class BoxesFile:
    """The hands of each image of a file of boxes."""

    def __init__(self, path: Path) -> None:
        """Read ``path``, of one of ``FORMS``.

        Raises:
            BoxesFileError: not such a file, or an entry in it that makes no sense.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise BoxesFileError(f"{path}: cannot be read ({error}); expected {FORMS}") from error
        rows = _coco(text, path) if path.suffix.lower() == ".json" else _csv(text, path)
        self._by_name: Mapping[str, list[HandBox]] = _by_name(rows, path)

    def of(self, image: str) -> list[HandBox]:
        """The hands of an image file: by its path as written, else by its name alone."""
        by_path = self._by_name.get(image)
        return self._by_name.get(Path(image).name, []) if by_path is None else by_path

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))


def _by_name(rows: Iterable[tuple[str, str, Any, Any]], path: Path) -> dict[str, list[HandBox]]:
    """Rows (entry, file, (x,y,w,h), hand) as boxes of each file."""
    found: dict[str, list[HandBox]] = defaultdict(list)
    for entry, file, box, hand in rows:
        try:
            x, y, w, h = map(float, box)
        except (TypeError, ValueError):
            x = y = w = h = math.nan
        if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
            raise BoxesFileError(
                f"{path}, {entry}: expected x,y,w,h with w and h positive, got {box}"
            )
        if hand not in (None, "", "right", "left"):
            raise BoxesFileError(f"{path}, {entry}: hand must be right or left, got {hand!r}")
        found[file].append(HandBox((x, y, x + w, y + h), hand or None))
    return dict(found)


def _csv(text: str, path: Path) -> Iterable[tuple[str, str, Any, Any]]:
    reader = csv.DictReader(text.splitlines())
    if missing := {"file", "x", "y", "w", "h"} - set(reader.fieldnames or ()):
        raise BoxesFileError(
            f"{path}: no column {', '.join(sorted(missing))} in its first line; expected {FORMS}"
        )
    for row in reader:
        box = tuple(row[key] for key in "xywh")
        yield f"line {reader.line_num}", row["file"], box, row.get("hand")


def _coco(text: str, path: Path) -> Iterable[tuple[str, str, Any, Any]]:
    try:
        record = json.loads(text)
        names = {image["id"]: image["file_name"] for image in record["images"]}
        annotations = record["annotations"]
        for index, annotation in enumerate(annotations):
            name, hand = names[annotation["image_id"]], annotation.get("hand_type")
            known = hand if hand in ("right", "left") else None  # "interacting" says neither
            yield f"annotation {index}", name, annotation["bbox"], known
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BoxesFileError(f"{path}: {error!r} on the way; expected {FORMS}") from error
