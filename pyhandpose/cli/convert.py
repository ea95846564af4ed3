"""``pyhandpose convert``: published weights as a checkpoint of this package."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyhandpose.methods import METHODS
from pyhandpose.training.checkpoint import CheckpointError
from pyhandpose.training.convert import convert

DESCRIPTION = """Turn published weights into a checkpoint folder (model.safetensors, config.json).

Reads PeCLR's published files (pre-trained, fine-tuned on FreiHAND, and the checkpoints of its own
training code), torchvision's and timm's ResNets, and checkpoints of this package. Every key that
is missing, unexpected or of another shape is listed; with a missing or reshaped one nothing is
written.

No code from the file is run, unless you ask for it with --trust-pickle.

examples:
  pyhandpose convert rn50_peclr_yt3d-fh_pt_fh_ft.pth --out models/peclr-rn50
  pyhandpose predict photo.jpg --checkpoint models/peclr-rn50
  pyhandpose convert peclr_rn50_yt3dh_fh.pth --out models/encoder
  pyhandpose finetune --data DATA --init models/encoder --preset finetune-paper --out runs/ft
"""


@dataclass(frozen=True)
class Options:
    """Options of ``pyhandpose convert``."""

    source: tyro.conf.Positional[Path]
    """The weights: a .pth, .pt, .ckpt or .safetensors file, or a checkpoint folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder to write; must not exist yet."""
    encoder: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Name of the timm model that the weights belong to; ResNets 18 to 152 are recognised."""
    trust_pickle: bool = False
    """Also load a file that holds more than tensors, which RUNS CODE named in it. Only for a file
    whose author you trust."""


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    options = tyro.cli(
        Options,
        prog="pyhandpose convert",
        description=DESCRIPTION,
        args=argv,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        done = convert(options.source, options.out, options.encoder, options.trust_pickle)
    except (ValueError, OSError, ImportError, CheckpointError) as error:
        print(f"pyhandpose convert: {error}", file=sys.stderr)
        return 2
    print(f"layout   {done.layout}\nnetwork  {done.encoder}\nkeys\n{done.report}")
    print(f"{done.num_tensors} tensors written to {options.out}, as {done.method}")
    if hasattr(METHODS.get(done.method), "predict"):
        print(f"next: pyhandpose predict PHOTO --checkpoint {options.out}")
    else:
        print(f"next: pyhandpose finetune --data DATA --init {options.out} --out RUN")
    return 0
