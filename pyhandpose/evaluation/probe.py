"""Ridge probe: how much of the pose a frozen representation gives to a linear read-out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

PENALTIES = tuple(10.0 ** (exponent / 4) for exponent in range(-16, 17))
"""Candidates, in units of the mean squared singular value of the features: 1e-4 to 1e4."""


class RidgeProbe(NamedTuple):
    """What ``ridge_probe`` returns."""

    predictions: Tensor
    """(M,...) the test samples' targets as predicted, dtype of ``targets_train``."""
    penalty: float
    """The lambda chosen on the training labels, for standardised features."""


def ridge_probe(features_train: Tensor, targets_train: Tensor, features_test: Tensor) -> RidgeProbe:
    """Predict targets from frozen features by ridge regression, lambda by leave-one-out.

    Features are standardised with the training set's mean and standard deviation, the intercept a
    is not penalised:

        min_(a,B)  sum_n |y_n - a - B x_n|^2 + lambda |B|^2

    With X = U S V^T (centred) the fitted values are H y, H = 1 1^T / N + U S^2/(S^2 + lambda) U^T,
    and the error of sample n when it is left out of the fit is (y_n - yhat_n)/(1 - H_nn): exact,
    without refitting. lambda is the candidate of ``PENALTIES`` with the smallest squared
    leave-one-out error, each target divided by its variance so that pixels and bone lengths weigh
    the same. The test samples play no part in it. Computed in float64, deterministic.

    Args:
        features_train: (N,F), N >= 2, F >= 1.
        targets_train: (N,...), flattened to K targets per sample.
        features_test: (M,F).

    Returns:
        The predictions (M,...) and lambda.

    Raises:
        ValueError: shapes that do not fit, fewer than two training samples, or non-finite input.

    """
    _check(features_train, targets_train, features_test)
    x, x_test = features_train.double(), features_test.double()
    y = targets_train.double().flatten(1)  # (N,K)
    num_samples = len(x)

    mean, std = x.mean(0), x.std(0, correction=0)
    std = torch.where(std > 0, std, 1.0)  # a constant feature becomes 0 and plays no part
    x, x_test = (x - mean) / std, (x_test - mean) / std
    intercept = y.mean(0)
    y = y - intercept

    U, S, Vt = torch.linalg.svd(x, full_matrices=False)
    # centring costs a rank: its null direction must not enter H next to the intercept
    rounding = S.max() * max(x.shape) * torch.finfo(S.dtype).eps
    spanned = rounding < S  # (min(N,F),)
    if not spanned.any():  # no feature varies: only the intercept is left
        return RidgeProbe(_shaped(intercept.expand(len(x_test), -1), targets_train), 0.0)
    U, S, Vt = U[:, spanned], S[spanned], Vt[spanned]  # (N,R), (R,), (R,F)
    power = S.square()  # (R,)
    coefficients = U.mT @ y  # (R,K)
    # 1 - H_nn in a form without cancellation: what the span of U leaves, plus what lambda shrinks
    leverage_left = (1 - 1 / num_samples - U.square().sum(1)).clamp_min(0)  # (N,)
    variance = y.square().mean(0)
    variance = torch.where(variance > 0, variance, 1.0)

    best_error, penalty = float("inf"), 0.0
    for candidate in PENALTIES:
        shrunk = candidate * power.mean()
        kept = shrunk / (power + shrunk)  # (R,) share of each direction that the fit leaves
        residual = y - U @ ((1 - kept)[:, None] * coefficients)  # (N,K)
        left_out = residual / (leverage_left + U.square() @ kept)[:, None]
        error = (left_out.square().mean(0) / variance).mean().item()
        if error < best_error:
            best_error, penalty = error, shrunk.item()
    weights = Vt.mT @ ((S / (power + penalty))[:, None] * coefficients)  # (F,K)
    return RidgeProbe(_shaped(x_test @ weights + intercept, targets_train), penalty)


def _shaped(predictions: Tensor, targets: Tensor) -> Tensor:
    return predictions.reshape(-1, *targets.shape[1:]).to(targets.dtype)


def _check(features_train: Tensor, targets_train: Tensor, features_test: Tensor) -> None:
    if features_train.ndim != 2 or features_test.ndim != 2:
        raise ValueError(
            f"ridge_probe: features must be (N,F) and (M,F), got {tuple(features_train.shape)} and "
            f"{tuple(features_test.shape)}"
        )
    if features_train.shape[1] != features_test.shape[1]:
        raise ValueError(
            f"ridge_probe: features_train has {features_train.shape[1]} columns, features_test "
            f"{features_test.shape[1]}; both must come from the same encoder"
        )
    if len(features_train) != len(targets_train) or len(features_train) < 2:
        raise ValueError(
            f"ridge_probe: expected one target per training sample and at least 2 samples, got "
            f"{len(features_train)} features and {len(targets_train)} targets"
        )
    for name, value in (
        ("features_train", features_train),
        ("targets_train", targets_train),
        ("features_test", features_test),
    ):
        if not value.isfinite().all():
            raise ValueError(f"ridge_probe: {name} must be finite, got NaN or inf")
