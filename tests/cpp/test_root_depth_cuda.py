"""root_depth's CUDA kernels, their own source run on the host."""

import pytest
import torch

from pyhandpose import reference
from pyhandpose.testing.inputs import generator, hands_in_view
from pyhandpose.testing.tolerances import EXACT

MODES = ["stable", "published-data", "published-model"]


def noisy_hands(num_samples, num_joints, bone):
    """2.5D poses as a network predicts them: no depth fits all of them, some fit none."""
    _, joints_25d, intrinsics, scale = hands_in_view(num_samples, num_joints=num_joints, bone=bone)
    noise = torch.randn(joints_25d.shape, generator=generator(2), dtype=torch.float64)
    noise = noise * torch.tensor([2.0, 2.0, 0.25], dtype=torch.float64)
    return joints_25d + noise, intrinsics, scale


def inputs_of(joints_25d, intrinsics, scale, bone, mode):
    stride = 9 if intrinsics.dim() == 3 else 0
    return *joints_25d.shape[:2], joints_25d, intrinsics, stride, scale, *bone, MODES.index(mode)


# Warps of 32; rows of odd and of even length; in shared memory up to 63 float64.
@pytest.mark.parametrize(
    ("num_samples", "num_joints", "bone"),
    [(1, 2, (1, 0)), (32, 21, (0, 5)), (71, 8, (7, 0)), (40, 21, (9, 10)), (35, 90, (0, 5))],
)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("given", ["all", "one matrix, no scale"])
def test_equals_the_twin(kernels_on_host, place, num_samples, num_joints, bone, mode, given):
    copy, unwritten = place
    kernels = kernels_on_host("root_depth")
    joints_25d, K, scale = (copy(t) for t in noisy_hands(num_samples, num_joints, bone))
    K, scale = (K, scale) if given == "all" else (copy(K[0]), None)
    B, J, dtype = num_samples, num_joints, torch.float64
    depth, other = unwritten(B, dtype=dtype), unwritten(B, dtype=dtype)
    joints, status = unwritten(B, J, 3, dtype=dtype), unwritten(B, dtype=torch.int8)
    arguments = inputs_of(joints_25d, K, scale, bone, mode)
    kernels("forward", dtype, *arguments, depth, joints, other, status)

    leaves = [t.clone().requires_grad_() for t in (joints_25d, K, scale) if t is not None]
    twin = reference.root_depth(*leaves, bone=bone, mode=mode)
    found = [depth, joints, other, status]
    torch.testing.assert_close(found, [t.detach() for t in twin], **EXACT, equal_nan=True)

    random = generator(3)
    upstream = [copy(torch.randn(t.shape, generator=random, dtype=dtype)) for t in (depth, joints)]
    for used in ([0, 1], [0], [1]):
        grads = [unwritten(B, *shape, dtype=dtype) for shape in [(J, 3), (3, 3), ()]]
        if scale is None:
            grads[2] = None
        given_grads = [upstream[i] if i in used else None for i in (0, 1)]
        kernels("backward", dtype, *arguments, depth, *given_grads, *grads)
        loss = sum((twin[i] * upstream[i]).sum() for i in used)
        expected = [torch.zeros_like(leaf) for leaf in leaves]
        if loss.requires_grad:  # the published model's depth does not
            expected = torch.autograd.grad(
                loss, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
            )
        if given != "all":
            grads[1] = grads[1].sum(0)
        torch.testing.assert_close([g for g in grads if g is not None], [*expected], **EXACT)
        alone = unwritten(B, J, 3, dtype=dtype)
        kernels("backward", dtype, *arguments, depth, *given_grads, alone, None, None)
        torch.testing.assert_close(alone, grads[0], rtol=0, atol=0)


def test_float32(kernels_on_host, place):
    copy, unwritten = place
    _, *hands = hands_in_view(70, dtype=torch.float32)
    joints_25d, K, scale = (copy(t) for t in hands)
    found = [unwritten(70, dtype=torch.float32), unwritten(70, 21, 3, dtype=torch.float32)]
    found += [unwritten(70, dtype=torch.float32), unwritten(70, dtype=torch.int8)]
    arguments = inputs_of(joints_25d, K, scale, (0, 5), "stable")
    kernels_on_host("root_depth")("forward", torch.float32, *arguments, *found)
    twin = reference.root_depth(joints_25d.double(), K.double(), scale.double())
    torch.testing.assert_close(found[1].double(), twin.joints, rtol=1e-3, atol=1e-5)
    assert (found[3] == twin.status).all()
