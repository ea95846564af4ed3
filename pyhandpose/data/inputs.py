"""What a user names on a command line: photos, folders, patterns, videos, a webcam."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyhandpose.data.folder import find_images

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})

WEBCAM = "webcam:"


@dataclass(frozen=True)
class Inputs:
    """The files behind a user's words, each once, in the order in which they were named."""

    photos: tuple[str, ...]
    videos: tuple[str, ...]
    """Files, and ``webcam:N``."""
    nothing: tuple[str, ...]
    """Folders without a photo or video, and patterns that match no file."""


def expand_inputs(words: Sequence[str], results: Path | None = None) -> Inputs:
    """The photos and videos that ``words`` name, but for those below the folder ``results``.

    A folder stands for the photos and videos below it, sorted. A word with ``*``, ``?`` or ``[``
    that is no file is a pattern, in which ``**`` stands for any folders. Everything else is one
    file, whether it exists or not: who opens it will say.
    """
    photos: dict[str, None] = {}
    videos: dict[str, None] = {}
    nothing = []
    for word in words:
        files = _files(word)
        if not files:
            nothing.append(word)
        for file in files:
            if file != word and results is not None and results.resolve() in _above(file):
                continue  # the pictures of an earlier run
            (videos if _is_video(file) else photos)[file] = None
    return Inputs(tuple(photos), tuple(videos), tuple(nothing))


def _files(word: str) -> list[str]:
    if word.startswith(WEBCAM):
        return [word]
    if Path(word).is_dir():
        moving = (path for path in Path(word).rglob("*") if _is_video(str(path)))
        found = find_images(Path(word)) + sorted(path for path in moving if path.is_file())
        return list(map(str, found))
    if not Path(word).exists() and glob.has_magic(word):
        return [name for name in sorted(glob.glob(word, recursive=True)) if Path(name).is_file()]
    return [word]


def _above(file: str) -> Sequence[Path]:
    return Path(file).resolve().parents


def _is_video(name: str) -> bool:
    return name.startswith(WEBCAM) or Path(name).suffix.lower() in VIDEO_SUFFIXES
