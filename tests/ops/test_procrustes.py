"""Procrustes: the twin, gradients, laws and oracles. What is degenerate is in the next file."""

import pytest
import roma
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyhandpose import ops, reference
from pyhandpose.testing.inputs import generator, point_sets, random_rotations
from pyhandpose.testing.tolerances import EXACT, assert_no_worse

SIZES = [((), 21), ((3,), 3), ((2, 3), 4), ((17,), 21), ((70,), 5), ((5,), 64), ((3,), 65)]
OPTIONS = [
    {"scale": scale, "allow_reflection": reflection}
    for scale in (True, False)
    for reflection in (False, True)
]


def values_and_gradients(op, source, target, weights=None, **options):
    """All outputs, and the gradients of a fixed linear function of the differentiable ones."""
    inputs = [
        t if t is None else t.detach().clone().requires_grad_() for t in (source, target, weights)
    ]
    found = op(*inputs, **options)
    outputs = [found.rotation, found.translation, found.aligned]
    if options.get("scale", True):
        outputs.append(found.scale)
    random = generator(3)
    grads = [torch.randn(o.shape, generator=random, dtype=torch.float64).to(o) for o in outputs]
    torch.autograd.backward(outputs, grads)
    return [t.detach() for t in found], [t.grad for t in inputs if t is not None]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("batch", "num_points"), SIZES)
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_twin_in_float64(device, options, batch, num_points, weighted):
    source, target, weights = (t.to(device) for t in point_sets(batch, num_points))
    weights = weights if weighted else None
    ours = values_and_gradients(ops.procrustes, source, target, weights, **options)
    twin = values_and_gradients(reference.procrustes, source, target, weights, **options)
    torch.testing.assert_close(ours, twin, **EXACT)


@pytest.mark.parametrize("field", ["rotation", "scale", "translation", "aligned"])
@pytest.mark.parametrize("options", OPTIONS)
def test_gradcheck(device, field, options):
    if field == "scale" and not options["scale"]:
        pytest.skip("the constant 1")
    inputs = [t.to(device).requires_grad_() for t in point_sets((2,), 5)]
    torch.autograd.gradcheck(
        lambda *sets: getattr(ops.procrustes(*sets, **options), field), inputs, atol=1e-6
    )


def test_gradcheck_of_a_flat_hand(device):
    source, target, weights = (t.to(device) for t in point_sets((2,), 6))
    source[..., 2] = 0.25
    inputs = [t.requires_grad_() for t in (source, target, weights)]
    torch.autograd.gradcheck(lambda *sets: tuple(ops.procrustes(*sets))[:4], inputs, atol=1e-6)


def test_gradcheck_at_equal_singular_values(device):
    # The corners of an octahedron: M is a multiple of a rotation, its three singular values are
    # equal, and the gradient through an SVD is NaN.
    corners = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    target = corners @ random_rotations(2).mT + 0.3
    inputs = [t.to(device).requires_grad_() for t in (corners.expand(2, 6, 3).clone(), target)]
    conditioning = ops.procrustes(*inputs).conditioning
    torch.testing.assert_close(conditioning, torch.full_like(conditioning, 2 / 3))
    torch.autograd.gradcheck(lambda *sets: tuple(ops.procrustes(*sets))[:4], inputs, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_float32_is_no_worse_than_eager(device, options, weighted):
    sets = [t.to(device, torch.float32) for t in point_sets((256,), 21)]
    sets = sets if weighted else sets[:2]
    exact = values_and_gradients(reference.procrustes, *(t.double() for t in sets), **options)
    eager = values_and_gradients(reference.procrustes, *sets, **options)
    ours = values_and_gradients(ops.procrustes, *sets, **options)
    certain = exact[0][4] > 0.05
    assert certain.sum() > 200
    for result, plain, true in zip(*(v + g for v, g in (ours, eager, exact)), strict=True):
        assert result.dtype == torch.float32
        assert_no_worse(result[certain], plain[certain], true[certain])


@pytest.mark.parametrize("num_points", [3, 4, 21])
@pytest.mark.parametrize("scale", [True, False])
def test_recovers_a_known_similarity(device, num_points, scale):
    source, _, weights = (t.to(device) for t in point_sets((50,), num_points))
    rotation = random_rotations(50).to(device)
    random = generator(5)
    factor = 0.1 + 3 * torch.rand(50, generator=random, dtype=torch.float64).to(device)
    factor = factor if scale else torch.ones_like(factor)
    translation = torch.randn(50, 3, generator=random, dtype=torch.float64).to(device)
    target = factor[:, None, None] * source @ rotation.mT + translation[:, None]
    for w in (None, weights):
        found = ops.procrustes(source, target, w, scale=scale)
        torch.testing.assert_close(found.rotation, rotation, rtol=0, atol=1e-8)
        torch.testing.assert_close(found.scale, factor, **EXACT)
        torch.testing.assert_close(found.translation, translation, rtol=0, atol=1e-8)
        torch.testing.assert_close(found.aligned, target, **EXACT)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("mirrored", [False, True])
def test_no_other_rotation_has_a_smaller_residual(device, scale, mirrored):
    source, target, weights = (t.to(device) for t in point_sets((10,), 21))
    if mirrored:
        target = target * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64, device=device)
    found = ops.procrustes(source, target, weights, scale=scale)
    residual = (weights[..., None] * (found.aligned - target).square()).sum((-2, -1))
    # 200 rotations, each with the scale and translation that are best for it.
    share = (weights / weights.sum(-1, keepdim=True))[..., None]
    x = source - (share * source).sum(-2, keepdim=True)
    y = target - (share * target).sum(-2, keepdim=True)
    near = random_rotations(100, seed=8, angle=1e-3).to(device) @ found.rotation[:, None]
    far = random_rotations(100, seed=9).to(device).expand(10, 100, 3, 3)
    turned = x[:, None] @ torch.cat([near, far], 1).mT  # (10,200,21,3)
    product = (weights[:, None, :, None] * turned * y[:, None]).sum((-2, -1))
    sigma = (weights[..., None] * x.square()).sum((-2, -1))
    k = (product / sigma[:, None]).clamp_min(0) if scale else torch.ones_like(product)
    other = weights[:, None, :, None] * (k[..., None, None] * turned - y[:, None]).square()
    assert (residual[:, None] <= other.sum((-2, -1)) * (1 + 1e-12)).all()


@pytest.mark.parametrize("scale", [True, False])
def test_aligned_does_not_depend_on_a_similarity_of_the_source(device, scale):
    source, target, weights = (t.to(device) for t in point_sets((9,), 21))
    factor = 2.5 if scale else 1.0
    moved = factor * source @ random_rotations(9, seed=4).to(device).mT + 0.7
    torch.testing.assert_close(
        ops.procrustes(moved, target, weights, scale=scale).aligned,
        ops.procrustes(source, target, weights, scale=scale).aligned,
        **EXACT,
    )


def test_a_mirrored_hand_fits_only_by_a_reflection(device):
    source, _, weights = (t.to(device) for t in point_sets((9,), 21))
    mirror = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64, device=device)
    target = 1.5 * (source * mirror) @ random_rotations(9).to(device).mT - 0.2
    reflected = ops.procrustes(source, target, weights, allow_reflection=True)
    torch.testing.assert_close(reflected.aligned, target, **EXACT)
    one = torch.ones(9, dtype=torch.float64, device=device)
    torch.testing.assert_close(torch.linalg.det(reflected.rotation), -one)
    proper = ops.procrustes(source, target, weights)
    torch.testing.assert_close(torch.linalg.det(proper.rotation), one)
    size = (target - target.mean(-2, keepdim=True)).norm(dim=-1).mean(-1)
    assert ((proper.aligned - target).norm(dim=-1).mean(-1) > 0.1 * size).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", OPTIONS)
def test_rotations_are_orthonormal(device, dtype, options):
    source, target, weights = (t.to(device, dtype) for t in point_sets((500,), 21))
    source[:100] *= torch.tensor([1.0, 1e-3, 1e-5], dtype=dtype, device=device)  # finger-like
    source[100:200, :, 2] = 0
    R = ops.procrustes(source, target, weights, **options).rotation
    identity = torch.eye(3, dtype=dtype, device=device).expand_as(R)
    torch.testing.assert_close(R @ R.mT, identity, rtol=0, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_roma(device, weighted):
    source, target, weights = (t.to(device) for t in point_sets((30,), 21))
    weights = weights if weighted else None
    R, t, k = roma.rigid_points_registration(source, target, weights=weights, compute_scaling=True)
    found = ops.procrustes(source, target, weights)
    torch.testing.assert_close([*found[:3]], [R, k, t], **EXACT)


def test_agrees_with_scipy(device):
    source, target, _ = point_sets((30,), 21)
    found = ops.procrustes(source.to(device), target.to(device), allow_reflection=True)
    x, y = (points - points.mean(-2, keepdim=True) for points in (source, target))
    for i in range(len(x)):
        orthogonal, _ = scipy.linalg.orthogonal_procrustes(x[i].numpy(), y[i].numpy())
        expected = torch.from_numpy(orthogonal).T
        torch.testing.assert_close(found.rotation[i].cpu(), expected, **EXACT)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=9, max_size=9), st.booleans())
def test_the_rotation_is_the_best_for_any_covariance(entries, reflection):
    # Half an octahedron's corners times M, and their opposites: the cross-covariance is M.
    M = torch.tensor(entries, dtype=torch.float64).reshape(3, 3)
    source = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    found = ops.procrustes(source, source @ M.mT / 2, allow_reflection=reflection)
    R, s = found.rotation, torch.linalg.svdvals(M)
    size = float(s[0]) or 1.0
    close = {"rtol": 0, "atol": 1e-13}
    torch.testing.assert_close(R.mT @ R, torch.eye(3).double(), **close)
    # The maximum of tr(R^T M) over rotations, or over all orthogonal matrices.
    sign = 1.0 if reflection else float(torch.linalg.det(M / size).sign())
    trace = (R * M).sum() / size
    torch.testing.assert_close(trace, (s[0] + s[1] + sign * s[2]) / size, **close)
    torch.testing.assert_close(found.scale, trace * size / 6, rtol=1e-12, atol=0)
    S = R.mT @ M / size
    torch.testing.assert_close(S, S.mT, **close)
    if not reflection:
        torch.testing.assert_close(torch.linalg.det(R), torch.ones(()).double(), **close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_follow_the_unit(device, dtype):
    source, target, weights = (t.to(device, dtype) for t in point_sets((20,), 21))
    source = source * torch.tensor([1.0, 0.02, 0.01], dtype=dtype, device=device)  # finger-like

    def rotation_gradients(unit):
        inputs = [(unit * t).requires_grad_() for t in (source, target)]
        R = ops.procrustes(*inputs, weights).rotation
        torch.autograd.backward(R, torch.ones_like(R).tril())
        return [unit * t.grad for t in inputs]

    # Metres and near-millimetres: a power of two, so that equal means equal.
    torch.testing.assert_close(rotation_gradients(1024.0), rotation_gradients(1.0), rtol=0, atol=0)
