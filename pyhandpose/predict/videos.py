"""Predictions of a video or a webcam: a video with the skeletons, and a table of the joints."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from pyhandpose.data.inputs import WEBCAM
from pyhandpose.data.photo import Photo
from pyhandpose.data.video import VideoError, VideoSource, VideoWriter
from pyhandpose.predict.photos import Settings, csv_header, csv_row, overlay
from pyhandpose.predict.predictor import Predictor, Request


def predict_video(
    predictor: Predictor,
    name: str,
    settings: Settings,
    out: Path,
    stem: str,
    seconds: float | None = None,
) -> int:
    """Write STEM.overlay.mp4 (or .avi) and STEM.csv, a line per frame (two for "auto-both").

    Each frame is looked at by itself: nothing is tracked and nothing smoothed. Ctrl-C ends the
    video; what was seen until then is written.

    Args:
        predictor: a loaded model.
        name: a video file, or ``webcam:N``.
        settings: how to predict; ``boxes`` does not apply.
        out: folder for the results.
        stem: the results' name.
        seconds: stop after so much of the video (of the webcam: so long).

    Returns:
        The number of frames.

    Raises:
        VideoError: OpenCV is missing, not a video, or one without frames.
        BoxOutsideError: the box does not lie in the frames.
    """
    from tqdm import tqdm

    table = out / f"{stem}.csv"
    temporary = table.with_name(f".{table.name}.{os.getpid()}")
    count = 0
    try:
        with ExitStack() as open_files:
            source = open_files.enter_context(VideoSource(name))
            frames = _frames(source, seconds)
            requests = (Request(frame, settings.box, settings.hand) for frame in frames)
            batch_size = 1 if name.startswith(WEBCAM) else settings.batch_size
            stream = predictor.stream(
                requests, settings.camera, batch_size=batch_size, passes=settings.passes
            )
            bar = open_files.enter_context(
                tqdm(total=source.timing.num_frames, desc=stem, unit="frame", disable=None)
            )
            writer: VideoWriter | None = None
            started = time.monotonic()
            try:
                for request, hands in stream:
                    drawn = overlay(request.photo, hands)
                    if writer is None:
                        size = (drawn.shape[1], drawn.shape[0])
                        target = out / f"{stem}.overlay"
                        writer = open_files.enter_context(
                            VideoWriter(target, source.timing.fps, size)
                        )
                        file = open_files.enter_context(temporary.open("w", newline=""))
                        rows = csv.writer(file)
                        rows.writerow(csv_header())
                    writer.write(drawn)
                    live = name.startswith(WEBCAM)
                    at = time.monotonic() - started if live else count / source.timing.fps
                    rows.writerows(csv_row(count, at, hand) for hand in hands)
                    count += 1
                    bar.update()
            except KeyboardInterrupt:
                pass  # the user has seen enough: keep what there is
            if writer is None:
                raise VideoError(f"{name}: no frame could be read")
        os.replace(temporary, table)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _frames(source: VideoSource, seconds: float | None) -> Iterator[Photo]:
    live = source.name.startswith(WEBCAM)
    started = time.monotonic()
    for count, frame in enumerate(source.frames()):
        elapsed = time.monotonic() - started if live else count / source.timing.fps
        if seconds is not None and elapsed >= seconds:
            return
        yield Photo(Image.fromarray(frame), source.name)
