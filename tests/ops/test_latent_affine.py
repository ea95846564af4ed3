import pytest
import torch

from pyhandpose import ops, reference
from pyhandpose.testing.inputs import latents, noncontiguous, view_affines
from pyhandpose.testing.tolerances import EXACT, assert_no_worse

CONVENTIONS = ["paper", "official", "direct"]
SIZES = [(1, 1), (3, 5), (7, 64), (65, 33), (130, 64)]


def value_and_gradient(op, latent, affine, grad_out, convention):
    latent = latent.detach().clone().requires_grad_()
    out = op(latent, affine, convention=convention)
    out.backward(grad_out)
    return out.detach(), latent.grad


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("num_samples", "num_points"), SIZES)
def test_equals_the_twin_in_float64(device, convention, num_samples, num_points):
    latent = latents(num_samples, num_points).to(device)
    affine = view_affines(num_samples).to(device)
    grad_out = latents(num_samples, num_points, seed=1).to(device)
    ours = value_and_gradient(ops.latent_affine, latent, affine, grad_out, convention)
    twin = value_and_gradient(reference.latent_affine, latent, affine, grad_out, convention)
    torch.testing.assert_close(ours, twin, **EXACT)


@pytest.mark.parametrize("convention", ["paper", "direct"])
def test_gradcheck(device, convention):
    # Not for `official`: its extent and centroid are constants by definition, so its gradient is
    # not that of its value; the twin's detach() states which one it is.
    latent = latents(3, 6).to(device).requires_grad_()
    affine = view_affines(3).to(device)
    torch.autograd.gradcheck(lambda z: ops.latent_affine(z, affine, convention=convention), latent)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_reduced_precision_is_no_worse_than_eager(device, convention, dtype):
    latent = latents(64, 64).to(device, dtype)
    affine = view_affines(64).to(device)
    grad_out = latents(64, 64, seed=1).to(device, dtype)
    single = affine.float()
    exact = value_and_gradient(
        reference.latent_affine, latent.double(), single.double(), grad_out.double(), convention
    )
    eager = value_and_gradient(reference.latent_affine, latent, single, grad_out, convention)
    ours = value_and_gradient(ops.latent_affine, latent, single, grad_out, convention)
    for result, plain, true in zip(ours, eager, exact, strict=True):
        assert result.dtype == dtype
        assert_no_worse(result, plain, true)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_affine_then_inverse_is_the_identity_without_translation(device, convention):
    latent = latents(9, 64).to(device)
    latent = latent - latent.mean(1, keepdim=True)  # `official` turns about the centroid
    affine = view_affines(9, translation=0.0).to(device)
    if convention == "official":  # it inverts the rotation alone and normalises
        A = affine[:, :, :2]
        affine[:, :, :2] = A / torch.linalg.det(A).sqrt()[:, None, None]
        latent = latent / latent.flatten(1).norm(dim=1)[:, None, None]
    moved = latent @ affine[:, :, :2].mT
    torch.testing.assert_close(
        ops.latent_affine(moved, affine, convention=convention), latent, **EXACT
    )


def test_paper_inverts_a_move_by_the_extent_of_the_moved_latent(device):
    # z' = A z + v L(z') is implicit in L: adding a constant leaves a latent whose x and y are
    # shifted alike as wide as before, so take v_x = v_y, where L(z') = L(A z).
    latent = latents(9, 64).to(device)
    affine = view_affines(9).to(device)
    affine[:, 1, 2] = affine[:, 0, 2]
    turned = latent @ affine[:, :, :2].mT
    extent = (turned.flatten(1).amax(1) - turned.flatten(1).amin(1))[:, None, None]
    moved = turned + affine[:, None, :, 2] * extent
    # Translation is subtracted before the inverse: A^-1 (z' - v L) = z.
    torch.testing.assert_close(ops.latent_affine(moved, affine), latent, **EXACT)


def test_a_hand_computed_value():
    # Points (0,0), (2,4): extent 4; quarter turn A = [[0,1],[-1,0]], v = (0.5, 0.25).
    latent = torch.tensor([[[0.0, 0.0], [2.0, 4.0]]], dtype=torch.float64)
    affine = torch.tensor([[[0.0, 1.0, 0.5], [-1.0, 0.0, 0.25]]], dtype=torch.float64)
    # q = z - (2, 1) = (-2,-1), (0,3); A^-1 = [[0,-1],[1,0]]
    expected = torch.tensor([[[1.0, -2.0], [-3.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(ops.latent_affine(latent, affine), expected)
    # direct: q = z - v
    expected = torch.tensor([[[0.25, -0.5], [-3.75, 1.5]]], dtype=torch.float64)
    torch.testing.assert_close(ops.latent_affine(latent, affine, convention="direct"), expected)


def test_ties_give_the_extent_s_gradient_to_the_first(device):
    latent = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]], dtype=torch.float64, device=device)
    affine = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]], dtype=torch.float64, device=device)
    _, gradient = value_and_gradient(
        ops.latent_affine, latent, affine, torch.ones_like(latent), "paper"
    )
    # h = 1 everywhere, H = (2, 2), v.H = 1: taken from flat index 0, given to flat index 2.
    expected = torch.tensor([[[0.0, 1.0], [2.0, 1.0]]], dtype=torch.float64, device=device)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_faults_of_value_give_nan_in_their_sample_alone(device, convention):
    latent, affine = latents(6, 8), view_affines(6)
    affine[0, :, :2] = torch.tensor([[1.0, 2.0], [2.0, 4.0]])  # singular
    affine[1, 0, 0] = torch.nan
    affine[2, 1, 2] = torch.inf
    affine[3, :, :2] *= 1e-9  # |det A| below eps
    latent, affine = latent.to(device), affine.to(device)
    grad_out = torch.ones_like(latent)
    ours = value_and_gradient(ops.latent_affine, latent, affine, grad_out, convention)
    twin = value_and_gradient(reference.latent_affine, latent, affine, grad_out, convention)
    assert ours[0][:4].isnan().all()
    assert ours[0][4:].isfinite().all()
    assert ours[1][4:].isfinite().all()
    torch.testing.assert_close(ours, twin, **EXACT, equal_nan=True)


@pytest.mark.parametrize("convention", ["paper", "official"])
def test_nan_in_the_latent_reaches_every_point_of_its_sample(device, convention):
    latent = latents(2, 8).to(device)
    latent[0, 3, 1] = torch.nan
    out = ops.latent_affine(latent, view_affines(2).to(device), convention=convention)
    assert out[0].isnan().all()
    assert out[1].isfinite().all()


def test_a_zero_latent_has_zero_gradient_under_official(device):
    latent = torch.zeros(1, 4, 2, dtype=torch.float64, device=device)
    affine = view_affines(1).to(device)
    out, gradient = value_and_gradient(
        ops.latent_affine, latent, affine, torch.ones_like(latent), "official"
    )
    assert (out == 0).all()
    assert (gradient == 0).all()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("num_samples", "num_points"), [(0, 64), (3, 0)])
def test_empty(device, convention, num_samples, num_points):
    latent = latents(num_samples, num_points).to(device).requires_grad_()
    out = ops.latent_affine(latent, view_affines(num_samples).to(device), convention=convention)
    assert out.shape == latent.shape
    out.sum().backward()
    assert latent.grad.shape == latent.shape


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_strides_do_not_matter(device, convention):
    latent, affine = latents(5, 9).to(device), view_affines(5).to(device)
    grad_out = latents(5, 9, seed=1).to(device)
    dense = value_and_gradient(ops.latent_affine, latent, affine, grad_out, convention)
    strided = value_and_gradient(
        ops.latent_affine,
        noncontiguous(latent),
        noncontiguous(affine),
        noncontiguous(grad_out),
        convention,
    )
    torch.testing.assert_close(strided, dense, rtol=0, atol=0)


def test_runs_on_the_current_stream(device):
    if device == "cpu":
        pytest.skip("streams are CUDA's")
    latent, affine = latents(512, 64).to(device), view_affines(512).to(device)
    expected = ops.latent_affine(latent, affine)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        out = ops.latent_affine(latent, affine)
    stream.synchronize()
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_opcheck(device, convention):
    latent = latents(3, 5).to(device).requires_grad_()
    torch.library.opcheck(
        torch.ops.pyhandpose.latent_affine.default,
        (latent, view_affines(3).to(device), convention),
    )


def test_compiles_without_a_graph_break(device):
    latent, affine = latents(3, 5).to(device).requires_grad_(), view_affines(3).to(device)
    compiled = torch.compile(ops.latent_affine, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(latent, affine), ops.latent_affine(latent, affine))


def test_autocast_computes_in_float32(device):
    latent = latents(4, 16, dtype=torch.bfloat16).to(device)
    affine = view_affines(4, dtype=torch.float32).to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        out = ops.latent_affine(latent, affine)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, ops.latent_affine(latent.float(), affine))


def test_second_derivatives_are_refused(device):
    latent = latents(2, 4).to(device).requires_grad_()
    out = ops.latent_affine(latent, view_affines(2).to(device))
    (gradient,) = torch.autograd.grad(out.square().sum(), latent, create_graph=True)
    with pytest.raises(RuntimeError, match=r"latent_affine: second derivatives are not available"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("latent", "affine", "convention", "exception", "message"),
    [
        ((4, 2), (4, 2, 3), "paper", ValueError, r"'latent' expected shape \(B,P,2\), got \(4,2\)"),
        ((4, 8, 3), (4, 2, 3), "paper", ValueError, r"'latent' expected shape \(B,P,2\), got"),
        ((4, 8, 2), (3, 2, 3), "paper", ValueError, r"'affine' expected shape \(B,2,3\) with"),
        ((4, 8, 2), (4, 3, 3), "paper", ValueError, r"'affine' expected shape .* got \(4,3,3\)"),
        (
            (4, 8, 2),
            (4, 2, 3),
            "Paper",
            ValueError,
            r"'convention' expected 'paper', .* got 'Paper'",
        ),
    ],
)
def test_bad_arguments_name_what_was_expected(latent, affine, convention, exception, message):
    with pytest.raises(exception, match=rf"pyhandpose\.latent_affine: argument {message}"):
        ops.latent_affine(torch.zeros(latent), torch.zeros(affine), convention=convention)


@pytest.mark.parametrize(
    ("latent_dtype", "affine_dtype", "message"),
    [
        (torch.int64, torch.float32, r"'latent' expected dtype Double, Float, Half or BFloat16"),
        (torch.float32, torch.float64, r"'affine' expected dtype Float, got Double"),
        (torch.bfloat16, torch.bfloat16, r"'affine' expected dtype Float, got BFloat16"),
    ],
)
def test_bad_dtypes_name_what_was_expected(latent_dtype, affine_dtype, message):
    with pytest.raises(TypeError, match=message):
        ops.latent_affine(
            torch.zeros(2, 4, 2, dtype=latent_dtype), torch.zeros(2, 2, 3, dtype=affine_dtype)
        )


def test_a_latent_too_long_to_count_in_32_bits_is_refused():
    latent = torch.zeros(1).expand(1, 2**30, 2)
    with pytest.raises(ValueError, match=r"expected fewer than 2\^31 numbers in a sample"):
        ops.latent_affine(latent, torch.zeros(1, 2, 3))
