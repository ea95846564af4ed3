"""``pyhandpose data``: look at datasets, check them, split them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from tqdm import tqdm

from pyhandpose.data.annotated import AnnotatedDataset
from pyhandpose.data.check import MAX_REPROJECTION_PX, CheckReport, check_dataset
from pyhandpose.data.faults import DatasetError, Fault
from pyhandpose.data.joint_regressor import fit_to_freihand
from pyhandpose.data.registry import Dataset, describe_forms, open_dataset
from pyhandpose.data.splits import PAPER_SPLITS, random_split
from pyhandpose.data.whole_file import write_bytes, write_json
from pyhandpose.hand.skeleton import JOINT_NAMES
from pyhandpose.plot.contact_sheet import contact_sheet
from pyhandpose.plot.overlay import draw_skeleton

DESCRIPTION = """Datasets of hands: which there are, whether yours is whole, how to split it.

  pyhandpose data list
  pyhandpose data check freihand:/data/FreiHAND_pub_v2
  pyhandpose data split freihand:/data/FreiHAND_pub_v2 --out freihand-90-10.json
  pyhandpose data fit-regressor /data/FreiHAND_pub_v2 --out regressor.npy
"""

CHECK = """Check a dataset on your disk before you train on it.

Every entry is looked at, and nothing stops at the first problem: files and folders, numbers of
entries, JSON that is cut off, images that are missing, damaged or of the wrong size, joints that
are not finite, odd cameras, image points that are not where the camera puts the 3D joints, hands
of an impossible size (wrong units). Each problem is named with its file and entry.

Then look at the contact sheet: hands are right hands (left ones have been mirrored), and the
skeleton must lie on the fingers, each colour on its own finger. No program can see for you that
the thumb is the thumb.

Exit status: 0 nothing wrong, 1 problems found, 2 a mistake on the command line.

examples:
  pyhandpose data check freihand:/data/FreiHAND_pub_v2
  pyhandpose data check "yt3d:/data/YT3D?split=val" --images 500 --json report.json
  pyhandpose data check "freihand:FreiHAND_pub_v2?geometry=true" --contact-sheet masks.png
"""

SPLIT = """Choose which entries are for what, and write the choice to a file.

What belongs together stays together: the four versions of a FreiHAND hand, the frames of a video or
a sequence. FreiHAND, STB and Dexter+Object get the split of the papers, others a random one. Use it
as "freihand:PATH?splits=FILE&part=train".
"""

FIT = """Fit a regressor from the 778 vertices of a hand mesh to its 21 joints.

MANO's own regressor may not be passed on, but FreiHAND has both meshes and joints. The result gives
YouTube3DHands its joints: "yt3d:PATH?regressor=FILE". Reads training_verts.json and
training_xyz.json.
"""

SHOWN = 10
"""Problems of each kind that are printed; --json has all."""

SHEET_COUNT, SHEET_COLUMNS, SHEET_SIDE = 48, 8, 160


@dataclass(frozen=True)
class Check:
    """Options of ``pyhandpose data check``."""

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME:PATH")]
    """The dataset, as in --data of the other commands; `pyhandpose data list` has the names."""
    images: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Read so many images only, evenly spread; labels are all checked. By default all are read."""
    contact_sheet: Annotated[Path | None, tyro.conf.arg(metavar="PNG")] = Path("contact-sheet.png")
    """Where to draw some samples with their joints; None draws none. With geometry=true, what is
    outside the hand's mask is darkened."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the whole report to this file, or to standard output if it is "-"."""
    max_reprojection_px: Annotated[float, tyro.conf.arg(metavar="PX")] = MAX_REPROJECTION_PX
    """A labelled image point further than this from its projected 3D joint is a problem."""


@dataclass(frozen=True)
class Split:
    """Options of ``pyhandpose data split``."""

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME:PATH")]
    """The dataset."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The JSON file to write."""
    seed: int = 0
    """Another seed is another random choice."""
    held_out: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Hold out this share at random; by default the papers' split, or a tenth."""


@dataclass(frozen=True)
class FitRegressor:
    """Options of ``pyhandpose data fit-regressor``."""

    freihand: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FREIHAND_PUB_V2")]
    """FreiHAND's folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("joint-regressor.npy")
    """The array to write, (21,778), canonical order."""


@dataclass(frozen=True)
class List:
    """Options of ``pyhandpose data list``."""


Options = (
    Annotated[Check, tyro.conf.subcommand("check", description=CHECK)]
    | Annotated[Split, tyro.conf.subcommand("split", description=SPLIT)]
    | Annotated[FitRegressor, tyro.conf.subcommand("fit-regressor", description=FIT)]
    | Annotated[List, tyro.conf.subcommand("list", description="Every dataset and its options.")]
)


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    options = tyro.cli(Options, prog="pyhandpose data", description=DESCRIPTION, args=argv)
    try:
        match options:
            case Check():
                return check(options)
            case Split():
                return split(options)
            case FitRegressor():
                return fit(options)
        print(describe_forms())
    except (ValueError, OSError) as error:
        print(f"pyhandpose data: {error}", file=sys.stderr)
        return 2
    return 0


def check(options: Check) -> int:
    """Check a dataset; 1 if something is wrong with it."""
    if options.images is not None and options.images < 1:
        raise ValueError(f"--images must be at least 1, got {options.images}")
    with _quiet("pyhandpose.data"):  # the report says it all
        try:
            dataset = open_dataset(options.data, on_error="skip")
        except (DatasetError, FileNotFoundError) as error:
            return _unusable(options, error)
        return _check_opened(options, dataset)


def _check_opened(options: Check, dataset: Dataset) -> int:
    with tqdm(total=len(dataset), desc="checking", unit="entry", disable=None) as bar:
        reports = list(
            check_dataset(
                dataset,
                images=options.images,
                max_reprojection_px=options.max_reprojection_px,
                progress=bar.update,
            )
        )
    # with the report on standard output, nothing else may be there
    text = sys.stderr if options.json == Path("-") else sys.stdout
    for report in reports:
        print(describe(report), file=text)
    if options.contact_sheet is not None and (pictures := samples(dataset)) is not None:
        sheet = contact_sheet(pictures, columns=min(SHEET_COLUMNS, len(pictures)))
        write_bytes(options.contact_sheet, _png(sheet))
        print(f"\nnow look at {options.contact_sheet}", file=text)
    _write_report(options.json, [report.to_json() for report in reports])
    return int(any(report.problems for report in reports))


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """No warnings of a logger meanwhile."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _unusable(options: Check, error: Exception) -> int:
    """Say why a dataset cannot be opened at all."""
    found: list[Fault] = []
    if isinstance(error, DatasetError):
        found = list(dict.fromkeys([*error.earlier, error.fault]))
    problems = [vars(fault) for fault in found] or [{"problem": str(error)}]
    _write_report(options.json, [{"dataset": options.data, "problems": problems}])
    lines = [f"  {fault}" for fault in found] or [f"  {error}"]
    print("\n".join([f"{options.data} cannot be used:", *lines]), file=sys.stderr)
    return 1


def _write_report(path: Path | None, record: object) -> None:
    if path == Path("-"):
        print(json.dumps(record, indent=2))
    elif path is not None:
        write_json(path, record)


def describe(report: CheckReport) -> str:
    """A report for people."""
    values = report.to_json()
    lines = [
        report.name,
        f"  entries           {report.entries:,}, {report.left:,} left hands",
        f"  images read       {report.images:,}",
    ]
    if sizes := values["image_sizes_px"]:
        shown = [f"{size} ({count:,})" for size, count in list(sizes.items())[:4]]
        lines.append(f"  image sizes, px   {', '.join(shown)}{', ...' * (len(sizes) > 4)}")
    for name, title in (("image", "points"), ("3d", "3D    ")):
        if report.labelled[name]:
            mean = report.labelled[name] / max(1, report.entries)
            lines.append(f"  labelled {title}   {mean:.4g} of {len(JOINT_NAMES)} joints an entry")
    for key, title in (("reprojection_px", "reprojection, px "), ("palm_mm", "palm length, mm  ")):
        if spread := values[key]:
            lines.append("  {} {min:.3g} to {max:.3g}, median {median:.3g}".format(title, **spread))
    lines += [f"  note              {note}" for note in report.notes]
    if not report.problems:
        return "\n".join([*lines, "  no problem found"])
    lines.append(f"  {len(report.problems):,} problems")
    for kind, count in report.faults.counts.most_common():
        lines.append(f"    {kind}: {count:,}")
        named = [fault for fault in report.problems if fault.kind == kind]
        lines += [f"      {fault}" for fault in named[:SHOWN]]
        if len(named) > SHOWN:
            lines.append(f"      ... and {len(named) - SHOWN:,} more (--json FILE lists all)")
    return "\n".join(lines)


def samples(dataset: Dataset) -> NDArray[np.uint8] | None:
    """Some samples with their joints, (N,S,S,3); None if none can be read."""
    from PIL import Image

    count = min(SHEET_COUNT, len(dataset))
    pictures = []
    for index in torch.linspace(0, len(dataset) - 1, count, dtype=torch.float64).long():
        try:
            batch = dataset.read(index[None])
        except DatasetError:
            continue
        picture = batch.image[0].numpy()
        if batch.mask is not None:
            picture = np.where(batch.mask[0, ..., None].numpy(), picture, picture // 3)
        size = (SHEET_SIDE, SHEET_SIDE)
        side = picture.shape[0]
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
        if batch.joints_img is not None:
            points = (batch.joints_img[0].numpy() + 0.5) * SHEET_SIDE / side - 0.5
            picture = draw_skeleton(picture, points)
        pictures.append(picture)
    return np.stack(pictures) if pictures else None


def split(options: Split) -> int:
    """Write a split."""
    dataset = open_dataset(options.data)
    if not isinstance(dataset, AnnotatedDataset):
        raise ValueError(f"{options.data}: only annotated datasets have splits")
    kind, groups = dataset.annotations.kind, dataset.groups()
    if options.held_out is None and kind in PAPER_SPLITS:
        made = PAPER_SPLITS[kind](groups, options.seed)
    else:
        made = random_split(kind, groups, options.seed, options.held_out or 0.1)
    if empty := [name for name, part in made.parts.items() if not part]:
        raise ValueError(
            f"{options.data}: nothing for {', '.join(empty)} ({made.rule}); does the dataset show "
            "all its entries, as stb:PATH?split=all does?"
        )
    made.write(options.out)
    sizes = ", ".join(f"{name}: {len(part):,}" for name, part in made.parts.items())
    print(f"{sizes} groups; {made.rule}\nwritten to {options.out}")
    return 0


def fit(options: FitRegressor) -> int:
    """Fit the joint regressor and say how well it does."""
    import io

    fitted = fit_to_freihand(options.freihand)
    buffer = io.BytesIO()
    np.save(buffer, fitted.weights)
    write_bytes(options.out, buffer.getvalue())
    print(f"fitted to {fitted.num_hands:,} hands; root mean square error on a tenth of them, mm:")
    for name, error in zip(JOINT_NAMES, fitted.rms_mm, strict=True):
        print(f"  {name:<12} {error:.3f}")
    print(f'written to {options.out}; use it as "yt3d:PATH?regressor={options.out}"')
    return 0


def _png(pixels: NDArray[np.uint8]) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
