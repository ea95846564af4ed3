"""The 21 joints of a hand, its bones, and the order in which they are stored.

Canonical order (FreiHAND, OpenPose): 0 wrist; thumb 1-4, index 5-8, middle 9-12, ring 13-16,
little 17-20, each finger from the palm to the tip. ``JOINT_ORDERS`` has the orders of the datasets.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

FINGERS = ("thumb", "index", "middle", "ring", "little")

JOINT_NAMES = (
    "wrist",
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    *(f"{f}_{j}" for f in FINGERS[1:] for j in ("mcp", "pip", "dip", "tip")),
)

NUM_JOINTS = len(JOINT_NAMES)  # 21

WRIST = 0
INDEX_MCP = 5
MIDDLE_MCP = 9
MIDDLE_PIP = 10

# parent of each joint in the kinematic tree; the wrist is its own root.
PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)

# the 20 bones as (parent, child).
BONES = tuple((PARENTS[j], j) for j in range(1, NUM_JOINTS))

FINGER_JOINTS = {f: tuple(range(1 + 4 * i, 5 + 4 * i)) for i, f in enumerate(FINGERS)}

TIPS = (4, 8, 12, 16, 20)
"""The fingertips, thumb to little: what Dexter+Object and EgoDexter label, in this order."""

CANONICAL = tuple(range(NUM_JOINTS))
"""FreiHAND, OpenPose, the CMU and MPII hands, COCO-WholeBody, SynthHands, GANerated."""

AIT = (0, 1, 6, 11, 16, 2, 7, 12, 17, 3, 8, 13, 18, 4, 9, 14, 19, 5, 10, 15, 20)
"""PeCLR's own: wrist, then the five MCPs (the thumb's CMC), PIPs, DIPs and tips."""

MANO = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""MANO's 16 joints, then five tips thumb to little: HO-3D, and YouTube3DHands once regressed."""

RHD = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
"""One hand of RHD (left 0 to 20, right 21 to 41 of 42): fingers from the tip to the palm."""

STB = (0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4)
"""STB: joint 0 is the PALM CENTRE, not the wrist; then the fingers from little to thumb."""

INTERHAND = (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16)
"""One hand of InterHand2.6M (right 0 to 20, left 21 to 41 of 42): the wrist last."""

JOINT_ORDERS: dict[str, tuple[int, ...]] = {
    "canonical": CANONICAL,
    "ait": AIT,
    "mano": MANO,
    "rhd": RHD,
    "stb": STB,
    "interhand": INTERHAND,
}
"""By name: ``canonical[i] = dataset[p[i]]``."""

Joints = TypeVar("Joints", Tensor, NDArray[Any])


def to_canonical(joints: Joints, order: str) -> Joints:
    """Joints of a dataset in canonical order: ``out[..., i, :] = joints[..., p[i], :]``.

    Args:
        joints: (...,21,D), tensor or array.
        order: a key of ``JOINT_ORDERS``.

    Raises:
        ValueError: another order, or not 21 joints.
    """
    return _take(joints, _permutation(order, joints.shape))


def from_canonical(joints: Joints, order: str) -> Joints:
    """The inverse of ``to_canonical``, for writing a dataset's or an evaluator's own order."""
    permutation = _permutation(order, joints.shape)
    return _take(joints, tuple(permutation.index(j) for j in range(NUM_JOINTS)))


def tips_to_canonical(tips: NDArray[Any]) -> NDArray[Any]:
    """Five fingertips (...,5,D) among 21 joints (...,21,D); the others are NaN."""
    if tips.shape[-2] != len(TIPS):
        raise ValueError(f"tips_to_canonical: expected (...,5,D), got {tips.shape}")
    joints = np.full((*tips.shape[:-2], NUM_JOINTS, tips.shape[-1]), np.nan)
    joints[..., list(TIPS), :] = tips
    return joints


def _permutation(order: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if order not in JOINT_ORDERS:
        raise ValueError(f"joint order: expected one of {', '.join(JOINT_ORDERS)}, got {order!r}")
    if len(shape) < 2 or shape[-2] != NUM_JOINTS:
        raise ValueError(f"joint order {order!r}: expected joints (...,21,D), got {tuple(shape)}")
    return JOINT_ORDERS[order]


def _take(joints: Joints, indices: tuple[int, ...]) -> Joints:
    return joints[..., list(indices), :]
