"""Predictions of many photos as files: a record, an overlay and a 3D picture of each, a report."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.boxes_file import BoxesFile
from pyhandpose.data.photo import BoxOutsideError, Photo, UnreadableImageError, read_photo
from pyhandpose.data.whole_file import write_bytes, write_json, write_text
from pyhandpose.hand.skeleton import JOINT_NAMES
from pyhandpose.plot.html_report import MAXIMUM_CARDS, Card, HandView, html_report
from pyhandpose.plot.overlay import draw_skeleton
from pyhandpose.predict.camera import Camera
from pyhandpose.predict.predictor import HandChoice, Predictor, Request
from pyhandpose.predict.record import Prediction

REPORT = "report.html"


@dataclass(frozen=True)
class Settings:
    """How to predict, the same for every photo."""

    camera: Camera = field(default_factory=Camera)
    """Intrinsics or field of view, and the hand's size."""
    box: tuple[float, float, float, float] | None = None
    """(x0, y0, x1, y1) px around the hand, in every photo."""
    boxes: BoxesFile | None = None
    """The hands of each photo; photos without one are skipped."""
    hand: HandChoice | None = None
    """Which hand the photos show, where ``boxes`` does not say."""
    batch_size: int = 8
    """Hands at a time."""
    passes: int = 2
    """Looks at a photo without a box."""


@dataclass(frozen=True)
class Outcome:
    """What became of a number of photos."""

    done: int
    skipped: tuple[str, ...]
    """Why, a sentence each that names the file."""


def predict_photos(
    predictor: Predictor, files: Sequence[str], settings: Settings, out: Path, report: bool = True
) -> Outcome:
    """Write NAME.json, NAME.overlay.png and NAME.3d.png of every file, and ``report.html``.

    Args:
        predictor: a loaded model.
        files: photos; those that cannot be read are skipped.
        settings: how to predict.
        out: folder for the results.
        report: also write the report, of the first ``MAXIMUM_CARDS`` photos.
    """
    from tqdm import tqdm

    skipped: list[str] = []
    stems: set[str] = set()
    cards: list[Card] = []
    done = 0
    with tqdm(total=len(files), desc="predict", unit="img", disable=None) as bar:
        requests = _requests(predictor, files, settings, skipped)
        stream = predictor.stream(
            requests, settings.camera, batch_size=settings.batch_size, passes=settings.passes
        )
        for photo, hands in _by_photo(stream):
            stem = free_stem(Path(photo.source or "photo").stem, stems)
            write_photo(out, stem, photo, hands)
            if report and len(cards) < MAXIMUM_CARDS:
                cards.append(card(photo, hands))
            done += 1
            bar.update(done + len(skipped) - bar.n)
    if cards:
        left_out = done - len(cards)
        write_text(out / REPORT, html_report(cards, predictor.checkpoint, left_out))
    return Outcome(done, tuple(skipped))


def write_photo(out: Path, stem: str, photo: Photo, hands: Sequence[Prediction]) -> None:
    """The record, the overlay and the 3D picture of one photo."""
    from pyhandpose.plot.figure import png_bytes
    from pyhandpose.plot.skeleton3d import skeletons_figure

    write_bytes(out / f"{stem}.overlay.png", _png(overlay(photo, hands)))
    poses = {f"{index}, {hand.hand}": hand.joints_cam_mm for index, hand in enumerate(hands, 1)}
    if len(hands) == 1:
        poses = {f"{hands[0].hand} hand": hands[0].joints_cam_mm}
    write_bytes(out / f"{stem}.3d.png", png_bytes(skeletons_figure(poses)))
    record = {"source": photo.source, "hands": [hand.to_json() for hand in hands]}
    write_json(out / f"{stem}.json", record)


def overlay(photo: Photo, hands: Sequence[Prediction]) -> NDArray[np.uint8]:
    """The photo with the skeletons; the estimates as right and as left hand side by side."""
    image = np.asarray(photo.image)
    if not any(hand.hand_from == "both" for hand in hands):
        return _draw(image, hands)
    sides = [[hand for hand in hands if hand.hand == side] for side in ("right", "left")]
    return np.concatenate([_draw(image, side) for side in sides], axis=1)


def card(photo: Photo, hands: Sequence[Prediction]) -> Card:
    """The photo's part of the report."""
    views = tuple(
        HandView(
            label=hand.hand,
            joints_img_px=hand.joints_img_px,
            joints_mm=hand.joints_cam_mm,
            facts=(f"depth: {hand.depth}", *hand.assumptions()),
        )
        for hand in hands
    )
    return Card.of(photo.source or "photo", np.asarray(photo.image), views)


def free_stem(stem: str, taken: set[str]) -> str:
    """``stem``, or with _2, _3, ... the first that is not ``taken`` yet; it is then taken.

    Letter case is ignored, as some file systems do.
    """
    free, count = stem, 1
    while free.casefold() in taken:
        count += 1
        free = f"{stem}_{count}"
    taken.add(free.casefold())
    return free


def csv_header() -> list[str]:
    """Columns of a table of predictions: where, which hand, how certain, then five per joint."""
    parts = ("u_px", "v_px", "x_mm", "y_mm", "z_mm")
    joints = [f"{joint}_{part}" for joint in JOINT_NAMES for part in parts]
    return ["frame", "time_s", "hand", "depth", *joints]


def csv_row(frame: int, time_s: float, hand: Prediction) -> list[str]:
    """One line of the table; an empty cell is a number that there is not."""
    rows = np.concatenate([hand.joints_img_px, hand.joints_cam_mm], axis=1)  # (21,5)
    numbers = [f"{value:.3f}" if np.isfinite(value) else "" for value in rows.ravel()]
    return [str(frame), f"{time_s:.3f}", hand.hand, hand.depth.split(":")[0], *numbers]


def _requests(
    predictor: Predictor, files: Sequence[str], settings: Settings, skipped: list[str]
) -> Iterator[Request]:
    """The hands of every file that can be read; of the others the reason is noted."""
    for file in files:
        try:
            photo = read_photo(file)
            requests = _hands_of(photo, file, settings)
            if not requests:
                skipped.append(f"{file}: no box for it in the file of boxes")
            for request in requests:
                predictor.crop_of(request)  # a box outside this photo spoils this photo alone
        except UnreadableImageError as error:
            skipped.append(str(error))
        except BoxOutsideError as error:
            skipped.append(f"{file}: {error}")
        else:
            yield from requests


def _hands_of(photo: Photo, file: str, settings: Settings) -> list[Request]:
    if settings.boxes is None:
        return [Request(photo, settings.box, settings.hand)]
    found = settings.boxes.of(file)
    return [Request(photo, hand.box, hand.hand or settings.hand) for hand in found]


def _by_photo(
    stream: Iterator[tuple[Request, list[Prediction]]],
) -> Iterator[tuple[Photo, list[Prediction]]]:
    """The predictions of consecutive requests for one photo together."""
    photo: Photo | None = None
    hands: list[Prediction] = []
    for request, predictions in stream:
        if photo is not None and request.photo is not photo:
            yield photo, hands
            hands = []
        photo = request.photo
        hands = [*hands, *predictions]
    if photo is not None:
        yield photo, hands


def _draw(image: NDArray[np.uint8], hands: Sequence[Prediction]) -> NDArray[np.uint8]:
    for hand in hands:
        image = draw_skeleton(image, hand.joints_img_px)
    return image


def _png(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png")
    return buffer.getvalue()
