import pytest
import torch

from pyhandpose import ops, reference
from pyhandpose.testing.inputs import camera_matrix, generator, hands_in_view, noncontiguous
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


@pytest.mark.parametrize("mode", MODES)
def test_one_matrix_for_all_receives_the_sum_and_the_same_bits_each_time(device, mode):
    joints_25d, intrinsics, scale = noisy_hands(1000, device=device)
    shared = intrinsics[0]
    repeated = shared.expand(1000, 3, 3)
    _, each = values_and_gradients(ops.root_depth, joints_25d, repeated, scale, mode=mode)
    _, once = values_and_gradients(ops.root_depth, joints_25d, shared, scale, mode=mode)
    _, again = values_and_gradients(ops.root_depth, joints_25d, shared, scale, mode=mode)
    torch.testing.assert_close(once[1], each[1].sum(0), **EXACT)
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    below_and_corner = once[1][[1, 2, 2, 2], [0, 0, 1, 2]]
    assert (below_and_corner == 0).all()


@pytest.mark.parametrize("read", ["depth", "joints"])
@pytest.mark.parametrize("asked", [0, 1, 2])
def test_one_output_and_one_input_at_a_time(device, read, asked):
    given = noisy_hands(40, device=device)
    results = []
    for op in (ops.root_depth, reference.root_depth):
        inputs = [t.clone() for t in given]
        inputs[asked].requires_grad_()
        output = getattr(op(*inputs), read)
        if read == "depth" and asked == 2:
            # The depth does not depend on the scale: a zero gradient, or none in the twin.
            assert (
                op is reference.root_depth
                or not torch.autograd.grad(output.sum(), inputs[2])[0].any()
            )
            continue
        results.append(torch.autograd.grad(output.sum(), inputs[asked])[0])
    if results:
        torch.testing.assert_close(*results, **EXACT)


def test_what_is_not_differentiable_says_so(device):
    inputs = [t.to(device).requires_grad_() for t in hands_in_view(3)[1:]]
    out = ops.root_depth(*inputs)
    assert [t.requires_grad for t in out] == [True, True, False, False]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared", [False, True])
def test_empty(device, mode, shared):
    inputs = [t.to(device) for t in hands_in_view(0)[1:]]
    if shared:
        inputs[1] = camera_matrix(torch.tensor([500.0, 0, 100, 500, 100]).double()).to(device)
    inputs = [t.requires_grad_() for t in inputs]
    out = ops.root_depth(*inputs, mode=mode)
    assert [tuple(t.shape) for t in out] == [(0,), (0, 21, 3), (0,), (0,)]
    (out.joints.sum() + out.depth.sum()).backward()
    assert [t.grad.shape for t in inputs] == [t.shape for t in inputs]
    assert not inputs[1].grad.any()


def test_strides_do_not_matter(device):
    given = noisy_hands(9, device=device)
    grads = upstream(given[0])
    dense = values_and_gradients(ops.root_depth, *given, grads=grads)
    strided = values_and_gradients(
        ops.root_depth, *map(noncontiguous, given), grads=tuple(map(noncontiguous, grads))
    )
    torch.testing.assert_close(strided, dense, rtol=0, atol=0, equal_nan=True)


def test_runs_on_the_current_stream(device):
    if device == "cpu":
        pytest.skip("streams are CUDA's")
    given = noisy_hands(2000, device=device)
    expected = values_and_gradients(ops.root_depth, *given)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        out = values_and_gradients(ops.root_depth, *given)
    stream.synchronize()
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)


def test_autocast_computes_in_float32(device):
    single = [t.to(device, torch.float32) for t in hands_in_view(4)[1:]]
    half = single[0].to(torch.bfloat16)
    with torch.autocast(device, dtype=torch.bfloat16):
        out = ops.root_depth(half, *single[1:])
    assert out.joints.dtype == torch.float32
    torch.testing.assert_close(out, ops.root_depth(half.float(), *single[1:]), equal_nan=True)


def test_second_derivatives_are_refused(device):
    inputs = [t.to(device).requires_grad_() for t in hands_in_view(2)[1:]]
    out = ops.root_depth(*inputs)
    (gradient,) = torch.autograd.grad(out.joints.square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match=r"root_depth: second derivatives are not available"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(4, 63), (4, 3, 3), (4,)], {}, r"'joints_25d' expected shape \(B,J,3\) .* got \(4,63\)"),
        ([(4, 21, 2), (4, 3, 3), (4,)], {}, r"'joints_25d' expected shape .* got \(4,21,2\)"),
        ([(4, 1, 3), (4, 3, 3), (4,)], {}, r"'joints_25d' expected .* J >= 2, got \(4,1,3\)"),
        ([(4, 21, 3), (3, 3, 3), (4,)], {}, r"'intrinsics' expected .* got \(3,3,3\)"),
        ([(4, 21, 3), (2, 3), (4,)], {}, r"'intrinsics' expected .* got \(2,3\)"),
        ([(4, 21, 3), (3, 3), (4, 1)], {}, r"'scale' expected shape \(B,\) .* got \(4,1\)"),
        ([(4, 21, 3), (3, 3), (1,)], {}, r"'scale' expected shape \(B,\) .* got \(1\)"),
        ([(4, 21, 3), (3, 3), (4,)], {"bone": (0, 0)}, r"'bone' expected two distinct joints"),
        (
            [(4, 21, 3), (3, 3), (4,)],
            {"bone": (0, 21)},
            r"'bone' expected .* \[0,21\), got \[0, 21\]",
        ),
        ([(4, 21, 3), (3, 3), (4,)], {"bone": (-1, 5)}, r"'bone' expected .* got \[-1, 5\]"),
        (
            [(4, 21, 3), (3, 3), (4,)],
            {"bone": (0, 5, 9)},
            r"'bone' expected two .* got \[0, 5, 9\]",
        ),
        ([(4, 21, 3), (3, 3), (4,)], {"mode": "fast"}, r"'mode' expected 'stable', .* got 'fast'"),
    ],
)
def test_bad_arguments_name_what_was_expected(shapes, options, message):
    with pytest.raises(ValueError, match=rf"pyhandpose\.root_depth: argument {message}"):
        ops.root_depth(*map(torch.zeros, shapes), **options)


@pytest.mark.parametrize(
    ("dtypes", "message"),
    [
        ([torch.float16] * 3, r"'joints_25d' expected dtype Double or Float, got Half"),
        ([torch.bfloat16] * 3, r"'joints_25d' expected dtype Double or Float, got BFloat16"),
        ([torch.int64] * 3, r"'joints_25d' expected dtype Double or Float, got Long"),
        ([torch.float32, torch.float64, torch.float32], r"'intrinsics' expected dtype Float, got"),
        (
            [torch.float64, torch.float64, torch.float32],
            r"'scale' expected dtype Double, got Float",
        ),
    ],
)
def test_bad_dtypes_name_what_was_expected(dtypes, message):
    shapes = [(4, 21, 3), (4, 3, 3), (4,)]
    inputs = [torch.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    with pytest.raises(TypeError, match=message):
        ops.root_depth(*inputs)
