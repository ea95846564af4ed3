"""``root_depth``: the depth of the root and the 3D pose of a 2.5D pose."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyhandpose import _extension  # (also registers torch.ops.pyhandpose)


class RootDepth(NamedTuple):
    """What ``root_depth`` returns for B samples of J joints."""

    depth: Tensor
    """(B,) depth of the root, the larger solution, in reference-bone lengths."""
    joints: Tensor
    """(B,J,3) the pose in camera axes, multiplied by the scale."""
    other_depth: Tensor
    """(B,) the smaller solution, in reference-bone lengths; not differentiable."""
    status: Tensor
    """(B,) int8: 0 ok, 1 ambiguous, 2 clamped, 3 degenerate."""


def root_depth(
    joints_25d: Tensor,
    intrinsics: Tensor,
    scale: Tensor | None = None,
    *,
    bone: Sequence[int] = (0, 5),
    mode: str = "stable",
) -> RootDepth:
    """Depth at which the reference bone has its length, and the pose lifted to it.

    With rays (X_j, Y_j, 1) = K^-1 (u_j, v_j, 1), x_j = (X_j, Y_j), d = x_n - x_m,
    e = z_n x_n - z_m x_m and dz = z_n - z_m::

        |Z d + e|^2 + dz^2 = 1,    joints_j = s (Z + z_j) (X_j, Y_j, 1)

    is a quadratic in the root's depth Z. It is solved without cancellation, and differentiated
    implicitly.

    Args:
        joints_25d: (B,J,3) = (u px, v px, z), float64 or float32. z is the depth relative to any
            root, in lengths of the reference bone; the root need not be in the bone.
        intrinsics: (B,3,3), or one (3,3) for all samples, px, of the joints' dtype:
            (fx, skew, cx; 0, fy, cy; 0, 0, 1).
        scale: (B,) s, m, length of the reference bone; ``None`` is 1, the pose in bone lengths.
        bone: (n, m), two distinct joints.
        mode: ``"stable"``; or the published code's arithmetic, for comparison with its figures:
            ``"published-data"`` clamps a and b^2 - 4ac at 1e-6 (it takes z relative to the wrist,
            bone wrist to index MCP), ``"published-model"`` at 1e-8, clamps Z to [4, 50] and takes
            it as a constant in the gradient (palm, middle MCP to PIP).

    Returns:
        ``RootDepth``. ``status`` says how far to trust a sample: 0 the solution is certain, the
        other one would put a joint behind the camera; 1 both put every joint in front, and the
        larger is returned; 2 the bone is too long at every depth, that where it is shortest is
        returned (in the published modes: something was clamped); 3 no usable depth: rays of the
        bone's joints that agree, a joint behind the camera, a non-finite number or a matrix not of
        the form above. Status 3 has NaN in every other output and zero gradient, except that the
        published modes return their value for a joint behind the camera, as that code does.

    Raises:
        ValueError: a wrong shape, device, bone or mode.
        TypeError: a wrong dtype.

    Gradients flow from ``depth`` and ``joints`` to ``joints_25d``, ``scale`` and the five
    parameters of ``intrinsics`` (zero at its other entries). Second derivatives are not available.
    Under autocast the op computes in float32.

    Source: thesis (000) eq. 3.7-3.10, with the sign of the last corrected. Derivation:
    docs/maths/root_depth.md.
    """
    return RootDepth(
        *torch.ops.pyhandpose.root_depth(joints_25d, intrinsics, scale, list(bone), mode)
    )


@torch.library.register_fake("pyhandpose::root_depth")
def _fake(
    joints_25d: Tensor, intrinsics: Tensor, scale: Tensor | None, bone: Sequence[int], mode: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    samples = joints_25d.shape[:1]
    return (
        joints_25d.new_empty(samples),
        joints_25d.new_empty(joints_25d.shape),
        joints_25d.new_empty(samples),
        joints_25d.new_empty(samples, dtype=torch.int8),
    )


@torch.library.register_fake("pyhandpose::root_depth_backward")
def _fake_backward(
    grad_depth: Tensor | None,
    grad_joints: Tensor | None,
    depth: Tensor,
    joints_25d: Tensor,
    intrinsics: Tensor,
    scale: Tensor | None,
    bone: Sequence[int],
    mode: str,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    B, J = joints_25d.shape[:2]
    shared = wanted[1] and intrinsics.dim() == 2
    return (
        joints_25d.new_empty(B if wanted[0] else 0, J, 3),
        joints_25d.new_empty(*([] if shared else [B if wanted[1] else 0]), 3, 3),
        joints_25d.new_empty(B if wanted[2] else 0),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    joints_25d, intrinsics, scale, bone, mode = inputs
    depth, _, other_depth, status = output
    ctx.mark_non_differentiable(other_depth, status)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(depth, joints_25d, intrinsics, scale)
    ctx.bone, ctx.mode = bone, mode


def _backward(
    ctx: Any, grad_depth: Tensor | None, grad_joints: Tensor | None, *_: None
) -> tuple[Tensor | None, ...]:
    if grad_depth is None and grad_joints is None:
        return (None,) * 5
    wanted = list(ctx.needs_input_grad[:3])
    gradients = torch.ops.pyhandpose.root_depth_backward(
        grad_depth, grad_joints, *ctx.saved_tensors, ctx.bone, ctx.mode, wanted
    )
    chosen = [gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)]
    return (*chosen, None, None)


_extension.register_gradient("root_depth", _backward, _setup_context)
