import colorsys

import pytest
import torch

from pyhandpose.data.colour import (
    ColourConfig,
    HsvScaling,
    gaussian_blur,
    hsv_to_rgb,
    jitter_colour,
    rgb_to_hsv,
)


def images(num=8, side=12, seed=0):
    return torch.rand(num, 3, side, side, generator=torch.Generator().manual_seed(seed))


def jitter(image, seed=0, **config):
    return jitter_colour(image.clone(), ColourConfig(**config), torch.Generator().manual_seed(seed))


def test_nothing_asked_nothing_changed():
    assert torch.equal(jitter(images()), images())


def test_hsv_agrees_with_the_standard_library_and_inverts():
    image = images(1)
    image[..., 0, 0] = 0.0
    image[..., 0, 1] = 1.0
    hue, saturation, value = rgb_to_hsv(image)
    for row in range(12):
        for column in range(12):
            h, s, v = colorsys.rgb_to_hsv(*image[0, :, row, column].tolist())
            ours = [t[0, row, column].item() for t in (hue / 6, saturation, value)]
            assert ours == pytest.approx([h, s, v], abs=1e-5)
    torch.testing.assert_close(hsv_to_rgb(hue, saturation, value), image)


def test_the_papers_jitter_scales_hue_saturation_and_value():
    image = images()
    fixed = HsvScaling((0.5, 0.5), (0.25, 0.25), (0.5, 0.5), (10.0, 10.0))
    hue, saturation, value = rgb_to_hsv(image)
    expected = hsv_to_rgb(0.5 * hue, 0.25 * saturation, 0.5 * value + 10 / 255)
    torch.testing.assert_close(jitter(image, hsv=fixed), expected)


def test_brightness_contrast_and_saturation_by_their_definitions():
    image = 0.3 + 0.4 * images()  # far from the clamp
    grey = (image * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    mean = grey.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(jitter(image, brightness=(0.7, 0.7)), 0.7 * image)
    torch.testing.assert_close(jitter(image, contrast=(0.5, 0.5)), mean + 0.5 * (image - mean))
    expected = grey + 0.5 * (image - grey)
    # the printed coefficients of the chroma axes invert to the luma's to four digits
    torch.testing.assert_close(jitter(image, saturation=(0.5, 0.5)), expected, atol=1e-4, rtol=0)


def test_hue_turns_about_grey():
    image = 0.4 + 0.1 * images()
    turned = jitter(image, hue_deg=90.0)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close((turned * luma).sum(1), (image * luma).sum(1))
    assert (turned - image).abs().amax((1, 2, 3)).max() > 0.02
    grey = torch.full((8, 3, 4, 4), 0.5)
    torch.testing.assert_close(jitter(grey, hue_deg=90.0), grey, atol=1e-4, rtol=0)


def test_colour_drop_leaves_grey_images_at_its_rate():
    image = images(num=400, side=4)
    dropped = jitter(image, drop_probability=0.25)
    is_grey = (dropped.amax(1) - dropped.amin(1)).amax((1, 2)) < 1e-3
    assert 0.15 < is_grey.float().mean() < 0.35
    torch.testing.assert_close(dropped[~is_grey], image[~is_grey], atol=1e-5, rtol=0)


def test_blur_spreads_a_point_by_its_sigma_and_keeps_the_sum():
    point = torch.zeros(2, 3, 41, 41)
    point[:, :, 20, 20] = 1.0
    sigma = torch.tensor([1.0, 3.0])
    blurred = gaussian_blur(point, sigma, 3.0)
    torch.testing.assert_close(blurred.sum((2, 3)), torch.ones(2, 3))
    offsets = torch.arange(41) - 20.0
    variance = (blurred[:, 0].sum(1) * offsets**2).sum(1)
    # the kernel ends at three times the largest sigma
    torch.testing.assert_close(variance.sqrt(), sigma, atol=0.05, rtol=0)


def test_blur_of_a_flat_image_is_the_image():
    flat = torch.full((3, 3, 16, 16), 0.25)
    torch.testing.assert_close(jitter(flat, blur_probability=1.0), flat)


def test_images_draw_independently_and_stay_in_range():
    image = images(1).repeat(16, 1, 1, 1)
    out = jitter(image, brightness=(0.2, 3.0), contrast=(0.2, 3.0), hue_deg=180.0)
    assert out.amin() >= 0
    assert out.amax() <= 1
    assert len({tuple(row.tolist()) for row in out.flatten(1)[:, :8]}) == 16


@pytest.mark.parametrize(
    "config",
    [{"brightness": (1.2, 0.8)}, {"drop_probability": 1.5}, {"hue_deg": 270.0}],
)
def test_ranges_that_mean_nothing_are_refused(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        ColourConfig(**config)


def test_hsv_ranges_are_checked():
    with pytest.raises(ValueError, match=r"HsvScaling\.hue"):
        HsvScaling(hue=(-0.5, 1.0))
