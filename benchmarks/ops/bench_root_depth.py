"""``root_depth``: eager chains of PyTorch are what it replaces."""

import torch
from torch import Tensor

from benchmarks.comparison import OURS, Case, Comparison, Inputs, Provider
from pyhandpose import ops, reference
from pyhandpose.testing.inputs import hands_in_view

BONE = (0, 5)


def inputs(size: int) -> Inputs:
    """(B,21,3) 2.5D poses, which take gradients; (B,3,3) cameras and (B,) scales."""
    _, joints_25d, intrinsics, scale = hands_in_view(size, bone=BONE)
    return Inputs((joints_25d.float(),), (intrinsics.float(), scale.float()))


def lean_chain(joints_25d: Tensor, intrinsics: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (B,) and joints (B,J,3) as one would write them at first: no status, no other root."""
    rays = torch.cat([joints_25d[..., :2], torch.ones_like(joints_25d[..., :1])], -1)
    rays = rays @ torch.linalg.inv(intrinsics).mT  # (B,J,3)
    z = joints_25d[..., 2:]
    n, m = BONE
    d = rays[:, n] - rays[:, m]  # (B,3)
    e = z[:, n] * rays[:, n] - z[:, m] * rays[:, m]  # (B,3)
    a, b, c = (d * d).sum(1), 2 * (d * e).sum(1), (e * e).sum(1) - 1
    depth = (-b + (b * b - 4 * a * c).sqrt()) / (2 * a)
    return depth, scale[:, None, None] * (depth[:, None, None] + z) * rays


COMPARISON = Comparison(
    op="root_depth",
    letter="B",
    growth=1,
    inputs=inputs,
    exact=lambda case: lambda *tensors: reference.root_depth(*tensors, bone=BONE)[:2],
    cases=tuple(
        Case(size, passes)
        for size in (1, 64, 1024, 4096, 65_536, 1_048_576)
        for passes in ("forward", "forward+backward")
    ),
    providers=(
        Provider(OURS, lambda case: lambda *tensors: ops.root_depth(*tensors, bone=BONE)[:2]),
        Provider("eager, lean", lambda case: lean_chain),
        Provider(
            "eager, reference",
            lambda case: lambda *tensors: reference.root_depth(*tensors, bone=BONE)[:2],
        ),
    ),
    exact_up_to=4096,
    grows_from=4096,
    note="21 joints, lifted; the lean chain computes neither the status nor the other root.",
)
