"""The pinhole camera: projection, and what an image-space affine or a mirror does to it.

Pixel coordinates name pixel centres by integers (``data/sample.py``); camera axes are OpenCV's.
B samples, J joints; K is upper triangular, (fx, skew, cx; 0, fy, cy; 0, 0, 1).
"""

from __future__ import annotations

import torch
from torch import Tensor


def project(joints_cam: Tensor, intrinsics: Tensor) -> Tensor:
    """Image points of camera-space points: p = (K X)_xy / Z.

    Args:
        joints_cam: (B,J,3) m, camera axes; Z > 0 is in front of the camera.
        intrinsics: (B,3,3) or (3,3) px.

    Returns:
        (B,J,2) px. A point with Z = 0 gives a non-finite pixel.
    """
    homogeneous = joints_cam @ intrinsics.mT  # (B,J,3)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def unproject(joints_img: Tensor, intrinsics: Tensor) -> Tensor:
    """The rays K^-1 (u, v, 1) of image points: Z times a ray is the point at depth Z.

    Args:
        joints_img: (B,J,2) px.
        intrinsics: (B,3,3) px, upper triangular.

    Returns:
        (B,J,3) = (X, Y, 1).
    """
    homogeneous = torch.nn.functional.pad(joints_img, (0, 1), value=1.0)  # (B,J,3)
    return torch.linalg.solve_triangular(intrinsics, homogeneous.mT, upper=True).mT


def transform_points(points: Tensor, affine: Tensor) -> Tensor:
    """Every point moved by the affine: p' = A p + v.

    Args:
        points: (B,J,2).
        affine: (B,2,3) = [A | v], in the unit of the points.

    Returns:
        (B,J,2).
    """
    return points @ affine[..., :2].mT + affine[..., None, :, 2]


def pixel_affine(affine: Tensor, source_hw: tuple[int, int], out_side: int) -> Tensor:
    """The affine between the pixels of a source image and those of a view, from its fractions.

    The view shows the source's centred square of side L = min(H, W), moved by ``affine``: with
    n = (p - ((W-1)/2, (H-1)/2)) / L and n' = A n + v, the view's pixel is n' S + (S-1)/2. The
    identity affine is therefore a plain resize (pixel areas, not pixel centres, cover the image).

    Args:
        affine: (B,2,3) = [A | v] in fractions of the side about the image centre, y down.
        source_hw: height and width of the source image, px.
        out_side: side S of the view, px.

    Returns:
        (B,2,3) T with p_view = T [p_source; 1], px.
    """
    height, width = source_hw
    zoom = out_side / min(height, width)
    linear = zoom * affine[..., :2]  # (B,2,2)
    source_centre = affine.new_tensor([(width - 1) / 2, (height - 1) / 2])  # (2,)
    shift = out_side * affine[..., 2] + (out_side - 1) / 2 - linear @ source_centre  # (B,2)
    return torch.cat([linear, shift[..., None]], dim=-1)


def apply_image_affine(intrinsics: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """The camera that sees the moved image: T K = K' R with K' upper triangular, R about z.

    With M = (T K)_{2x2}, the last row of M is fy' (sin, cos); this fixes R, and K'_{2x2} = M R^T.
    Then ``project(X R^T, K') = T project(X, K)`` for every point X, exactly.

    Args:
        intrinsics: (B,3,3) px, upper triangular.
        affine: (B,2,3) T = [A | v], PIXEL coordinates: p' = A p + v. det A > 0; a reflection
            would give a negative fx' (use ``mirror`` to reflect a hand).

    Returns:
        ``(K' (B,3,3), R (B,3,3))``; the hand in the new camera is ``joints_cam @ R.mT``.
        A singular A gives non-finite values.
    """
    moved = affine[..., :2] @ intrinsics[..., :2, :]  # (B,2,3)
    row_x, row_y = moved[..., 0, :2], moved[..., 1, :2]  # (B,2)
    fy = torch.linalg.vector_norm(row_y, dim=-1)  # (B,)
    sin, cos = (row_y / fy[..., None]).unbind(-1)
    fx = row_x[..., 0] * cos - row_x[..., 1] * sin
    skew = row_x[..., 0] * sin + row_x[..., 1] * cos
    centre = moved[..., 2] + affine[..., 2]  # (B,2): T moves the principal point, R leaves it

    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    camera = torch.stack([fx, skew, centre[..., 0], zero, fy, centre[..., 1], zero, zero, one], -1)
    rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1)
    return camera.unflatten(-1, (3, 3)), rotation.unflatten(-1, (3, 3))


def mirror(
    joints_img: Tensor, joints_cam: Tensor, intrinsics: Tensor, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A left hand as a right one: the image reflected left to right, with the 3D and the camera.

    u' = (W-1) - u, X' = -X, cx' = (W-1) - cx, skew' = -skew; fx stays positive and projection
    still holds. The image itself is flipped along its width by the caller.

    Args:
        joints_img: (B,J,2) px.
        joints_cam: (B,J,3) m.
        intrinsics: (B,3,3) px.
        width: W, px.

    Returns:
        The three of the mirrored hand, in the same order.
    """
    reflect_u = joints_img.new_tensor([-1.0, 1.0])
    offset = joints_img.new_tensor([width - 1.0, 0.0])
    reflect_x = joints_cam.new_tensor([-1.0, 1.0, 1.0])
    signs = intrinsics.new_tensor([[1.0, -1.0, -1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    shift = intrinsics.new_tensor([[0.0, 0.0, width - 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    return joints_img * reflect_u + offset, joints_cam * reflect_x, intrinsics * signs + shift
