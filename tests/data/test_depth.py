"""Depth maps: their files, and a plane seen by two cameras."""

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from pyhandpose.data.depth import Registration, intrinsics, millimetres, read_levels
from pyhandpose.data.photo import UnreadableImageError

RIG = Registration(
    depth_intrinsics=intrinsics(240, 236, 160, 120),
    colour_intrinsics=intrinsics(600, 610, 330, 235),
    rotation=Rotation.from_rotvec([0.02, -0.05, 0.03]).as_matrix(),
    translation=np.array([0.025, -0.002, 0.004]),
)


def plane_depth(normal, distance, K, size):
    """z of the plane normal . X = distance along each pixel's ray."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(K).T
    return distance / (rays @ normal)


def test_a_plane_is_where_the_other_camera_sees_it():
    normal = np.array([0.2, -0.1, 1.0])
    depth = plane_depth(normal, 0.6, RIG.depth_intrinsics, (320, 240)).astype(np.float32)
    moved = RIG.move(depth, (640, 480))
    # n . X_d = d and X_d = R^T (X_c - t), so (R n) . X_c = d + (R n) . t
    turned = RIG.rotation @ normal
    expected = plane_depth(
        turned, 0.6 + turned @ RIG.translation, RIG.colour_intrinsics, (640, 480)
    )
    seen = moved > 0
    assert seen[100:380, 150:490].all()  # no holes between the enlarged pixels
    assert np.abs(moved - expected)[seen].max() < 0.6 / 240 * 1.5  # within about a depth pixel


def test_the_nearest_surface_hides_the_others():
    same = Registration(RIG.depth_intrinsics, RIG.depth_intrinsics, np.eye(3), np.zeros(3))
    depth = np.zeros((240, 320), np.float32)
    depth[100, 100] = 0.5
    np.testing.assert_array_equal(same.move(depth, (320, 240)), depth)
    aside = Registration(
        RIG.depth_intrinsics, RIG.depth_intrinsics, np.eye(3), np.array([0.5 / 240, 0, 0])
    )
    depth[100, 101] = 0.25  # moves by 2 px, the other by 1: they meet at 102 and 103 not
    depth[100, 102] = 1.0  # moves by half a pixel
    moved = aside.move(depth, (320, 240))
    assert moved[100, 101] == 0.5
    assert moved[100, 103] == 0.25
    depth[100, 102] = 0.5  # moves by 1 px, onto the nearer one
    assert aside.move(depth, (320, 240))[100, 103] == 0.25


def test_nothing_measured_is_nothing_moved():
    assert RIG.move(np.zeros((240, 320), np.float32), (640, 480)).max() == 0


def test_levels_are_read_as_they_are_stored(tmp_path):
    levels = np.array([[0, 1], [700, 32001]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "depth.png")
    np.testing.assert_array_equal(read_levels(tmp_path / "depth.png"), levels)
    metres = millimetres(tmp_path / "depth.png", 32001)
    np.testing.assert_allclose(metres, [[0, 0.001], [0.7, 0]], atol=1e-7)
    palette = Image.fromarray(np.array([[3, 20]], np.uint8), "P")
    palette.putpalette([0] * 768)
    palette.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_levels(tmp_path / "mask.png"), [[3, 20]])


def test_unreadable_levels_are_named(tmp_path):
    with pytest.raises(UnreadableImageError, match="no such file"):
        read_levels(tmp_path / "none.png")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(UnreadableImageError, match=r"cut\.png: not a readable image"):
        read_levels(tmp_path / "cut.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(UnreadableImageError, match="expected one channel"):
        millimetres(tmp_path / "colour.png", 0)
