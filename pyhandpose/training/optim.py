"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from pyhandpose.training.config import OptimizerConfig

ONE_CYCLE_START = 1 / 25
"""Share of the highest learning rate at which a one-cycle schedule starts."""


def build_optimizer(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """Adam or AdamW with weight decay on matrices and kernels only.

    Parameters with fewer than two dimensions are biases and BatchNorm's scale and shift: decaying
    them shrinks what normalisation has just fixed, so they form a second group without decay.
    """
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
    return kind(groups, lr=config.lr)


def lr_factor(step: int, num_steps: int, config: OptimizerConfig) -> float:
    """The share of the highest learning rate at a step; a function of the step alone.

    With t the progress of the rise (over the first ``warmup`` share of the steps) or of the fall:
    one-cycle rises as ONE_CYCLE_START + (1 - ONE_CYCLE_START) (1 - cos(pi t)) / 2, cosine rises
    linearly; both fall as (1 + cos(pi t)) / 2.

    Args:
        step: from 0 to num_steps - 1.
        num_steps: of the whole run.
        config: which schedule.
    """
    if config.schedule == "constant":
        return 1.0
    num_rising = round(config.warmup * num_steps)
    if step < num_rising:
        if config.schedule == "cosine":
            return (step + 1) / (num_rising + 1)
        rise = (1 - math.cos(math.pi * step / num_rising)) / 2
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * rise
    fall = (step - num_rising) / (num_steps - num_rising)
    return (1 + math.cos(math.pi * fall)) / 2


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
