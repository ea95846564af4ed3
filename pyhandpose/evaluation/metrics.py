"""Errors of estimated hand poses: EPE, root-relative EPE, PA-EPE, PCK and AUC.

Every metric starts from a table of distances (N,J), one per pose and joint, in which

- NaN is a joint without a label: it is left out of everything;
- +inf is a failed joint: it has a label but the estimate is not finite. It is left out of the
  means, counted, and never correct in the PCK curve, whatever the threshold.

A metric is averaged over poses for each joint first, then over the joints that have labels
(FreiHAND's order; without missing labels it is the plain mean). docs/evaluation.md has the formulas
and says which paper uses what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyhandpose import ops
from pyhandpose.hand.skeleton import FINGER_JOINTS, JOINT_NAMES, WRIST

Array = NDArray[np.float64]

MM_PER_M = 1000.0

PCK_THRESHOLDS_MM: Array = np.linspace(0.0, 50.0, 100)
"""(100,) thresholds of the PCK curve: 0 to 50 mm, both ends included (001 section 4, FreiHAND)."""

MIN_ALIGNED_JOINTS = 3
"""Labels a pose needs to be aligned: two points fit any two others exactly."""

JOINT_GROUPS: Mapping[str, tuple[int, ...]] = {JOINT_NAMES[WRIST]: (WRIST,), **FINGER_JOINTS}


class Metric(NamedTuple):
    """What a metric is called in tables, and the unit of its distances."""

    title: str
    unit: str


METRICS: Mapping[str, Metric] = {
    "epe_2d": Metric("2D EPE", "px"),
    "epe_absolute": Metric("EPE, absolute", "mm"),
    "epe_root_relative": Metric("EPE, root-relative", "mm"),
    "pa_epe": Metric("PA-EPE", "mm"),
    "pa_epe_reflections": Metric("PA-EPE, reflections allowed", "mm"),
}

DEFAULT_METRICS = ("epe_2d", "epe_absolute", "epe_root_relative", "pa_epe")


def joint_distances(estimate: Tensor, target: Tensor, valid: Tensor | None = None) -> Array:
    """Euclidean distance ||estimate_nj - target_nj|| of each joint, in the unit of the inputs.

    Args:
        estimate: (N,J,D), any finite or non-finite values.
        target: (N,J,D); a non-finite entry means that the joint has no label.
        valid: (N,J) bool, False for a joint without a label; None when all have one.

    Returns:
        (N,J) float64; NaN without a label, inf for an estimate that is not finite.

    """
    if estimate.shape != target.shape or estimate.ndim != 3:
        raise ValueError(
            f"joint_distances: estimate and target must both be (N,J,D), got "
            f"{tuple(estimate.shape)} and {tuple(target.shape)}"
        )
    if valid is not None and valid.shape != target.shape[:2]:
        raise ValueError(
            f"joint_distances: valid must be {tuple(target.shape[:2])}, got {tuple(valid.shape)}"
        )
    estimate, target = estimate.detach().cpu().double(), target.detach().cpu().double()
    distance = torch.linalg.vector_norm(estimate - target, dim=-1)
    distance[~estimate.isfinite().all(-1)] = torch.inf
    labelled = target.isfinite().all(-1)
    if valid is not None:
        labelled &= valid.cpu()
    distance[~labelled] = torch.nan
    return distance.numpy()


def absolute_mm(estimate: Tensor, target: Tensor, valid: Tensor | None = None) -> Array:
    """Distances in camera space, nothing aligned: (N,J,3) m in, (N,J) mm out."""
    return MM_PER_M * joint_distances(estimate, target, valid)


def root_relative_mm(
    estimate: Tensor, target: Tensor, valid: Tensor | None = None, *, root: int = WRIST
) -> Array:
    """Distances with each pose's own root joint at the origin: (N,J,3) m in, (N,J) mm out.

    The root's own distance is 0 and counts in the mean, as in the published evaluators. A pose
    whose root has no label has no root-relative error; one whose estimated root is not finite has
    failed at every joint.
    """
    return absolute_mm(
        estimate - estimate[:, root : root + 1], target - target[:, root : root + 1], valid
    ) + (0.0 if valid is None else np.where(valid[:, root : root + 1].cpu(), 0.0, np.nan))


def procrustes_mm(
    estimate: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    allow_reflection: bool = False,
) -> Array:
    """Distances after the best similarity (``ops.procrustes`` with scale): (N,J,3) m in, mm out.

    Only labelled joints take part in the alignment. A pose with fewer than three of them has no
    error here; one with a labelled joint whose estimate is not finite cannot be aligned and has
    failed at every joint. ``allow_reflection`` gives a mirrored hand the error 0: the FreiHAND and
    HO-3D evaluators do so.
    """
    measured = joint_distances(estimate, target, valid)  # (N,J): NaN no label, inf failed
    labelled = ~np.isnan(measured)
    labelled &= labelled.sum(1, keepdims=True) >= MIN_ALIGNED_JOINTS
    failed = np.isinf(measured).any(1, keepdims=True)  # (N,1)
    weights = torch.from_numpy(labelled & ~failed).double()  # (N,J)
    # what has no weight must still be finite: 0 x NaN is NaN
    used = weights[..., None] > 0  # (N,J,1)
    source = torch.where(used, estimate.detach().cpu().double(), 0.0)  # (N,J,3)
    goal = torch.where(used, target.detach().cpu().double(), 0.0)  # (N,J,3)
    aligned = ops.procrustes(source, goal, weights, allow_reflection=allow_reflection).aligned
    distance = absolute_mm(aligned, goal)
    return np.where(labelled, np.where(failed, np.inf, distance), np.nan)


def pck_curve(distances: Array, thresholds: Array = PCK_THRESHOLDS_MM) -> Array:
    """(T,J) share of a joint's labelled distances with d <= t; NaN for a joint without labels.

    ``distances`` (N,J) and ``thresholds`` (T,) in the same unit. Failed joints (inf) are in the
    denominator and never correct.
    """
    labelled = (~np.isnan(distances)).sum(0)  # (J,)
    correct = np.stack(
        [np.searchsorted(np.sort(column), thresholds, side="right") for column in distances.T], 1
    )  # (T,J); NaN sorts last
    return np.divide(correct, labelled, out=np.full(correct.shape, np.nan), where=labelled > 0)


def area_under_curve(pck: Array, thresholds: Array = PCK_THRESHOLDS_MM) -> float:
    """Trapezoidal area under (T,) values, divided by the range of ``thresholds``: 0 to 1."""
    steps = np.diff(thresholds)
    return float(((pck[1:] + pck[:-1]) / 2 * steps).sum() / steps.sum())


@dataclass(frozen=True)
class ErrorSummary:
    """One metric over a set of poses; NaN where nothing has a label (``n/a`` in tables)."""

    metric: str
    """Key of ``METRICS``."""
    mean: float
    """Mean over joints of the per-joint means, in the metric's unit; failed joints left out."""
    median: float
    """Median of all distances, failed joints (as inf) included."""
    per_joint: tuple[float, ...]
    """(J,) mean over poses of each joint."""
    per_finger: dict[str, float]
    """Mean of the per-joint means of the wrist and of each finger."""
    thresholds: tuple[float, ...] | None
    """(T,) of the PCK curve, in the metric's unit; None for a metric without one."""
    pck: tuple[float, ...] | None
    """(T,) mean over joints of the share with d <= t."""
    auc: float | None
    """Area under ``pck``, 0 to 1."""
    num_poses: int
    num_joints: int
    """Joints with a label."""
    num_missing: int
    """Joints without one, left out."""
    num_failed: int
    """Labelled joints whose estimate is not finite: not in the means, never correct in the PCK."""

    @property
    def title(self) -> str:
        """The metric's name in tables."""
        return METRICS[self.metric].title

    @property
    def unit(self) -> str:
        """The unit of the distances."""
        return METRICS[self.metric].unit

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN and inf become null."""
        record = {"title": self.title, "unit": self.unit, **asdict(self)}
        record["per_joint"] = dict(zip(JOINT_NAMES, self.per_joint, strict=True))
        return _without_non_finite(record)


def summarise(metric: str, distances: Array, thresholds: Array | None = None) -> ErrorSummary:
    """The summary of a table of distances (N,J); millimetres get a PCK curve, pixels do not."""
    if metric not in METRICS:
        raise ValueError(f"summarise: metric must be one of {tuple(METRICS)}, got {metric!r}")
    if thresholds is None and METRICS[metric].unit == "mm":
        thresholds = PCK_THRESHOLDS_MM
    labelled, finite = ~np.isnan(distances), np.isfinite(distances)
    per_joint = _mean(distances, finite, axis=0)
    pck = auc = None
    if thresholds is not None:
        by_joint = pck_curve(distances, thresholds)
        curve = _mean(by_joint, ~np.isnan(by_joint), axis=1)
        pck, auc = tuple(curve.tolist()), area_under_curve(curve, thresholds)
    return ErrorSummary(
        metric=metric,
        mean=float(_mean(per_joint, ~np.isnan(per_joint))),
        median=float(np.median(distances[labelled])) if labelled.any() else float("nan"),
        per_joint=tuple(per_joint.tolist()),
        per_finger={
            group: float(_mean(part := per_joint[list(joints)], ~np.isnan(part)))
            for group, joints in JOINT_GROUPS.items()
        },
        thresholds=None if thresholds is None else tuple(thresholds.tolist()),
        pck=pck,
        auc=auc,
        num_poses=len(distances),
        num_joints=int(labelled.sum()),
        num_missing=int((~labelled).sum()),
        num_failed=int(np.isinf(distances).sum()),
    )


def _mean(values: Array, where: NDArray[np.bool_], axis: int | None = None) -> Array:
    """Mean of the chosen values; NaN (without numpy's warning) where none is chosen."""
    count = where.sum(axis=axis)
    total = np.where(where, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_non_finite(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_without_non_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


class PoseErrors:
    """Collects the distances of several metrics batch by batch, and merges across processes.

    >>> errors = PoseErrors()
    >>> errors.add(pose.joints_img, pose.joints_cam, target_img, target_cam, valid)
    >>> errors.summaries()["pa_epe"].mean  # mm
    """

    def __init__(self, metrics: tuple[str, ...] = DEFAULT_METRICS) -> None:
        unknown = [metric for metric in metrics if metric not in METRICS]
        if unknown:
            raise ValueError(f"PoseErrors: metrics must be of {tuple(METRICS)}, got {unknown}")
        self._parts: dict[str, list[Array]] = {metric: [] for metric in metrics}

    def add(
        self,
        joints_img: Tensor,
        joints_cam: Tensor,
        target_img: Tensor | None,
        target_cam: Tensor | None,
        valid: Tensor | None = None,
    ) -> None:
        """Add N poses: images points (N,J,2) px, camera points (N,J,3) m, ``valid`` (N,J) bool.

        A target that is None has no labels at all.
        """
        if target_img is None:
            target_img = torch.full_like(joints_img, torch.nan)
        if target_cam is None:
            target_cam = torch.full_like(joints_cam, torch.nan)
        measure = {
            "epe_2d": lambda: joint_distances(joints_img, target_img, valid),
            "epe_absolute": lambda: absolute_mm(joints_cam, target_cam, valid),
            "epe_root_relative": lambda: root_relative_mm(joints_cam, target_cam, valid),
            "pa_epe": lambda: procrustes_mm(joints_cam, target_cam, valid),
            "pa_epe_reflections": lambda: procrustes_mm(
                joints_cam, target_cam, valid, allow_reflection=True
            ),
        }
        for metric, parts in self._parts.items():
            parts.append(measure[metric]())

    def merge(self, other: PoseErrors) -> None:
        """Append the poses of ``other``, which must collect the same metrics."""
        if self._parts.keys() != other._parts.keys():
            raise ValueError(
                f"PoseErrors.merge: expected metrics {tuple(self._parts)}, got "
                f"{tuple(other._parts)}"
            )
        for metric, parts in self._parts.items():
            parts.extend(other._parts[metric])

    def distances(self, metric: str) -> Array:
        """(N,J) distances so far, in the order in which they were added."""
        parts = self._parts[metric]
        return np.concatenate(parts) if parts else np.empty((0, len(JOINT_NAMES)))

    def summaries(self) -> dict[str, ErrorSummary]:
        """The summary of each metric."""
        return {metric: summarise(metric, self.distances(metric)) for metric in self._parts}
