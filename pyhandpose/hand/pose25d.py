"""The 2.5D pose (image points and scale-normalised relative depth) and the way back to 3D."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyhandpose import ops
from pyhandpose.hand.skeleton import INDEX_MCP, WRIST

REFERENCE_BONE = (WRIST, INDEX_MCP)
"""The bone whose length is the unit of relative depth, as in the published data code."""


class HandPose(NamedTuple):
    """B hands in the image and in front of the camera."""

    joints_img: Tensor
    """(B,21,2) px."""
    joints_cam: Tensor
    """(B,21,3) m, camera axes; in bone lengths when the scale was not known."""
    status: Tensor
    """(B,) int8: 0 ok, 1 the other root is possible too, 2 clamped, 3 no depth (NaN)."""


def to_25d(
    joints_img: Tensor,
    joints_cam: Tensor,
    bone: tuple[int, int] = REFERENCE_BONE,
    root: int = WRIST,
) -> tuple[Tensor, Tensor]:
    """The 2.5D pose of a known 3D one: (u, v, (Z - Z_root) / s), s = |J_n - J_m|.

    000 eq. 3.1-3.4; the inverse is ``lift``.

    Args:
        joints_img: (B,21,2) px.
        joints_cam: (B,21,3) m.
        bone: (n, m), joints of the reference bone.
        root: joint to which the depth is relative.

    Returns:
        ``(joints_25d (B,21,3), scale (B,))``: px, px, bone lengths; and m. A bone of length zero
        gives a non-finite relative depth.
    """
    scale = torch.linalg.vector_norm(joints_cam[:, bone[0]] - joints_cam[:, bone[1]], dim=-1)
    depth = joints_cam[..., 2]  # (B,21)
    relative = (depth - depth[:, root, None]) / scale[:, None]
    return torch.cat([joints_img, relative[..., None]], dim=-1), scale


def lift(
    joints_25d: Tensor,
    intrinsics: Tensor,
    scale: Tensor | None = None,
    *,
    bone: tuple[int, int] = REFERENCE_BONE,
) -> HandPose:
    """The 3D pose of a 2.5D one, through the depth at which the reference bone has length s.

    Args:
        joints_25d: (B,21,3) = (u px, v px, relative depth in bone lengths), any root.
        intrinsics: (B,3,3) px of the same image.
        scale: (B,) m, length of the reference bone; ``None`` gives the pose in bone lengths.
        bone: (n, m), the bone that was used for the relative depth.

    Returns:
        ``HandPose``; see ``ops.root_depth`` for the cases in which depth is not determined.
    """
    solved = ops.root_depth(joints_25d, intrinsics, scale, bone=bone)
    return HandPose(joints_25d[..., :2], solved.joints, solved.status)
