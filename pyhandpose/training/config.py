"""The settings of a run, and their way to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch

from pyhandpose.data.augment import AugmentConfig

T = TypeVar("T")


@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients become steps."""

    name: Literal["adam", "adamw"] = "adamw"
    """Adam (weight decay added to the gradient) or AdamW (weight decay apart from it)."""
    lr: float = 3e-3
    """Learning rate at its highest."""
    weight_decay: float = 1e-4
    """Decay of weight matrices and kernels; biases and BatchNorm are never decayed."""
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    """one-cycle: cosine up from lr/25, cosine down to 0; cosine: linear up, cosine down to 0."""
    warmup: float = 0.3
    """Share of all steps in which the learning rate rises."""


@dataclass(frozen=True)
class TrainConfig:
    """How long, on what views, and how exactly a method is trained."""

    epochs: int = 20
    """Passes over the images."""
    batch_size: int = 256
    """Images per step; in pre-training each gives two views and all are each other's negatives."""
    view_size: int = 64
    """Side of the views, px."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How views are made from images."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser and learning-rate schedule."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the encoder: bf16 autocast (heads and losses stay fp32), fp32 throughout, or auto: bf16
    on CUDA and on CPUs that compute in it."""
    device: str = "auto"
    """"auto" (CUDA where there is one, else CPU), "cpu", "cuda" or "cuda:1"."""
    seed: int = 0
    """Of the initial weights, the order of the images and the views."""
    checkpoint_every: int = 1
    """Epochs between checkpoints; the last epoch and an interruption always make one."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "view_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"TrainConfig.{name}: expected at least 1, got {getattr(self, name)}"
                )
        if not 0 <= self.optimizer.warmup < 1:
            raise ValueError(
                "OptimizerConfig.warmup: expected a share of the steps in [0, 1), got "
                f"{self.optimizer.warmup}"
            )


def choose_device(name: str) -> torch.device:
    """The device of ``TrainConfig.device``.

    Raises:
        ValueError: another kind of device, or CUDA was asked for and is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if re.fullmatch(r"cpu|cuda(:\d+)?", name) is None:
        raise ValueError(f"device: expected 'auto', 'cpu', 'cuda' or 'cuda:1', got {name!r}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device: got {name!r}, but torch sees {torch.cuda.device_count() or 'no'} CUDA "
            "device(s); use 'auto' or 'cpu', and `pyhandpose doctor` to find out why"
        )
    return device


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether the encoder runs in bfloat16: as asked, or for "auto" where the hardware has it.

    A CPU without bfloat16 instructions emulates it, several times slower than fp32.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch.cpu.get_capabilities is younger than the oldest torch supported
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON types."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """The config dataclass that ``to_dict`` was given; absent fields take their defaults.

    Raises:
        ValueError: a field that this version does not know.
    """
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(values) - set(hints)):
        raise ValueError(
            f"{cls.__name__}: unknown field {', '.join(unknown)}; the file was written by another "
            "version of pyhandpose"
        )
    return cls(**{name: _restore(hints[name], value) for name, value in values.items()})


def _restore(hint: Any, value: Any) -> Any:
    """JSON has lists for tuples and objects for dataclasses."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType) and value is not None:
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value)
    if typing.get_origin(hint) is tuple and value is not None:
        return tuple(value)
    return value
