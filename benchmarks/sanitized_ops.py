"""Every op once on CUDA, forward and backward, at sizes that no tile divides.

Short enough for compute-sanitizer, under which `make gpu-report` runs it; compared with the
readable twin, so that it also fails on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor

from pyhandpose import ops, reference
from pyhandpose.testing.inputs import (
    hands_in_view,
    latents,
    paired_rows,
    point_sets,
    view_affines,
)
from pyhandpose.testing.tolerances import error

LARGEST_ERROR = 1e-3
"""In float32: a wrong address gives errors of order one, rounding none of this size."""


Call = tuple[str, tuple[Tensor, ...], tuple[Tensor, ...], dict[str, float]]


def calls() -> Iterator[Call]:
    """(op's name, leaves, constants, options)."""
    joints_25d, intrinsics, scale = (t.float() for t in hands_in_view(67)[1:])
    source, target, weights = (t.float() for t in point_sets((67,), 21))
    rows, affine = paired_rows(134, 66, cosine=0.5).float(), view_affines(134).float()
    yield "latent_affine", (latents(67, 33).float(),), (view_affines(67).float(),), {}
    yield "root_depth", (joints_25d,), (intrinsics, scale), {}
    yield "procrustes", (source, target, weights), (), {}
    for temperature in (0.5, 0.02):
        yield "nt_xent", (rows,), (), {"temperature": temperature}
        yield "equivariant_nt_xent", (rows,), (affine,), {"temperature": temperature}


def evaluate(package: ModuleType, call: Call, device: str, dtype: torch.dtype) -> list[Tensor]:
    """Outputs and gradients, of a loss that weighs every output alike, in float64."""
    name, given_leaves, given_constants, options = call
    leaves = [leaf.to(device, dtype).requires_grad_() for leaf in given_leaves]
    constants = [constant.to(device, dtype) for constant in given_constants]
    outputs = getattr(package, name)(*leaves, *constants, **options)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    differentiable = [out for out in outputs if out.requires_grad]
    gradients = torch.autograd.grad(
        torch.stack([out.sum() for out in differentiable]).sum(), leaves
    )
    return [tensor.detach().cpu().double() for tensor in (*differentiable, *gradients)]


def main() -> None:
    """Exit status 1 where an op and its twin differ."""
    for call in calls():
        name, _, _, options = call
        ours = evaluate(ops, call, "cuda", torch.float32)
        exact = evaluate(reference, call, "cpu", torch.float64)
        worst = max(error(a, b) for a, b in zip(ours, exact, strict=True))
        print(f"{name} {options or ''}: error {worst:.1e}", flush=True)
        if not worst <= LARGEST_ERROR:
            raise SystemExit(f"{name}: error {worst:.1e}, expected at most {LARGEST_ERROR}")


if __name__ == "__main__":
    main()
