"""Errors of estimated hand poses: EPE, root-relative EPE, PA-EPE, PCK and AUC.

Every metric starts from a table of distances (N,J), one per pose and joint (distances.py), in which

- NaN is a joint without a label: it is left out of everything;
- +inf is a failed joint: it has a label but the estimate is not finite. It is left out of the
  means, counted, and never correct in the PCK curve (pck.py), whatever the threshold.

A metric is averaged over poses for each joint first, then over the joints that have labels
(FreiHAND's order; without missing labels it is the plain mean). docs/evaluation.md has the formulas
and says which paper uses what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyhandpose.evaluation.distances import (
    MM_PER_M,
    absolute_mm,
    freihand_procrustes_mm,
    joint_distances,
    palm_lengths,
    procrustes_mm,
    root_relative_mm,
    scale_translation_mm,
)
from pyhandpose.evaluation.pck import (
    FREIHAND_PCK,
    PCK_THRESHOLDS_MM,
    Array,
    Pck,
    area_under_curve,
    pck_curve,
)
from pyhandpose.hand.skeleton import FINGER_JOINTS, JOINT_NAMES, MIDDLE_MCP, WRIST

__all__ = [
    "DEFAULT_METRICS",
    "FREIHAND_PCK",
    "METRICS",
    "MM_PER_M",
    "PCK_THRESHOLDS_MM",
    "Array",
    "ErrorSummary",
    "Metric",
    "Pck",
    "PoseErrors",
    "absolute_mm",
    "area_under_curve",
    "freihand_procrustes_mm",
    "joint_distances",
    "pck_curve",
    "procrustes_mm",
    "root_relative_mm",
    "scale_translation_mm",
    "summarise",
    "without_non_finite",
]

JOINT_GROUPS: Mapping[str, tuple[int, ...]] = {JOINT_NAMES[WRIST]: (WRIST,), **FINGER_JOINTS}


class Metric(NamedTuple):
    """What a metric is called in tables, the unit of its distances, and how they are measured."""

    title: str
    unit: str
    measure: Callable[[Tensor, Tensor, Tensor | None], Array]
    """Estimates (N,J,D), labels (N,J,D), valid (N,J) or None -> distances (N,J)."""
    points: Literal["img", "img / side", "cam"] = "cam"
    """Of what: image points in px, the same in fractions of the image's width and height, or camera
    points in m."""


METRICS: Mapping[str, Metric] = {
    "epe_2d": Metric("2D EPE", "px", joint_distances, "img"),
    "epe_2d_sides": Metric("2D EPE by image side", "sides", joint_distances, "img / side"),
    "epe_absolute": Metric("EPE, absolute", "mm", absolute_mm),
    "epe_root_relative": Metric("EPE, root-relative", "mm", root_relative_mm),
    "epe_middle_mcp_relative": Metric(
        "EPE, relative to the middle MCP", "mm", partial(root_relative_mm, root=MIDDLE_MCP)
    ),
    "epe_scale_translation": Metric("EPE, scale and wrist aligned", "mm", scale_translation_mm),
    "pa_epe": Metric("PA-EPE", "mm", procrustes_mm),
    "pa_epe_freihand": Metric("PA-EPE (FreiHAND)", "mm", freihand_procrustes_mm),
    "epe_palm_lengths": Metric("3D EPE by palm length", "palm lengths", palm_lengths),
}

DEFAULT_METRICS = ("epe_2d", "epe_absolute", "epe_root_relative", "pa_epe")


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
    comparison: str | None
    """"<=" or "<": which distances are correct at a threshold; None for a metric without PCK."""
    thresholds: tuple[float, ...] | None
    """(T,) of the PCK curve, in the metric's unit."""
    pck: tuple[float, ...] | None
    """(T,) mean over joints of the share of correct ones."""
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
        return without_non_finite(record)


def summarise(metric: str, distances: Array, pck: Pck | None = None) -> ErrorSummary:
    """The summary of a table of distances (N,21).

    Without ``pck``, millimetres get ``FREIHAND_PCK`` and pixels no curve.
    """
    if metric not in METRICS:
        raise ValueError(f"summarise: metric must be one of {tuple(METRICS)}, got {metric!r}")
    if pck is None and METRICS[metric].unit == "mm":
        pck = FREIHAND_PCK
    finite = np.isfinite(distances)
    num_failed = 0 if finite.all() else int(np.isinf(distances).sum())
    num_joints = int(finite.sum()) + num_failed
    known = distances.ravel() if num_joints == distances.size else distances[~np.isnan(distances)]
    per_joint = mean_where(distances, finite, axis=0)
    curve = None if pck is None else mean_pck(distances, pck)
    return ErrorSummary(
        metric=metric,
        mean=float(mean_where(per_joint, ~np.isnan(per_joint))),
        median=float(np.median(known)) if num_joints else float("nan"),
        per_joint=tuple(per_joint.tolist()),
        per_finger={
            group: float(mean_where(part := per_joint[list(joints)], ~np.isnan(part)))
            for group, joints in JOINT_GROUPS.items()
        },
        comparison=None if pck is None else pck.comparison,
        thresholds=None if pck is None else tuple(pck.thresholds.tolist()),
        pck=None if curve is None else tuple(curve.tolist()),
        auc=None if pck is None or curve is None else area_under_curve(curve, pck.thresholds),
        num_poses=len(distances),
        num_joints=num_joints,
        num_missing=distances.size - num_joints,
        num_failed=num_failed,
    )


def mean_pck(distances: Array, pck: Pck) -> Array:
    """(T,) mean of ``pck_curve`` over the joints that have labels."""
    by_joint = pck_curve(distances, pck)
    return mean_where(by_joint, ~np.isnan(by_joint), axis=1)


def mean_where(values: Array, where: NDArray[np.bool_], axis: int | None = None) -> Array:
    """Mean of the chosen values; NaN (without numpy's warning) where none is chosen."""
    count = where.sum(axis=axis)
    if bool(where.all()):
        total = values.sum(axis=axis)
    else:
        total = np.where(where, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def without_non_finite(value: Any) -> Any:
    """JSON values with null for NaN and inf."""
    if isinstance(value, dict):
        return {key: without_non_finite(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [without_non_finite(item) for item in value]
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
        image_size_px: Tensor | None = None,
    ) -> None:
        """Add N poses with their labels; a target that is None has no labels at all.

        Args:
            joints_img: (N,21,2) px.
            joints_cam: (N,21,3) m.
            target_img: as ``joints_img``.
            target_cam: as ``joints_cam``.
            valid: (N,21) bool, False without a label.
            image_size_px: (N,2) width and height, for the metrics that divide by them.

        """
        if target_img is None:
            target_img = torch.full_like(joints_img, torch.nan)
        if target_cam is None:
            target_cam = torch.full_like(joints_cam, torch.nan)
        points = {"img": (joints_img, target_img), "cam": (joints_cam, target_cam)}
        if image_size_px is not None:
            side = image_size_px[:, None].double()  # (N,1,2)
            points["img / side"] = joints_img / side, target_img / side
        for metric, parts in self._parts.items():
            if METRICS[metric].points not in points:
                raise ValueError(f"PoseErrors.add: {metric} needs image_size_px (N,2), got None")
            parts.append(METRICS[metric].measure(*points[METRICS[metric].points], valid))

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
        if len(parts) == 1:  # a copy of a million poses would take a tenth of a second
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, len(JOINT_NAMES)))

    def summaries(self) -> dict[str, ErrorSummary]:
        """The summary of each metric."""
        return {metric: summarise(metric, self.distances(metric)) for metric in self._parts}
