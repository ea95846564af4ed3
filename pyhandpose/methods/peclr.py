"""PeCLR: contrastive pre-training that is equivariant to geometry (001, 000 section 4.1.3).

Each view's latent is moved back by the affine that made the view, then compared with all others:
appearance is to be ignored, geometry is to be followed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from pyhandpose import ops
from pyhandpose.data.augment import View
from pyhandpose.losses.contrastive import positive_cosine
from pyhandpose.models.encoder import EncoderConfig, build_encoder
from pyhandpose.models.projector import Projector, ProjectorConfig


@dataclass(frozen=True)
class PeCLRConfig:
    """The network and the loss of PeCLR."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The part that is kept for fine-tuning."""
    projector: ProjectorConfig = field(default_factory=ProjectorConfig)
    """The part that is thrown away after pre-training."""
    temperature: float = 0.5
    """tau of NT-Xent; lower weighs the hardest negatives more."""
    convention: Literal["paper", "official", "direct"] = "paper"
    """How the affine is undone in the latent (``ops.latent_affine``)."""


class PeCLR(nn.Module):
    """Encoder and projection head, trained with the equivariant NT-Xent loss."""

    Config: ClassVar = PeCLRConfig
    num_views: ClassVar = 2

    def __init__(self, config: PeCLRConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.projector = Projector(self.encoder.num_features, config.projector)

    def forward(self, batch: View) -> Tensor:
        """Latent points of the stacked views: (2N,3,S,S) -> (2N,2P)."""
        return self.projector(self.encoder(batch.image))

    def loss(self, outputs: Tensor, batch: View) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 3 of 001 with rows i and i + N as the positives.

        Returns:
            The loss and ``positive_cosine``, the agreement of the pairs after moving back.
        """
        config = self.config
        loss = ops.equivariant_nt_xent(
            outputs, batch.affine, temperature=config.temperature, convention=config.convention
        )
        points = outputs.detach().unflatten(1, (-1, 2))  # (2N,P,2)
        moved = ops.latent_affine(points, batch.affine, convention=config.convention)
        return loss, {"positive_cosine": positive_cosine(moved.flatten(1))}
