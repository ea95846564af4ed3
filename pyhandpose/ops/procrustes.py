"""``procrustes``: the similarity that aligns one set of points with another."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, SupportsIndex

import torch
from torch import Tensor

from pyhandpose import _extension


class Similarity(NamedTuple):
    """y = scale rotation x + translation, for each set of points."""

    rotation: Tensor
    """(...,3,3), det +1; -1 where a reflection was allowed and fits better."""
    scale: Tensor
    """(...), of the target relative to the source; 1 with ``scale=False``."""
    translation: Tensor
    """(...,3) in the target's unit."""
    aligned: Tensor
    """(...,N,3) in the target's unit: the source moved. On a CPU computed when it is first read."""
    conditioning: Tensor
    """(...), (s2 + d s3) / (s1 + s2 + d s3) of the cross-covariance's singular values, in [0, 2/3].

    0 where the rotation is undetermined, and its gradient unbounded. Not differentiable."""


def procrustes(
    source: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    scale: bool = True,
    allow_reflection: bool = False,
) -> Similarity:
    """Align ``source`` with ``target`` by the rotation, scale and translation of least squares.

    Minimises, for each set of N points on its own::

        sum_n w_n |k R x_n + t - y_n|^2,    M = sum w y^ x^T = U S V^T,    R = U diag(1, 1, f) V^T

    with ^ relative to the weighted mean, k = tr(R^T M) / sum w |x^|^2 and t = mu_y - k R mu_x.

    Args:
        source: (...,N,3) float64 or float32, x; any leading extents, or none.
        target: as ``source``, y. Extents do not broadcast.
        weights: (...,N), w >= 0; ones where None. A point of weight 0 takes no part, whatever its
            coordinates.
        scale: False keeps k = 1: a rigid motion.
        allow_reflection: False chooses f so that det R = +1. True takes f = sign(det M), so that a
            mirrored hand fits without error (as the FreiHAND and HO-3D evaluations do); R then
            jumps where det M = 0. A flat set (det M zero to rounding) gets det R = +1.

    Returns:
        A `Similarity`, in the inputs' dtype and unit. On a CPU ``aligned`` is computed when it is
        first read and costs nothing otherwise; reading it is refused after one of the tensors that
        it is computed from has been modified in place. A GPU computes it with the rest.

    Raises:
        ValueError: a wrong shape or device.
        TypeError: a dtype other than float64 and float32, or one that differs from the source's.
        RuntimeError: ``aligned`` is read after a modification in place (on a CPU).

    Values never raise. W = sum w = 0 or N = 0: R = I, k = 1, t = 0, gradient zero. All source
    points equal: R = I, k = 1. All target points equal: R = I, k = 0. Points on a line: the minimal
    rotation. These have conditioning 0. A negative weight or anything not finite: NaN for that set.

    Gradients for source, target and weights, in closed form and finite at equal singular values.
    Where conditioning falls below 1e-6 (float32; 1e-13 in float64) the gradient of the rotation is
    bounded as if it were that. Second derivatives are not available. Under autocast the op computes
    in float32.

    Fails when the squares of the coordinates overflow or underflow the dtype.

    Source: Umeyama (1991), eq. 40-43. Derivation: docs/maths/procrustes.md.
    """
    # Where the sets are staged next to the arithmetic, moving them along costs less than asking
    # for it later: a GPU's launch does all at once.
    with_aligned = source.device.type != "cpu"
    *fit, aligned = torch.ops.pyhandpose.procrustes.default(
        source, target, weights, scale, allow_reflection, with_aligned
    )
    if with_aligned:
        return Similarity(fit[0], fit[1], fit[2], aligned, fit[3])
    if torch.compiler.is_compiling():  # the compiler drops what is not read
        aligned = _aligned(source, target, weights, fit, scale)
        return Similarity(fit[0], fit[1], fit[2], aligned, fit[3])
    return _DeferredSimilarity._of(source, target, weights, fit, scale)


_Fit = Sequence[Tensor]  # rotation, scale, translation, conditioning


def _aligned(
    source: Tensor, target: Tensor, weights: Tensor | None, fit: _Fit, with_scale: bool
) -> Tensor:
    """k R x + t, with the gradient through R, k and t to the inputs inside one backward."""
    if source.dtype != fit[0].dtype:  # under autocast
        source, target = source.to(fit[0].dtype), target.to(fit[0].dtype)
        weights = None if weights is None else weights.to(fit[0].dtype)
    constants = [tensor.detach() if tensor.requires_grad else tensor for tensor in fit]
    return torch.ops.pyhandpose.procrustes_aligned.default(
        source, target, weights, *constants, with_scale
    )


def _modifications(*tensors: Tensor | None) -> int:
    """How often the tensors have been modified in place (inference tensors do not count it)."""
    return sum(t._version for t in tensors if t is not None and not t.is_inference())


class _DeferredSimilarity(Similarity):
    """A `Similarity` whose tuple holds None for ``aligned`` until that is asked for."""

    _inputs: tuple[Tensor, Tensor, Tensor | None]
    _with_scale: bool
    _modified: int

    @classmethod
    def _of(
        cls, source: Tensor, target: Tensor, weights: Tensor | None, fit: _Fit, with_scale: bool
    ) -> "_DeferredSimilarity":
        self = tuple.__new__(cls, (fit[0], fit[1], fit[2], None, fit[3]))
        self._inputs = (source, target, weights)
        self._with_scale = with_scale
        self._modified = _modifications(source, target, weights)  # and the new tensors, 0 times
        return self

    @cached_property
    def aligned(self) -> Tensor:
        fit = (self.rotation, self.scale, self.translation, self.conditioning)
        if _modifications(*self._inputs, *fit) != self._modified:
            raise RuntimeError(
                "pyhandpose.procrustes: 'aligned' is computed when it is first read, from source, "
                "target, weights, rotation, scale and translation, and one of these has been "
                "modified in place since: read 'aligned' before, or modify a clone"
            )
        recorded = self.rotation.requires_grad
        if torch.is_grad_enabled() == recorded:
            return _aligned(*self._inputs, fit, self._with_scale)
        with torch.set_grad_enabled(recorded):
            return _aligned(*self._inputs, fit, self._with_scale)

    def __iter__(self) -> Any:
        return iter((self.rotation, self.scale, self.translation, self.aligned, self.conditioning))

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        item = super().__getitem__(index)
        return self.aligned if item is None else item

    @classmethod
    def _make(cls, iterable: Iterable[Tensor]) -> Similarity:  # type: ignore[override]
        return Similarity._make(iterable)

    def __repr__(self) -> str:
        return repr(Similarity(*self))

    def __reduce__(self) -> Any:  # copy and pickle
        return Similarity, tuple(self)


@torch.library.register_fake("pyhandpose::procrustes")
def _fake(
    source: Tensor,
    target: Tensor,
    weights: Tensor | None,
    with_scale: bool,
    allow_reflection: bool,
    with_aligned: bool,
) -> tuple[Tensor, ...]:
    batch = source.shape[:-2]
    return (
        source.new_empty(*batch, 3, 3),
        source.new_empty(batch),
        source.new_empty(*batch, 3),
        source.new_empty(batch),
        source.new_empty(source.shape if with_aligned else 0),
    )


@torch.library.register_fake("pyhandpose::procrustes_aligned")
def _fake_aligned(source: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(source, memory_format=torch.contiguous_format)


@torch.library.register_fake("pyhandpose::procrustes_backward")
def _fake_backward(
    grad_rotation: Any, grad_scale: Any, grad_translation: Any, grad_aligned: Any, *others: Any
) -> tuple[Tensor, ...]:
    source, needed = others[0], others[-1]
    return tuple(
        source.new_empty(tensor.shape if wanted and tensor is not None else 0)
        for tensor, wanted in zip(others[:3], needed, strict=True)
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    source, target, weights, ctx.with_scale, _, _ = inputs
    rotation, scale, _, conditioning, _ = output
    ctx.set_materialize_grads(False)  # an output that nobody used has the gradient None
    ctx.mark_non_differentiable(conditioning)
    ctx.save_for_backward(source, target, weights, rotation, scale, conditioning)


def _setup_aligned_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    source, target, weights, rotation, scale, _, conditioning, ctx.with_scale = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(source, target, weights, rotation, scale, conditioning)


def _pull_back(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
    """Gradients for source, target and weights where they are needed, then None."""
    num_inputs = len(ctx.needs_input_grad)
    if all(grad is None for grad in upstream):
        return (None,) * num_inputs
    needed = list(ctx.needs_input_grad[:3])
    op = torch.ops.pyhandpose.procrustes_backward.default
    grads = op(*upstream, *ctx.saved_tensors, ctx.with_scale, needed)
    wanted = [grad if need else None for grad, need in zip(grads, needed, strict=True)]
    return (*wanted, *(None,) * (num_inputs - 3))


def _backward(
    ctx: Any,
    grad_rotation: Tensor | None,
    grad_scale: Tensor | None,
    grad_translation: Tensor | None,
    _: None,
    grad_aligned: Tensor | None,
) -> tuple[Tensor | None, ...]:
    return _pull_back(ctx, grad_rotation, grad_scale, grad_translation, grad_aligned)


def _aligned_backward(ctx: Any, grad_aligned: Tensor | None) -> tuple[Tensor | None, ...]:
    return _pull_back(ctx, None, None, None, grad_aligned)


_extension.register_gradient("procrustes", _backward, _setup_context)
torch.library.register_autograd(  # through the same backward, whose second derivative is refused
    "pyhandpose::procrustes_aligned", _aligned_backward, setup_context=_setup_aligned_context
)
