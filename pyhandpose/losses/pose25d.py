"""The supervised loss on 2.5D poses: mean absolute errors over the labelled joints."""

from __future__ import annotations

from torch import Tensor


def mean_over_valid(error: Tensor, valid: Tensor) -> Tensor:
    """The mean of the errors where ``valid``, 0 where nothing is: (B,21), (B,21) bool -> scalar."""
    return (error * valid).sum() / valid.sum().clamp_min(1)


def joint_l1_2d(predicted_px: Tensor, target_px: Tensor, valid: Tensor) -> Tensor:
    """Eq. 4.12 of 000: the mean over valid joints of |du| + |dv|.

    Args:
        predicted_px: (B,21,2) px.
        target_px: (B,21,2) px, finite also where not valid.
        valid: (B,21) bool.

    Returns:
        Scalar, px.
    """
    return mean_over_valid((predicted_px - target_px).abs().sum(-1), valid)


def relative_depth_l1(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Eq. 4.13 of 000: the mean over valid joints of |dz|, in reference-bone lengths.

    Args:
        predicted: (B,21) relative depth.
        target: (B,21), finite also where not valid.
        valid: (B,21) bool.

    Returns:
        Scalar, bone lengths.
    """
    return mean_over_valid((predicted - target).abs(), valid)
