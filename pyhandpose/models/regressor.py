"""The head of the supervised method: encoder features to a 2.5D pose."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyhandpose.hand.skeleton import NUM_JOINTS


class Regressor(nn.Module):
    """One linear layer to 63 numbers (000 eq. 4.11), computed in float32 whatever the encoder's.

    A joint is (u, v, z): the image point in fractions of the view's side about its centre, y down,
    and the depth relative to the root in reference-bone lengths.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 3 * NUM_JOINTS)

    def forward(self, features: Tensor) -> Tensor:
        """(B,F) -> (B,21,3) float32."""
        with torch.autocast(features.device.type, enabled=False):
            return self.linear(features.float()).unflatten(1, (NUM_JOINTS, 3))
