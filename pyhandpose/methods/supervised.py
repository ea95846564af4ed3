"""The supervised 3D hand pose estimator: encoder, linear 2.5D head, closed-form root depth.

001 section 3.3, 000 section 4.3. Used from scratch, or to fine-tune a pre-trained encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from pyhandpose.data.augment import View
from pyhandpose.data.two_pass import TwoPass
from pyhandpose.hand.pose25d import REFERENCE_BONE, HandPose, lift, to_25d
from pyhandpose.hand.skeleton import WRIST
from pyhandpose.losses.pose25d import joint_l1_2d, relative_depth_l1
from pyhandpose.models.encoder import EncoderConfig, build_encoder
from pyhandpose.models.regressor import Regressor


@dataclass(frozen=True)
class SupervisedConfig:
    """The network and the loss of the pose estimator."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The network before the linear head."""
    depth_weight: float = 5.0
    """alpha of 000 eq. 4.14: pixels that one reference-bone length of depth is worth."""


class Supervised(nn.Module):
    """Predicts (u, v, relative depth) of the 21 joints and lifts them to 3D."""

    Config: ClassVar = SupervisedConfig
    num_views: ClassVar = 1
    reference_bone: ClassVar = REFERENCE_BONE
    two_pass: ClassVar = TwoPass(first_fraction=None, fill=0.7, least=1 / 3)

    def __init__(self, config: SupervisedConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.regressor = Regressor(self.encoder.num_features)

    def forward(self, batch: View) -> Tensor:
        """(B,3,S,S) -> (B,21,3) = (u px, v px, depth relative to the root in bone lengths)."""
        return self.joints_25d(batch.image)

    def joints_25d(self, image: Tensor) -> Tensor:
        """The 2.5D pose in px of the view, from (B,3,S,S) normalised images."""
        side = image.shape[-1]
        pose = self.regressor(self.encoder(image))  # (B,21,3)
        points_px = side * pose[..., :2] + (side - 1) / 2
        return torch.cat([points_px, pose[..., 2:]], dim=-1)

    def loss(self, outputs: Tensor, batch: View) -> tuple[Tensor, dict[str, Tensor]]:
        """000 eq. 4.14: L1 on image points plus ``depth_weight`` times L1 on relative depth.

        Without 3D labels the depth term is left out. A hand whose root or reference bone has no
        valid 3D label gives no depth term either.

        Returns:
            The loss, px; and its parts ``loss_2d`` (px) and ``loss_depth`` (bone lengths).

        Raises:
            ValueError: the batch has no 2D labels.
        """
        joints_img, valid = batch.joints_img, batch.joint_valid
        if joints_img is None or valid is None:
            raise ValueError(
                "Supervised.loss: expected a batch with 2D joints, got none; unlabelled photos "
                "serve pre-training (`pyhandpose pretrain`), fine-tuning needs labels"
            )
        loss_2d = joint_l1_2d(outputs[..., :2], joints_img, valid)
        metrics = {"loss_2d": loss_2d.detach()}
        if batch.joints_cam is None:
            return loss_2d, metrics
        config = self.config
        target, scale = to_25d(joints_img, batch.joints_cam)
        needed = torch.tensor([WRIST, *REFERENCE_BONE], device=valid.device)
        valid_cam = valid if batch.joint_valid_cam is None else batch.joint_valid_cam
        has_depth = valid_cam & (valid_cam[:, needed].all(1) & (scale > 0))[:, None]  # (B,21)
        loss_depth = relative_depth_l1(outputs[..., 2], target[..., 2], has_depth)
        metrics["loss_depth"] = loss_depth.detach()
        return loss_2d + config.depth_weight * loss_depth, metrics

    @torch.no_grad()
    def predict(
        self, image: Tensor, intrinsics: Tensor, hand_scale: Tensor | None = None
    ) -> HandPose:
        """The 3D pose in views; put the method into ``eval()`` mode first.

        Args:
            image: (B,3,S,S) float32, normalised (``data.augment``).
            intrinsics: (B,3,3) px of the views.
            hand_scale: (B,) m, length of the reference bone; ``None`` leaves the pose in bone
                lengths.

        Returns:
            ``HandPose`` in px of the view and in the view's camera.
        """
        return lift(self.joints_25d(image), intrinsics, hand_scale)
