"""Errors of estimated hand meshes: vertex errors, and F-scores by nearest neighbours."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyhandpose.evaluation.distances import MM_PER_M, absolute_mm, freihand_aligned
from pyhandpose.evaluation.metrics import mean_pck, mean_where
from pyhandpose.evaluation.pck import FREIHAND_PCK, Array, area_under_curve

NUM_VERTICES = 778
"""Vertices of MANO's hand mesh; FreiHAND and HO-3D compare meshes of this many only."""

F_THRESHOLDS_MM = (5.0, 15.0)
"""FreiHAND's and HO-3D's: F@5 and F@15."""

PAIRS_AT_A_TIME = 2
"""All distances of a pair of meshes are 778 x 778 doubles, 4.8 MB."""

MESHES_AT_A_TIME = 256
"""Meshes that are aligned together."""


def f_scores(
    estimate: Tensor, target: Tensor, thresholds_mm: tuple[float, ...] = F_THRESHOLDS_MM
) -> Array:
    """F-score of each mesh at each threshold: (N,V,3) and (N,W,3) m in, (N,T) out.

    With P the share of label vertices nearer than t to some estimated vertex, and R the share of
    estimated vertices nearer than t to some label vertex (both strictly), F = 2 P R / (P + R), and
    0 where both are 0. An estimate that is not finite scores 0, a label that is not finite NaN.
    FreiHAND's evaluator averages F over the samples.

    Raises:
        ValueError: shapes that do not match.

    """
    if estimate.ndim != 3 or estimate.shape[::2] != target.shape[::2] or estimate.shape[2] != 3:
        raise ValueError(
            f"f_scores: expected estimate (N,V,3) and target (N,W,3), got "
            f"{tuple(estimate.shape)} and {tuple(target.shape)}"
        )
    limits = torch.tensor(thresholds_mm, dtype=torch.float64) / MM_PER_M  # (T,)
    scores = torch.empty(len(target), len(limits), dtype=torch.float64)
    for start in range(0, len(target), PAIRS_AT_A_TIME):
        rows = slice(start, start + PAIRS_AT_A_TIME)
        found = estimate[rows].detach().cpu().double()  # (n,V,3)
        label = target[rows].detach().cpu().double()  # (n,W,3)
        to_label, to_found = _nearest(found, label)
        recall = (to_label[..., None] < limits).double().mean(1)  # (n,T)
        precision = (to_found[..., None] < limits).double().mean(1)
        both = recall + precision
        score = torch.where(both > 0, 2 * recall * precision / both, 0.0)
        score[~found.isfinite().all(2).all(1)] = 0
        score[~label.isfinite().all(2).all(1)] = torch.nan
        scores[rows] = score
    return scores.numpy()


def _nearest(found: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (n,V) to the nearest point of the other set (n,W), and (n,W) the other way."""
    centre = label.mean(1, keepdim=True)  # small coordinates keep |a|^2 + |b|^2 - 2ab exact
    found, label = found - centre, label - centre
    squares = torch.baddbmm(label.square().sum(2)[:, None], found, label.mT, alpha=-2)  # (n,V,W)
    squares += found.square().sum(2)[..., None]
    to_label, to_found = squares.amin(2), squares.amin(1)
    return to_label.clamp_(min=0).sqrt_(), to_found.clamp_(min=0).sqrt_()


@dataclass(frozen=True)
class MeshScore:
    """Vertex errors and F-scores of a set of meshes."""

    mean: float
    """mm, mean over vertices of the means over meshes; failed meshes left out."""
    auc: float
    """Under the PCK curve of ``FREIHAND_PCK``."""
    f_scores: dict[str, float]
    """Mean over meshes by threshold, keys such as "F@5mm"; a failed mesh scores 0."""


@dataclass(frozen=True)
class MeshSummary:
    """The mesh part of FreiHAND's and HO-3D's scores."""

    absolute: MeshScore
    """In camera space."""
    aligned: MeshScore
    """After ``freihand_aligned`` of the vertices: not by the transformation of the joints."""
    num_meshes: int
    num_failed: int
    """Meshes whose estimate is not finite."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class MeshErrors:
    """Collects the errors of meshes batch by batch, and merges across processes."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[Array, Array]]] = {"absolute": [], "aligned": []}

    def add(self, vertices: Tensor, target: Tensor) -> None:
        """Add N meshes (N,778,3) m with their labels (N,778,3) m."""
        expected = (len(target), NUM_VERTICES, 3)
        if tuple(vertices.shape) != expected or tuple(target.shape) != expected:
            raise ValueError(
                f"MeshErrors.add: expected vertices and target {expected}, got "
                f"{tuple(vertices.shape)} and {tuple(target.shape)}"
            )
        for start in range(0, len(target), MESHES_AT_A_TIME):
            label = target[start : start + MESHES_AT_A_TIME]
            found = vertices[start : start + MESHES_AT_A_TIME]
            for name, mesh in (("absolute", found), ("aligned", freihand_aligned(found, label))):
                part = absolute_mm(mesh, label), f_scores(mesh, label)  # (n,778), (n,T)
                self._parts[name].append(part)

    def merge(self, other: MeshErrors) -> None:
        """Append the meshes of ``other``."""
        for name, parts in self._parts.items():
            parts.extend(other._parts[name])

    def summary(self) -> MeshSummary:
        """The scores of all meshes so far; NaN when there are none."""
        absolute, failed, count = _score(self._parts["absolute"])
        return MeshSummary(absolute, _score(self._parts["aligned"])[0], count, failed)


def _score(parts: list[tuple[Array, Array]]) -> tuple[MeshScore, int, int]:
    """Score, number of failed meshes, number of meshes."""
    nothing = np.empty((0, NUM_VERTICES)), np.empty((0, len(F_THRESHOLDS_MM)))
    distances, scores = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    per_vertex = mean_where(distances, np.isfinite(distances), axis=0)
    mean = mean_where(per_vertex, ~np.isnan(per_vertex))
    f_means = mean_where(scores, ~np.isnan(scores), axis=0)
    keys = [f"F@{threshold:g}mm" for threshold in F_THRESHOLDS_MM]
    score = MeshScore(
        mean=float(mean),
        auc=area_under_curve(mean_pck(distances, FREIHAND_PCK)),
        f_scores=dict(zip(keys, f_means.tolist(), strict=True)),
    )
    return score, int(np.isinf(distances).any(1).sum()), len(distances)
