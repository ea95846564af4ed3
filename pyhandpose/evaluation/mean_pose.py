"""The mean pose: what can be had without looking at the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyhandpose import ops
from pyhandpose.data.registry import Dataset
from pyhandpose.evaluation.evaluate import Evaluation, evaluate, resize_view
from pyhandpose.hand.pose25d import HandPose, to_25d
from pyhandpose.hand.skeleton import WRIST

VIEW_SIDE = 64
"""Side, px, of the views in which means are taken; they are kept as fractions of it."""

ALIGNMENT_ROUNDS = 5
"""Rounds of aligning to the mean and averaging; the mean settles after two or three."""


@dataclass(frozen=True)
class MeanPose:
    """Answers every image with the training set's mean; implements ``PoseEstimator``.

    2D: the mean position of each joint, as a fraction of the side. 3D: the mean root-relative
    pose in bone lengths, times the hand's scale, its wrist on the ray of the mean 2D wrist at the
    depth at which the hand has the training set's mean apparent size,
    Z = s f mean(Z_i / (s_i f_i)). It is thus given the same camera and scale as a learnt method.

    The plain mean is the best constant for root-relative errors, but hands seen from all sides
    average to a heap; ``aligned`` turns the poses onto each other first (generalised Procrustes,
    by rotation), which keeps the shape of a hand and makes the stronger baseline for PA-EPE.
    """

    joints_view: Tensor
    """(21,2) fractions of the side about the centre."""
    joints_relative: Tensor
    """(21,3) relative to the wrist, in lengths of the reference bone."""
    depth_ratio: float
    """Mean of Z_wrist / (s f), f in sides of the image."""

    @classmethod
    def fit(cls, dataset: Dataset, *, aligned: bool = False, batch_size: int = 256) -> MeanPose:
        """The means over a dataset in which every joint has its labels.

        Raises:
            ValueError: labels are missing, or there are no samples.

        """
        in_view, relative, ratio = [], [], []
        for start in range(0, len(dataset), batch_size):
            view = resize_view(
                dataset.read(torch.arange(start, min(start + batch_size, len(dataset)))), VIEW_SIDE
            )
            points, joints, camera = view.joints_img, view.joints_cam, view.intrinsics
            if points is None or joints is None or camera is None or view.joint_valid is None:
                raise ValueError(f"MeanPose.fit: {dataset.name} has no 3D labels or no intrinsics")
            has_3d = view.joint_valid if view.joint_valid_cam is None else view.joint_valid_cam
            if not (view.joint_valid & has_3d).all():
                raise ValueError(f"MeanPose.fit: {dataset.name} has joints without labels")
            _, scale = to_25d(points, joints)
            wrist = joints[:, WRIST : WRIST + 1]  # (B,1,3)
            in_view.append((points - (VIEW_SIDE - 1) / 2) / VIEW_SIDE)
            relative.append((joints - wrist) / scale[:, None, None])
            ratio.append(wrist[:, 0, 2] / (scale * _focal(camera) / VIEW_SIDE))
        if not in_view:
            raise ValueError(f"MeanPose.fit: {dataset.name} has no samples")
        poses = torch.cat(relative)  # (N,21,3)
        return cls(
            joints_view=torch.cat(in_view).mean(0),
            joints_relative=_aligned_mean(poses) if aligned else poses.mean(0),
            depth_ratio=torch.cat(ratio).mean().item(),
        )

    def predict(
        self, image: Tensor, intrinsics: Tensor, hand_scale: Tensor | None = None
    ) -> HandPose:
        """The mean for each of the (B,3,S,S) images, whatever they show."""
        batch, side = len(image), image.shape[-1]
        scale = intrinsics.new_ones(batch) if hand_scale is None else hand_scale
        joints_img = (self.joints_view.to(intrinsics) * side + (side - 1) / 2).expand(batch, -1, -1)
        depth = self.depth_ratio * scale * _focal(intrinsics) / side  # (B,)
        wrist_px = torch.nn.functional.pad(joints_img[:, WRIST], (0, 1), value=1.0)  # (B,3)
        ray = torch.linalg.solve_triangular(intrinsics, wrist_px[..., None], upper=True)[..., 0]
        wrist = depth[:, None] * ray  # (B,3)
        joints_cam = wrist[:, None] + scale[:, None, None] * self.joints_relative.to(intrinsics)
        status = torch.zeros(batch, dtype=torch.int8, device=image.device)
        return HandPose(joints_img, joints_cam, status)


def mean_pose_baseline(
    train: Dataset,
    test: Dataset,
    *,
    aligned: bool = False,
    input_size: int = VIEW_SIDE,
    progress: bool = True,
) -> Evaluation:
    """Evaluate the mean pose of ``train`` on ``test``."""
    return evaluate(
        MeanPose.fit(train, aligned=aligned),
        test,
        name="mean pose, aligned" if aligned else "mean pose",
        input_size=input_size,
        progress=progress,
    )


def _aligned_mean(poses: Tensor) -> Tensor:
    """(21,3) mean of (N,21,3) poses rotated onto it, relative to its own wrist."""
    mean = poses[0]
    for _ in range(ALIGNMENT_ROUNDS):
        mean = ops.procrustes(poses, mean.expand_as(poses), scale=False).aligned.mean(0)
    return mean - mean[WRIST]


def _focal(intrinsics: Tensor) -> Tensor:
    """(B,) geometric mean of fx and fy, px."""
    return (intrinsics[:, 0, 0] * intrinsics[:, 1, 1]).sqrt()
