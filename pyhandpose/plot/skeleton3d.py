"""A hand's skeleton in 3D, from the camera and from the side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.hand.skeleton import BONES, FINGER_JOINTS, NUM_JOINTS, WRIST
from pyhandpose.plot.figure import new_figure
from pyhandpose.plot.palette import JOINT_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Joints = NDArray[np.floating]

# title, (horizontal axis, vertical axis, axis of sight), whether the sight goes along that axis or
# against it, label of each; y points down as in images
VIEWS = (
    ("from the camera", (0, 1, 2), 1, ("x, right (mm)", "y, down (mm)")),
    ("from the side", (2, 1, 0), -1, ("z, away (mm)", "y, down (mm)")),
)


def draw_views(axes: list[Axes], joints_mm: Joints, truth_mm: Joints | None = None) -> None:
    """Draw two orthographic views about the wrist into two axes; ``truth_mm`` in grey beneath.

    ``joints_mm``, ``truth_mm`` (21,3) mm in camera axes. Each pose is placed with its own wrist
    at the origin; millimetres have the same length in both views. A pose that is not finite is
    not drawn and the panel says so.
    """
    poses = [joints_mm] if truth_mm is None else [truth_mm, joints_mm]
    for pose in poses:
        if pose.shape != (NUM_JOINTS, 3):
            raise ValueError(f"draw_views: a pose must be (21,3), got {pose.shape}")
    poses = [pose - pose[WRIST] for pose in poses]
    finite = [pose for pose in poses if np.isfinite(pose).all()]
    points = np.concatenate(finite) if finite else np.zeros((1, 3))
    centre = (points.max(0) + points.min(0)) / 2
    half = max(60.0, 0.56 * float(np.ptp(points, axis=0).max()))
    for panel, (title, (across, down, sight), along, labels) in zip(axes, VIEWS, strict=True):
        for pose in finite:
            estimate = pose is poses[-1]
            depth = along * pose[:, sight]
            _draw_pose(panel, pose[:, across], pose[:, down], depth, estimate)
        if not np.isfinite(poses[-1]).all():
            panel.text(0.5, 0.5, "no depth", ha="center", va="center", transform=panel.transAxes)
        panel.set_xlim(centre[across] - half, centre[across] + half)
        panel.set_ylim(centre[down] + half, centre[down] - half)
        panel.set_aspect("equal")
        panel.set_xlabel(labels[0])
        panel.set_ylabel(labels[1])
        panel.set_title(title)


def skeleton_figure(
    joints_mm: Joints, truth_mm: Joints | None = None, *, title: str = ""
) -> Figure:
    """A figure of the two views with a legend of the fingers."""
    from matplotlib.lines import Line2D

    with new_figure((7.4, 3.6), columns=2) as (figure, axes):
        draw_views(axes, joints_mm, truth_mm)
        handles = [
            Line2D([], [], color=JOINT_COLOURS[joints[0]], lw=3, label=finger)
            for finger, joints in FINGER_JOINTS.items()
        ]
        if truth_mm is not None:
            handles.append(Line2D([], [], color="#999999", lw=3, label="truth"))
        figure.legend(handles=handles, loc="outside right center")
        if title:
            figure.suptitle(title)
    return figure


def skeletons_figure(poses_mm: dict[str, Joints]) -> Figure:
    """A figure with the two views of each pose (21,3) mm, a row per title."""
    rows = len(poses_mm)
    with new_figure((6.6, 3.3 * rows), rows, columns=2) as (figure, axes):
        for row, (title, joints_mm) in enumerate(poses_mm.items()):
            draw_views(axes[2 * row : 2 * row + 2], joints_mm)
            axes[2 * row].set_title(f"{title}, {axes[2 * row].get_title()}")
    return figure


def _draw_pose(panel: Axes, x: Joints, y: Joints, depth: Joints, estimate: bool) -> None:
    """Bones from far to near, so that what is in front hides what is behind."""
    order = sorted(BONES, key=lambda bone: -(depth[bone[0]] + depth[bone[1]]))
    for rank, (a, b) in enumerate(order):
        style: dict[str, Any] = {
            "solid_capstyle": "round",
            "zorder": (3 if estimate else 2) + rank / 100,
        }
        span = ([x[a], x[b]], [y[a], y[b]])
        if estimate:
            panel.plot(*span, color="#333333", lw=3.8, **style)
            panel.plot(*span, color=JOINT_COLOURS[b], lw=2.6, marker="o", ms=3.2, **style)
        else:
            panel.plot(*span, color="#AAAAAA", lw=3.0, **style)
