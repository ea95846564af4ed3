"""2D error on labelled photos of real hands, beside the mean pose's.

    python -m pyhandpose.experiments.real_photos --photos DIR [--checkpoint DIR] [--out DIR]

DIR holds small samples of FreiHAND, OneHand10K, RHD (COCO-like JSON: images, annotations with
keypoints) and InterHand2.6M (its own three files), a folder each, as ``read_labelled`` expects
them. A model sees each hand twice: found by itself in two looks from the image's centre, and in the
box of its labels. The mean pose is that of the synthetic world's training set, in the same crops.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from pyhandpose.data.photo import Photo, UnreadableImageError, read_photo
from pyhandpose.data.registry import open_dataset
from pyhandpose.data.whole_file import write_json
from pyhandpose.evaluation.mean_pose import MeanPose
from pyhandpose.hand.skeleton import NUM_JOINTS, to_canonical
from pyhandpose.predict import HandChoice, Predictor, Request
from pyhandpose.training.checkpoint import CheckpointError

COCO_ORDERS = {"freihand": "canonical", "onehand10k": "canonical", "rhd": "rhd"}
INTERHAND = "interhand2.6m"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """Options of this experiment."""

    photos: Path
    """Folder with the samples, a folder per dataset."""
    checkpoint: Path | None = None
    """Folder of a trained model; without it, the quick start's."""
    mean_of: str = "synthetic:2048?look=wild&size=80"
    """The labelled images whose mean pose is the baseline."""
    out: Path | None = None
    """Folder for real_photos.json."""


@dataclass(frozen=True, eq=False)
class LabelledHand:
    """One hand of one photo."""

    dataset: str
    photo: Photo
    joints_px: Array
    """(21,2), NaN without a label."""
    hand: HandChoice

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) px, close around the labelled joints."""
        low, high = np.nanmin(self.joints_px, 0) + 0.5, np.nanmax(self.joints_px, 0) + 0.5
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def extent_px(self) -> float:
        """Longer side of the box."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


def read_labelled(folder: Path) -> list[LabelledHand]:
    """Every labelled hand below ``folder``.

    Raises:
        FileNotFoundError: none of the datasets is there.
    """
    hands = [hand for name in COCO_ORDERS for hand in _coco(folder / name, name)]
    hands += _interhand(folder / INTERHAND)
    if not hands:
        raise FileNotFoundError(f"real_photos: no labelled photos in {str(folder)!r}")
    return hands


def _coco(folder: Path, name: str) -> Iterator[LabelledHand]:
    file = folder / f"test_{name}.json"
    if not file.is_file():
        return
    record = json.loads(file.read_text())
    names = {image["id"]: image["file_name"] for image in record["images"]}
    for annotation in record["annotations"]:
        labels = np.array(annotation["keypoints"], np.float64).reshape(NUM_JOINTS, 3)
        labels = to_canonical(labels, COCO_ORDERS[name])
        points = np.where(labels[:, 2:] > 0, labels[:, :2], np.nan)
        photo = read_photo(folder / names[annotation["image_id"]])
        yield LabelledHand(name, photo, points, annotation.get("hand_type", "right"))


def _interhand(folder: Path) -> Iterator[LabelledHand]:
    """World millimetres projected by the sample's camera: X_cam = R (X_world - position)."""
    parts = ("data", "camera", "joint_3d")
    files = {part: folder / f"test_{INTERHAND}_{part}.json" for part in parts}
    if not all(file.is_file() for file in files.values()):
        return
    record, cameras, worlds = (json.loads(files[part].read_text()) for part in parts)
    images = {image["id"]: image for image in record["images"]}
    for annotation in record["annotations"]:
        image = images[annotation["image_id"]]
        capture, camera = str(image["capture"]), str(image["camera"])
        calibration: dict[str, Any] = {k: v[camera] for k, v in cameras[capture].items()}
        world = np.array(worlds[capture][str(image["frame_idx"])]["world_coord"])  # (42,3)
        moved = world - np.array(calibration["campos"])
        seen = moved @ np.array(calibration["camrot"]).T
        points = seen[:, :2] / seen[:, 2:] * calibration["focal"] + calibration["princpt"]
        valid = np.array(annotation["joint_valid"]).reshape(-1, 1) > 0
        points = np.where(valid, points, np.nan)
        photo = read_photo(folder / image["file_name"])
        sides: tuple[tuple[HandChoice, slice], ...] = (
            ("right", slice(0, NUM_JOINTS)),
            ("left", slice(NUM_JOINTS, 2 * NUM_JOINTS)),
        )
        for hand, rows in sides:
            if np.isfinite(points[rows]).all(1).sum() > 1:  # one joint has no box
                joints = to_canonical(points[rows], "interhand")
                yield LabelledHand(INTERHAND, photo, joints, hand)


def errors_px(
    predictor: Predictor, hands: list[LabelledHand], *, boxes: bool, passes: int = 2
) -> Array:
    """(N,) mean distance over each hand's labelled joints, px of the photo."""
    requests = [Request(hand.photo, hand.box if boxes else None, hand.hand) for hand in hands]
    found = [prediction for _, (prediction,) in predictor.stream(requests, passes=passes)]
    return np.array(
        [
            np.nanmean(np.linalg.norm(prediction.joints_img_px - hand.joints_px, axis=1))
            for prediction, hand in zip(found, hands, strict=True)
        ]
    )


def measure(predictor: Predictor, mean: MeanPose, hands: list[LabelledHand]) -> dict[str, Array]:
    """(N,) px of the model and of the mean pose, found by itself and in the labels' box."""
    baseline = Predictor(mean, predictor.input_size, "mean pose")
    baseline.two_pass = predictor.two_pass  # the same first crop, the same margin about a box
    return {
        "model, two looks": errors_px(predictor, hands, boxes=False),
        # it answers every crop alike, so that a second look would tell it nothing
        "mean pose, centre": errors_px(baseline, hands, boxes=False, passes=1),
        "model, in the box": errors_px(predictor, hands, boxes=True),
        "mean pose, in the box": errors_px(baseline, hands, boxes=True),
    }


def table(hands: list[LabelledHand], errors: dict[str, Array]) -> str:
    """2D EPE in px, and in brackets as a share of the hand's longer side, by dataset."""
    extents = np.array([hand.extent_px for hand in hands])
    names = np.array([hand.dataset for hand in hands])
    lines = [
        f"| dataset | hands | {' | '.join(errors)} |",
        f"|---|--:|{'--:|' * len(errors)}",
    ]
    for name in [*dict.fromkeys(names.tolist()), "all"]:
        chosen = (names == name) | (name == "all")
        cells = [
            f"{error[chosen].mean():.1f} px ({(error / extents)[chosen].mean():.0%})"
            for error in errors.values()
        ]
        lines.append(f"| {name} | {chosen.sum()} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run the experiment; the exit status."""
    options = tyro.cli(Options, prog="pyhandpose.experiments.real_photos", args=argv)
    try:
        hands = read_labelled(options.photos)
        predictor = Predictor.load(options.checkpoint)
        mean = MeanPose.fit(open_dataset(options.mean_of))
    except (OSError, ValueError, CheckpointError, UnreadableImageError) as error:
        print(f"real_photos: {error}", file=sys.stderr)
        return 2
    errors = measure(predictor, mean, hands)
    print(table(hands, errors))
    if options.out is not None:
        rows = [
            {
                "source": Path(hand.photo.source or "").name,
                "hand": hand.hand,
                "extent_px": round(hand.extent_px, 2),
                **{name: round(float(error[row]), 2) for name, error in errors.items()},
            }
            for row, hand in enumerate(hands)
        ]
        write_json(options.out / "real_photos.json", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
