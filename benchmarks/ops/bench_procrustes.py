"""``procrustes``: roma, an eager chain about ``torch.linalg.svd``, and scipy."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import OURS, Case, Comparison, Function, Inputs, Provider
from pyhandpose import ops, reference
from pyhandpose.testing.inputs import point_sets

NUM_POINTS = 21
FIT = "R, k, t"
ALL = "R, k, t, aligned, conditioning"


def inputs(size: int) -> Inputs:
    """(B,21,3) hand-sized sets and their noisy images under similarities."""
    source, target, _ = point_sets((size,), NUM_POINTS)
    return Inputs((source.float(), target.float()))


def fields(similarity: Any, case: Case) -> tuple[Tensor, ...]:
    """The outputs of a case, of an object with the fields of ``Similarity``."""
    fit = (similarity.rotation, similarity.scale, similarity.translation)
    return (*fit, similarity.aligned, similarity.conditioning) if case["outputs"] == ALL else fit


def eager_svd(case: Case) -> Function:
    """Umeyama's equations, one torch call each."""

    def fit(source: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        mu_x, mu_y = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
        x, y = source - mu_x, target - mu_y
        U, s, Vh = torch.linalg.svd(y.mT @ x)
        d = torch.linalg.det(U @ Vh).sign()
        R = torch.cat([U[..., :2], U[..., 2:] * d[..., None, None]], -1) @ Vh
        trace = s[..., 0] + s[..., 1] + d * s[..., 2]
        k = trace / (x * x).sum((-2, -1))
        t = mu_y - k[..., None, None] * mu_x @ R.mT
        if case["outputs"] == FIT:
            return R, k, t[..., 0, :]
        aligned = k[..., None, None] * source @ R.mT + t
        conditioning = ((s[..., 1] + d * s[..., 2]) / trace).detach()
        return R, k, t[..., 0, :], aligned, conditioning

    return fit


def roma_registration(case: Case) -> Function | None:
    """R, k, t; roma has no conditioning."""
    if case["outputs"] != FIT:
        return None

    def fit(source: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        import roma

        R, t, k = roma.rigid_points_registration(source, target, compute_scaling=True)
        return R, k, t

    return fit


def scipy_sets(case: Case) -> Function | None:
    """R, k, t by a loop over ``Rotation.align_vectors``, which takes one set at a time."""
    if case["outputs"] != FIT:
        return None

    def fit(source: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        import numpy as np
        from scipy.spatial.transform import Rotation

        rotations, scales, translations = [], [], []
        for points, images in zip(source.numpy(), target.numpy(), strict=True):
            mu_x, mu_y = points.mean(0), images.mean(0)
            x, y = points - mu_x, images - mu_y
            R = Rotation.align_vectors(y, x)[0].as_matrix()
            k = ((x @ R.T) * y).sum() / (x * x).sum()
            rotations.append(R)
            scales.append(k)
            translations.append(mu_y - k * R @ mu_x)
        results = (rotations, scales, translations)
        return tuple(torch.from_numpy(np.stack(result)).float() for result in results)

    return fit


COMPARISON = Comparison(
    op="procrustes",
    letter="B",
    growth=1,
    inputs=inputs,
    exact=lambda case: lambda x, y: fields(reference.procrustes(x, y), case),
    cases=tuple(
        Case(size, passes, (("outputs", outputs),))
        for size in (1, 64, 1024, 65_536, 1_048_576)
        for outputs in (FIT, ALL)
        for passes in ("forward", "forward+backward")
        if outputs == FIT or size != 1
    ),
    providers=(
        Provider(OURS, lambda case: lambda x, y: fields(ops.procrustes(x, y), case)),
        Provider("roma", roma_registration, requires=("roma",)),
        Provider("eager linalg.svd", eager_svd),
        Provider(
            "eager, reference", lambda case: lambda x, y: fields(reference.procrustes(x, y), case)
        ),
        Provider("scipy", scipy_sets, requires=("scipy",), devices=("cpu",), passes=("forward",)),
    ),
    exact_up_to=1024,
    grows_from=1024,
    note=(
        "Sets of 21 points. `R, k, t` are the outputs that roma has. scipy takes one set at a "
        "time and is called in a loop; it has no gradient."
    ),
)
