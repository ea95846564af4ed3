"""The two-pass crop against the published test protocol, written as pixel affines."""

import numpy as np
import pytest

from pyhandpose.data.two_pass import TwoPass

SIDE = 224
PUBLISHED = TwoPass(first_fraction=0.33, fill=0.7, whole_pixels=True)


def affine_of(box):
    """(zoom, shift) of p' = zoom p + shift between pixel centres named by integers."""
    zoom = SIDE / (box[2] - box[0])
    assert box[3] - box[1] == pytest.approx(box[2] - box[0])
    return zoom, zoom * (0.5 - np.array(box[:2])) - 0.5


def published(bounds):
    """The published transform of a box (x1, y1, x2, y2): its centre to pixel 112, 0.7 of 224."""
    x1, y1, x2, y2 = bounds
    zoom = 0.7 * SIDE / max(x2 - x1, y2 - y1)
    return zoom, SIDE / 2 - zoom * np.array([(x1 + x2) / 2, (y1 + y2) / 2])


def centred(size):
    """The published first box: of the image (0, 0, W, H), a third, square."""
    half = 0.33 * max(size) / 2
    x, y = size[0] / 2, size[1] / 2
    return x - half, y - half, x + half, y + half


@pytest.mark.parametrize("size", [(224, 224), (640, 480), (300, 900)])
def test_both_crops_are_the_published_ones(size):
    first = PUBLISHED.first(size, SIDE)
    zoom, shift = affine_of(first)
    expected_zoom, expected_shift = published(centred(size))
    assert zoom == pytest.approx(expected_zoom)
    np.testing.assert_allclose(shift, expected_shift, atol=1e-9)

    found = np.random.default_rng(0).uniform(30, 180, (21, 2))  # px of the first crop
    low, high = found.min(0).astype(int), found.max(0).astype(int)
    in_photo = (np.concatenate([low, high]) - np.tile(expected_shift, 2)) / expected_zoom
    second = PUBLISHED.second(found, first, size, SIDE)
    zoom, shift = affine_of(second)
    expected_zoom, expected_shift = published(in_photo)
    assert zoom == pytest.approx(expected_zoom)
    np.testing.assert_allclose(shift, expected_shift, atol=1e-9)


def test_other_methods_start_from_the_largest_centred_square():
    crops = TwoPass(first_fraction=None, fill=0.5)
    first = crops.first((640, 480), 64)
    assert first == (80.0, 0.0, 560.0, 480.0)
    points = np.array([[16.25, 20.0], [48.25, 30.0]])  # 240 px of the photo wide: in a 480 px crop
    x0, y0, x1, y1 = crops.second(points, first, (640, 480), 64)
    assert (x1 - x0, y1 - y0) == pytest.approx((480.0, 480.0))


def test_a_pose_that_is_too_small_is_enlarged_about_its_centre():
    crops = TwoPass(first_fraction=None, fill=0.5, least=0.25)
    first = crops.first((640, 480), 64)  # 7.5 px of the photo a pixel
    x0, y0, x1, y1 = crops.second(np.array([[30.0, 40.0], [32.0, 42.0]]), first, (640, 480), 64)
    assert (x1 - x0, y1 - y0) == pytest.approx((240.0, 240.0))  # 16 px, half the crop
    _, shift = affine_of((x0, y0, x1, y1))
    zoom = SIDE / 240
    centre = 80 + 7.5 * 31.5 - 0.5, 7.5 * 41.5 - 0.5  # px of the photo
    half_a_pixel = SIDE / 64 / 2  # lands on 32 of 64 pixels, whose centre is at 31.5
    landed = (zoom * np.array(centre) + shift - (SIDE - 1) / 2).max()
    assert landed == pytest.approx(half_a_pixel)


def test_a_box_is_shown_with_its_margin():
    crops = TwoPass(first_fraction=None, fill=0.5)
    x0, y0, x1, y1 = crops.around((100.0, 50.0, 140.0, 90.0), 64)
    assert (x1 - x0, y1 - y0) == pytest.approx((80.0, 80.0))
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((120.0, 70.0), abs=80 / 64)


@pytest.mark.parametrize(
    "points",
    [
        [[np.nan, 3.0], [10.0, 30.0]],
        [[np.inf, 3.0], [10.0, 30.0]],
        [[5.0, 5.0], [5.0, 5.0]],
        [[-900.0, 0.0], [900.0, 30.0]],
        [[500.0, 500.0], [520.0, 520.0]],
        [[-90.0, 10.0], [-50.0, 20.0]],
    ],
    ids=["nan", "inf", "point", "huge", "outside", "left of it"],
)
def test_what_cannot_be_a_hand_leaves_the_first_crop(points):
    crops = TwoPass(first_fraction=None, fill=0.5)
    first = crops.first((640, 480), 64)
    assert crops.second(np.array(points), first, (640, 480), 64) == first
