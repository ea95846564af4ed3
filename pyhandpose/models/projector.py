"""The head of contrastive pre-training: encoder features to the latent points of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ProjectorConfig:
    """Widths of the projection head; the defaults are the papers'."""

    num_points: int = 64
    """P, latent points; the loss sees 2 P numbers per view."""
    hidden: int | None = None
    """Width of the hidden layer; by default 512, or the encoder's width where that is smaller."""


class Projector(nn.Module):
    """Linear (bias), BatchNorm, ReLU, Linear (no bias): 2048 - 512 - 128 on a ResNet-50.

    Always computed in float32: the loss compares angles, for which bfloat16 is too coarse.
    """

    def __init__(self, in_features: int, config: ProjectorConfig) -> None:
        super().__init__()
        hidden = config.hidden if config.hidden is not None else min(512, in_features)
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * config.num_points, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B,F) -> (B,2P) float32, to be read row-major as P points."""
        with torch.autocast(features.device.type, enabled=False):
            return self.layers(features.float())
