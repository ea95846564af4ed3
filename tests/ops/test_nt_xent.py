import math
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from pyhandpose import ops, reference
from pyhandpose.ops.precision import choose_precision
from pyhandpose.testing.inputs import noncontiguous, paired_rows
from pyhandpose.testing.tolerances import EXACT, assert_no_worse, error

TEMPERATURES = [0.02, 0.07, 0.5, 5.0]
# Around the panel of 32 rows and CUDA's tile of 64, and more rows than one band of panels holds.
SIZES = [(4, 1), (6, 2), (62, 6), (64, 64), (66, 100), (130, 128), (258, 256), (514, 6)]


nt_xent = partial(ops.nt_xent, precision="ffma")  # the laws hold for the exact path; see the end


def value_and_gradient(op, z, temperature=0.5):
    z = z.detach().clone().requires_grad_()
    loss = op(z, temperature=temperature)
    loss.backward()
    return loss.detach(), z.grad


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("num_rows", "dim"), SIZES)
def test_equals_the_twin_in_float64(device, num_rows, dim, temperature):
    z = paired_rows(num_rows, dim).to(device)
    ours = value_and_gradient(nt_xent, z, temperature)
    twin = value_and_gradient(reference.nt_xent, z, temperature)
    torch.testing.assert_close(ours, twin, **EXACT)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_equals_masked_cross_entropy(device, temperature):
    z = paired_rows(130, 12).to(device)
    s = F.normalize(z) @ F.normalize(z).T / temperature
    s = s.masked_fill(torch.eye(130, dtype=torch.bool, device=device), -torch.inf)
    target = torch.arange(130, device=device).roll(65)
    torch.testing.assert_close(
        nt_xent(z, temperature=temperature), F.cross_entropy(s, target), **EXACT
    )


@pytest.mark.filterwarnings("ignore")  # of lightly's own imports
def test_equals_lightly():
    loss = pytest.importorskip("lightly.loss", reason="lightly is missing or does not import")
    z = paired_rows(66, 32)
    for temperature in (0.07, 0.5):
        theirs = loss.NTXentLoss(temperature=temperature)(z[:33], z[33:])
        torch.testing.assert_close(nt_xent(z, temperature=temperature), theirs, **EXACT)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_gradcheck(device, temperature):
    z = paired_rows(6, 3).to(device).requires_grad_()
    torch.autograd.gradcheck(lambda z: nt_xent(z, temperature=temperature), z)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_reduced_precision_is_no_worse_than_eager(device, dtype, temperature):
    z = paired_rows(258, 64, cosine=0.5).to(device, dtype)
    exact = value_and_gradient(reference.nt_xent, z.double(), temperature)
    eager = value_and_gradient(reference.nt_xent, z, temperature)
    ours = value_and_gradient(nt_xent, z, temperature)
    assert ours[0].dtype == torch.float32
    assert ours[1].dtype == dtype
    for result, plain, true in zip(ours, eager, exact, strict=True):
        assert_no_worse(result, plain, true)


@pytest.mark.parametrize(("temperature", "cosine", "bound"), [(0.5, 0.0, 5e-6), (0.07, 0.95, 5e-5)])
def test_gradient_error_in_float32(device, temperature, cosine, bound):
    z = paired_rows(1026, 128, cosine=cosine, dtype=torch.float32).to(device)
    _, gradient = value_and_gradient(nt_xent, z, temperature)
    _, exact = value_and_gradient(reference.nt_xent, z.double(), temperature)
    assert error(gradient, exact) <= bound


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("num_rows", [4, 34, 130])
def test_equal_rows_give_log_of_the_others(device, num_rows, temperature):
    z = torch.ones(num_rows, 3, dtype=torch.float64, device=device)
    loss, gradient = value_and_gradient(nt_xent, z, temperature)
    assert loss.item() == pytest.approx(math.log(num_rows - 1), rel=1e-12)
    assert gradient.abs().max() < 1e-12


def test_every_pair_counts_once_among_many_rows(device):
    # More panels than a band of the schedule holds at its least; a pair left out or taken twice
    # moves the loss by 1/M, its relative change by 1.3e-5.
    num_rows = 8322
    z = torch.ones(num_rows, 2, device=device)
    assert nt_xent(z).item() == pytest.approx(math.log(num_rows - 1), rel=1e-6)


def test_a_hand_computed_value(device):
    # Rows e1, e2 | e1, -e2 at tau = 1: rows 0 and 2 see (1, 0, 0), rows 1 and 3 see (-1, 0, 0).
    z = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    expected = (math.log(math.e + 2) - 1 + math.log(1 / math.e + 2) + 1) / 2
    assert nt_xent(z.to(device), temperature=1.0).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_symmetric_in_the_views_and_covariant_under_permutation(device, temperature):
    z = paired_rows(130, 16).to(device)
    loss, gradient = value_and_gradient(nt_xent, z, temperature)
    swapped = value_and_gradient(nt_xent, z.roll(65, 0), temperature)
    torch.testing.assert_close(swapped, (loss, gradient.roll(65, 0)), **EXACT)
    order = torch.randperm(65, generator=torch.Generator().manual_seed(0))
    order = torch.cat([order, order + 65]).to(device)
    permuted = value_and_gradient(nt_xent, z[order], temperature)
    torch.testing.assert_close(permuted, (loss, gradient[order]), **EXACT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_row_s_length_does_not_matter_and_its_gradient_is_tangent(device, dtype):
    # The squares of 2^70 and 2^-30 leave float32's range or its precision.
    z = paired_rows(66, 16, dtype=dtype).to(device)
    lengths = torch.ones(66, 1, dtype=dtype, device=device)
    lengths[3], lengths[40] = 2.0**70, 2.0**-30
    loss, gradient = value_and_gradient(nt_xent, z)
    scaled_loss, scaled_gradient = value_and_gradient(nt_xent, z * lengths)
    torch.testing.assert_close(scaled_loss, loss, rtol=0, atol=0)
    torch.testing.assert_close(scaled_gradient * lengths, gradient, rtol=1e-6, atol=0)
    inner = (z * gradient).sum(1) / (z.norm(dim=1) * gradient.norm(dim=1))
    assert inner.abs().max() < 64 * torch.finfo(dtype).eps


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_zero_rows_have_zero_gradient(device, temperature):
    z = paired_rows(66, 8).to(device)
    z[5] = 0
    z[40] *= 1e-13
    ours = value_and_gradient(nt_xent, z, temperature)
    assert (ours[1][[5, 40]] == 0).all()
    torch.testing.assert_close(ours, value_and_gradient(reference.nt_xent, z, temperature), **EXACT)


@pytest.mark.parametrize("temperature", [0.02, 0.5])
@pytest.mark.parametrize("fault", [math.nan, math.inf])
def test_faults_of_value_propagate(device, fault, temperature):
    z = paired_rows(66, 8).to(device)
    z[33, 2] = fault
    loss, gradient = value_and_gradient(nt_xent, z, temperature)
    assert loss.isnan()
    assert gradient.isnan().all()


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_extreme_temperatures(device, temperature):
    z = paired_rows(66, 8, cosine=0.9, dtype=torch.float32).to(device)
    ours = value_and_gradient(nt_xent, z, temperature)
    exact = value_and_gradient(reference.nt_xent, z.double(), temperature)
    # Scores of 1/tau = 1000 carry an absolute error of 1000 eps into every exponential.
    assert error(ours[0], exact[0]) < 1e-5
    assert error(ours[1], exact[1]) < 1e-3


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_repeats_to_the_bit_on_any_number_of_threads(device, temperature):
    z = paired_rows(514, 24, dtype=torch.float32).to(device)
    first = value_and_gradient(nt_xent, z, temperature)
    threads = torch.get_num_threads()
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            again = value_and_gradient(nt_xent, z, temperature)
            torch.testing.assert_close(again, first, rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)


def test_strides_do_not_matter(device):
    z = paired_rows(66, 9).to(device)
    strided = value_and_gradient(nt_xent, noncontiguous(z))
    torch.testing.assert_close(strided, value_and_gradient(nt_xent, z), rtol=0, atol=0)


def test_runs_on_the_current_stream(device):
    if device == "cpu":
        pytest.skip("streams are CUDA's")
    z = paired_rows(514, 64).to(device)
    expected = value_and_gradient(nt_xent, z)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        out = value_and_gradient(nt_xent, z)
    stream.synchronize()
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_opcheck(device, dtype):
    z = paired_rows(6, 5, dtype=dtype).to(device).requires_grad_()
    torch.library.opcheck(torch.ops.pyhandpose.nt_xent.default, (z, 0.5))


def test_compiles_without_a_graph_break(device):
    z = paired_rows(34, 5).to(device)
    compiled = torch.compile(ops.nt_xent, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        value_and_gradient(compiled, z), value_and_gradient(ops.nt_xent, z), rtol=0, atol=0
    )


def test_autocast_computes_in_float32(device):
    z = paired_rows(34, 16, dtype=torch.bfloat16).to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        loss = nt_xent(z)
    torch.testing.assert_close(loss, nt_xent(z.float()))


def test_second_derivatives_are_refused(device):
    z = paired_rows(6, 4).to(device).requires_grad_()
    (gradient,) = torch.autograd.grad(nt_xent(z).square(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="nt_xent: second derivatives are not available"):
        gradient.sum().backward()


@pytest.mark.parametrize("shape", [(3, 4), (2, 4), (0, 4), (7, 4), (6, 0)])
def test_rows_that_are_no_pairs_are_refused(device, shape):
    with pytest.raises(ValueError, match=r"nt_xent: argument 'z' expected shape \(2N,D\) with N"):
        nt_xent(torch.zeros(shape, device=device))


@pytest.mark.parametrize("temperature", [0.0, -0.5, math.inf, math.nan])
def test_temperatures_that_are_none_are_refused(device, temperature):
    with pytest.raises(ValueError, match="'temperature' expected a finite number > 0, got"):
        nt_xent(torch.ones(4, 2, device=device), temperature=temperature)


def test_bad_arguments_name_what_was_expected(device):
    with pytest.raises(ValueError, match=r"nt_xent: argument 'z' expected shape \(2N,D\), got"):
        nt_xent(torch.zeros(4, device=device))
    with pytest.raises(TypeError, match="'z' expected dtype Double, Float, Half or BFloat16, got"):
        nt_xent(torch.zeros(4, 2, dtype=torch.int32, device=device))


@pytest.mark.parametrize(("temperature", "cosine"), [(0.5, 0.95), (0.07, 0.95)])
@pytest.mark.parametrize(("precision", "bound"), [("bf16x3", 5e-5), ("tf32", 3e-3), ("bf16", 1e-2)])
def test_gradient_error_by_precision(device, precision, bound, temperature, cosine):
    z = paired_rows(1026, 128, cosine=cosine, dtype=torch.float32).to(device)
    op = partial(ops.nt_xent, precision=precision)
    _, exact = value_and_gradient(reference.nt_xent, z.double(), temperature)
    assert error(value_and_gradient(op, z, temperature)[1], exact) <= bound


@pytest.mark.parametrize("precision", ["auto", "bf16x3", "tf32", "bf16"])
def test_precision_changes_nothing_on_the_cpu_or_in_float64(device, precision):
    z = paired_rows(66, 9, dtype=torch.float32 if device == "cpu" else torch.float64).to(device)
    torch.testing.assert_close(
        value_and_gradient(partial(ops.nt_xent, precision=precision), z),
        value_and_gradient(nt_xent, z),
        rtol=0,
        atol=0,
    )


def test_the_rule_behind_auto():
    def chosen(dtype, device="cuda"):
        return choose_precision(SimpleNamespace(dtype=dtype, device=torch.device(device)), "auto")

    assert chosen(torch.bfloat16, "cpu") == chosen(torch.float64) == "ffma"
    assert chosen(torch.bfloat16) == chosen(torch.float16) == "bf16"
    assert chosen(torch.float32) == "bf16x3"
    allowed = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert chosen(torch.float32) == "tf32"
        torch.set_autocast_enabled("cuda", True)
        assert chosen(torch.float32) == "bf16"
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.set_float32_matmul_precision(allowed)


def test_an_unknown_precision_is_refused(device):
    with pytest.raises(ValueError, match="nt_xent: argument 'precision' expected 'auto', 'ffma'"):
        ops.nt_xent(torch.ones(4, 2, device=device), precision="fp8")


MEMORY_PROGRAM = """
import resource
import torch
from pyhandpose import ops
def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def step(num_rows, dim):
    z = torch.randn(num_rows, dim, requires_grad=True)
    ops.nt_xent(z).backward()
step(64, 16)  # code and libraries are loaded
before = peak_bytes()
step(8192, 16)
print(peak_bytes() - before)
"""


def test_memory_grows_with_rows_not_with_their_square():
    result = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) <= 4 * 8192 * 16 * 4 + 64 * 2**20  # one M x M matrix is 256 MiB
