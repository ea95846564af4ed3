"""The call: which tensors come out, when they are computed, and what is refused."""

import copy
import pickle

import pytest
import torch

from pyhandpose import ops
from pyhandpose.testing.inputs import noncontiguous, point_sets
from pyhandpose.testing.tolerances import EXACT

FIELDS = ("rotation", "scale", "translation", "aligned", "conditioning")


def gradients(*sets, fields=FIELDS[:4]):
    inputs = [t.detach().clone().requires_grad_() for t in sets]
    found = ops.procrustes(*inputs)
    sum(getattr(found, field).square().sum() for field in fields).backward()
    return [t.grad for t in inputs]


def test_aligned_is_computed_when_it_is_read():
    source, target, weights = point_sets((4,), 21)
    found = ops.procrustes(source, target, weights)
    assert isinstance(found, ops.Similarity)
    assert found._fields == FIELDS
    with torch.profiler.profile() as profile:
        rotation, scale, _ = found.rotation, found[1], found.conditioning
    assert not [event for event in profile.events() if "pyhandpose" in event.name]
    with torch.profiler.profile() as profile:
        assert found.aligned is found.aligned
    assert len([event for event in profile.events() if "pyhandpose" in event.name]) == 1
    moved = scale[:, None, None] * source @ rotation.mT + found.translation[:, None]
    torch.testing.assert_close(found.aligned, moved, **EXACT)


def test_a_gpu_computes_all_in_one_launch(device):
    if device == "cpu":
        pytest.skip("a CPU waits until somebody reads the aligned points")
    sets = [t.to(device).requires_grad_() for t in point_sets((4,), 21)]
    found = ops.procrustes(*sets)  # (and loads the kernels)
    loss = sum(output.square().sum() for output in found[:4])
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        ops.procrustes(*sets)
    assert len([event for event in profile.events() if "procrustes" in event.name]) == 1
    with torch.profiler.profile(activities=activities) as profile:
        loss.backward()
    assert len([event for event in profile.events() if "procrustes" in event.name]) == 1


def test_a_similarity_is_a_named_tuple(device):
    source, target, weights = (t.to(device) for t in point_sets((4,), 21))
    found = ops.procrustes(source, target, weights)
    rotation, scale, translation, aligned, conditioning = found
    assert aligned is found.aligned is found[3] is found[-2] is found[2:4][1]
    assert [*found] == [rotation, scale, translation, aligned, conditioning]
    assert len(found) == 5
    assert found[0] is rotation
    assert (*found,)[3] is aligned
    assert found._asdict()["aligned"] is aligned
    assert found._replace(scale=translation)[1] is translation
    assert found._replace(scale=translation).aligned is aligned
    assert "aligned=tensor" in repr(ops.procrustes(source, target))
    with pytest.raises(IndexError):
        found[5]


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda found: pickle.loads(pickle.dumps(found))]
)
def test_copies_are_complete(device, duplicate):
    source, target, _ = (t.to(device) for t in point_sets((4,), 21))
    found = duplicate(ops.procrustes(source, target))
    torch.testing.assert_close(
        [*tuple.__iter__(found)], [*ops.procrustes(source, target)], rtol=0, atol=0
    )


def test_a_similarity_is_a_tree_of_five_tensors(device):
    source, target, _ = (t.to(device) for t in point_sets((4,), 21))
    leaves, spec = torch.utils._pytree.tree_flatten(ops.procrustes(source, target))
    torch.testing.assert_close(leaves, [*ops.procrustes(source, target)], rtol=0, atol=0)
    assert isinstance(torch.utils._pytree.tree_unflatten(leaves, spec), ops.Similarity)


@pytest.mark.parametrize("modified", ["source", "scale"])
def test_aligned_is_refused_after_a_modification_in_place(modified):
    source, target, _ = point_sets((4,), 21)
    found = ops.procrustes(source, target)
    {"source": source, "scale": found.scale}[modified].mul_(1000)
    with pytest.raises(RuntimeError, match=r"pyhandpose\.procrustes: 'aligned' is computed when"):
        found.aligned  # noqa: B018


def test_aligned_belongs_to_the_graph_of_the_call(device):
    source, target, _ = (t.to(device).requires_grad_() for t in point_sets((4,), 21))
    with torch.no_grad():
        found = ops.procrustes(source, target)
    assert not found.aligned.requires_grad
    found = ops.procrustes(source, target)
    with torch.no_grad():
        aligned = found.aligned
    assert aligned.requires_grad
    with torch.inference_mode():
        found = ops.procrustes(source.detach(), target.detach())
    torch.testing.assert_close(found.aligned, aligned.detach())


def test_conditioning_is_not_differentiable(device):
    source, target, _ = (t.to(device).requires_grad_() for t in point_sets((4,), 21))
    assert not ops.procrustes(source, target).conditioning.requires_grad


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_a_single_input_can_have_a_gradient(device, wanted):
    sets = [t.to(device) for t in point_sets((4,), 21)]
    expected = gradients(*sets)[wanted]
    sets[wanted].requires_grad_()
    found = ops.procrustes(*sets)
    sum(output.square().sum() for output in found[:4]).backward()
    torch.testing.assert_close(sets[wanted].grad, expected, rtol=0, atol=0)


def test_gradients_of_single_outputs_add_up(device):
    sets = [t.to(device) for t in point_sets((4,), 21)]
    single = [gradients(*sets, fields=[field]) for field in FIELDS[:4]]
    summed = [sum(parts) for parts in zip(*single, strict=True)]
    torch.testing.assert_close(gradients(*sets), summed, **EXACT)


def test_strides_do_not_matter(device):
    sets = [t.to(device) for t in point_sets((5,), 9)]
    strided = [noncontiguous(t) for t in sets]
    torch.testing.assert_close(
        [*ops.procrustes(*strided)], [*ops.procrustes(*sets)], rtol=0, atol=0
    )
    torch.testing.assert_close(gradients(*strided), gradients(*sets), rtol=0, atol=0)


def test_a_sample_does_not_depend_on_its_neighbours(device):
    sets = [t.to(device) for t in point_sets((37,), 21)]
    together = [*ops.procrustes(*sets)]
    each = [ops.procrustes(*sample) for sample in zip(*sets, strict=True)]
    alone = [torch.stack(field) for field in zip(*each, strict=True)]
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


def test_runs_on_the_current_stream(device):
    if device == "cpu":
        pytest.skip("streams are CUDA's")
    sets = [t.to(device) for t in point_sets((512,), 21)]
    expected = [*ops.procrustes(*sets)]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = [*ops.procrustes(*sets)]
    stream.synchronize()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_opcheck(device, weighted):
    sets = [t.to(device).requires_grad_() for t in point_sets((3,), 5)]
    sets = sets if weighted else [*sets[:2], None]
    for with_aligned in (False, True):
        options = (True, False, with_aligned)
        torch.library.opcheck(torch.ops.pyhandpose.procrustes.default, (*sets, *options))
    if device == "cpu":
        fit = [t.detach() for t in torch.ops.pyhandpose.procrustes(*sets, True, False, False)[:4]]
        torch.library.opcheck(torch.ops.pyhandpose.procrustes_aligned.default, (*sets, *fit, True))


def test_aligned_with_the_fit_equals_aligned_after_it():
    sets = [t.requires_grad_() for t in point_sets((70,), 21)]
    together = torch.ops.pyhandpose.procrustes(*sets, True, False, True)
    deferred = ops.procrustes(*sets)
    torch.testing.assert_close(together[4], deferred.aligned, rtol=0, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(together[4].square().sum() + together[0].tril().sum(), sets),
        torch.autograd.grad(deferred.aligned.square().sum() + deferred[0].tril().sum(), sets),
        **EXACT,
    )


def test_compiles_without_a_graph_break(device):
    sets = [t.to(device).requires_grad_() for t in point_sets((3,), 5)]

    def loss(*sets):
        found = ops.procrustes(*sets)
        rotation, _, translation, aligned, _ = found
        return (
            aligned.square().sum() + rotation.tril().sum() + (found.scale * translation[:, 0]).sum()
        )

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*sets), loss(*sets))
    torch.testing.assert_close(
        torch.autograd.grad(compiled(*sets), sets), torch.autograd.grad(loss(*sets), sets)
    )


def test_autocast_computes_in_float32(device):
    sets = [t.to(device, torch.bfloat16) for t in point_sets((3,), 21)]
    with torch.autocast(device, dtype=torch.bfloat16):
        found = ops.procrustes(*sets)
    expected = ops.procrustes(*(t.float() for t in sets))
    torch.testing.assert_close([*found], [*expected])


@pytest.mark.parametrize("field", ["rotation", "aligned"])
def test_second_derivatives_are_refused(device, field):
    source, target, _ = (t.to(device) for t in point_sets((2,), 5))
    source.requires_grad_()
    out = getattr(ops.procrustes(source, target), field)
    (gradient,) = torch.autograd.grad(out.square().tril().sum(), source, create_graph=True)
    with pytest.raises(RuntimeError, match=r"procrustes\w*: second derivatives are not available"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("source", "target", "weights", "message"),
    [
        ((3,), (3,), None, r"'source' expected shape \(...,N,3\), got \(3\)"),
        ((4, 21, 2), (4, 21, 2), None, r"'source' expected shape \(...,N,3\), got \(4,21,2\)"),
        ((4, 21, 3), (21, 3), None, r"'target' expected the shape \(4,21,3\) .*, got \(21,3\)"),
        ((4, 21, 3), (4, 20, 3), None, r"'target' expected the shape .*, got \(4,20,3\)"),
        ((4, 21, 3), (4, 21, 3), (21,), r"'weights' expected shape \(...,N\) .*, got \(21\)"),
        ((4, 21, 3), (4, 21, 3), (4, 21, 1), r"'weights' expected .*, got \(4,21,1\)"),
    ],
)
def test_bad_shapes_name_what_was_expected(source, target, weights, message):
    weights = None if weights is None else torch.ones(weights)
    with pytest.raises(ValueError, match=rf"pyhandpose\.procrustes: argument {message}"):
        ops.procrustes(torch.zeros(source), torch.zeros(target), weights)


@pytest.mark.parametrize(
    ("dtypes", "message"),
    [
        ([torch.float16] * 3, r"'source' expected dtype Double or Float, got Half"),
        (
            [torch.float32, torch.float64, torch.float32],
            r"'target' expected dtype Float, got Double",
        ),
        (
            [torch.float64, torch.float64, torch.float32],
            r"'weights' expected dtype Double, got Float",
        ),
    ],
)
def test_bad_dtypes_name_what_was_expected(dtypes, message):
    sets = [t.to(dtype) for t, dtype in zip(point_sets((2,), 5), dtypes, strict=True)]
    with pytest.raises(TypeError, match=rf"pyhandpose\.procrustes: argument {message}"):
        ops.procrustes(*sets)
