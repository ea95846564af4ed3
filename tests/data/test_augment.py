import math
from dataclasses import replace

import pytest
import torch

from pyhandpose.data.augment import (
    AugmentConfig,
    augment,
    denormalise,
    make_views,
    sample_affines,
    warp,
)
from pyhandpose.data.colour import ColourConfig
from pyhandpose.data.sample import HandBatch
from pyhandpose.hand.camera import pixel_affine, project, transform_points
from pyhandpose.ops import latent_affine

GEOMETRY = AugmentConfig(rotation_deg=45, translation=0.18, scale=(0.75, 1.25))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def hand_batch(num=6, height=80, width=80, seed=0):
    """Random images with a hand whose labels agree with each other."""
    g = generator(seed)
    joints = torch.randn(num, 21, 3, generator=g) * 0.05
    joints[..., 2] += 0.5
    focal = 150.0
    K = torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    K = K.repeat(num, 1, 1)
    return HandBatch(
        image=torch.randint(0, 256, (num, height, width, 3), dtype=torch.uint8, generator=g),
        joints_img=project(joints, K),
        joints_cam=joints,
        intrinsics=K,
        joint_valid=torch.rand(num, 21, generator=g) < 0.9,
    )


def blob_images(centres, side, sigma):
    """(B,S,S,3) uint8 with one bright Gaussian at each centre (B,2) px."""
    rows = torch.arange(side, dtype=torch.float32)
    dx = rows[None, None, :] - centres[:, 0, None, None]
    dy = rows[None, :, None] - centres[:, 1, None, None]
    grey = 255 * torch.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    return grey.round().to(torch.uint8)[..., None].expand(-1, -1, -1, 3)


def centroids(images):
    """(B,2) px, the centre of the brightness of (B,3,S,S)."""
    weight = images.mean(1)
    weight = weight / weight.sum((1, 2), keepdim=True)
    pixels = torch.arange(images.shape[-1], dtype=torch.float32)
    return torch.stack([(weight.sum(1) * pixels).sum(1), (weight.sum(2) * pixels).sum(1)], 1)


@pytest.mark.parametrize(("side", "out", "sigma"), [(80, 64, 2.0), (64, 96, 2.0), (400, 64, 6.0)])
def test_a_dot_appears_where_the_affine_says(side, out, sigma):
    num = 40
    centres = side / 2 + side * 0.12 * (torch.rand(num, 2, generator=generator(1)) - 0.5)
    config = AugmentConfig(rotation_deg=180, translation=0.1, scale=(0.5, 1.5))
    affine = sample_affines(num, config, generator(2))
    views = warp(blob_images(centres, side, sigma), affine, out)
    expected = transform_points(centres[:, None], pixel_affine(affine, (side, side), out))[:, 0]
    assert (centroids(views) - expected).abs().max() < 0.1


def test_a_quarter_turn_is_exact_and_counter_clockwise():
    image = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8, generator=generator())
    quarter = torch.tensor([[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]])  # +90 degrees in OpenCV's sense
    view = warp(image, quarter, 16)
    expected = torch.rot90(image, 1, dims=(1, 2)).permute(0, 3, 1, 2) / 255  # counter-clockwise
    torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


def test_sampled_affines_are_rotation_scale_and_shift_within_the_ranges():
    affine = sample_affines(4000, GEOMETRY, generator())
    A, v = affine[..., :2], affine[..., 2]
    scale = torch.linalg.det(A).sqrt()
    angle = torch.rad2deg(torch.atan2(A[:, 0, 1], A[:, 0, 0]))
    cos, sin = torch.deg2rad(angle).cos(), torch.deg2rad(angle).sin()
    rotation = torch.stack([cos, sin, -sin, cos], -1).view(-1, 2, 2)
    torch.testing.assert_close(A, scale[:, None, None] * rotation)
    for values, low, high in ((scale, 0.75, 1.25), (angle, -45, 45), (v, -0.18, 0.18)):
        span = high - low
        assert low <= values.min() < low + 0.01 * span
        assert high - 0.01 * span < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.03 * span


def test_labels_follow_the_image():
    batch = hand_batch()
    view = augment(batch, GEOMETRY, generator(), 64)
    to_view = pixel_affine(view.affine, (80, 80), 64)
    expected = transform_points(batch.joints_img, to_view)
    valid = batch.joint_valid
    assert torch.equal(view.joint_valid, valid)
    torch.testing.assert_close(view.joints_img[valid], expected[valid])
    projected = project(view.joints_cam, view.intrinsics)
    torch.testing.assert_close(projected[valid], view.joints_img[valid], atol=1e-4, rtol=0)
    lengths = [(j[:, 0] - j[:, 5]).norm(dim=-1) for j in (batch.joints_cam, view.joints_cam)]
    known = valid[:, 0] & valid[:, 5]
    torch.testing.assert_close(lengths[0][known], lengths[1][known])


def test_the_returned_affine_undone_in_the_latent_gives_the_source_back():
    # a network that is perfectly equivariant outputs the joints' fractions; "direct" subtracts v
    batch = hand_batch()
    view = augment(batch, GEOMETRY, generator(), 64)
    valid = batch.joint_valid[..., None]
    source = (batch.joints_img - 39.5) / 80
    seen = (view.joints_img - 31.5) / 64
    undone = latent_affine(seen, view.affine, convention="direct")
    torch.testing.assert_close(undone * valid, source * valid, atol=1e-5, rtol=1e-5)


def test_unlabelled_joints_and_missing_numbers_are_masked_zeros():
    batch = hand_batch(num=3)
    batch.joints_img[0, 4] = math.nan
    batch.joints_cam[1, 7] = math.inf
    view = augment(batch, GEOMETRY, generator(), 64)
    expected = batch.joint_valid.clone()
    expected[0, 4] = expected[1, 7] = False
    assert torch.equal(view.joint_valid, expected)
    assert (view.joints_img[~expected] == 0).all()
    assert (view.joints_cam[~expected] == 0).all()


def test_joints_may_have_an_image_point_and_no_3d_label():
    batch = hand_batch(num=3)
    has_3d = batch.joint_valid.clone()
    has_3d[1] = False
    batch.joints_cam[1] = math.nan
    batch.intrinsics[1] = math.nan
    batch.joints_cam[2, 7] = math.nan  # said to be labelled, and is not
    view = augment(replace(batch, joint_valid_cam=has_3d), GEOMETRY, generator(), 64)
    has_3d[2, 7] = False
    assert torch.equal(view.joint_valid, batch.joint_valid)
    assert torch.equal(view.joint_valid_cam, has_3d)
    assert view.joints_cam.isfinite().all()
    assert (view.joints_img[1][batch.joint_valid[1]] != 0).all()


def test_images_alone_are_enough():
    view = augment(HandBatch(hand_batch().image), GEOMETRY, generator(), 64)
    assert view.image.shape == (6, 3, 64, 64)
    assert view.joints_img is view.joints_cam is view.intrinsics is view.joint_valid is None


@pytest.mark.parametrize(("side", "out"), [(80, 80), (80, 64), (48, 64)])
def test_the_default_config_is_a_plain_resize(side, out):
    batch = hand_batch(height=side, width=side)
    view = augment(batch, AugmentConfig(), generator(), out)
    pixels = batch.image.permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(pixels, (out, out), mode="bilinear") / 255
    torch.testing.assert_close(denormalise(view.image), expected, atol=1e-5, rtol=0)
    assert torch.equal(view.affine, torch.eye(2, 3).expand(6, 2, 3))


def test_an_oblong_image_gives_its_centred_square():
    image = torch.zeros(1, 60, 100, 3, dtype=torch.uint8)
    image[:, :, 20:80] = 200
    view = denormalise(augment(HandBatch(image), AugmentConfig(), generator(), 60).image)
    torch.testing.assert_close(view, torch.full_like(view, 200 / 255), atol=1e-5, rtol=0)


def test_strong_shrinking_does_not_alias():
    stripes = torch.zeros(1, 512, 512, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255  # the finest pattern there is: its mean is grey
    view = warp(stripes, torch.eye(2, 3)[None], 60)
    assert (view[:, :, 2:-2, 2:-2] - 0.5).abs().max() < 0.02


def test_each_view_depends_on_its_own_image_alone():
    # a neighbour that is shrunk more must not change how this one is read
    batch = hand_batch(num=2, height=160, width=160)
    affine = torch.eye(2, 3).repeat(2, 1, 1)
    affine[1, :, :2] *= 0.4
    both = warp(batch.image, affine, 64)
    torch.testing.assert_close(both[:1], warp(batch.image[:1], affine[:1], 64))


def test_views_are_stacked_and_repeat_with_the_seed():
    config = AugmentConfig(rotation_deg=30, colour=ColourConfig(brightness=(0.5, 1.5)))
    first = make_views(hand_batch(num=4), config, generator(3), 32, num_views=2)
    again = make_views(hand_batch(num=4), config, generator(3), 32, num_views=2)
    assert first.image.shape == (8, 3, 32, 32)
    assert first.affine.shape == (8, 2, 3)
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.affine[:4], first.affine[4:])
    one = augment(hand_batch(num=4), config, generator(3), 32)
    assert torch.equal(first.image[:4], one.image)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rotation_deg", 200.0, "rotation_deg: expected 0 to 180 degrees"),
        ("translation", 15.0, "divide pixels by the side"),
        ("scale", (1.2, 0.8), "scale: expected 0 < low <= high"),
    ],
)
def test_ranges_that_mean_nothing_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**{field: value})
