"""Weights that others have published, under this package's names.

``read_weights`` opens a file without running code from it, ``translate`` recognises its layout and
renames its tensors, ``compare`` says what fits a network and what does not. Layouts:

- ``resnet``: plain torchvision or timm ResNet keys; the pre-trained PeCLR files are of this kind.
- ``peclr-finetuned``: ``backend_model.*`` and ``zroot_ref.zroot_ref.*``, PeCLR fine-tuned on
  FreiHAND.
- ``peclr-lightning``: ``encoder.features.*`` and ``projection_head.*``, a checkpoint of PeCLR's own
  pre-training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

STAGES = ("layer1", "layer2", "layer3", "layer4")

LIGHTNING_STEM = dict(zip("014567", ("conv1", "bn1", *STAGES), strict=True))
"""Position in ``encoder.features`` to torchvision's name; 2, 3, 8 (ReLU, poolings) are empty."""

RESNETS = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
"""(whether its blocks are bottlenecks, blocks per stage) of each ResNet."""


class PretrainedError(ValueError):
    """Weights that cannot be read, or whose layout is not known; the message names the file."""


class UntrustedPickleError(PretrainedError):
    """A file that holds more than tensors: to load it is to run code from it."""


@dataclass(frozen=True)
class Translation:
    """Published weights under this package's names."""

    layout: str
    """"resnet", "peclr-finetuned" or "peclr-lightning"."""
    tensors: dict[str, Tensor]
    """``encoder.*``; of ``peclr-lightning`` also ``projector.*``, of ``peclr-finetuned`` also
    ``head.*`` and ``refiner.*``."""
    left_out: tuple[str, ...]
    """Keys of the file that have no place here, such as an ImageNet classifier's."""


@dataclass(frozen=True)
class KeyReport:
    """How weights fit a network, by name."""

    missing: tuple[str, ...]
    """In the network, not in the weights."""
    unexpected: tuple[str, ...]
    """In the weights, not in the network."""
    reshaped: tuple[str, ...]
    """In both with another shape: "name: expected (64, 2048), got (63, 2048)"."""

    @property
    def fits(self) -> bool:
        """Whether every tensor of the network is there with its shape."""
        return not self.missing and not self.reshaped

    def __str__(self) -> str:
        """Every key, a line each."""
        kinds = (
            ("missing", self.missing),
            ("reshaped", self.reshaped),
            ("unexpected", self.unexpected),
        )
        lines = [f"  {kind:<10} {key}" for kind, keys in kinds for key in keys]
        return "\n".join(lines) if lines else "  every key has its place"


def read_weights(path: Path, trust_pickle: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by name: safetensors, or torch's format (.pth, .pt, .ckpt).

    Args:
        path: the file; a ``state_dict`` inside it is taken, whatever lies beside it is not.
        trust_pickle: also load files that hold other Python objects, which runs the code that they
            name. Lightning's checkpoints often do. Only for files whose author you trust.

    Raises:
        PretrainedError: not such a file, or it holds no tensors.
        UntrustedPickleError: it holds more than tensors, and is not trusted.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except UnpicklingError as error:
        refused = [line for line in str(error).splitlines() if "GLOBAL" in line or "Unsup" in line]
        if not refused:
            raise PretrainedError(f"{path}: not a whole file of weights ({error})") from error
        raise UntrustedPickleError(
            f"{path} holds more than tensors: {refused[0].strip()} Loading it runs code that the "
            "file names. If you trust its author, say so with --trust-pickle"
        ) from error
    except FileNotFoundError as error:
        raise PretrainedError(f"{path}: no such file") from error
    except Exception as error:  # a damaged archive fails in many ways
        raise PretrainedError(
            f"{os.fspath(path)}: not a whole file of weights ({error})"
        ) from error
    return _state_dict(content, path)


def translate(tensors: Mapping[str, Tensor]) -> Translation:
    """Recognise the layout and rename.

    Raises:
        PretrainedError: none of the layouts.
    """
    if any(key.startswith("backend_model.") for key in tensors):
        layout, rename = "peclr-finetuned", _from_finetuned
    elif any(key.startswith("encoder.features.") for key in tensors):
        layout, rename = "peclr-lightning", _from_lightning
    elif any(key.startswith("layer1.0.conv1.") for key in tensors):
        layout, rename = "resnet", _from_resnet
    else:
        first = ", ".join(sorted(tensors)[:5])
        raise PretrainedError(
            f"the layout is not known: expected a torchvision or timm ResNet (layer1.0.conv1.*), "
            f"fine-tuned PeCLR (backend_model.*) or PeCLR's own checkpoints (encoder.features.*), "
            f"got {len(tensors)} tensors such as {first}"
        )
    names = {key: rename(key) for key in tensors}
    return Translation(
        layout,
        {name: tensors[key] for key, name in names.items() if name is not None},
        tuple(key for key, name in names.items() if name is None),
    )


def resnet_name(encoder_keys: set[str]) -> str:
    """Which ResNet has these keys (of the encoder alone).

    Raises:
        PretrainedError: none of the five.
    """
    blocks = tuple(
        len({key.split(".")[1] for key in encoder_keys if key.startswith(f"{stage}.")})
        for stage in STAGES
    )
    kind = ("layer1.0.conv3.weight" in encoder_keys, blocks)
    if kind not in RESNETS or "conv1.weight" not in encoder_keys:
        raise PretrainedError(
            f"a ResNet of {blocks} blocks, none of {', '.join(RESNETS.values())}; name the timm "
            "model that it is with --encoder"
        )
    return RESNETS[kind]


def compare(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> KeyReport:
    """What of ``got`` fits a network whose ``state_dict`` is ``expected``."""
    return KeyReport(
        missing=tuple(key for key in expected if key not in got),
        unexpected=tuple(key for key in got if key not in expected),
        reshaped=tuple(
            f"{key}: expected {tuple(value.shape)}, got {tuple(got[key].shape)}"
            for key, value in expected.items()
            if key in got and got[key].shape != value.shape
        ),
    )


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping) or not content:
        raise PretrainedError(f"{path}: expected tensors by name, got {type(content).__name__}")
    strange = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise PretrainedError(
            f"{path}: expected tensors by name, but {strange[0]!r} is a "
            f"{type(content[strange[0]]).__name__}; is there no 'state_dict' in it?"
        )
    return dict(content)


def _from_resnet(key: str) -> str | None:
    return None if key.startswith("fc.") else f"encoder.{key}"


def _from_finetuned(key: str) -> str | None:
    for prefix, ours in (
        ("backend_model.fc.", "head."),
        ("backend_model.", "encoder."),
        ("zroot_ref.zroot_ref.", "refiner.layers."),
    ):
        if key.startswith(prefix):
            return ours + key.removeprefix(prefix)
    return None


def _from_lightning(key: str) -> str | None:
    if key.startswith("projection_head."):
        return "projector.layers." + key.removeprefix("projection_head.")
    position, _, rest = key.removeprefix("encoder.features.").partition(".")
    if key.startswith("encoder.features.") and position in LIGHTNING_STEM:
        return f"encoder.{LIGHTNING_STEM[position]}.{rest}"
    return None
