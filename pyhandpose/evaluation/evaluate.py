"""Run a method over a labelled dataset and measure it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from pyhandpose.data.augment import AugmentConfig, View, augment
from pyhandpose.data.registry import Dataset
from pyhandpose.data.sample import HandBatch
from pyhandpose.evaluation.metrics import DEFAULT_METRICS, Array, ErrorSummary, PoseErrors
from pyhandpose.evaluation.report import evaluation_table, finger_table
from pyhandpose.hand.camera import pixel_affine, transform_points
from pyhandpose.hand.pose25d import REFERENCE_BONE, HandPose, to_25d

Camera = Literal["given", "unknown"]

WITHOUT_CAMERA = ("epe_2d", "pa_epe")
"""Metrics that mean something when neither camera nor scale is known."""

STATUS_WORDS = ("ok", "ambiguous", "clamped", "degenerate")
"""``HandPose.status`` 0 to 3, see ``ops.root_depth``."""


class PoseEstimator(Protocol):
    """What can be evaluated."""

    def predict(
        self, image: Tensor, intrinsics: Tensor, hand_scale: Tensor | None = None
    ) -> HandPose:
        """Poses of normalised images (B,3,S,S) with K (B,3,3) px and scale (B,) m."""
        ...


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One method on one dataset."""

    method: str
    dataset: str
    num_samples: int
    input_size: int
    """Side of the method's input, px. Errors in px are in pixels of the dataset's own images."""
    scale_from: str
    """Where the hand's scale came from: "labels" or "none" (no 3D labels)."""
    summaries: dict[str, ErrorSummary]
    depth_status: dict[str, int]
    """Number of poses by the outcome of the root depth, keys ``STATUS_WORDS``."""
    distances: dict[str, Array] = field(repr=False)
    """(N,21) of each metric, see evaluation/metrics.py for NaN and inf."""
    pose: HandPose = field(repr=False)
    """The N estimates, CPU: px of the dataset's images, m (bone lengths without a camera)."""
    camera: Camera = "given"
    """Whether the method was given the cameras and the hands' scale."""

    def sample_errors(self, metric: str) -> Array:
        """(N,) mean over each pose's labelled joints: inf when one failed, NaN without labels."""
        distances = self.distances[metric]
        labelled = ~np.isnan(distances)
        total, count = np.where(labelled, distances, 0.0).sum(1), labelled.sum(1)
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)

    def table(self) -> str:
        """The Markdown table of the metrics, and below it the one by finger."""
        return f"{evaluation_table(self)}\n\n{finger_table(self)}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: everything but the single distances and poses."""
        return {
            "method": self.method,
            "dataset": self.dataset,
            "num_samples": self.num_samples,
            "input_size_px": self.input_size,
            "hand_scale_from": self.scale_from,
            "camera": self.camera,
            "depth_status": self.depth_status,
            "metrics": {name: summary.to_json() for name, summary in self.summaries.items()},
        }


@torch.inference_mode()
def evaluate(
    method: PoseEstimator,
    dataset: Dataset,
    *,
    name: str,
    input_size: int,
    batch_size: int = 128,
    metrics: tuple[str, ...] | None = None,
    camera: Camera = "given",
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Evaluation:
    """Estimate every pose of ``dataset`` and measure the errors.

    The method sees each image resized to ``input_size`` px, with K following, and the labelled
    length of the reference bone as the hand's scale (FreiHAND gives it to its participants too);
    its image points are taken back to the pixels of the dataset's images, so that methods of
    different input size compare.

    With ``camera="unknown"`` it gets neither: K = I and s = 1 (000 section 3.4), image points being
    measured from the image's centre in units of its side, and its poses are compared after
    Procrustes alignment only. docs/evaluation.md says what this costs.

    Args:
        method: anything with ``predict``; a module is expected to be in evaluation mode.
        dataset: must have image points, and intrinsics unless the camera is unknown; without 3D
            labels the 3D errors are n/a.
        name: what to call the method in tables.
        input_size: side of the method's input, px.
        batch_size: images at a time.
        metrics: keys of ``evaluation.metrics.METRICS``; None is ``DEFAULT_METRICS``, and
            ``WITHOUT_CAMERA`` when the camera is unknown, which allows no others.
        camera: "given" or "unknown".
        device: where the method is.
        progress: show a progress bar, in a terminal.

    Raises:
        ValueError: an empty dataset, one without image points or intrinsics, no batch size, or a
            metric that needs the camera.

    """
    if batch_size < 1:
        raise ValueError(f"evaluate: batch_size must be at least 1, got {batch_size}")
    if camera not in ("given", "unknown"):
        raise ValueError(f"evaluate: camera must be 'given' or 'unknown', got {camera!r}")
    if metrics is None:
        metrics = DEFAULT_METRICS if camera == "given" else WITHOUT_CAMERA
    if camera == "unknown" and not set(metrics) <= set(WITHOUT_CAMERA):
        raise ValueError(
            f"evaluate: with an unknown camera metrics must be of {WITHOUT_CAMERA}, got {metrics}"
        )
    errors = PoseErrors(metrics)
    poses: list[HandPose] = []
    scale_from = "labels"
    for batch in _batches(dataset, batch_size, progress, f"evaluate {name}"):
        if batch.joints_img is None or (batch.intrinsics is None and camera == "given"):
            raise ValueError(
                f"evaluate: {dataset.name} has no joint labels or no intrinsics; expected a "
                "labelled dataset such as synthetic:512"
            )
        view = resize_view(batch, input_size)
        intrinsics, scale, target_cam = _given(view, camera, method)
        scale_from = "none" if scale is None else "labels"
        pose = method.predict(
            view.image.to(device),
            intrinsics.to(device),
            None if scale is None else scale.to(device),
        )
        pose = HandPose(*(part.cpu() for part in pose))
        pose = pose._replace(joints_img=to_source_px(pose.joints_img, view, batch))
        errors.add(*pose[:2], batch.joints_img, target_cam, view.joint_valid)
        poses.append(pose)
    if not poses:
        raise ValueError(f"evaluate: {dataset.name} has no samples")
    pose = HandPose(*(torch.cat(parts) for parts in zip(*poses, strict=True)))
    return Evaluation(
        method=name,
        dataset=dataset.name,
        num_samples=len(pose.status),
        input_size=input_size,
        scale_from=scale_from,
        summaries=errors.summaries(),
        depth_status={
            word: int((pose.status == code).sum()) for code, word in enumerate(STATUS_WORDS)
        },
        distances={metric: errors.distances(metric) for metric in metrics},
        pose=pose,
        camera=camera,
    )


def resize_view(batch: HandBatch, input_size: int) -> View:
    """The batch resized and normalised, nothing else."""
    return augment(batch, AugmentConfig(), torch.Generator(), input_size)


def _given(
    view: View, camera: Camera, method: PoseEstimator
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """K (B,3,3) px and scale (B,) m for the method, and the labels (B,21,3) m to compare with."""
    if camera == "given":
        assert view.intrinsics is not None  # as in the batch
        bone = getattr(method, "reference_bone", REFERENCE_BONE)
        return view.intrinsics, *_known_scale(view, bone)
    valid = view.joint_valid if view.joint_valid_cam is None else view.joint_valid_cam
    target = view.joints_cam
    if target is not None and valid is not None:
        target = target.masked_fill(~valid[..., None], torch.nan)
    return identity_intrinsics(len(view.image), view.image.shape[-1]), None, target


def identity_intrinsics(batch: int, side: int) -> Tensor:
    """(B,3,3) px: K = I for points measured from the image's centre in units of its side."""
    centre = (side - 1) / 2
    K = torch.tensor([[float(side), 0, centre], [0, float(side), centre], [0, 0, 1]])
    return K.expand(batch, 3, 3)


def _known_scale(view: View, bone: tuple[int, int]) -> tuple[Tensor | None, Tensor | None]:
    """``(scale (B,) m, joints_cam (B,21,3) m)`` as labelled; None without 3D labels.

    The scale is the length of ``bone``, the one that the method names as its ``reference_bone``.

    A hand without labels for its reference bone has no scale and hence no error in millimetres:
    its scale is 1 and its 3D labels become NaN.
    """
    if view.joints_cam is None or view.joints_img is None or view.joint_valid is None:
        return None, None
    _, scale = to_25d(view.joints_img, view.joints_cam, bone)
    valid = view.joint_valid if view.joint_valid_cam is None else view.joint_valid_cam
    known = valid[:, list(bone)].all(1)  # (B,)
    target = view.joints_cam.masked_fill(~(valid & known[:, None])[..., None], torch.nan)
    return torch.where(known, scale, 1.0), target


def to_source_px(joints_img: Tensor, view: View, batch: HandBatch) -> Tensor:
    """Points (B,21,2) px of the view as px of the images it was made from: T^-1."""
    _, height, width, _ = batch.image.shape
    forward = pixel_affine(view.affine, (height, width), view.image.shape[-1])  # (B,2,3)
    linear = torch.linalg.inv(forward[..., :2])
    inverse = torch.cat([linear, -linear @ forward[..., 2:]], dim=-1)
    return transform_points(joints_img, inverse)


def _batches(dataset: Dataset, batch_size: int, progress: bool, what: str) -> Iterator[HandBatch]:
    from tqdm import tqdm

    hidden = None if progress else True  # None: shown in terminals only
    with tqdm(total=len(dataset), desc=what, unit="img", disable=hidden) as bar:
        for start in range(0, len(dataset), batch_size):
            indices = torch.arange(start, min(start + batch_size, len(dataset)))
            yield dataset.read(indices)
            bar.update(len(indices))
