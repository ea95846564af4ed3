"""Which samples are read when: seeded epochs, and label subsets that contain one another.

Orders are functions of (seed, epoch), not of a generator's history, so that a resumed run reads on
where it stopped.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


def derived_seed(seed: int, *path: int) -> int:
    """A seed for one purpose, from the run's seed and the numbers that name the purpose.

    splitmix64 over the path, so neighbouring seeds, epochs and steps give unrelated streams.
    """
    mask = 2**64 - 1
    state = seed & mask
    for number in path:
        state = (state * 0x9E3779B97F4A7C15 + number + 0x632BE59BD9B4E019) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1  # torch.Generator.manual_seed takes any non-negative int64


@runtime_checkable
class DrawsEpochs(Protocol):
    """A dataset that chooses what an epoch visits, such as a weighted mixture."""

    def epoch_order(self, seed: int, epoch: int) -> Tensor:
        """(N,) int64 samples of an epoch, a function of the two numbers alone."""


def epoch_batches(
    num_samples: int,
    batch_size: int,
    seed: int,
    epoch: int,
    draws: DrawsEpochs | None = None,
) -> list[Tensor]:
    """The index batches of one epoch: a fresh shuffle, the incomplete last batch left out.

    Fewer samples than ``batch_size`` make one batch of all of them: contrastive losses need whole
    batches, but a handful of labels must still train.

    Args:
        num_samples: size of the dataset.
        batch_size: images per batch.
        seed: of the run.
        epoch: number of the epoch, from 0.
        draws: decides the epoch's samples; None is a random permutation of all of them.

    Returns:
        Batches of int64 indices, each (batch_size,).
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(
            "epoch_batches: expected at least one sample and a positive batch size, got "
            f"{num_samples} samples and batch size {batch_size}"
        )
    if draws is None:
        generator = torch.Generator().manual_seed(derived_seed(seed, epoch))
        order = torch.randperm(num_samples, generator=generator)
    else:
        order = draws.epoch_order(seed, epoch)
    batch_size = min(batch_size, num_samples)
    whole = num_samples - num_samples % batch_size
    return list(order[:whole].split(batch_size))


def label_subset(num_samples: int, num_labels: int, seed: int = 0) -> Tensor:
    """The samples whose labels may be used: (num_labels,) int64, sorted.

    For one seed the subset of 64 is contained in that of 256, so label-efficiency curves compare
    more labels with fewer, not one draw with another.
    """
    if not 1 <= num_labels <= num_samples:
        raise ValueError(
            f"label_subset: expected 1 to {num_samples} labels (the dataset's size), "
            f"got {num_labels}"
        )
    generator = torch.Generator().manual_seed(derived_seed(seed, num_samples))
    return torch.randperm(num_samples, generator=generator)[:num_labels].sort().values
