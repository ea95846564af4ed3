"""PCK, the percentage of correct keypoints, and the area under its curve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 2048
"""Poses of 21 joints at a time: what is computed from a block stays in the CPU's cache."""

ON_THE_GRID = 1e-9
"""Distances this near a threshold, in steps, are compared with it exactly; rounding is 1e-13."""


@dataclass(frozen=True)
class Pck:
    """Which distances count as correct: ``count`` equally spaced thresholds, and a comparison.

    An AUC means nothing without these: every benchmark has its own (docs/evaluation.md).
    """

    start: float
    """First threshold, in the unit of the distances."""
    stop: float
    """Last threshold, included."""
    count: int
    """Number of thresholds, the ends among them."""
    strict: bool = False
    """A joint is correct with d < t; otherwise with d <= t."""

    def __post_init__(self) -> None:
        """Refuse what is not a curve or a point of one."""
        one = self.count == 1 and self.start == self.stop
        if not (one or (self.count > 1 and 0 <= self.start < self.stop)):
            raise ValueError(
                f"Pck: expected 0 <= start < stop and count >= 2, or one threshold, got "
                f"{self.start}, {self.stop} and {self.count}"
            )

    @cached_property
    def thresholds(self) -> Array:
        """(T,) in the unit of the distances."""
        return np.linspace(self.start, self.stop, self.count)

    @property
    def comparison(self) -> str:
        """``<`` or ``<=``, between a distance and a threshold."""
        return "<" if self.strict else "<="


FREIHAND_PCK = Pck(0.0, 50.0, 100)
"""0 to 50 mm, d <= t: FreiHAND's and HO-3D's evaluators, and 001 section 4.2."""

PCK_THRESHOLDS_MM: Array = FREIHAND_PCK.thresholds
"""(100,) thresholds of ``FREIHAND_PCK``."""


def pck_curve(distances: Array, pck: Pck = FREIHAND_PCK) -> Array:
    """(T,J) share of a joint's labelled distances that are correct; NaN for one without labels.

    ``distances`` (N,J) in the unit of ``pck``. NaN has no label and is left out; failed joints
    (inf) are in the denominator and never correct.
    """
    num_joints = distances.shape[1]
    bins = np.zeros((num_joints, pck.count + 1), dtype=np.int64)
    labelled = np.full(num_joints, len(distances))
    offset = (pck.count + 1) * np.arange(num_joints)
    for start in range(0, len(distances), BLOCK):
        block = distances[start : start + BLOCK]  # (n,J)
        first = _first_correct(block, pck)
        bins += np.bincount((first + offset).ravel(), minlength=bins.size).reshape(bins.shape)
        labelled -= np.isnan(block).sum(0)
    correct = bins[:, :-1].cumsum(1).T  # (T,J)
    return np.divide(correct, labelled, out=np.full(correct.shape, np.nan), where=labelled > 0)


def _first_correct(distances: Array, pck: Pck) -> NDArray[np.int64]:
    """Index of the first threshold at which each distance is correct; T where at none.

    The thresholds are equally spaced, so that a division finds it; only distances that are a
    threshold up to rounding have to be compared with the thresholds themselves.
    """
    if pck.count == 1:
        correct = distances < pck.start if pck.strict else distances <= pck.start
        return np.where(correct, 0, pck.count)
    place = distances - pck.start if pck.start > 0 else distances
    place = place * ((pck.count - 1) / (pck.stop - pck.start))
    if not np.isfinite(place.sum()):
        place[~np.isfinite(place)] = pck.count  # failed, or without a label
    above = np.ceil(place)
    index = np.clip(above, 0, pck.count).astype(np.int64)
    above -= place  # in [0, 1): near an end, the distance is a threshold up to rounding
    if above.size and not ON_THE_GRID < above.min() <= above.max() < 1 - ON_THE_GRID:
        doubtful = (above <= ON_THE_GRID) | (above >= 1 - ON_THE_GRID)
        exactly = np.searchsorted(
            pck.thresholds, distances[doubtful], side="right" if pck.strict else "left"
        )
        index[doubtful] = exactly
    return index


def area_under_curve(shares: Array, thresholds: Array = PCK_THRESHOLDS_MM) -> float:
    """Trapezoidal area under (T,) shares, divided by the range of ``thresholds``: 0 to 1.

    Needs two thresholds; NaN for one.
    """
    if len(thresholds) < 2:
        return float("nan")
    steps = np.diff(thresholds)
    return float(((shares[1:] + shares[:-1]) / 2 * steps).sum() / steps.sum())
