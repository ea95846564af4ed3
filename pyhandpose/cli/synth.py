"""``pyhandpose synth``: images of the synthetic hand world."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from pyhandpose.data.sample import HandBatch
from pyhandpose.data.synthetic import LOOKS, SyntheticDataset, render
from pyhandpose.data.whole_file import write_bytes
from pyhandpose.hand.skeleton import JOINT_NAMES
from pyhandpose.plot.contact_sheet import contact_sheet
from pyhandpose.plot.overlay import draw_skeleton

DESCRIPTION = """Generate labelled images of procedural right hands.

Without --out, the images go to the cache, where "synthetic:N" finds them in the other commands
(which also make what is missing by themselves). With --out DIR they are written as PNG files in
DIR/images, and DIR/labels holds a JSON file for each: 21 joints in m (camera axes) and in px, the
camera matrix, and which joints are visible. A sample depends on its number, --seed, --look and
--size alone.

examples:
  pyhandpose synth --contact-sheet hands.png
  pyhandpose synth --contact-sheet hands.png --skeleton --count 24 --seed 5
  pyhandpose synth --count 8192 --size 128
  pyhandpose synth --count 100 --look wild --out hands --geometry
"""

BATCH = 64
COLUMNS = 8
DEPTH_UNITS_PER_M = 1e4
"""A depth image counts tenths of a millimetre: 16 bits reach 6.5 m."""


@dataclass(frozen=True)
class Options:
    """Options of ``pyhandpose synth``."""

    count: Annotated[int, tyro.conf.arg(metavar="N")] = 48
    """Number of images (of each look, on a contact sheet)."""
    look: Literal["studio", "wild"] = "studio"
    """"studio": steady soft light, plain backdrops. "wild": any light, clutter, blur and noise."""
    size: Annotated[int, tyro.conf.arg(metavar="PX")] = 128
    """Width and height of the images, 16 to 1024."""
    seed: int = 0
    """Another seed is another world."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write PNG images and JSON labels to this folder, not to the cache."""
    geometry: bool = False
    """Also keep the hand's mask and depth (with --out: DIR/masks, and DIR/depths in 0.1 mm)."""
    contact_sheet: Annotated[Path | None, tyro.conf.arg(metavar="PNG")] = None
    """Only draw a picture with --count images of both looks."""
    skeleton: bool = False
    """Draw the joints on the contact sheet."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Threads of the renderer; by default as many as torch uses."""


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    options = tyro.cli(Options, prog="pyhandpose synth", description=DESCRIPTION, args=argv)
    try:
        if options.count < 1:
            raise ValueError(f"--count must be at least 1, got {options.count}")
        if options.contact_sheet is not None:
            write_contact_sheet(options, options.contact_sheet)
        elif options.out is not None:
            write_folder(options, options.out)
        else:
            fill_cache(options)
    except (ValueError, OSError) as error:
        print(f"pyhandpose synth: {error}", file=sys.stderr)
        return 2
    return 0


def fill_cache(options: Options) -> None:
    """Make the samples that the cache lacks."""
    dataset = SyntheticDataset(
        options.count,
        options.size,
        options.look,
        options.seed,
        geometry=options.geometry,
        num_threads=options.threads,
    )
    name = f"synthetic:{options.count}?look={options.look}&size={options.size}&seed={options.seed}"
    print(f'{options.count} images are in {dataset.directory}\nuse them as --data "{name}"')


def write_contact_sheet(options: Options, path: Path) -> None:
    """Both looks of the first samples, the same hands in each."""
    images: list[NDArray[np.uint8]] = []
    for look in LOOKS:
        batch = render(
            options.seed, range(options.count), options.size, look, options.threads, geometry=False
        )
        assert batch.joints_img is not None
        pictures = batch.image.numpy()
        if options.skeleton:
            joints = batch.joints_img.numpy()
            pictures = np.stack(
                [draw_skeleton(*pair) for pair in zip(pictures, joints, strict=True)]
            )
        filler = np.full((-options.count % COLUMNS, *pictures.shape[1:]), 255, np.uint8)
        images += [pictures, filler]
    sheet = contact_sheet(np.concatenate(images), columns=min(COLUMNS, options.count))
    write_bytes(path, _png(sheet))
    print(f"written to {path}")


def write_folder(options: Options, folder: Path) -> None:
    """Images and labels as files; a file that exists is written again."""
    with tqdm(total=options.count, desc=f"synthetic {options.look}", unit="img") as bar:
        for first in range(0, options.count, BATCH):
            indices = range(first, min(first + BATCH, options.count))
            batch = render(
                options.seed,
                indices,
                options.size,
                options.look,
                options.threads,
                geometry=options.geometry,
            )
            for index, files in zip(indices, sample_files(batch), strict=True):
                for name, content in files.items():
                    kind, suffix = name.split(".")
                    write_bytes(folder / kind / f"{index:06d}.{suffix}", content)
            bar.update(len(indices))
    print(f"{options.count} images are in {folder / 'images'}, their labels in {folder / 'labels'}")


def sample_files(batch: HandBatch) -> Iterator[dict[str, bytes]]:
    """The files of each sample, by kind and suffix."""
    for i in range(len(batch)):
        sample = batch[slice(i, i + 1)]
        assert sample.joints_img is not None
        assert sample.joints_cam is not None
        assert sample.intrinsics is not None
        assert sample.visibility is not None
        assert sample.occluded is not None
        labels = {
            "hand": "right",
            "joint_names": JOINT_NAMES,
            "joints_cam_m": sample.joints_cam[0].tolist(),
            "joints_img_px": sample.joints_img[0].tolist(),
            "intrinsics_px": sample.intrinsics[0].tolist(),
            "visible": sample.visibility[0].tolist(),
            "occluded": bool(sample.occluded[0]),
        }
        files = {
            "images.png": _png(sample.image[0].numpy()),
            "labels.json": (json.dumps(labels) + "\n").encode(),
        }
        if sample.mask is not None and sample.depth is not None:
            depth = (sample.depth[0].numpy() * DEPTH_UNITS_PER_M + 0.5).astype(np.uint16)
            files["masks.png"] = _png(sample.mask[0].numpy().astype(np.uint8) * 255)
            files["depths.png"] = _png(depth)
        yield files


def _png(pixels: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
