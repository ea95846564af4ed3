"""One file an op: its cases and its rivals, and no timing code."""

import importlib

from benchmarks.comparison import Comparison

OPS = ("latent_affine", "procrustes", "root_depth", "equivariant_nt_xent", "nt_xent")
"""In the order that they are measured: what takes longest comes last."""


def load(op: str) -> Comparison:
    """What ``bench_<op>.py`` declares."""
    comparison: Comparison = importlib.import_module(f"benchmarks.ops.bench_{op}").COMPARISON
    return comparison
