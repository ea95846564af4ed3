"""Distances between estimated and labelled joints, under every alignment that papers use.

Each function takes (N,J,3) metres (``joint_distances`` any unit and dimension) and returns a table
(N,J), in millimetres where the name says so, float64 whatever the dtype of the inputs:

- NaN is a joint without a label: it is left out of everything;
- +inf is a failed joint: it has a label but the estimate is not finite.

J is 21 in the canonical order, or the 778 vertices of a mesh. docs/evaluation.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pyhandpose import ops
from pyhandpose.evaluation.pck import BLOCK, Array
from pyhandpose.hand.skeleton import MIDDLE_MCP, NUM_JOINTS, WRIST

MM_PER_M = 1000.0

MIN_ALIGNED_JOINTS = 3
"""Labels a pose needs to be aligned: two points fit any two others exactly."""

NORM_OFFSET_M = 1e-8
"""What FreiHAND's and HO-3D's evaluators add to the norms they divide by."""

_Blockwise = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Float64 blocks: estimate (n,J,D), target (n,J,D), valid (n,J) or None -> distances (n,J)."""


def joint_distances(estimate: Tensor, target: Tensor, valid: Tensor | None = None) -> Array:
    """Euclidean distance ||estimate_nj - target_nj|| of each joint, in the unit of the inputs.

    Args:
        estimate: (N,J,D), any finite or non-finite values.
        target: (N,J,D); a non-finite entry means that the joint has no label.
        valid: (N,J) bool, False for a joint without a label; None when all have one.

    Returns:
        (N,J) float64; NaN without a label, inf for an estimate that is not finite.

    Raises:
        ValueError: shapes that do not match.

    """

    def measure(estimate: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        return _lengths(estimate - target, estimate, target, valid)

    return _by_blocks(measure, estimate, target, valid)


def absolute_mm(estimate: Tensor, target: Tensor, valid: Tensor | None = None) -> Array:
    """Distances in camera space, nothing aligned: (N,J,3) m in, (N,J) mm out."""
    return _in_mm(joint_distances(estimate, target, valid))


def root_relative_mm(
    estimate: Tensor, target: Tensor, valid: Tensor | None = None, *, root: int = WRIST
) -> Array:
    """Distances with each pose's own root joint at the origin: (N,J,3) m in, (N,J) mm out.

    The root's own distance is 0 and counts in the mean, as in the published evaluators. A pose
    whose root has no label has no root-relative error; one whose estimated root is not finite has
    failed at every joint.
    """

    def measure(estimate: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        at_root = estimate[:, root : root + 1] - target[:, root : root + 1]  # (n,1,3)
        residual = (estimate - target).sub_(at_root)
        return _lengths(residual, estimate, target, valid, needed=(root,))

    return _in_mm(_by_blocks(measure, estimate, target, valid))


def scale_translation_mm(estimate: Tensor, target: Tensor, valid: Tensor | None = None) -> Array:
    """Distances after HO-3D's scale and translation alignment: (N,J,3) m in, (N,J) mm out.

    The estimate is scaled so that its bone from the wrist to the middle MCP (0 and 4 in MANO's
    order) is as long as the label's, and moved so that the wrists coincide. As in the published
    evaluator, an estimate whose bone has length zero is multiplied by the label's length in metres.
    Joints of the bone without a label, or not estimated, are as in ``root_relative_mm``.
    """

    def measure(estimate: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        wrist, wanted_wrist = estimate[:, WRIST, None], target[:, WRIST, None]  # (n,1,3)
        length = torch.linalg.vector_norm(estimate[:, MIDDLE_MCP, None] - wrist, dim=-1)  # (n,1)
        wanted = torch.linalg.vector_norm(target[:, MIDDLE_MCP, None] - wanted_wrist, dim=-1)
        factor = torch.where(length == 0, wanted, wanted / length)[..., None]  # (n,1,1)
        residual = (factor * estimate).sub_(target).sub_(factor * wrist - wanted_wrist)
        return _lengths(residual, estimate, target, valid, needed=(WRIST, MIDDLE_MCP))

    return _in_mm(_by_blocks(measure, estimate, target, valid))


def palm_lengths(estimate: Tensor, target: Tensor, valid: Tensor | None = None) -> Array:
    """Distances with the middle MCP at the origin, in palm lengths: (N,J,3) m in, no unit out.

    A palm length is the label's distance from the wrist to the middle MCP; the estimate is divided
    by it too, never by its own (004 section 3.1, where both come normalised). Poses without a label
    for the two joints have no error; one whose middle MCP is not finite has failed at every joint.
    """

    def measure(estimate: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        at_root = (estimate - target)[:, MIDDLE_MCP, None]  # (n,1,3)
        palm = (target[:, MIDDLE_MCP] - target[:, WRIST])[:, None]  # (n,1,3)
        unit = torch.linalg.vector_norm(palm, dim=-1, keepdim=True)  # (n,1,1)
        residual = (estimate - target).sub_(at_root).div_(unit)
        if valid is not None:
            valid = valid & valid[:, WRIST, None]
        return _lengths(residual, estimate, target, valid, needed=(MIDDLE_MCP,))

    return _by_blocks(measure, estimate, target, valid)


def procrustes_mm(
    estimate: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    allow_reflection: bool = False,
    norm_offset: float = 0.0,
) -> Array:
    """Distances after the best similarity (``ops.procrustes`` with scale): (N,J,3) m in, mm out.

    Only labelled joints take part in the alignment. A pose with fewer than three of them has no
    error here; one with a labelled joint whose estimate is not finite cannot be aligned and has
    failed at every joint.

    Args:
        estimate: (N,J,3) m.
        target: (N,J,3) m.
        valid: (N,J) bool, see ``joint_distances``.
        allow_reflection: gives a mirrored hand the error 0.
        norm_offset: m, added to the Frobenius norm |x^| of the centred estimate before it is
            divided by, which shrinks the aligned pose by (|x^| / (|x^| + offset))^2 about its
            mean. (The same offset in the target's norm cancels.)

    """

    def measure(estimate: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        if valid is None and bool((estimate.sum() + target.sum()).isfinite()):
            aligned = _similar(estimate, target, None, allow_reflection, norm_offset)
            return torch.linalg.vector_norm(aligned - target, dim=-1)
        # (n,J): NaN no label, inf failed
        measured = _lengths(estimate - target, estimate, target, valid)
        labelled = ~measured.isnan()
        labelled &= labelled.sum(1, keepdim=True) >= MIN_ALIGNED_JOINTS
        failed = measured.isinf().any(1, keepdim=True)  # (n,1)
        used = labelled & ~failed
        # what has no weight must still be finite: 0 x NaN is NaN
        estimate = torch.where(used[..., None], estimate, 0.0)
        target = torch.where(used[..., None], target, 0.0)
        aligned = _similar(estimate, target, used.double(), allow_reflection, norm_offset)
        distance = torch.linalg.vector_norm(aligned - target, dim=-1)
        return distance.masked_fill(failed, torch.inf).masked_fill(~labelled, torch.nan)

    return _in_mm(_by_blocks(measure, estimate, target, valid))


def freihand_procrustes_mm(estimate: Tensor, target: Tensor, valid: Tensor | None = None) -> Array:
    """Distances after the alignment of FreiHAND's and HO-3D's evaluators: (N,J,3) m in, mm out.

    ``procrustes_mm`` with reflections, so that a mirrored hand has no error, and with 1e-8 m added
    to the norms.
    """
    return procrustes_mm(estimate, target, valid, allow_reflection=True, norm_offset=NORM_OFFSET_M)


def freihand_aligned(estimate: Tensor, target: Tensor) -> Tensor:
    """The estimate (N,J,3) m moved as ``freihand_procrustes_mm`` moves it, float64.

    A set with a point that is not finite, in the estimate or the target, becomes NaN.
    """
    return _similar(estimate.double(), target.double(), None, True, NORM_OFFSET_M)


def _similar(
    estimate: Tensor,
    target: Tensor,
    weights: Tensor | None,
    allow_reflection: bool,
    norm_offset: float,
) -> Tensor:
    """(n,J,3) float64 estimate moved onto the target; weights (n,J) 0 or 1."""
    aligned = ops.procrustes(estimate, target, weights, allow_reflection=allow_reflection).aligned
    if norm_offset > 0:
        deviation = estimate - _mean(estimate, weights)
        if weights is not None:
            deviation *= weights[..., None]  # 0 or 1
        norm = torch.linalg.vector_norm(deviation.flatten(1), dim=1)[:, None, None]  # (n,1,1)
        shrink = (norm / (norm + norm_offset)).square()
        # about the mean of the target, which is that of the aligned pose
        aligned.mul_(shrink).add_((1 - shrink) * _mean(target, weights))
    return aligned


def _mean(poses: Tensor, weights: Tensor | None) -> Tensor:
    """(n,1,3) mean of (n,J,3) over the joints of weight 1; as products, faster than sums."""
    if weights is None:
        weights = poses.new_full((), 1 / poses.shape[1]).expand(len(poses), poses.shape[1])
    else:
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
    return weights[:, None] @ poses


def _lengths(
    residual: Tensor,
    estimate: Tensor,
    target: Tensor,
    valid: Tensor | None,
    needed: tuple[int, ...] = (),
) -> Tensor:
    """(n,J) lengths of (n,J,D), with NaN and inf as in the module's docstring.

    Without a label or an estimate of the joints ``needed`` no other joint has one either.
    """
    length = torch.linalg.vector_norm(residual, dim=-1)
    if not bool(length.sum().isfinite()):
        for points, mark in ((estimate, torch.inf), (target, torch.nan)):  # the label decides
            absent = ~points.isfinite().all(-1)
            length[absent | absent[:, needed].any(1, keepdim=True)] = mark
    if valid is None:
        return length
    return length.masked_fill(~(valid & valid[:, needed].all(1, keepdim=True)), torch.nan)


def _by_blocks(
    measure: _Blockwise, estimate: Tensor, target: Tensor, valid: Tensor | None
) -> Array:
    """``measure`` over blocks of poses, in double precision on the CPU, checked once."""
    if estimate.shape != target.shape or estimate.ndim != 3:
        raise ValueError(
            f"joint_distances: estimate and target must both be (N,J,D), got "
            f"{tuple(estimate.shape)} and {tuple(target.shape)}"
        )
    if valid is not None and valid.shape != target.shape[:2]:
        raise ValueError(
            f"joint_distances: valid must be {tuple(target.shape[:2])}, got {tuple(valid.shape)}"
        )
    distances = torch.empty(target.shape[:2], dtype=torch.float64)  # (N,J)
    size = max(1, BLOCK * NUM_JOINTS // max(1, target.shape[1]))  # meshes have more points
    for start in range(0, len(target), size):
        rows = slice(start, start + size)
        distances[rows] = measure(
            estimate[rows].detach().cpu().double(),
            target[rows].detach().cpu().double(),
            None if valid is None else valid[rows].cpu(),
        )
    return distances.numpy()


def _in_mm(distances_m: Array) -> Array:
    return np.multiply(distances_m, MM_PER_M, out=distances_m)
