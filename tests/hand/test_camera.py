import math

import pytest
import torch

from pyhandpose.hand.camera import (
    apply_image_affine,
    mirror,
    pixel_affine,
    project,
    transform_points,
)


def opencv_affine(angle_deg, scale, shift=(0.0, 0.0)):
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    rows = [[scale * cos, scale * sin, shift[0]], [-scale * sin, scale * cos, shift[1]]]
    return torch.tensor([rows], dtype=torch.float64)


def test_project_by_hand():
    K = torch.tensor([[100.0, 0.0, 31.5], [0.0, 200.0, 20.0], [0.0, 0.0, 1.0]])
    point = torch.tensor([[[0.1, -0.2, 0.5]]])
    torch.testing.assert_close(project(point, K), torch.tensor([[[51.5, -60.0]]]))


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, -120.0, 180.0])
def test_affine_on_camera_equals_affine_on_pixels(hands, angle_deg):
    joints, K = hands(5)
    T = opencv_affine(angle_deg, 1.3, (11.0, -7.0)).expand(5, 2, 3).clone()
    T[:, 0, 1] += 0.1  # a shear too
    K2, R = apply_image_affine(K, T)
    expected = transform_points(project(joints, K), T)
    torch.testing.assert_close(project(joints @ R.mT, K2), expected, atol=1e-9, rtol=0)
    assert (K2.tril(-1) == 0).all()
    assert (K2.diagonal(dim1=-2, dim2=-1) > 0).all()
    torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=R.dtype).expand(5, 3, 3))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(5, dtype=R.dtype))


def test_positive_angle_turns_the_hand_counter_clockwise_on_screen(hands):
    # OpenCV's positive angle: a point right of the centre goes up, which is -y
    T = opencv_affine(90.0, 1.0)
    right = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(transform_points(right, T)[0, 0], right.new_tensor([0.0, -1.0]))
    _, K = hands(1)
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 1] = 200.0, 200.0, 0.0
    _, R = apply_image_affine(K, T)
    torch.testing.assert_close(R[0, :2, :2], T[0, :, :2])


def test_pixel_affine_of_the_identity_is_a_resize_of_pixel_areas():
    identity = torch.eye(2, 3)[None]
    T = pixel_affine(identity, (80, 80), 64)
    corner = torch.tensor([[[-0.5, -0.5], [79.5, 79.5], [39.5, 39.5]]])  # area corners, centre
    expected = torch.tensor([[[-0.5, -0.5], [63.5, 63.5], [31.5, 31.5]]])
    torch.testing.assert_close(transform_points(corner, T), expected)


def test_pixel_affine_takes_the_centred_square_of_an_oblong_image():
    T = pixel_affine(torch.eye(2, 3)[None], (60, 100), 30)
    corner = torch.tensor([[[19.5, -0.5], [79.5, 59.5]]])
    expected = torch.tensor([[[-0.5, -0.5], [29.5, 29.5]]])
    torch.testing.assert_close(transform_points(corner, T), expected)


def test_mirror_keeps_projection_and_is_an_involution(hands):
    joints, K = hands(5)
    image = project(joints, K)
    image2, joints2, K2 = mirror(image, joints, K, width=128)
    torch.testing.assert_close(project(joints2, K2), image2)
    torch.testing.assert_close(image2[..., 0], 127 - image[..., 0])
    for once, twice in zip((image, joints, K), mirror(image2, joints2, K2, 128), strict=True):
        torch.testing.assert_close(twice, once)
