"""Frames of a video or a webcam, and a video of frames, through OpenCV (the extra ``opencv``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.inputs import WEBCAM

Frame = NDArray[np.uint8]

ASSUMED_FPS = 30.0
"""Frames per second of a source that does not say."""

CODECS = ((".mp4", "mp4v"), (".avi", "MJPG"))
"""File suffix and codec, the first that this OpenCV can write."""


class VideoError(ValueError):
    """A video that cannot be read or written; the message names it."""


def require_opencv(what: str) -> ModuleType:
    """OpenCV's module.

    Raises:
        VideoError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise VideoError(
            f"{what}: videos and webcams need OpenCV, which is not installed; "
            "pip install 'pyhandpose[opencv]'"
        ) from error
    return cv2


@dataclass(frozen=True)
class Timing:
    """What a source says of itself."""

    fps: float
    num_frames: int | None
    """None where it is not known, as of a webcam."""


class VideoSource:
    """Frames one by one; a context manager."""

    def __init__(self, name: str) -> None:
        """Open a file, or ``webcam:0``.

        Raises:
            VideoError: OpenCV is missing, no such file or camera, or not a video.
        """
        cv2 = require_opencv(name)
        self.name = name
        live = name.startswith(WEBCAM)
        number = name.removeprefix(WEBCAM)
        if live and not number.isdecimal():
            raise VideoError(f"{name}: expected the camera's number, such as webcam:0")
        if not live and not os.path.isfile(name):
            raise VideoError(f"{name}: no such file")
        self._capture: Any = cv2.VideoCapture(int(number) if live else name)
        if not self._capture.isOpened():
            reason = "no such camera, or it is in use" if live else "not a video OpenCV can read"
            raise VideoError(f"{name}: {reason}")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        usable = np.isfinite(fps) and 0 < fps <= 1000
        known = count if count > 0 and not live else None
        self.timing = Timing(float(fps) if usable else ASSUMED_FPS, known)

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def frames(self) -> Iterator[Frame]:
        """(H,W,3) uint8 RGB, until the end of the video or of the camera's patience."""
        while True:
            there, frame = self._capture.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[..., ::-1])


class VideoWriter:
    """A video that is there whole or not at all; a context manager."""

    def __init__(self, stem: Path, fps: float, size: tuple[int, int]) -> None:
        """Begin ``stem`` + .mp4 (or .avi, where OpenCV cannot write that).

        Args:
            stem: the file without its suffix.
            fps: frames per second.
            size: (width, height) of every frame, px; an odd one is repeated by a row or column at
                the end, because the codecs know even ones only.

        Raises:
            VideoError: OpenCV is missing, or it can write neither.
        """
        cv2 = require_opencv(str(stem))
        self._padding = ((0, size[1] % 2), (0, size[0] % 2), (0, 0))
        even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix, codec in CODECS:
            self.path = stem.with_name(stem.name + suffix)
            self._temporary = stem.with_name(f".{stem.name}.{os.getpid()}{suffix}")
            code = cv2.VideoWriter_fourcc(*codec)
            self._writer: Any = cv2.VideoWriter(str(self._temporary), code, fps, even)
            if self._writer.isOpened():
                return
            self._temporary.unlink(missing_ok=True)
        raise VideoError(f"{stem}: this OpenCV can write neither mp4 nor avi videos")

    def write(self, frame: Frame) -> None:
        """Append (H,W,3) uint8 RGB."""
        even = np.pad(frame, self._padding, mode="edge")
        self._writer.write(np.ascontiguousarray(even[..., ::-1]))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._writer.release()
        if kind is None:
            os.replace(self._temporary, self.path)
        else:
            self._temporary.unlink(missing_ok=True)
