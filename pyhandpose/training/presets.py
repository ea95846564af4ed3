"""Named settings: each preset is a function that returns a method's config and how to train it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from pyhandpose.data.augment import AugmentConfig
from pyhandpose.data.colour import ColourConfig, HsvScaling
from pyhandpose.methods import (
    METHODS,
    MethodConfig,
    PeCLRConfig,
    SimCLRConfig,
    SupervisedConfig,
)
from pyhandpose.models.encoder import EncoderConfig
from pyhandpose.training.config import OptimizerConfig, TrainConfig


@dataclass(frozen=True)
class Preset:
    """What to train and how."""

    method: MethodConfig
    """The network and its loss."""
    train: TrainConfig
    """Views, optimiser, length."""


TINY = EncoderConfig("tiny", width=16)

TINY_COLOUR = ColourConfig(
    brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.4, 1.6), hue_deg=30.0
)
"""Jitter linear in RGB: a third of the cost of the papers' HSV jitter."""

TINY_VIEWS = AugmentConfig(
    rotation_deg=45.0, translation=0.18, scale=(0.75, 1.25), colour=TINY_COLOUR
)

PAPER_COLOUR = ColourConfig(hsv=HsvScaling((0.01, 1.0), (0.01, 1.0), (0.5, 1.0), (5.0, 20.0)))
"""Hue, saturation and brightness exactly as the papers' appendices state them."""

PAPER_BATCH_SIZE = 2048

PAPER_ENCODER = EncoderConfig("resnet50.tv_in1k", pretrained=True)
"""The papers start from ImageNet; these are torchvision's first weights."""


def tiny_cpu_peclr() -> Preset:
    """PeCLR in minutes on two CPU cores: a ten-layer ResNet on 64 px views."""
    train = TrainConfig(
        epochs=20,
        batch_size=128,
        view_size=64,
        augment=TINY_VIEWS,
        optimizer=OptimizerConfig("adamw", lr=3e-3, weight_decay=1e-4, schedule="one-cycle"),
    )
    return Preset(PeCLRConfig(TINY, temperature=0.2), train)


def tiny_cpu_simclr() -> Preset:
    """SimCLR at the same size with its own best views: scale and colour (001 section 4.4)."""
    peclr = tiny_cpu_peclr()
    own_views = AugmentConfig(scale=TINY_VIEWS.scale, colour=TINY_COLOUR)
    return Preset(SimCLRConfig(TINY, temperature=0.2), replace(peclr.train, augment=own_views))


def tiny_cpu_supervised() -> Preset:
    """Fine-tuning at the same size, in seconds for a few hundred labels."""
    train = TrainConfig(
        epochs=60,
        batch_size=64,
        view_size=64,
        augment=AugmentConfig(
            rotation_deg=45.0, translation=0.1, scale=(0.8, 1.2), colour=TINY_COLOUR
        ),
        optimizer=OptimizerConfig("adamw", lr=2e-3, weight_decay=1e-4, schedule="one-cycle"),
        checkpoint_every=20,
    )
    return Preset(SupervisedConfig(TINY), train)


def peclr_paper() -> Preset:
    """PeCLR as published (001 supplement, 000 appendix), a ResNet-50 on 128 px views.

    LARS around Adam and accumulation over 16 x 128 images are not part of this version: Adam runs
    on one batch of 2,048, which needs a GPU of 80 GB.
    """
    train = TrainConfig(
        epochs=100,
        batch_size=PAPER_BATCH_SIZE,
        view_size=128,
        # 15 px either way on 128 px views
        augment=AugmentConfig(
            rotation_deg=45.0, translation=15 / 128, scale=(0.6, 2.0), colour=PAPER_COLOUR
        ),
        optimizer=OptimizerConfig(
            "adam",
            lr=1e-4 * math.sqrt(PAPER_BATCH_SIZE),
            weight_decay=0.0,
            schedule="cosine",
            warmup=0.1,
        ),
    )
    return Preset(PeCLRConfig(PAPER_ENCODER, temperature=0.5), train)


def simclr_paper() -> Preset:
    """SimCLR with the views that are best for it: scale and colour jitter (001 section 4.4)."""
    peclr = peclr_paper()
    own_views = AugmentConfig(scale=peclr.train.augment.scale, colour=PAPER_COLOUR)
    return Preset(
        SimCLRConfig(PAPER_ENCODER, temperature=0.5), replace(peclr.train, augment=own_views)
    )


def finetune_paper() -> Preset:
    """Fine-tuning as published: 100 epochs of Adam at 5e-4, cosine annealing, batches of 128."""
    train = TrainConfig(
        epochs=100,
        batch_size=128,
        view_size=128,
        # 20 px either way on 128 px views
        augment=AugmentConfig(rotation_deg=90.0, translation=20 / 128, scale=(0.7, 1.3)),
        optimizer=OptimizerConfig("adam", lr=5e-4, weight_decay=0.0, schedule="cosine", warmup=0.0),
    )
    return Preset(SupervisedConfig(PAPER_ENCODER), train)


PRESETS: dict[str, dict[str, Callable[[], Preset]]] = {
    "tiny-cpu": {
        "peclr": tiny_cpu_peclr,
        "simclr": tiny_cpu_simclr,
        "supervised": tiny_cpu_supervised,
    },
    "peclr-paper": {"peclr": peclr_paper},
    "simclr-paper": {"simclr": simclr_paper},
    "finetune-paper": {"supervised": finetune_paper},
}
"""The methods that each named preset has settings for."""


def preset_of(name: str, method: str) -> Preset:
    """The settings of a preset for a method.

    Raises:
        ValueError: there are none.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if method not in PRESETS.get(name, {}):
        offered = ", ".join(key for key, methods in PRESETS.items() if method in methods)
        raise ValueError(f"preset {name!r} has no settings for {method}; choose one of {offered}")
    return PRESETS[name][method]()


def peek(argv: list[str], option: str) -> str | None:
    """What ``option VALUE`` or ``option=VALUE`` gives, the last one counting; None without it.

    A preset decides the defaults of a command line, so its name is needed before the parsing.
    """
    value = None
    for position, argument in enumerate(argv):
        if argument == option and position + 1 < len(argv):
            value = argv[position + 1]
        elif argument.startswith(f"{option}="):
            value = argument.partition("=")[2]
    return value
