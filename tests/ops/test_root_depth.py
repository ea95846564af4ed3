import pytest
import torch

from pyhandpose import ops, reference
from pyhandpose.testing.inputs import camera_matrix, generator, hands_in_view
from pyhandpose.testing.tolerances import EXACT, assert_no_worse

MODES = ["stable", "published-data", "published-model"]


def noisy_hands(num_samples, *, num_joints=21, bone=(0, 5), device="cpu", dtype=torch.float64):
    """2.5D poses as a network predicts them: no depth fits all of them, some fit none."""
    _, joints_25d, intrinsics, scale = hands_in_view(
        num_samples, num_joints=num_joints, bone=bone, seed=1
    )
    noise = torch.randn(joints_25d.shape, generator=generator(2), dtype=torch.float64)
    joints_25d = joints_25d + noise * torch.tensor([2.0, 2.0, 0.25], dtype=torch.float64)
    return [t.to(device, dtype) for t in (joints_25d, intrinsics, scale)]


def upstream(joints_25d):
    random = generator(3)
    depth = torch.randn(len(joints_25d), generator=random, dtype=torch.float64)
    joints = torch.randn(joints_25d.shape, generator=random, dtype=torch.float64)
    return depth.to(joints_25d), joints.to(joints_25d)


def values_and_gradients(op, joints_25d, intrinsics, scale, *, grads=None, **options):
    inputs = [
        t if t is None else t.detach().clone().requires_grad_()
        for t in (joints_25d, intrinsics, scale)
    ]
    out = op(*inputs, **options)
    grad_depth, grad_joints = grads or upstream(joints_25d)
    ((out.depth * grad_depth).sum() + (out.joints * grad_joints).sum()).backward()
    gradients = [t.grad for t in inputs if t is not None]
    return [t.detach() for t in out], gradients


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("num_samples", "num_joints", "bone"),
    [(1, 2, (1, 0)), (7, 21, (0, 5)), (33, 21, (9, 10)), (300, 21, (0, 5)), (10, 8, (7, 0))],
)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_equals_the_twin_in_float64(device, mode, num_samples, num_joints, bone, shared, scaled):
    joints_25d, intrinsics, scale = noisy_hands(
        num_samples, num_joints=num_joints, bone=bone, device=device
    )
    arguments = joints_25d, intrinsics[0] if shared else intrinsics, scale if scaled else None
    ours = values_and_gradients(ops.root_depth, *arguments, bone=bone, mode=mode)
    twin = values_and_gradients(reference.root_depth, *arguments, bone=bone, mode=mode)
    torch.testing.assert_close(ours, twin, **EXACT, equal_nan=True)


@pytest.mark.parametrize("mode", ["stable", "published-data"])
@pytest.mark.parametrize("shared", [False, True])
def test_gradcheck(device, mode, shared):
    # Not for `published-model`, whose depth is a constant by definition in the gradient alone.
    _, joints_25d, intrinsics, scale = (t.to(device) for t in hands_in_view(5, num_joints=6))
    parameters = intrinsics[:, [0, 0, 0, 1, 1], [0, 1, 2, 1, 2]]
    parameters = parameters[0] if shared else parameters

    def lifted(joints_25d, parameters, scale):
        out = ops.root_depth(joints_25d, camera_matrix(parameters), scale, mode=mode)
        return out.depth, out.joints

    inputs = [t.clone().requires_grad_() for t in (joints_25d, parameters, scale)]
    status = ops.root_depth(joints_25d, camera_matrix(parameters), scale, mode=mode).status
    assert (status < 2).all()
    torch.autograd.gradcheck(lifted, inputs)


def test_gradcheck_where_the_discriminant_is_clamped(device):
    joints_25d, intrinsics, scale = noisy_hands(300, num_joints=6, device=device)
    clamped = ops.root_depth(joints_25d, intrinsics, scale).status == 2
    assert clamped.sum() >= 3
    torch.autograd.gradcheck(
        lambda uvz, s: ops.root_depth(uvz, intrinsics[clamped], s)[:2],
        [t[clamped].requires_grad_() for t in (joints_25d, scale)],
    )


@pytest.mark.parametrize("mode", MODES)
def test_float32_is_no_worse_than_eager(device, mode):
    single = [t.to(device, torch.float32) for t in hands_in_view(256)[1:]]
    grads = upstream(single[0])
    exact = values_and_gradients(
        reference.root_depth,
        *(t.double() for t in single),
        grads=[g.double() for g in grads],
        mode=mode,
    )
    eager = values_and_gradients(reference.root_depth, *single, grads=grads, mode=mode)
    ours = values_and_gradients(ops.root_depth, *single, grads=grads, mode=mode)
    certain = exact[0][3] < 2
    for index in (0, 1):
        assert_no_worse(ours[0][index][certain], eager[0][index][certain], exact[0][index][certain])
    for result, plain, true in zip(ours[1], eager[1], exact[1], strict=True):
        assert result.dtype == torch.float32
        assert_no_worse(result[certain], plain[certain], true[certain])


@pytest.mark.parametrize("root", [0, 5, 9, 20])
@pytest.mark.parametrize("bone", [(0, 5), (5, 0), (9, 10)])
def test_lifting_inverts_projection(device, root, bone):
    joints_cam, joints_25d, intrinsics, scale = (
        t.to(device) for t in hands_in_view(500, bone=bone, root=root)
    )
    out = ops.root_depth(joints_25d, intrinsics, scale, bone=bone)
    true_depth = joints_cam[:, root, 2] / scale
    ok, ambiguous = out.status == 0, out.status == 1
    assert (ok | ambiguous).all()
    assert ok.sum() > 400
    torch.testing.assert_close(out.joints[ok], joints_cam[ok], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.depth[ok], true_depth[ok], rtol=1e-9, atol=0)
    # Where both solutions are possible, one of them is the truth.
    solutions = torch.stack([out.depth, out.other_depth], 1)[ambiguous]
    nearest = (solutions - true_depth[ambiguous, None]).abs().amin(1)
    assert (nearest <= 1e-9 * true_depth[ambiguous]).all()


def test_the_scale_scales_the_pose_and_nothing_else(device):
    _, joints_25d, intrinsics, scale = (t.to(device) for t in hands_in_view(50))
    unit, scaled = (ops.root_depth(joints_25d, intrinsics, s) for s in (None, scale))
    torch.testing.assert_close(scaled.joints, scale[:, None, None] * unit.joints, **EXACT)
    torch.testing.assert_close(scaled.depth, unit.depth, rtol=0, atol=0)
    torch.testing.assert_close(scaled.other_depth, unit.other_depth, rtol=0, atol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_opcheck(device, mode, shared, scaled):
    inputs = [t.to(device).requires_grad_() for t in hands_in_view(3)[1:]]
    intrinsics = inputs[1][0] if shared else inputs[1]
    torch.library.opcheck(
        torch.ops.pyhandpose.root_depth.default,
        (inputs[0], intrinsics, inputs[2] if scaled else None, [0, 5], mode),
    )


def test_compiles_without_a_graph_break(device):
    def loss(joints_25d, intrinsics, scale):
        out = ops.root_depth(joints_25d, intrinsics, scale)
        return out.joints.square().sum() + out.depth.sum(), out.status

    results = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        inputs = [t.to(device).requires_grad_() for t in hands_in_view(3)[1:]]
        value, status = function(*inputs)
        value.backward()
        results.append((value.detach(), status, *(t.grad for t in inputs)))
    torch.testing.assert_close(*results)
