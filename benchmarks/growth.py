"""Exponents: how time and memory grow with the size."""

from __future__ import annotations

import math
from collections.abc import Sequence


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """p of the least-squares fit log value = p log size + constant."""
    if len(sizes) != len(values) or len(set(sizes)) < 2:
        raise ValueError(f"exponent: expected two sizes at least, got {list(sizes)}")
    if min(*sizes, *values) <= 0:
        raise ValueError("exponent: expected positive sizes and values")
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def extrapolate(size: float, known: tuple[float, float], power: float) -> float:
    """The value at `size` of value ~ size^power through the `known` (size, value)."""
    return known[1] * (size / known[0]) ** power
