"""nt_xent's CUDA kernels, their own source run on the host: right without a GPU to show it.

Tile schedules, masks, padding, barriers, copies in the background and the maps from registers to
matrices are the device's; sums of products are rounded a little differently there.
"""

import subprocess

import numpy as np
import pytest
import torch

from pyhandpose import reference
from pyhandpose.testing.inputs import paired_rows
from pyhandpose.testing.tolerances import error

# Relative error of the gradient against float64 (docs/maths/nt_xent.md).
GRADIENT_ERROR = {"ffma": 2e-5, "bf16x3": 5e-5, "tf32": 3e-3, "bf16": 1e-2}
LOSS_ERROR = {"ffma": 1e-6, "bf16x3": 5e-6, "tf32": 5e-4, "bf16": 2e-3}
TENSOR_CORE = ["bf16x3", "tf32", "bf16"]


@pytest.fixture(scope="module")
def program(compile_on_host):
    return compile_on_host("nt_xent_cuda")


def run(program, z, positive, precision, temperature, sizes=(), shared_kb=227, band_rows=0):
    """Loss (), log-sums (M,) and gradient (M,D) of the kernels."""
    num_rows, dim = z.shape
    dtype = {torch.float32: "float", torch.float64: "double"}[z.dtype]
    arguments = [dtype, precision, shared_kb, band_rows, temperature, num_rows, dim, *sizes]
    result = subprocess.run(
        [program, *map(str, arguments)],
        input=z.numpy().tobytes() + positive.numpy().tobytes(),
        stdout=subprocess.PIPE,
        check=True,
    )
    out = torch.from_numpy(np.frombuffer(result.stdout).copy())
    loss, log_sums, gradient = out.split([1, num_rows, num_rows * dim])
    return loss[0], log_sums, gradient.view(num_rows, dim)


def exact(z, temperature):
    """Loss, log-sums and gradient of the twin in float64, pairs (i, i + N)."""
    z = z.double().requires_grad_()
    loss = reference.nt_xent(z, temperature=temperature)
    loss.backward()
    unit = torch.nn.functional.normalize(z.detach(), dim=1)
    scores = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
    return loss.detach(), scores.logsumexp(1), z.grad


def check(program, z, precision, temperature, sizes=(), **options):
    """Against the twin: in pairs for the square, shuffled for the rectangular form."""
    order = torch.arange(len(z))
    if sizes:
        order = torch.randperm(len(z), generator=torch.Generator().manual_seed(1))
    positive = order.argsort()[(order + len(z) // 2) % len(z)]
    loss, log_sums, gradient = run(
        program, z[order].contiguous(), positive, precision, temperature, sizes, **options
    )
    true_loss, true_log_sums, true_gradient = exact(z, temperature)
    bound = LOSS_ERROR[precision] * max(true_loss, 1)
    assert abs(loss - true_loss) <= bound
    # Of a row's own sum the scores' errors are not averaged over rows.
    assert (log_sums - true_log_sums[order]).abs().max() <= 4 * bound
    assert error(gradient, true_gradient[order]) <= GRADIENT_ERROR[precision]


@pytest.mark.parametrize(("temperature", "cosine"), [(0.5, 0.95), (0.07, 0.95), (0.02, 0.5)])
@pytest.mark.parametrize("precision", ["ffma", *TENSOR_CORE])
def test_gradient_error(program, precision, temperature, cosine):
    if temperature == 0.02 and precision != "ffma":
        pytest.skip("see test_below_the_constant_shift")
    z = paired_rows(258, 128, cosine=cosine, dtype=torch.float32)
    check(program, z, precision, temperature)


# Rows around tiles of 128 and 64, elements around chunks of 16 and 32 and the slab of 128.
@pytest.mark.parametrize(("num_rows", "dim"), [(4, 1), (62, 17), (130, 33), (194, 130), (322, 8)])
@pytest.mark.parametrize("precision", TENSOR_CORE)
def test_sizes_that_are_no_multiples(program, precision, num_rows, dim):
    check(program, paired_rows(num_rows, dim, dtype=torch.float32), precision, 0.5)


# The rows do not stay in shared memory: on any device for dim 520, on one with 64 KB for all.
@pytest.mark.parametrize(("num_rows", "dim", "shared_kb"), [(66, 520, 227), (194, 72, 64)])
@pytest.mark.parametrize("band_rows", [0, 128])
@pytest.mark.parametrize("precision", TENSOR_CORE)
def test_rows_that_pass_through_shared_memory(
    program, precision, num_rows, dim, shared_kb, band_rows
):
    z = paired_rows(num_rows, dim, dtype=torch.float32)
    check(program, z, precision, 0.5, shared_kb=shared_kb, band_rows=band_rows)


# One band; bands of a tile, the last one narrower than one; of two tiles, and one that has a half.
@pytest.mark.parametrize(
    ("num_rows", "dim", "band_rows"), [(130, 8, 256), (322, 33, 128), (450, 8, 256)]
)
@pytest.mark.parametrize("precision", TENSOR_CORE)
def test_each_score_serves_its_row_and_its_column(program, precision, num_rows, dim, band_rows):
    z = paired_rows(num_rows, dim, dtype=torch.float32)
    check(program, z, precision, 0.07, band_rows=band_rows)


@pytest.mark.parametrize("sizes", [(1, 3), (100, 30), (129, 1, 64)])
@pytest.mark.parametrize("precision", ["ffma", *TENSOR_CORE])
def test_parts(program, precision, sizes):
    check(program, paired_rows(sum(sizes), 40, dtype=torch.float32), precision, 0.5, sizes)


@pytest.mark.parametrize("sizes", [(), (70, 60)])
@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_float64_is_exact(program, temperature, sizes):
    z = paired_rows(130, 36)
    _, _, gradient = run(program, z, torch.arange(130).roll(65), "ffma", temperature, sizes)
    torch.testing.assert_close(gradient, exact(z, temperature)[2], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("precision", "bound"), [("bf16x3", 2e-4), ("tf32", 1e-2)])
def test_below_the_constant_shift(program, precision, bound):
    # Scores of 50 carry the products' errors times 50 into every exponential.
    z = paired_rows(130, 40, cosine=0.5, dtype=torch.float32)
    _, _, gradient = run(program, z, torch.arange(130).roll(65), precision, 0.02)
    assert error(gradient, exact(z, 0.02)[2]) <= bound


@pytest.mark.parametrize(
    ("precision", "band_rows"), [("ffma", 0), *((path, 0) for path in TENSOR_CORE), ("bf16", 128)]
)
def test_what_is_not_finite_reaches_all(program, precision, band_rows):
    z = paired_rows(130, 8, dtype=torch.float32)
    z[70, 2] = torch.nan
    loss, _, gradient = run(
        program, z, torch.arange(130).roll(65), precision, 0.5, band_rows=band_rows
    )
    assert loss.isnan()
    assert gradient.isnan().all()


def test_tiles(compile_on_host):
    """Schedules, masks and places in shared memory, exhaustively (mma_tile.cpp)."""
    result = subprocess.run([compile_on_host("mma_tile")], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
