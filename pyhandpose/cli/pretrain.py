"""``pyhandpose pretrain``: learn an encoder from images without labels."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import tyro

from pyhandpose.data.registry import open_dataset
from pyhandpose.methods import build_method
from pyhandpose.training.checkpoint import CheckpointError, load_encoder, read_encoder
from pyhandpose.training.config import TrainConfig
from pyhandpose.training.loop import EXIT_STOPPED, TrainingError, TrainingStoppedError, train
from pyhandpose.training.presets import peek, preset_of

DESCRIPTION = """Pre-train an encoder on images of hands, without any label.

PeCLR makes two views of each image, rotated, shifted, zoomed and recoloured, and teaches the
encoder to recognise the pair while following the geometry. SimCLR is taught to ignore it.
What is learnt is then used by `pyhandpose finetune --init OUT`.

examples:
  pyhandpose pretrain --data folder:my_photos --out runs/peclr
  pyhandpose pretrain --data synthetic:8192?size=80 --method simclr --out runs/simclr
  pyhandpose pretrain --data folder:my_photos --out runs/rn50 --preset peclr-paper \\
      --batch-size 256 --epochs 50
  pyhandpose pretrain --data folder:my_photos --out runs/peclr --resume

OUT receives: checkpoints/ (the weights), log.jsonl (the loss, step by step), views.png (what the
encoder is shown: look at it), config.json, environment.json and command.txt (to repeat it).
Ctrl-C saves a checkpoint; the same command with --resume goes on.
"""

Network = TypeVar("Network")


@dataclass(frozen=True)
class Options(Generic[Network]):
    """Options of ``pyhandpose pretrain``."""

    data: str
    """The images: folder:PATH (any photos, searched recursively) or synthetic:N (N rendered
    hands)."""
    out: Path
    """Folder of the run; made if it does not exist."""
    network: Annotated[Network, tyro.conf.arg(name="")]
    """The encoder and its loss."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """How to train."""
    init: Path | None = None
    """Folder whose encoder to start from, such as what `pyhandpose convert` made of ImageNet's
    weights; without it, random weights (or --encoder.pretrained)."""
    method: Literal["peclr", "simclr"] = "peclr"
    """What to learn by; decides the defaults below together with the preset."""
    preset: Literal["tiny-cpu", "peclr-paper", "simclr-paper"] = "tiny-cpu"
    """Defaults of everything below: tiny-cpu takes minutes on a small machine, the others are the
    papers' and need a large GPU."""
    resume: bool = False
    """Go on with the run in OUT."""


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    try:
        options = parse(argv)
        dataset = open_dataset(options.data)
        network = options.network
        if options.init is not None:
            network = replace(network, encoder=read_encoder(options.init)[0])
        method = build_method(network, options.train.seed)
        if options.init is not None:
            load_encoder(options.init, into=method)
        train(method, dataset, options.train, options.out, resume=options.resume)
    except TrainingStoppedError as stopped:
        print(f"pyhandpose pretrain: {stopped}; add --resume to go on", file=sys.stderr)
        return EXIT_STOPPED
    except KeyboardInterrupt:
        print(
            "pyhandpose pretrain: stopped; nothing was saved after the last checkpoint",
            file=sys.stderr,
        )
        return EXIT_STOPPED
    except (ValueError, OSError, ImportError, CheckpointError, TrainingError) as error:
        print(f"pyhandpose pretrain: {error}", file=sys.stderr)
        return 2
    print(
        f"trained {options.method}; next: pyhandpose finetune --data DATA --init {options.out} "
        "--out RUN"
    )
    return 0


def parse(argv: list[str]) -> Options:
    """The options of a command line, over the defaults of its preset and method.

    Raises:
        ValueError: the preset has no settings for the method.
    """
    name = peek(argv, "--preset") or "tiny-cpu"
    method = peek(argv, "--method") or ("simclr" if name == "simclr-paper" else "peclr")
    preset = preset_of(name, method)
    return tyro.cli(
        Options[type(preset.method)],  # type: ignore[misc]
        prog="pyhandpose pretrain",
        description=DESCRIPTION,
        args=argv,
        default=Options(
            data=tyro.MISSING,
            out=tyro.MISSING,
            network=preset.method,
            train=preset.train,
            method=method,  # type: ignore[arg-type]
            preset=name,  # type: ignore[arg-type]
        ),
    )
