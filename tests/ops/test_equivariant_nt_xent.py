import math
from functools import partial

import pytest
import torch

from pyhandpose import ops, reference
from pyhandpose.testing.inputs import noncontiguous, paired_rows, view_affines
from pyhandpose.testing.tolerances import EXACT, assert_no_worse, error

CONVENTIONS = ["paper", "official", "direct"]
SIZES = [(4, 2), (6, 6), (62, 64), (66, 128), (130, 100), (258, 256)]


# The exact path; tests/ops/test_nt_xent.py holds the others to their bounds.
nt_xent = partial(ops.nt_xent, precision="ffma")
equivariant_nt_xent = partial(ops.equivariant_nt_xent, precision="ffma")


def value_and_gradient(op, z, affine, temperature=0.5, convention="paper"):
    z = z.detach().clone().requires_grad_()
    loss = op(z, affine, temperature=temperature, convention=convention)
    loss.backward()
    return loss.detach(), z.grad


def identity_affines(num_rows, dtype=torch.float64):
    return torch.eye(2, 3, dtype=dtype).repeat(num_rows, 1, 1)


def centred(z):
    """The rows' points about their centroids."""
    points = z.unflatten(1, (-1, 2))
    return (points - points.mean(1, keepdim=True)).flatten(1)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("temperature", [0.02, 0.07, 0.5, 5.0])
@pytest.mark.parametrize(("num_rows", "dim"), SIZES)
def test_equals_the_twin_in_float64(device, num_rows, dim, temperature, convention):
    z, affine = paired_rows(num_rows, dim).to(device), view_affines(num_rows).to(device)
    ours = value_and_gradient(equivariant_nt_xent, z, affine, temperature, convention)
    twin = value_and_gradient(reference.equivariant_nt_xent, z, affine, temperature, convention)
    torch.testing.assert_close(ours, twin, **EXACT)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_equals_the_two_ops_one_after_the_other(device, temperature, convention):
    z, affine = paired_rows(66, 32).to(device), view_affines(66).to(device)

    def chain(z, affine, *, temperature, convention):
        aligned = ops.latent_affine(z.unflatten(1, (-1, 2)), affine, convention=convention)
        return nt_xent(aligned.flatten(1), temperature=temperature)

    ours = value_and_gradient(equivariant_nt_xent, z, affine, temperature, convention)
    torch.testing.assert_close(
        ours, value_and_gradient(chain, z, affine, temperature, convention), **EXACT
    )


@pytest.mark.parametrize("convention", ["paper", "direct"])
def test_gradcheck(device, convention):
    # Not for `official`: its extent and centroid are constants by definition.
    z, affine = paired_rows(6, 4).to(device).requires_grad_(), view_affines(6).to(device)
    torch.autograd.gradcheck(lambda z: equivariant_nt_xent(z, affine, convention=convention), z)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_reduced_precision_is_no_worse_than_eager(device, dtype, convention):
    z = paired_rows(258, 64, cosine=0.5).to(device, dtype)
    affine = view_affines(258, dtype=torch.float32).to(device)
    for temperature in (0.02, 0.07, 0.5):
        exact = value_and_gradient(
            reference.equivariant_nt_xent, z.double(), affine.double(), temperature, convention
        )
        eager = value_and_gradient(
            reference.equivariant_nt_xent, z, affine, temperature, convention
        )
        ours = value_and_gradient(equivariant_nt_xent, z, affine, temperature, convention)
        assert ours[0].dtype == torch.float32
        assert ours[1].dtype == dtype
        for result, plain, true in zip(ours, eager, exact, strict=True):
            assert_no_worse(result, plain, true)


def test_gradient_error_in_float32(device):
    z = paired_rows(1026, 128, dtype=torch.float32).to(device)
    affine = view_affines(1026, dtype=torch.float32).to(device)
    _, gradient = value_and_gradient(equivariant_nt_xent, z, affine)
    _, exact = value_and_gradient(reference.equivariant_nt_xent, z.double(), affine.double())
    assert error(gradient, exact) <= 5e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_the_identity_affine_gives_nt_xent(device, temperature, dtype):
    z = paired_rows(130, 32, dtype=dtype).to(device)
    affine = identity_affines(130, dtype).to(device)
    loss = equivariant_nt_xent(z, affine, temperature=temperature)
    # The squares of a row may be summed in another order.
    rounding = {"rtol": 8 * torch.finfo(dtype).eps, "atol": 0}
    torch.testing.assert_close(loss, nt_xent(z, temperature=temperature), **rounding)


def test_views_that_moved_as_their_images_did_are_one(device):
    # Both views of an image hold the same latent, each moved by its own affine.
    latent = centred(paired_rows(34, 16)[:17]).repeat(2, 1).to(device)
    affine = view_affines(34, translation=0.0).to(device)
    moved = (latent.unflatten(1, (-1, 2)) @ affine[:, :, :2].mT).flatten(1)
    for convention in CONVENTIONS:
        torch.testing.assert_close(
            equivariant_nt_xent(moved, affine, convention=convention),
            nt_xent(latent),
            **EXACT,
        )


def test_conventions_agree_without_translation_and_centroid(device):
    z, affine = (
        centred(paired_rows(66, 16)).to(device),
        view_affines(66, translation=0.0).to(device),
    )
    paper, official, direct = (
        value_and_gradient(equivariant_nt_xent, z, affine, convention=convention)
        for convention in CONVENTIONS
    )
    torch.testing.assert_close(official, paper, **EXACT)
    torch.testing.assert_close(direct, paper, **EXACT)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_uniform_scale_does_not_matter(device, convention):
    z, affine = paired_rows(66, 16).to(device), view_affines(66).to(device)
    scaled = affine.clone()
    scaled[:, :, :2] *= torch.linspace(0.5, 2, 66, device=device)[:, None, None]
    torch.testing.assert_close(
        value_and_gradient(equivariant_nt_xent, z, scaled, convention=convention),
        value_and_gradient(equivariant_nt_xent, z, affine, convention=convention),
        **EXACT,
    )


def test_symmetric_in_the_views(device):
    z, affine = paired_rows(66, 16).to(device), view_affines(66).to(device)
    loss, gradient = value_and_gradient(equivariant_nt_xent, z, affine)
    swapped = value_and_gradient(equivariant_nt_xent, z.roll(33, 0), affine.roll(33, 0))
    torch.testing.assert_close(swapped, (loss, gradient.roll(33, 0)), **EXACT)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_zero_rows_have_zero_gradient(device, convention):
    z, affine = paired_rows(66, 8).to(device), view_affines(66).to(device)
    affine[5, :, 2] = 0  # `direct` would move the zero row away from zero
    z[5] = 0
    ours = value_and_gradient(equivariant_nt_xent, z, affine, convention=convention)
    assert (ours[1][5] == 0).all()
    twin = value_and_gradient(reference.equivariant_nt_xent, z, affine, convention=convention)
    torch.testing.assert_close(ours, twin, **EXACT)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("fault", ["singular", "affine", "latent"])
def test_faults_of_value_propagate(device, fault, convention):
    z, affine = paired_rows(66, 8), view_affines(66)
    if fault == "singular":
        affine[40, :, :2] = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    elif fault == "affine":
        affine[40, 0, 2] = torch.inf
    else:
        z[40, 3] = torch.nan
    loss, gradient = value_and_gradient(
        equivariant_nt_xent, z.to(device), affine.to(device), convention=convention
    )
    assert loss.isnan()
    assert gradient.isnan().all()


def test_repeats_to_the_bit_on_any_number_of_threads(device):
    z = paired_rows(258, 24, dtype=torch.float32).to(device)
    affine = view_affines(258, dtype=torch.float32).to(device)
    first = value_and_gradient(equivariant_nt_xent, z, affine)
    threads = torch.get_num_threads()
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            again = value_and_gradient(equivariant_nt_xent, z, affine)
            torch.testing.assert_close(again, first, rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)


def test_strides_do_not_matter(device):
    z, affine = paired_rows(66, 8).to(device), view_affines(66).to(device)
    strided = value_and_gradient(equivariant_nt_xent, noncontiguous(z), noncontiguous(affine))
    dense = value_and_gradient(equivariant_nt_xent, z, affine)
    torch.testing.assert_close(strided, dense, rtol=0, atol=0)


def test_runs_on_the_current_stream(device):
    if device == "cpu":
        pytest.skip("streams are CUDA's")
    z, affine = paired_rows(514, 64).to(device), view_affines(514).to(device)
    expected = value_and_gradient(equivariant_nt_xent, z, affine)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        out = value_and_gradient(equivariant_nt_xent, z, affine)
    stream.synchronize()
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_opcheck(device, convention):
    z, affine = paired_rows(6, 4).to(device).requires_grad_(), view_affines(6).to(device)
    torch.library.opcheck(
        torch.ops.pyhandpose.equivariant_nt_xent.default, (z, affine, 0.5, convention)
    )


def test_compiles_without_a_graph_break(device):
    z, affine = paired_rows(34, 6).to(device), view_affines(34).to(device)
    compiled = torch.compile(ops.equivariant_nt_xent, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        value_and_gradient(compiled, z, affine),
        value_and_gradient(ops.equivariant_nt_xent, z, affine),
        rtol=0,
        atol=0,
    )


def test_autocast_computes_in_float32(device):
    z = paired_rows(34, 16, dtype=torch.bfloat16).to(device)
    affine = view_affines(34, dtype=torch.float32).to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        loss = equivariant_nt_xent(z, affine)
    torch.testing.assert_close(loss, equivariant_nt_xent(z.float(), affine))


def test_second_derivatives_are_refused(device):
    z, affine = paired_rows(6, 4).to(device).requires_grad_(), view_affines(6).to(device)
    loss = equivariant_nt_xent(z, affine)
    (gradient,) = torch.autograd.grad(loss.square(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="equivariant_nt_xent: second derivatives are not"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("z", "affine", "options", "message"),
    [
        ((6, 4, 2), (6, 2, 3), {}, r"'z' expected shape \(2N,2P\), got \(6,4,2\)"),
        ((5, 4), (5, 2, 3), {}, r"'z' expected shape \(2N,2P\) with N >= 2 pairs .* got \(5,4\)"),
        ((2, 4), (2, 2, 3), {}, r"'z' expected shape \(2N,2P\) with N >= 2 pairs .* got \(2,4\)"),
        ((6, 0), (6, 2, 3), {}, r"'z' expected shape \(2N,2P\) with N >= 2 .* got \(6,0\)"),
        ((6, 5), (6, 2, 3), {}, r"'z' expected shape \(2N,2P\): rows of P points .* got \(6,5\)"),
        ((6, 4), (4, 2, 3), {}, r"'affine' expected shape \(2N,2,3\) .* got \(4,2,3\)"),
        ((6, 4), (6, 2, 3), {"temperature": 0.0}, "'temperature' expected a finite number > 0"),
        ((6, 4), (6, 2, 3), {"temperature": math.nan}, "'temperature' expected a finite number"),
        ((6, 4), (6, 2, 3), {"convention": "Paper"}, "'convention' expected 'paper', .* 'Paper'"),
    ],
)
def test_bad_arguments_name_what_was_expected(device, z, affine, options, message):
    z, affine = torch.zeros(z, device=device), torch.zeros(affine, device=device)
    with pytest.raises(ValueError, match=rf"equivariant_nt_xent: argument {message}"):
        equivariant_nt_xent(z, affine, **options)


@pytest.mark.parametrize(
    ("z_dtype", "affine_dtype", "message"),
    [
        (torch.int64, torch.float32, "'z' expected dtype Double, Float, Half or BFloat16"),
        (torch.float32, torch.float64, "'affine' expected dtype Float, got Double"),
        (torch.bfloat16, torch.bfloat16, "'affine' expected dtype Float, got BFloat16"),
    ],
)
def test_bad_dtypes_name_what_was_expected(z_dtype, affine_dtype, message):
    with pytest.raises(TypeError, match=message):
        equivariant_nt_xent(
            torch.zeros(4, 2, dtype=z_dtype), torch.zeros(4, 2, 3, dtype=affine_dtype)
        )


def test_a_latent_too_long_to_count_in_32_bits_is_refused():
    latent = torch.zeros(1).expand(4, 2**31)
    with pytest.raises(ValueError, match=r"expected fewer than 2\^31 numbers in a sample"):
        ops.equivariant_nt_xent(latent, torch.zeros(4, 2, 3))


@pytest.mark.parametrize(("precision", "bound"), [("bf16x3", 5e-5), ("tf32", 3e-3), ("bf16", 1e-2)])
def test_gradient_error_by_precision(device, precision, bound):
    z = paired_rows(258, 128, cosine=0.5, dtype=torch.float32).to(device)
    affine = view_affines(258, dtype=torch.float32).to(device)
    op = partial(ops.equivariant_nt_xent, precision=precision)
    _, gradient = value_and_gradient(op, z, affine)
    _, exact = value_and_gradient(reference.equivariant_nt_xent, z.double(), affine.double())
    assert error(gradient, exact) <= bound
