"""``pyhandpose predict``: hand poses of photos, as pictures and JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from pyhandpose.data.photo import BoxOutsideError, Photo, UnreadableImageError, read_photo
from pyhandpose.data.whole_file import write_bytes, write_json
from pyhandpose.predict import ASSUMED_FOV_DEG, Prediction, Predictor
from pyhandpose.training.checkpoint import CheckpointError

DESCRIPTION = """Estimate the 3D pose of the hand in each photo.

For each FILE two files are written to --out: NAME.overlay.png, the photo with the skeleton, one
colour per finger, and NAME.json with the 21 joints in pixels of the photo and in millimetres
before the camera, and with everything that had to be assumed.

The photo should show one hand that fills a good part of the picture; otherwise say where it is
with --box. Exit status: 0 all predicted, 1 some file was skipped, 2 a mistake in the options.

examples:
  pyhandpose predict photo.jpg
  pyhandpose predict holiday/*.jpg --out poses
  pyhandpose predict photo.jpg --box 420,180,900,660 --hand left
  pyhandpose predict frame.png --checkpoint runs/finetuned --intrinsics 617,617,320,240 \\
      --hand-scale-mm 87
"""


@dataclass(frozen=True)
class Options:
    """Options of ``pyhandpose predict``."""

    files: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="FILE...", help_behavior_hint=""),
    ]
    """Photos: any format that Pillow reads."""
    checkpoint: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of a trained model; without it, the one `pyhandpose quickstart` made."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("predictions")
    """Folder for the results; made if it does not exist."""
    box: Annotated[str | None, tyro.conf.arg(metavar="X0,Y0,X1,Y1")] = None
    """Where the hand is, px; made square about its centre. Without it, the largest centred square.
    Write --box=-10,0,90,100 when the first number is negative."""
    intrinsics: Annotated[str | None, tyro.conf.arg(metavar="FX,FY,CX,CY")] = None
    """The camera, px of the photo; without it, --fov-deg is assumed."""
    fov_deg: Annotated[float, tyro.conf.arg(metavar="DEG")] = ASSUMED_FOV_DEG
    """Field of view across the longer side, degrees, used when there are no --intrinsics."""
    hand: Literal["right", "left"] = "right"
    """Which hand the photos show. Left hands are mirrored for the network, and back."""
    hand_scale_mm: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """Length from the wrist to the knuckle of the index finger, mm; without it, 90 mm is assumed.
    The 3D coordinates are proportional to it."""
    device: str = "auto"
    """Where to compute: "auto" (CUDA where there is one, else CPU), "cpu" or "cuda"."""


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    options = tyro.cli(Options, prog="pyhandpose predict", description=DESCRIPTION, args=argv)
    try:
        if not options.files:
            raise ValueError("name at least one image file; see `pyhandpose predict --help`")
        view = {
            "box": _numbers("--box", options.box),
            "intrinsics": _numbers("--intrinsics", options.intrinsics),
            "fov_deg": options.fov_deg,
            "hand": options.hand,
            "hand_scale_mm": options.hand_scale_mm,
        }
        predictor = Predictor.load(options.checkpoint, options.device)
        if options.checkpoint is None:
            print(f"model: the quick start's, {predictor.checkpoint}")
        skipped = _predict_all(predictor, options, view)
    except (ValueError, OSError, ImportError, CheckpointError) as error:
        print(f"pyhandpose predict: {error}", file=sys.stderr)
        return 2
    done = len(options.files) - len(skipped)
    print(f"{done} of {len(options.files)} predicted, in {options.out}")
    for message in skipped:
        print(f"skipped {message}", file=sys.stderr)
    return 1 if skipped else 0


def _predict_all(predictor: Predictor, options: Options, view: dict[str, Any]) -> list[str]:
    """Write the results of every file; what was skipped, and why."""
    from tqdm import tqdm

    skipped: list[str] = []
    taken: set[str] = set()
    for name in tqdm(options.files, desc="predict", unit="img", disable=None):
        try:
            photo = read_photo(name)
            (prediction,) = predictor([photo], **view)
        except UnreadableImageError as error:
            skipped.append(str(error))
            continue
        except BoxOutsideError as error:
            skipped.append(f"{name}: {error}")
            continue
        stem = free_stem(Path(name).stem, taken)
        write_bytes(options.out / f"{stem}.overlay.png", overlay_png(photo, prediction))
        write_json(options.out / f"{stem}.json", prediction.to_json())
    return skipped


def overlay_png(photo: Photo, prediction: Prediction) -> bytes:
    """The photo with the skeleton, as a PNG file's content."""
    import io

    from PIL import Image

    from pyhandpose.plot.overlay import draw_skeleton

    drawn = draw_skeleton(np.asarray(photo.image), prediction.joints_img_px)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, format="png")
    return buffer.getvalue()


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


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Four comma-separated numbers."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise ValueError(f"{option} takes four numbers separated by commas, got {text!r}")
    return numbers
