"""From the 778 vertices of a MANO mesh to 21 joints: X = W V with rows of W that sum to 1.

MANO's own regressor may not be passed on with this library. Users who have MANO save it as an
array (16, 778), to which the five fingertip vertices are added here; users who have FreiHAND fit
one (21, 778) to its ``training_verts`` and ``training_xyz``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotation_json import stream_json
from pyhandpose.data.faults import DatasetError, Fault
from pyhandpose.hand.skeleton import NUM_JOINTS, to_canonical

Array = NDArray[np.float64]

NUM_VERTICES = 778
NUM_MANO_JOINTS = 16
TIP_VERTICES = (744, 320, 443, 555, 672)
"""Thumb to little, as FreiHAND and PeCLR have them; HO-3D has 333 and 444 for index and middle."""

RIDGE = 1e-6
"""Times the mean square of the vertices' coordinates: the 778 vertices of a hand move together, so
many W fit equally well, and this takes the smallest."""

HELD_OUT = 10
"""One hand in so many is kept out of the fit, to measure it."""


@dataclass(frozen=True)
class FittedRegressor:
    """A regressor and how well it does on hands that it was not fitted to."""

    weights: Array
    """(21,778), canonical order."""
    rms_mm: Array
    """(21,) root mean square distance to the labelled joints."""
    num_hands: int
    """Hands in the fit and in the measurement."""


def load_regressor(path: Path) -> Array:
    """(21,778) in canonical order, from a ``.npy`` of (21,778), or (16,778) in MANO's order.

    Raises:
        DatasetError: no such file, or another shape.
    """
    try:
        weights = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(
            Fault("regressor", str(path), f"expected a .npy array ({error})")
        ) from error
    if weights.shape == (NUM_MANO_JOINTS, NUM_VERTICES):
        tips = np.zeros((len(TIP_VERTICES), NUM_VERTICES))
        tips[range(len(TIP_VERTICES)), TIP_VERTICES] = 1.0
        weights = to_canonical(np.concatenate([weights, tips]), "mano")
    if weights.shape != (NUM_JOINTS, NUM_VERTICES):
        raise DatasetError(
            Fault(
                "regressor",
                str(path),
                f"expected (21,{NUM_VERTICES}), or MANO's (16,{NUM_VERTICES}), got {weights.shape}",
            )
        )
    return np.asarray(weights, dtype=np.float64)


def regress_joints(weights: Array, vertices: Array) -> Array:
    """(21,3) of (778,3), in the vertices' unit."""
    return weights @ vertices


def fit_regressor(hands: Iterable[tuple[Array, Array]]) -> FittedRegressor:
    """Least squares from vertices to joints, in one pass over the hands.

    With v_i the vertices relative to their mean, it minimises sum |x_j - sum_i w_ji v_i|^2 +
    lambda |w_j|^2 from the sums V V^T and V X^T alone, and then adds to each row what it lacks to
    1, so that the joints move with the hand. The same weights serve x, y and z: they turn with it.

    Args:
        hands: pairs of vertices (778,3) and joints (21,3), m, canonical order.

    Raises:
        ValueError: fewer than ``HELD_OUT`` hands.
    """
    gram = np.zeros((2, NUM_VERTICES, NUM_VERTICES))  # fitted, held out
    cross = np.zeros((2, NUM_VERTICES, NUM_JOINTS))
    square = np.zeros((2, NUM_JOINTS))
    count = np.zeros(2, dtype=np.int64)
    for number, (vertices, joints) in enumerate(hands):
        middle = vertices.mean(0)
        v, x = vertices - middle, joints - middle
        part = int(number % HELD_OUT == HELD_OUT - 1)
        gram[part] += v @ v.T
        cross[part] += v @ x.T
        square[part] += (x * x).sum(1)
        count[part] += 1
    if not count[1]:
        raise ValueError(f"fit_regressor: expected at least {HELD_OUT} hands, got {count.sum()}")
    ridge = RIDGE * np.trace(gram[0]) / NUM_VERTICES
    weights = np.linalg.solve(gram[0] + ridge * np.eye(NUM_VERTICES), cross[0]).T  # (21,778)
    error = (
        square[1]
        - 2 * (weights * cross[1].T).sum(1)
        + np.einsum("ji,ik,jk->j", weights, gram[1], weights, optimize=True)
    )
    weights += (1 - weights.sum(1, keepdims=True)) / NUM_VERTICES  # v is centred: fits as before
    rms_mm = 1000 * np.sqrt(np.maximum(error, 0) / count[1])
    return FittedRegressor(weights, rms_mm, int(count.sum()))


def fit_to_freihand(root: Path) -> FittedRegressor:
    """``fit_regressor`` on ``training_verts.json`` and ``training_xyz.json``, read as a stream.

    Raises:
        DatasetError: a file is missing or broken, or one has fewer entries than the other.
    """
    paths = root / "training_verts.json", root / "training_xyz.json"
    streams = stream_json(paths[0], progress="reading vertices"), stream_json(paths[1])

    def pairs() -> Iterable[tuple[Array, Array]]:
        for number, (vertices, joints) in enumerate(zip_longest(*streams)):
            if vertices is None or joints is None:
                shorter, longer = paths if vertices is None else paths[::-1]
                raise DatasetError(
                    Fault("length", str(shorter), f"fewer entries than {longer.name}", str(number))
                )
            yield (
                _matrix(vertices[1], NUM_VERTICES, paths[0], number),
                _matrix(joints[1], NUM_JOINTS, paths[1], number),
            )

    return fit_regressor(pairs())


def _matrix(rows: Any, count: int, path: Path, number: int) -> Array:
    try:
        return np.array(rows, dtype=np.float64).reshape(count, 3)
    except (ValueError, TypeError) as error:
        raise DatasetError(
            Fault("annotation", str(path), f"expected {count} x 3 numbers", str(number))
        ) from error
