import math
from functools import partial

import pytest
import torch

from pyhandpose import ops, reference
from pyhandpose.testing.inputs import noncontiguous, paired_rows
from pyhandpose.testing.tolerances import EXACT, assert_no_worse, error

TEMPERATURES = [0.02, 0.07, 0.5]
# Parts of 2N rows: equal, uneven, one row alone, none a multiple of a panel or tile.
SPLITS = [(3, 1), (33, 33), (5, 60, 1), (130,), (100, 29, 65), (64, 128, 66)]


# The exact path; tests/ops/test_nt_xent.py holds the others to their bounds.
nt_xent = partial(ops.nt_xent, precision="ffma")
nt_xent_rows = partial(ops.nt_xent_rows, precision="ffma")
nt_xent_log_sums = partial(ops.nt_xent_log_sums, precision="ffma")


def all_rows(num_rows, dim, **how):
    """Shuffled rows with the index of each one's other view: z (M,D), positive (M,)."""
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(1))
    place = order.argsort()
    z = paired_rows(num_rows, dim, **how)[order]
    return z, place[(order + num_rows // 2) % num_rows]


def in_parts(op, log_sums, z, positive, sizes, temperature):
    """What ranks that gather rows, then log-sums, get together: loss, gradient (M,D)."""
    parts = torch.arange(len(z), device=z.device).split(sizes)
    gathered = torch.cat(
        [log_sums(z[i], z, i, positive[i], temperature=temperature) for i in parts]
    )
    losses, gradients = [], []
    for i in parts:
        rows = z[i].clone().requires_grad_()
        loss = op(rows, z, i, positive[i], gathered, temperature=temperature)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(rows.grad)
    return torch.stack(losses).sum(), torch.cat(gradients)


def whole(op, z, positive, temperature):
    """The square call on the same rows, put in pairs and taken out again."""
    first = torch.arange(len(z), device=z.device)
    first = first[first < positive]
    order = torch.cat([first, positive[first]])
    rows = z[order].clone().requires_grad_()
    loss = op(rows, temperature=temperature)
    loss.backward()
    return loss.detach(), rows.grad[order.argsort()]


def ours(z, positive, sizes, temperature):
    return in_parts(nt_xent_rows, nt_xent_log_sums, z, positive, sizes, temperature)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("sizes", SPLITS)
def test_parts_make_up_the_square(device, sizes, temperature):
    z, positive = (t.to(device) for t in all_rows(sum(sizes), 12))
    together = ours(z, positive, sizes, temperature)
    torch.testing.assert_close(together, whole(nt_xent, z, positive, temperature), **EXACT)
    torch.testing.assert_close(
        together, whole(reference.nt_xent, z, positive, temperature), **EXACT
    )


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("num_rows", "dim"), [(4, 1), (66, 100), (130, 6)])
def test_equals_the_twin_in_float64(device, num_rows, dim, temperature):
    z, positive = (t.to(device) for t in all_rows(num_rows, dim))
    sizes = (num_rows - 3, 3)
    twin = in_parts(
        reference.nt_xent_rows, reference.nt_xent_log_sums, z, positive, sizes, temperature
    )
    torch.testing.assert_close(ours(z, positive, sizes, temperature), twin, **EXACT)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_reduced_precision_is_no_worse_than_eager(device, dtype, temperature):
    z, positive = (t.to(device) for t in all_rows(258, 64, cosine=0.5))
    z = z.to(dtype)
    exact = whole(reference.nt_xent, z.double(), positive, temperature)
    eager = whole(reference.nt_xent, z, positive, temperature)
    together = ours(z, positive, (100, 158), temperature)
    assert together[0].dtype == torch.float32
    assert together[1].dtype == dtype
    for result, plain, true in zip(together, eager, exact, strict=True):
        assert_no_worse(result, plain, true)


def test_gradient_error_with_near_positives_in_float32(device):
    z, positive = (t.to(device) for t in all_rows(514, 128, cosine=0.95, dtype=torch.float32))
    _, gradient = ours(z, positive, (200, 314), 0.07)
    _, exact = whole(reference.nt_xent, z.double(), positive, 0.07)
    assert error(gradient, exact) <= 5e-5


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_zero_rows_have_zero_gradient(device, temperature):
    z, positive = (t.to(device) for t in all_rows(66, 8))
    z[5] = 0
    together = ours(z, positive, (40, 26), temperature)
    assert (together[1][5] == 0).all()
    torch.testing.assert_close(together, whole(nt_xent, z, positive, temperature), **EXACT)


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_a_row_that_is_not_finite_reaches_all(device, temperature):
    z, positive = (t.to(device) for t in all_rows(66, 8))
    z[50, 2] = math.nan
    loss, gradient = ours(z, positive, (40, 26), temperature)
    assert loss.isnan()
    assert gradient.isnan().all()


@pytest.mark.parametrize("beyond", [-1, 66, 2**40])
def test_an_index_that_is_no_column_is_nan_in_its_row_alone(device, beyond):
    z, positive = (t.to(device) for t in all_rows(66, 8))
    itself = torch.arange(66, device=device)
    sums = nt_xent_log_sums(z, z, itself, positive)
    for which in (itself, positive):
        expected = nt_xent_log_sums(z, z, itself, positive)
        kept, which[3] = which[3].clone(), beyond
        faulty = nt_xent_log_sums(z, z, itself, positive)
        rows = z.clone().requires_grad_()
        loss = nt_xent_rows(rows, z, itself, positive, sums)
        loss.backward()
        which[3] = kept
        others = torch.arange(66) != 3
        assert faulty[3].isnan()
        torch.testing.assert_close(faulty[others], expected[others], rtol=0, atol=0)
        assert loss.isnan()
        assert rows.grad[3].isnan().all()
        assert rows.grad[others].isfinite().all()


def arguments(device, dtype=torch.float64, num_rows=6):
    z, positive = (t.to(device) for t in all_rows(num_rows, 4, dtype=dtype))
    itself = torch.arange(num_rows, device=device)
    sums = nt_xent_log_sums(z, z, itself, positive)
    return z[1:4], z, itself[1:4], positive[1:4], sums


def test_strides_do_not_matter(device):
    plain = arguments(device, num_rows=34)
    strided = [noncontiguous(argument) for argument in plain]
    torch.testing.assert_close(
        nt_xent_log_sums(*strided[:4]), nt_xent_log_sums(*plain[:4]), rtol=0, atol=0
    )
    torch.testing.assert_close(nt_xent_rows(*strided), nt_xent_rows(*plain), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_opcheck(device, dtype):
    rows, *others = arguments(device, dtype)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        torch.ops.pyhandpose.nt_xent_rows.default,
        (rows.requires_grad_(), *others, 0.5),
        test_utils=tests,
    )
    torch.library.opcheck(
        torch.ops.pyhandpose.nt_xent_log_sums.default, (rows.detach(), *others[:3], 0.5)
    )


def test_compiles_without_a_graph_break(device):
    rows, *others = arguments(device, num_rows=34)
    gradients = []
    for op in (
        ops.nt_xent_rows,
        torch.compile(ops.nt_xent_rows, fullgraph=True, backend="aot_eager"),
    ):
        leaf = rows.clone().requires_grad_()
        op(leaf, *others).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_second_derivatives_are_refused(device):
    rows, *others = arguments(device)
    rows.requires_grad_()
    loss = nt_xent_rows(rows, *others)
    (gradient,) = torch.autograd.grad(loss.square(), rows, create_graph=True)
    with pytest.raises(RuntimeError, match="nt_xent_rows: second derivatives are not available"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("position", "value", "kind", "message"),
    [
        (0, torch.zeros(3, 4, 1), ValueError, r"'rows' expected shape \(m,D\), got \(3,4,1\)"),
        (0, torch.zeros(0, 4), ValueError, r"'rows' expected shape \(m,D\) with m >= 1"),
        (0, torch.zeros(3, 4, dtype=torch.int32), TypeError, "'rows' expected dtype"),
        (1, torch.zeros(6, 5), ValueError, r"'columns' expected shape \(M,D\) with rows' D, got"),
        (1, torch.zeros(5, 4, dtype=torch.float64), ValueError, r"'columns' expected shape \(2N"),
        (1, torch.zeros(6, 4), TypeError, "'columns' expected dtype Double, got"),
        (2, torch.zeros(4, dtype=torch.int64), ValueError, r"'itself' expected shape \(m,\)"),
        (3, torch.zeros(3), TypeError, "'positive' expected dtype Long, got"),
        (4, torch.zeros(5).double(), ValueError, r"'log_sums' expected shape \(M,\)"),
        (4, torch.zeros(6), TypeError, "'log_sums' expected dtype Double, got"),
    ],
)
def test_bad_arguments_name_what_was_expected(device, position, value, kind, message):
    given = list(arguments(device))
    given[position] = value.to(device)
    with pytest.raises(kind, match="nt_xent_rows: argument " + message):
        nt_xent_rows(*given)


def test_a_temperature_that_is_none_is_refused(device):
    with pytest.raises(ValueError, match="'temperature' expected a finite number > 0, got"):
        nt_xent_log_sums(*arguments(device)[:4], temperature=-1.0)
