"""``nt_xent`` of a part of the rows against all of them, for data-parallel ranks and chunks."""

from typing import Any

import torch
from torch import Tensor

from pyhandpose import _extension
from pyhandpose.ops.precision import choose_precision


def nt_xent_log_sums(
    rows: Tensor,
    columns: Tensor,
    itself: Tensor,
    positive: Tensor,
    *,
    temperature: float = 0.5,
    precision: str = "auto",
) -> Tensor:
    """The log-sums l_i that ``nt_xent_rows`` needs, of these rows; not differentiable.

    ::

        l_i = log sum_{k != itself_i} exp(u_i.v_k / temperature)

    Args:
        rows: (m,D), as all arguments as for ``nt_xent_rows``.
        columns: (M,D).
        itself: (m,) int64.
        positive: (m,) int64.
        temperature: finite, > 0.
        precision: as for ``nt_xent``.

    Returns:
        (m,) float64.

    Raises:
        ValueError, TypeError: as ``nt_xent_rows``.
    """
    log_sums: Tensor = torch.ops.pyhandpose.nt_xent_log_sums(
        rows, columns, itself, positive, temperature, choose_precision(rows, precision)
    )
    return log_sums


def nt_xent_rows(
    rows: Tensor,
    columns: Tensor,
    itself: Tensor,
    positive: Tensor,
    log_sums: Tensor,
    *,
    temperature: float = 0.5,
    precision: str = "auto",
) -> Tensor:
    """A part of NT-Xent's M rows: their share of the loss, and their complete gradient.

    With unit rows u_i = rows_i / |rows_i|, v_j = columns_j / |columns_j| and s_ij = u_i.v_j /
    temperature, ::

        loss = 1/M sum_i (l_i - s_{i,positive_i})
        dL/du_i = 1/(M temperature)
                  sum_j (exp(s_ij - l_i) + exp(s_ij - l_j) - 2 [j = positive_i]) v_j

    over j != itself_i. The shares of parts that make up all rows add up to ``nt_xent``. The
    gradient is that of the WHOLE loss, also through the columns of other parts: no gradient has to
    travel between ranks. On each rank::

        columns = all_gather(rows.detach())                       # M D numbers
        own = nt_xent_log_sums(rows.detach(), columns, itself, positive)
        loss = nt_xent_rows(rows, columns, itself, positive, all_gather(own))  # M numbers

    and ``DistributedDataParallel``, which averages gradients, wants the loss times the world size.

    Args:
        rows: (m,D) float64, float32, float16 or bfloat16, m >= 1.
        columns: (M,D) of the same dtype, M = 2N >= 4: all rows, in any order. Data: no gradient.
        itself: (m,) int64, the column that each row is.
        positive: (m,) int64, the column of each row's other view; views are each other's.
        log_sums: (M,) float64, of all columns, from ``nt_xent_log_sums``. Data: no gradient.
        temperature: finite, > 0.
        precision: as for ``nt_xent``.

    Returns:
        () float64 for float64 rows, else float32: the rows' share. An index that is no column makes
        it and that row's gradient NaN.

    Raises:
        ValueError: a wrong shape, device, temperature or precision.
        TypeError: a wrong dtype.

    Memory is O(M D). Second derivatives are not available.

    Source: ``nt_xent``'s. Derivation: docs/maths/nt_xent.md.
    """
    loss: Tensor = torch.ops.pyhandpose.nt_xent_rows(
        rows, columns, itself, positive, log_sums, temperature, choose_precision(rows, precision)
    )
    return loss


@torch.library.register_fake("pyhandpose::nt_xent_log_sums")
def _fake_log_sums(rows: Tensor, *_: Any) -> Tensor:
    return rows.new_empty(rows.shape[:1], dtype=torch.float64)


@torch.library.register_fake("pyhandpose::nt_xent_rows")
def _fake(rows: Tensor, *_: Any) -> Tensor:
    return rows.new_empty((), dtype=torch.promote_types(rows.dtype, torch.float32))


@torch.library.register_fake("pyhandpose::nt_xent_rows_backward")
def _fake_backward(grad_loss: Tensor, rows: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(rows, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.temperature, ctx.precision = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
    grad = torch.ops.pyhandpose.nt_xent_rows_backward(
        grad_loss, *ctx.saved_tensors, ctx.temperature, ctx.precision
    )
    return grad, None, None, None, None, None, None


_extension.register_gradient("nt_xent_rows", _backward, _setup_context)
