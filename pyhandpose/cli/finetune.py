"""``pyhandpose finetune``: train the 3D hand pose estimator on labelled images."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pyhandpose.data.loader import label_subset
from pyhandpose.data.registry import Subset, open_dataset
from pyhandpose.methods import SupervisedConfig, build_method
from pyhandpose.training.checkpoint import CheckpointError, load_encoder, read_encoder
from pyhandpose.training.config import TrainConfig
from pyhandpose.training.loop import EXIT_STOPPED, TrainingError, TrainingStoppedError, train
from pyhandpose.training.presets import peek, preset_of

DESCRIPTION = """Train the 3D hand pose estimator on labelled images.

With --init the encoder starts from `pyhandpose pretrain`; without it, from random weights (or
ImageNet's, with --encoder.pretrained), which is the baseline to compare with. Encoder and pose head
are trained together.

examples:
  pyhandpose finetune --data synthetic:8192?size=80 --init runs/peclr --num-labels 256 \\
      --out runs/peclr-256
  pyhandpose finetune --data synthetic:8192?size=80 --num-labels 256 --out runs/scratch-256
  pyhandpose finetune --data synthetic:8192 --init runs/rn50 --preset finetune-paper --out runs/ft

OUT receives: checkpoints/ (the weights), log.jsonl (the losses, step by step), views.png (what the
network is shown: look at it), config.json, environment.json and command.txt (to repeat it).
Ctrl-C saves a checkpoint; the same command with --resume goes on.
"""


@dataclass(frozen=True)
class Options:
    """Options of ``pyhandpose finetune``."""

    data: str
    """Labelled images, such as synthetic:N (N rendered hands)."""
    out: Path
    """Folder of the run; made if it does not exist."""
    network: Annotated[SupervisedConfig, tyro.conf.arg(name="")]
    """The estimator and its loss; with --init the encoder is the pre-trained one."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """How to train."""
    init: Path | None = None
    """Folder whose encoder to start from: a pre-training run, or what `pyhandpose convert` made of
    published weights."""
    num_labels: int | None = None
    """Use the labels of so many images only, chosen at random; by default all."""
    label_seed: int = 0
    """Which images these are; for one seed, fewer labels are a part of more."""
    preset: Literal["tiny-cpu", "finetune-paper"] = "tiny-cpu"
    """Defaults of everything below: tiny-cpu takes minutes on a small machine, finetune-paper is
    the papers' and needs a GPU."""
    resume: bool = False
    """Go on with the run in OUT."""


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    try:
        options = parse(argv)
        dataset = open_dataset(options.data)
        if options.num_labels is not None:
            chosen = label_subset(len(dataset), options.num_labels, options.label_seed)
            dataset = Subset(dataset, chosen)
        network = options.network
        if options.init is not None:
            network = replace(network, encoder=read_encoder(options.init)[0])
        method = build_method(network, options.train.seed)
        if options.init is not None:
            load_encoder(options.init, into=method)
        train(method, dataset, options.train, options.out, resume=options.resume)
    except TrainingStoppedError as stopped:
        print(f"pyhandpose finetune: {stopped}; add --resume to go on", file=sys.stderr)
        return EXIT_STOPPED
    except KeyboardInterrupt:
        print(
            "pyhandpose finetune: stopped; nothing was saved after the last checkpoint",
            file=sys.stderr,
        )
        return EXIT_STOPPED
    except (ValueError, OSError, ImportError, CheckpointError, TrainingError) as error:
        print(f"pyhandpose finetune: {error}", file=sys.stderr)
        return 2
    print(
        f"trained on {dataset.name}; next: pyhandpose evaluate --data DATA --checkpoint "
        f"{options.out}, or pyhandpose predict PHOTO --checkpoint {options.out}"
    )
    return 0


def parse(argv: list[str]) -> Options:
    """The options of a command line, over the defaults of its preset.

    Raises:
        ValueError: no such preset.
    """
    name = peek(argv, "--preset") or "tiny-cpu"
    preset = preset_of(name, "supervised")
    return tyro.cli(
        Options,
        prog="pyhandpose finetune",
        description=DESCRIPTION,
        args=argv,
        default=Options(
            data=tyro.MISSING,
            out=tyro.MISSING,
            network=preset.method,  # type: ignore[arg-type]
            train=preset.train,
            preset=name,  # type: ignore[arg-type]
        ),
    )
