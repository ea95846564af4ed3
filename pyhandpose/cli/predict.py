"""``pyhandpose predict``: hand poses of photos and videos, as pictures, tables and JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyhandpose.data.boxes_file import BoxesFile
from pyhandpose.data.inputs import Inputs, expand_inputs
from pyhandpose.data.photo import BoxOutsideError
from pyhandpose.data.video import VideoError
from pyhandpose.evaluation.metrics import MM_PER_M
from pyhandpose.predict import ASSUMED_FOV_DEG, Camera, HandChoice, Predictor
from pyhandpose.predict.photos import REPORT, Outcome, Settings, free_stem, predict_photos
from pyhandpose.predict.videos import predict_video
from pyhandpose.training.checkpoint import CheckpointError
from pyhandpose.training.loop import EXIT_STOPPED

DESCRIPTION = """Estimate the 3D pose of the hand in each photo, or in each frame of a video.

For each photo --out receives NAME.overlay.png (the skeleton on the photo, a colour per finger),
NAME.3d.png (the pose from two angles) and NAME.json: 21 joints in pixels of the photo and in
millimetres before the camera, and everything that had to be assumed. report.html shows all photos
with skeletons that turn with the mouse; it is one file and needs no network. A video gives
NAME.overlay.mp4 and NAME.csv; videos and webcams need OpenCV (pip install 'pyhandpose[opencv]').

Say where the hand is with --box or --boxes. Without, the network looks at the centre first and then
around the joints that it found there. Exit status: 0 all predicted, 1 something was skipped, 2 a
mistake in the options.

examples:
  pyhandpose predict photo.jpg
  pyhandpose predict holiday --out poses                  (a folder; or "holiday/**/*.jpg")
  pyhandpose predict photo.jpg --box 420,180,480,480 --hand left
  pyhandpose predict photos --boxes boxes.csv             (columns file,x,y,w,h,hand)
  pyhandpose predict frame.png --checkpoint runs/finetuned --intrinsics 617,617,320,240 \\
      --hand-scale 0.087
  pyhandpose predict clip.mp4                             (or webcam:0, until Ctrl-C)
"""

LONGEST_HAND_SCALE = 0.5
"""m; whoever gives more means millimetres."""


@dataclass(frozen=True)
class Options:
    """Options of ``pyhandpose predict``."""

    files: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="FILE...", help_behavior_hint=""),
    ]
    """Photos (any format that Pillow reads), folders, patterns, videos, or webcam:0."""
    checkpoint: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of a trained model; without it, the one `pyhandpose quickstart` made."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("predictions")
    """Folder for the results; made if it does not exist."""
    box: Annotated[str | None, tyro.conf.arg(metavar="X,Y,W,H")] = None
    """Where the hand is: left, top, width and height, px, close around it; the margin that the
    network wants is added. Write --box=-10,0,100,100 when the first number is negative."""
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A file with the hands of each photo, one or several: CSV with the columns file,x,y,w,h and,
    if known, hand; or COCO's JSON. Photos that it does not name are skipped."""
    passes: int = 2
    """Without a box: 2 looks at the centre, then around the joints found there; 1 at the centre
    alone."""
    intrinsics: Annotated[str | None, tyro.conf.arg(metavar="FX,FY,CX,CY")] = None
    """The camera, px of the photo; without it, --fov-deg is assumed."""
    fov_deg: Annotated[float, tyro.conf.arg(metavar="DEG")] = ASSUMED_FOV_DEG
    """Field of view across the longer side, degrees, used when there are no --intrinsics."""
    hand: HandChoice | None = None
    """Which hand the photos show; without it, right is assumed. Left hands are mirrored for the
    network, and back. auto-both estimates either and writes both: the network cannot tell."""
    hand_scale: Annotated[float | None, tyro.conf.arg(metavar="M")] = None
    """Length of the model's reference bone, METRES: from the wrist to the knuckle of the index
    finger (0.09 is assumed), for the published PeCLR network from the middle finger's knuckle to
    its next joint (0.031). The 3D coordinates are proportional to it."""
    seconds: float | None = None
    """Of a video, predict so much; record a webcam for so long."""
    report: bool = True
    """Write report.html."""
    batch_size: int = 8
    """Hands that the network sees at a time; their photos are held in memory whole."""
    device: str = "auto"
    """Where to compute: "auto" (CUDA where there is one, else CPU), "cpu" or "cuda"."""


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    options = tyro.cli(Options, prog="pyhandpose predict", description=DESCRIPTION, args=argv)
    try:
        if not options.files:
            raise ValueError("name at least one image file; see `pyhandpose predict --help`")
        settings = settings_of(options)
        inputs = expand_inputs(options.files, options.out)
        predictor = Predictor.load(options.checkpoint, options.device)
        if options.checkpoint is None:
            print(f"model: the quick start's, {predictor.checkpoint}")
        outcome = _predict_all(predictor, inputs, settings, options)
    except (ValueError, OSError, ImportError, CheckpointError) as error:
        print(f"pyhandpose predict: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"pyhandpose predict: stopped; what is done is in {options.out}", file=sys.stderr)
        return EXIT_STOPPED
    total = len(inputs.photos) + len(inputs.videos)
    print(f"{outcome.done} of {total} predicted, in {options.out}")
    if (options.out / REPORT).is_file() and inputs.photos and options.report:
        print(f"look at them: {options.out / REPORT}")
    nothing = tuple(f"{word}: no photo or video in it" for word in inputs.nothing)
    for message in (*outcome.skipped, *nothing):
        print(f"skipped {message}", file=sys.stderr)
    return 1 if outcome.skipped or nothing else 0


def settings_of(options: Options) -> Settings:
    """What the options ask for.

    Raises:
        ValueError: an option that makes no sense, by name.
    """
    box = _numbers("--box", options.box)
    if box is not None and options.boxes is not None:
        raise ValueError("give --box for all photos or --boxes for each, not both")
    if box is not None and (box[2] <= 0 or box[3] <= 0):
        raise ValueError(
            f"--box takes x,y,w,h, w and h the width and height of the box: they must be positive, "
            f"got {options.box}"
        )
    scale = options.hand_scale
    if scale is not None and not 0 < scale <= LONGEST_HAND_SCALE:
        raise ValueError(
            f"--hand-scale is in metres, between 0 and {LONGEST_HAND_SCALE:g}: the length of one "
            f"bone, such as 0.09; got {scale:g}"
        )
    return Settings(
        camera=Camera(
            _numbers("--intrinsics", options.intrinsics),
            options.fov_deg,
            None if scale is None else MM_PER_M * scale,
        ),
        box=None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3]),
        boxes=None if options.boxes is None else BoxesFile(options.boxes),
        hand=options.hand,
        batch_size=options.batch_size,
        passes=options.passes,
    )


def _predict_all(
    predictor: Predictor, inputs: Inputs, settings: Settings, options: Options
) -> Outcome:
    """Photos, then videos."""
    outcome = Outcome(0, ())
    if inputs.photos:
        outcome = predict_photos(predictor, inputs.photos, settings, options.out, options.report)
    done, skipped = outcome.done, list(outcome.skipped)
    stems: set[str] = set()
    for name in inputs.videos:
        if settings.boxes is not None:
            skipped.append(f"{name}: a file of boxes names photos; give --box for a video")
            continue
        stem = free_stem(Path(name).stem.replace(":", ""), stems)
        try:
            frames = predict_video(predictor, name, settings, options.out, stem, options.seconds)
        except VideoError as error:
            skipped.append(str(error))
        except BoxOutsideError as error:
            skipped.append(f"{name}: {error}")
        else:
            done += 1
            print(f"{name}: {frames} frames")
    return Outcome(done, tuple(skipped))


def _numbers(option: str, text: str | None) -> tuple[float, float, float, float] | None:
    """Four comma-separated numbers."""
    if text is None:
        return None
    try:
        first, second, third, fourth = map(float, text.split(","))
    except ValueError as error:
        raise ValueError(
            f"{option} takes four numbers separated by commas, got {text!r}"
        ) from error
    return first, second, third, fourth
