"""SimCLR: contrastive pre-training that is invariant to every augmentation (001 section 3.1).

The network of PeCLR with the plain NT-Xent loss, so that the two differ in the loss alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from pyhandpose import ops
from pyhandpose.data.augment import View
from pyhandpose.losses.contrastive import positive_cosine
from pyhandpose.models.encoder import EncoderConfig, build_encoder
from pyhandpose.models.projector import Projector, ProjectorConfig


@dataclass(frozen=True)
class SimCLRConfig:
    """The network and the loss of SimCLR."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The part that is kept for fine-tuning."""
    projector: ProjectorConfig = field(default_factory=ProjectorConfig)
    """The part that is thrown away after pre-training."""
    temperature: float = 0.5
    """tau of NT-Xent; lower weighs the hardest negatives more."""


class SimCLR(nn.Module):
    """Encoder and projection head, trained with the NT-Xent loss."""

    Config: ClassVar = SimCLRConfig
    num_views: ClassVar = 2

    def __init__(self, config: SimCLRConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.projector = Projector(self.encoder.num_features, config.projector)

    def forward(self, batch: View) -> Tensor:
        """Latent vectors of the stacked views: (2N,3,S,S) -> (2N,2P)."""
        return self.projector(self.encoder(batch.image))

    def loss(self, outputs: Tensor, batch: View) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 1 of 001 with rows i and i + N as the positives.

        Returns:
            The loss and ``positive_cosine``, the agreement of the pairs.
        """
        loss = ops.nt_xent(outputs, temperature=self.config.temperature)
        return loss, {"positive_cosine": positive_cosine(outputs)}
