"""Several datasets drawn from with given weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from pyhandpose.data.faults import EmptyBatchError
from pyhandpose.data.loader import derived_seed
from pyhandpose.data.registry import Dataset
from pyhandpose.data.sample import HandBatch, concatenate


class Mixture:
    """The samples of several datasets one after another, and epochs that draw them by weight.

    Read in order (as evaluation does) it is the concatenation: each sample once. An epoch of
    training (``epoch_order``) has as many draws as there are samples in all, and each draw first
    chooses a dataset, with probability proportional to its weight, then one of its samples
    uniformly, with replacement: with equal weights a small dataset is seen as often as a large one.
    """

    def __init__(self, parts: Sequence[Dataset], weights: Sequence[float]) -> None:
        if not parts or len(parts) != len(weights) or not all(w > 0 for w in weights):
            raise ValueError(
                f"Mixture: expected a positive weight for each of {len(parts)} datasets, got "
                f"{list(weights)}"
            )
        self.parts = tuple(parts)
        self.weights = torch.tensor([float(w) for w in weights], dtype=torch.float64)
        self.name = ",".join(f"{p.name}@{w:g}" for p, w in zip(parts, weights, strict=True))
        lengths = torch.tensor([len(part) for part in parts])
        self._ends = lengths.cumsum(0)
        self._starts = self._ends - lengths

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, indices: Tensor) -> HandBatch:
        """The samples of (B,) indices into the concatenation, in that order; fewer if a part skips.

        Raises:
            ValueError: the datasets' images have different sizes.
            EmptyBatchError: every sample had to be skipped.
        """
        part_of = torch.searchsorted(self._ends, indices, right=True)
        batches, rows = [], []
        for number, part in enumerate(self.parts):
            chosen = (part_of == number).nonzero()[:, 0]
            if not len(chosen):
                continue
            try:
                batch = part.read(indices[chosen] - self._starts[number])
            except EmptyBatchError as error:
                empty = error
                continue
            batches.append(batch)
            rows.append(chosen[: len(batch)])
        if not batches:
            raise empty
        return concatenate(batches)[torch.cat(rows).argsort()]

    def epoch_order(self, seed: int, epoch: int) -> Tensor:
        """(len(self),) int64 draws of an epoch, a function of the seed and the epoch alone."""
        generator = torch.Generator().manual_seed(derived_seed(seed, epoch))
        number = torch.multinomial(
            self.weights, len(self), replacement=True, generator=generator
        )  # (N,)
        lengths = (self._ends - self._starts)[number]
        within = torch.rand(len(self), generator=generator, dtype=torch.float64) * lengths
        return self._starts[number] + within.to(torch.int64).clamp_max(lengths - 1)

    def fingerprint(self) -> str:
        """Of the datasets and the weights."""
        digest = hashlib.sha256(str(self.weights.tolist()).encode())
        for part in self.parts:
            digest.update(part.fingerprint().encode())
        return digest.hexdigest()[:16]
