"""The refinement of the root's depth by a small network (000 section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyhandpose.hand.skeleton import NUM_JOINTS

HIDDEN = 128


class RootRefiner(nn.Module):
    """An MLP 64-128-128-1 whose output is added to the depth of the root (000 eq. 3.11).

    Its input is the relative depths (21), the rays X1, Y1, X2, Y2, ... of the joints (42), and the
    depth itself (1); BatchNorm and LeakyReLU(0.01) after the first two layers, as in the published
    weights. Always computed in float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * NUM_JOINTS + 1, HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.LeakyReLU(0.01),
            nn.Linear(HIDDEN, HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.LeakyReLU(0.01),
            nn.Linear(HIDDEN, 1),
        )

    def forward(self, relative_depth: Tensor, rays: Tensor, root_depth: Tensor) -> Tensor:
        """The refined depth of the root.

        Args:
            relative_depth: (B,21), relative to the root, in bone lengths.
            rays: (B,21,2), X and Y of K^-1 (u, v, 1).
            root_depth: (B,), in bone lengths.

        Returns:
            (B,), in bone lengths.
        """
        with torch.autocast(root_depth.device.type, enabled=False):
            known = torch.cat([relative_depth, rays.flatten(1), root_depth[:, None]], dim=1)
            return root_depth + self.layers(known.float())[:, 0]
