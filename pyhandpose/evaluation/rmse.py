"""Root mean squared errors by joint type and by finger, as in the tables of thesis 004."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyhandpose.evaluation.metrics import mean_where
from pyhandpose.evaluation.pck import Array
from pyhandpose.hand.skeleton import FINGER_JOINTS, WRIST

JOINT_TYPES: Mapping[str, tuple[int, ...]] = {
    name: tuple(joints[place] for joints in FINGER_JOINTS.values())
    for place, name in enumerate(("MCP", "PIP", "DIP", "fingertip"))
}
"""By place in the finger, from the palm: for the thumb these are its CMC, MCP, IP and tip."""


@dataclass(frozen=True)
class RmseSummary:
    """RMSE by groups of joints, in the unit of the distances; NaN where nothing has a label.

    RMSE_j = sqrt(1/(N_j D) sum_n d_nj^2), the root of the mean squared error of a coordinate of
    joint j. A group's value is the mean of its joints' (004 section 4.1.2, tables 4.1 and 4.3).
    """

    title: str
    unit: str
    wrist: float
    joint_types: dict[str, float]
    """MCP, PIP, DIP and fingertip: each the mean over the five fingers."""
    fingers: dict[str, float]
    """Each the mean over the finger's four joints."""
    total: float
    """Mean over the 21 joints."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, by the rows of the thesis's tables."""
        return {
            "title": self.title,
            "unit": self.unit,
            "wrist": self.wrist,
            **self.joint_types,
            **self.fingers,
            "total": self.total,
        }


def rmse_summary(title: str, unit: str, distances: Array, dimension: int) -> RmseSummary:
    """The RMSEs of a table of distances (N,21) between points of ``dimension`` coordinates.

    Joints without a label (NaN) and failed joints (inf) are left out.
    """
    finite = np.isfinite(distances)
    squares = np.square(distances, where=finite, out=np.zeros_like(distances))
    per_joint = np.sqrt(mean_where(squares, finite, axis=0) / dimension)  # (21,)

    def mean(joints: tuple[int, ...]) -> float:
        part = per_joint[list(joints)]
        return float(mean_where(part, ~np.isnan(part)))

    return RmseSummary(
        title=title,
        unit=unit,
        wrist=mean((WRIST,)),
        joint_types={name: mean(joints) for name, joints in JOINT_TYPES.items()},
        fingers={name: mean(joints) for name, joints in FINGER_JOINTS.items()},
        total=mean(tuple(range(len(per_joint)))),
    )
