"""The supervised loss on 2.5D poses: mean absolute errors over the labelled joints."""

from __future__ import annotations

from torch import Tensor


def l1_over_valid(difference: Tensor, valid: Tensor) -> Tensor:
    """The mean over valid joints of |d|_1; 0, with zero gradient, where no joint is valid.

    What is not valid may be any number, NaN included: it is replaced before the absolute value,
    because 0 x NaN would reach the gradient.

    Args:
        difference: (B,21,D).
        valid: (B,21) bool.

    Returns:
        Scalar.
    """
    known = difference.masked_fill(~valid[..., None], 0.0)
    return known.abs().sum() / valid.sum().clamp_min(1)


def joint_l1_2d(predicted_px: Tensor, target_px: Tensor, valid: Tensor) -> Tensor:
    """Eq. 4.12 of 000: the mean over valid joints of |du| + |dv|.

    Args:
        predicted_px: (B,21,2) px.
        target_px: (B,21,2) px; may be NaN where not valid.
        valid: (B,21) bool.

    Returns:
        Scalar, px.
    """
    return l1_over_valid(predicted_px - target_px, valid)


def relative_depth_l1(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Eq. 4.13 of 000: the mean over valid joints of |dz|, in reference-bone lengths.

    Args:
        predicted: (B,21) relative depth.
        target: (B,21); may be NaN where not valid.
        valid: (B,21) bool.

    Returns:
        Scalar, bone lengths.
    """
    return l1_over_valid((predicted - target)[..., None], valid)
