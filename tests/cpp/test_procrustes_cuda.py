"""procrustes' CUDA kernels, their own source run on the host: right without a GPU to show it."""

import pytest
import torch

from pyhandpose import reference
from pyhandpose.testing.inputs import generator, point_sets
from pyhandpose.testing.tolerances import EXACT

FIELDS = ("rotation", "scale", "translation", "aligned")


def forward(
    kernels, unwritten, source, target, weights, *, with_aligned=True, options=(True, False)
):
    """The outputs of a `Similarity`, in its order; None for aligned points not asked for."""
    B, N, dtype = *source.shape[:2], source.dtype
    out = [unwritten(*shape, dtype=dtype) for shape in [(B, 3, 3), (B,), (B, 3), (B, N, 3), (B,)]]
    if not with_aligned:
        out[3] = None
    kernels("forward", dtype, B, N, source, target, weights, *out, *options)
    return out


def backward(kernels, unwritten, sets, found, upstream, needed, with_scale=True):
    B, N, dtype = *sets[0].shape[:2], sets[0].dtype
    grads = [
        unwritten(*tensor.shape, dtype=dtype) if tensor is not None and need else None
        for tensor, need in zip(sets, needed, strict=True)
    ]
    fit = (found[0], found[1], found[4])
    kernels("backward", dtype, B, N, *sets, *fit, *upstream, *grads, with_scale)
    return grads


def twin_gradients(sets, upstream, **options):
    inputs = [None if t is None else t.detach().clone().requires_grad_() for t in sets]
    found = reference.procrustes(*inputs, **options)
    pairs = zip([getattr(found, field) for field in FIELDS], upstream, strict=True)
    sum((out * grad).sum() for out, grad in pairs if grad is not None).backward()
    return [None if t is None else t.grad for t in inputs]


# Warps of 32; rows of odd and of even length; in shared memory up to 63 float32 (31 float64).
@pytest.mark.parametrize("num_samples", [1, 32, 71])
@pytest.mark.parametrize("num_points", [1, 2, 8, 21, 70])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_twin(kernels_on_host, place, num_samples, num_points, weighted):
    copy, unwritten = place
    kernels = kernels_on_host("procrustes")
    sets = [copy(t) for t in point_sets((num_samples,), num_points)]
    sets = sets if weighted else [*sets[:2], None]
    found = forward(kernels, unwritten, *sets)
    twin = [*reference.procrustes(*sets)]
    if num_points > 2:  # below, the rotation is one of several
        torch.testing.assert_close(found, twin, **EXACT)
    moved = found[1][:, None, None] * sets[0] @ found[0].mT + found[2][:, None]
    torch.testing.assert_close(found[3], moved, **EXACT)
    fit = forward(kernels, unwritten, *sets, with_aligned=False)
    torch.testing.assert_close([*fit[:3], fit[4]], [*found[:3], found[4]], rtol=0, atol=0)

    random = generator(1)
    upstream = [copy(torch.randn(t.shape, generator=random, dtype=t.dtype)) for t in found[:4]]
    if num_points > 2:
        for given in (upstream, [*upstream[:3], None], [None, None, None, upstream[3]]):
            expected = twin_gradients(sets, given)
            for needed in ((True, True, weighted), (True, False, False), (False, True, weighted)):
                grads = backward(kernels, unwritten, sets, found, given, needed)
                wanted = [g if need else None for g, need in zip(expected, needed, strict=True)]
                torch.testing.assert_close(
                    [g for g in grads if g is not None],
                    [g for g in wanted if g is not None],
                    **EXACT,
                )


@pytest.mark.parametrize("num_points", [20, 21, 64])
@pytest.mark.parametrize("options", [(False, False), (True, True)])
def test_float32(kernels_on_host, place, num_points, options):
    copy, unwritten = place
    sets = [copy(t.float()) for t in point_sets((40,), num_points)]
    found = forward(kernels_on_host("procrustes"), unwritten, *sets, options=options)
    scale, allow_reflection = options
    twin = reference.procrustes(
        *(t.double() for t in sets), scale=scale, allow_reflection=allow_reflection
    )
    torch.testing.assert_close([t.double() for t in found], [*twin], rtol=2e-5, atol=2e-5)


def test_no_points(kernels_on_host, place):
    copy, unwritten = place
    sets = [copy(t) for t in point_sets((33,), 0)]
    rotation, scale, translation, _, conditioning = forward(
        kernels_on_host("procrustes"), unwritten, *sets
    )
    assert (rotation == torch.eye(3)).all()
    assert (scale == 1).all()
    assert (translation == 0).all()
    assert (conditioning == 0).all()
