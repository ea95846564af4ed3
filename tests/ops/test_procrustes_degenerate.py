"""Sets that do not determine a similarity, and values that are not numbers."""

import pytest
import torch

from pyhandpose import ops, reference
from pyhandpose.testing.inputs import generator, point_sets, random_rotations
from pyhandpose.testing.tolerances import EXACT

DTYPES = [torch.float32, torch.float64]


def gradients(source, target, weights=None, **options):
    """Of a fixed linear function of all outputs."""
    inputs = [
        t if t is None else t.detach().clone().requires_grad_() for t in (source, target, weights)
    ]
    outputs = ops.procrustes(*inputs, **options)[:4]
    random = generator(3)
    grads = [torch.randn(o.shape, generator=random, dtype=torch.float64).to(o) for o in outputs]
    torch.autograd.backward(outputs, grads)
    return [t.grad for t in inputs if t is not None]


def identity(found):
    return torch.eye(3).to(found.rotation).expand_as(found.rotation)


def assert_equals_twin(found, *sets, **options):
    twin = reference.procrustes(*sets, **options)
    torch.testing.assert_close([*found], [*twin], **EXACT, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_weight_at_all_gives_the_identity_and_no_gradient(device, dtype):
    source, target, weights = (t.to(device, dtype) for t in point_sets((5,), 21))
    weights[2] = 0
    found = ops.procrustes(source, target, weights)
    assert (found.rotation[2] == identity(found)[2]).all()
    assert found.scale[2] == 1
    assert (found.translation[2] == 0).all()
    assert (found.aligned[2] == source[2]).all()
    assert found.conditioning[2] == 0
    for gradient in gradients(source, target, weights):
        assert (gradient[2] == 0).all()
        assert gradient.isfinite().all()
        assert (gradient[3] != 0).any()
    if dtype == torch.float64:
        assert_equals_twin(found, source, target, weights)


@pytest.mark.parametrize("weighted", [False, True])
def test_no_points(device, weighted):
    source, target, weights = (t.to(device) for t in point_sets((5,), 0))
    weights = weights if weighted else None
    found = ops.procrustes(source, target, weights)
    assert (found.rotation == identity(found)).all()
    assert (found.scale == 1).all()
    assert (found.translation == 0).all()
    assert (found.conditioning == 0).all()
    assert found.aligned.shape == (5, 0, 3)
    assert_equals_twin(found, source, target, weights)
    assert gradients(source, target, weights)[0].shape == (5, 0, 3)


@pytest.mark.parametrize("batch", [(0,), (2, 0)])
def test_no_samples(device, batch):
    source, target, weights = (t.to(device) for t in point_sets(batch, 21))
    found = ops.procrustes(source, target, weights)
    assert found.rotation.shape == (*batch, 3, 3)
    assert found.aligned.shape == (*batch, 21, 3)
    assert gradients(source, target, weights)[2].shape == (*batch, 21)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("num_points", [1, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_source_points_are_translated(device, dtype, scale, num_points, weighted):
    _, target, weights = (t.to(device, dtype) for t in point_sets((6,), num_points))
    # The mean of equal numbers is not that number in floating point, unless care is taken.
    source = torch.tensor([0.1, 0.7, -0.3], dtype=dtype, device=device).expand_as(target).clone()
    w = weights if weighted else torch.ones_like(weights)
    found = ops.procrustes(source, target, weights if weighted else None, scale=scale)
    assert (found.rotation == identity(found)).all()
    assert (found.scale == 1).all()
    assert (found.conditioning == 0).all()
    mean = (w[..., None] * target).sum(-2) / w.sum(-1, keepdim=True)
    torch.testing.assert_close(found.translation, mean - source[:, 0])
    assert all(g.isfinite().all() for g in gradients(source, target, w, scale=scale))
    if dtype == torch.float64:
        assert_equals_twin(found, source, target, w, scale=scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_target_points_give_scale_zero(device, dtype, weighted):
    source, target, weights = (t.to(device, dtype) for t in point_sets((6,), 7))
    target = torch.tensor([0.1, 0.7, -0.3], dtype=dtype, device=device).expand_as(target).clone()
    weights = weights if weighted else None
    found = ops.procrustes(source, target, weights)
    assert (found.rotation == identity(found)).all()
    assert (found.scale == 0).all()
    assert (found.conditioning == 0).all()
    torch.testing.assert_close(found.aligned, target)
    assert all(g.isfinite().all() for g in gradients(source, target, weights))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reflection", [False, True])
@pytest.mark.parametrize("turn", ["random", "none", "opposite"])
def test_collinear_points_turn_by_the_minimal_rotation(device, dtype, reflection, turn):
    num_samples = 20
    line = random_rotations(num_samples, seed=6)[..., 0]
    other = {
        "random": random_rotations(num_samples, seed=7)[..., 0],
        "none": line,
        "opposite": -line,
    }[turn]
    along = torch.randn(num_samples, 9, 1, generator=generator(8), dtype=torch.float64)
    source = (along * line[:, None]).to(device, dtype)
    target = (1.5 * along * other[:, None] + 0.2).to(device, dtype)
    found = ops.procrustes(source, target, allow_reflection=reflection)
    accuracy = 200 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.aligned, target, rtol=0, atol=accuracy)
    one = torch.ones(num_samples, dtype=dtype, device=device)
    torch.testing.assert_close(torch.linalg.det(found.rotation), one)
    # Minimal: by the angle between the lines, tr R = 1 + 2 cos.
    cos = (line * other).sum(-1).to(device, dtype)
    trace = found.rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(trace, 1 + 2 * cos, rtol=0, atol=accuracy)
    assert (found.conditioning.abs() < accuracy).all()
    assert all(g.isfinite().all() for g in gradients(source, target))


def test_opposite_lines_turn_about_the_same_normal_as_in_the_twin(device):
    along = torch.linspace(-1, 2, 5, dtype=torch.float64, device=device)[:, None]
    source = torch.stack([along * axis for axis in torch.eye(3).to(along)])
    assert_equals_twin(ops.procrustes(source, -2 * source), source, -2 * source)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reflection", [False, True])
def test_flat_hands_turn_without_reflection(device, dtype, reflection):
    source, _, weights = (t.to(device, dtype) for t in point_sets((50,), 21))
    source[..., 2] = 0.5
    rotation = random_rotations(50).to(device, dtype)
    target = 0.8 * source @ rotation.mT
    found = ops.procrustes(source, target, weights, allow_reflection=reflection)
    accuracy = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.rotation, rotation, rtol=0, atol=accuracy)
    assert (found.conditioning > 0.1).all()


@pytest.mark.parametrize(
    ("argument", "bad"),
    [(i, bad) for i in (0, 1, 2) for bad in (torch.nan, torch.inf)] + [(2, -1e-3)],
)
def test_faults_of_value_give_nan_in_their_sample_alone(device, argument, bad):
    sets = [t.to(device) for t in point_sets((20,), 21)]
    sets[argument][3, 5] = bad
    others = [i for i in range(20) if i != 3]
    found = ops.procrustes(*sets)
    for field in found:
        assert field[3].isnan().all()
        assert field[others].isfinite().all()
    assert_equals_twin(found, *sets)
    for gradient in gradients(*sets):
        assert gradient[3].isnan().all()
        assert gradient[others].isfinite().all()


@pytest.mark.parametrize("coordinate", [100.0, torch.nan, torch.inf])
def test_a_weight_of_zero_removes_a_point(device, coordinate):
    source, target, weights = (t.to(device) for t in point_sets((9,), 21))
    weights[:, [0, 4]] = 0
    source[:, 0] = coordinate
    target[:, 4] = coordinate
    kept = [i for i in range(21) if i not in (0, 4)]
    found = ops.procrustes(source, target, weights)
    fewer = ops.procrustes(source[:, kept], target[:, kept], weights[:, kept])
    torch.testing.assert_close([*found[:3]], [*fewer[:3]], **EXACT)
    torch.testing.assert_close(found.aligned[:, kept], fewer.aligned, **EXACT)
    assert_equals_twin(found, source, target, weights)
    inputs = [t.requires_grad_() for t in (source, target, weights)]
    ops.procrustes(*inputs).aligned[:, kept].square().sum().backward()
    assert all(t.grad.isfinite().all() for t in inputs)
    assert (source.grad[:, 0] == 0).all()
    assert (target.grad[:, 4] == 0).all()


def test_conditioning_of_known_sets(device):
    axes = torch.eye(3, dtype=torch.float64, device=device)
    cube = torch.cat([axes, -axes])
    box = cube * torch.tensor([3.0, 2.0, 1.0]).to(axes)  # M = 2 diag(9, 4, 1)
    mirrored = box * torch.tensor([1.0, 1.0, -1.0]).to(axes)
    sources, targets = (
        torch.stack([box, box, cube, cube]),
        torch.stack([box, mirrored, cube, -cube]),
    )
    for reflection, expected in (
        (False, [5 / 14, 3 / 12, 2 / 3, 0]),
        (True, [5 / 14, 5 / 14, 2 / 3, 2 / 3]),
    ):
        conditioning = ops.procrustes(sources, targets, allow_reflection=reflection).conditioning
        expected = torch.tensor(expected, dtype=torch.float64, device=device)
        torch.testing.assert_close(conditioning, expected, **EXACT)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_is_bounded_where_the_rotation_is_undetermined(device, dtype):
    axes = torch.eye(3, dtype=dtype, device=device)
    cube = torch.cat([axes, -axes])[None]  # against its mirror image every rotation does equally
    floor = {torch.float32: 1e-6, torch.float64: 1e-13}[dtype]
    for gradient in gradients(cube, -cube):
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 10 / floor
