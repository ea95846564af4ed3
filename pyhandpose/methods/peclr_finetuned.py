"""The network that PeCLR's authors published, fine-tuned on FreiHAND (001, 000 section 4.3).

A ResNet predicts a 2.5D pose whose joint 0 is the PALM, half way between wrist and middle MCP; the
palm's depth follows from the bone middle MCP to PIP and is refined by a small network. Joints are
in PeCLR's own order ("ait" of ``hand.skeleton``) up to the end, where the wrist takes the palm's
place. Without published weights (``pyhandpose convert``) it is an untrained method like another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from pyhandpose import ops
from pyhandpose.data.augment import View
from pyhandpose.data.two_pass import TwoPass
from pyhandpose.hand.camera import project, unproject
from pyhandpose.hand.pose25d import HandPose, to_25d
from pyhandpose.hand.skeleton import (
    AIT,
    MIDDLE_MCP,
    MIDDLE_PIP,
    NUM_JOINTS,
    WRIST,
    from_canonical,
    to_canonical,
)
from pyhandpose.losses.pose25d import joint_l1_2d, l1_over_valid, relative_depth_l1
from pyhandpose.models.encoder import EncoderConfig, build_encoder
from pyhandpose.models.refiner import RootRefiner

INPUT_SIZE = 224

DEFAULT_INTRINSICS = ((388.9018310596544, 0.0, 112.0), (0.0, 388.71231836584275, 112.0), (0, 0, 1))
"""K of a view when none is known, as published."""

PALM = 0
NUM_OUTPUTS = 3 * NUM_JOINTS + 1  # the last one is not used


@dataclass(frozen=True)
class PeCLRFineTunedConfig:
    """The network and the loss."""

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig("resnet50"))
    """Published are ResNet-50 and ResNet-152."""
    depth_weight: float = 5.0
    """alpha of 000 eq. 4.14: pixels that one reference-bone length of depth is worth."""


class PeCLRFineTuned(nn.Module):
    """Predicts (u, v, relative depth) around the palm and lifts them with a refined root depth."""

    Config: ClassVar = PeCLRFineTunedConfig
    num_views: ClassVar = 1
    reference_bone: ClassVar = (MIDDLE_MCP, MIDDLE_PIP)
    two_pass: ClassVar = TwoPass(first_fraction=0.33, fill=0.7, whole_pixels=True)
    notes: ClassVar = (
        "The network finds the palm; the wrist is taken to be as far behind it as the middle MCP "
        "is before it.",
    )

    def __init__(self, config: PeCLRFineTunedConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.head = nn.Linear(self.encoder.num_features, NUM_OUTPUTS)
        self.refiner = RootRefiner()

    def forward(self, batch: View) -> Tensor:
        """(B,3,224,224) -> (B,21,3) = (u px, v px, depth relative to the palm), AIT order."""
        return self.joints_25d(batch.image)

    def joints_25d(self, image: Tensor) -> Tensor:
        """The 2.5D pose in px of the view, from (B,3,224,224) normalised images; z_palm is 0.

        Raises:
            ValueError: another size, for whose pixels the outputs do not stand.
        """
        if image.shape[-2:] != (INPUT_SIZE, INPUT_SIZE):
            raise ValueError(
                f"PeCLRFineTuned: image must be (B,3,{INPUT_SIZE},{INPUT_SIZE}), whose pixels the "
                f"outputs are, got {tuple(image.shape)}"
            )
        features = self.encoder(image)  # (B,F)
        with torch.autocast(features.device.type, enabled=False):
            outputs = self.head(features.float())[:, :-1].unflatten(1, (NUM_JOINTS, 3))
        not_palm = torch.arange(NUM_JOINTS, device=outputs.device) != PALM
        depth = torch.where(not_palm, outputs[..., 2], 0.0)
        return torch.cat([outputs[..., :2], depth[..., None]], dim=-1)

    def refined_depth(self, joints_25d: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        """``(Z_palm (B,) in bone lengths after 000 eq. 3.11, status (B,) of ``ops.root_depth``)``.

        As published: a and the discriminant clamped at 1e-8, Z clamped to [4, 50] and taken as a
        constant in the gradient, then refined without limits.
        """
        bone = (AIT[MIDDLE_MCP], AIT[MIDDLE_PIP])
        solved = ops.root_depth(joints_25d, intrinsics, bone=bone, mode="published-model")
        rays = unproject(joints_25d[..., :2], intrinsics)  # (B,21,3)
        depth = self.refiner(joints_25d[..., 2], rays[..., :2], solved.depth.detach())
        return depth, solved.status

    def loss(self, outputs: Tensor, batch: View) -> tuple[Tensor, dict[str, Tensor]]:
        """000 eq. 4.14 (L1 on image points, ``depth_weight`` times L1 on depth) plus eq. 3.12.

        The palm's labels are made from the 3D ones of wrist and middle MCP. A hand without 3D
        labels for these two and the middle PIP has no depth terms, and no image point of its palm.

        Returns:
            The loss, px; and its parts ``loss_2d`` (px), ``loss_depth`` and ``loss_refined_depth``
            (bone lengths).

        Raises:
            ValueError: the batch has no 2D labels, or 3D labels without intrinsics.
        """
        points, joints, K = batch.joints_img, batch.joints_cam, batch.intrinsics
        valid = batch.joint_valid
        if points is None or valid is None or (joints is not None and K is None):
            raise ValueError(
                "PeCLRFineTuned.loss: expected a batch with 2D joints, and intrinsics with 3D ones"
            )
        if joints is None or K is None:
            not_palm = torch.arange(NUM_JOINTS, device=valid.device) != PALM
            valid = from_canonical((valid & not_palm)[..., None], "ait")[..., 0]
            loss_2d = joint_l1_2d(outputs[..., :2], from_canonical(points, "ait"), valid)
            return loss_2d, {"loss_2d": loss_2d.detach()}
        valid_cam = valid if batch.joint_valid_cam is None else batch.joint_valid_cam
        has_palm = valid_cam[:, [WRIST, MIDDLE_MCP]].all(1)  # (B,)
        palm = (joints[:, WRIST] + joints[:, MIDDLE_MCP]) / 2  # (B,3)
        joints = torch.cat([palm[:, None], joints[:, 1:]], dim=1)
        points = torch.cat([project(palm[:, None], K), points[:, 1:]], dim=1)
        target, scale = to_25d(points, joints, bone=self.reference_bone, root=PALM)
        has_scale = has_palm & valid_cam[:, list(self.reference_bone)].all(1) & (scale > 0)  # (B,)
        valid = torch.cat([has_palm[:, None], valid[:, 1:]], dim=1)
        marks = torch.stack([valid, valid_cam & has_scale[:, None]], dim=-1)  # (B,21,2)
        valid, has_depth = from_canonical(marks, "ait").unbind(-1)
        target = from_canonical(target, "ait")

        loss_2d = joint_l1_2d(outputs[..., :2], target[..., :2], valid)
        loss_depth = relative_depth_l1(outputs[..., 2], target[..., 2], has_depth)
        depth, _ = self.refined_depth(outputs, K)
        off = depth - palm[:, 2] / scale  # (B,)
        loss_refined = l1_over_valid(off[:, None, None], has_scale[:, None])
        loss = loss_2d + self.config.depth_weight * loss_depth + loss_refined
        parts = {"loss_2d": loss_2d, "loss_depth": loss_depth, "loss_refined_depth": loss_refined}
        return loss, {name: part.detach() for name, part in parts.items()}

    @torch.no_grad()
    def predict(
        self, image: Tensor, intrinsics: Tensor | None, hand_scale: Tensor | None = None
    ) -> HandPose:
        """The 3D pose in views; put the method into ``eval()`` mode first.

        Args:
            image: (B,3,224,224) float32, normalised (``data.augment``).
            intrinsics: (B,3,3) px of the views; ``None`` takes the published default.
            hand_scale: (B,) m, |middle MCP - middle PIP|; ``None`` leaves bone lengths.

        Returns:
            ``HandPose`` in canonical order, px of the view and the view's camera. The wrist is
            2 palm - middle MCP in 3D, its image point the projection of that.
        """
        joints_25d = self.joints_25d(image)
        if intrinsics is None:
            default = joints_25d.new_tensor(DEFAULT_INTRINSICS)
            intrinsics = default.expand(len(image), 3, 3).contiguous()
        depth, status = self.refined_depth(joints_25d, intrinsics)
        z = joints_25d[..., 2] + depth[:, None]  # (B,21)
        joints = z[..., None] * unproject(joints_25d[..., :2], intrinsics)
        if hand_scale is not None:
            joints = joints * hand_scale[:, None, None]
        joints = to_canonical(joints, "ait")  # wrist: still the palm
        wrist = 2 * joints[:, :1] - joints[:, MIDDLE_MCP : MIDDLE_MCP + 1]
        joints = torch.cat([wrist, joints[:, 1:]], dim=1)
        points = to_canonical(joints_25d[..., :2], "ait")
        points = torch.cat([project(wrist, intrinsics), points[:, 1:]], dim=1)
        return HandPose(points, joints, status)
