"""Appearance augmentation on batches: colour in HSV and in RGB, colour drop, Gaussian blur.

Everything acts on (B,3,S,S) images with values in [0, 1] and draws its numbers from an explicit
generator. What is linear in RGB (brightness, contrast, saturation, hue, drop) is composed into one
3 x 4 matrix per image, so that the whole jitter costs one matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

Range = tuple[float, float]
UNCHANGED: Range = (1.0, 1.0)

LUMA = (0.299, 0.587, 0.114)

# Rec. 601 luma and the two chroma axes in which a turn about grey is a change of hue.
RGB_TO_YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def _check_range(owner: str, name: str, value: Range, low: float) -> None:
    if not low <= value[0] <= value[1]:
        raise ValueError(
            f"{owner}.{name}: expected {low} <= low <= high, got {value}; give the lower end first"
        )


@dataclass(frozen=True)
class HsvScaling:
    """Colour jitter as the papers state it: H, S and V scaled, V shifted (001 and 000, appendix).

    Hue is scaled, not turned: H in [0, 360) degrees becomes f H.
    """

    hue: Range = UNCHANGED
    """Range of the factor on H; the papers use 0.01 to 1."""
    saturation: Range = UNCHANGED
    """Range of the factor on S; the papers use 0.01 to 1."""
    value: Range = UNCHANGED
    """Range of the factor on V; the papers use 0.5 to 1."""
    value_bias: Range = (0.0, 0.0)
    """Range of the shift of V after scaling, grey levels of 255; the papers use 5 to 20."""

    def __post_init__(self) -> None:
        for name in ("hue", "saturation", "value", "value_bias"):
            _check_range("HsvScaling", name, getattr(self, name), 0.0)


@dataclass(frozen=True)
class ColourConfig:
    """How the appearance of a view changes; the defaults change nothing."""

    hsv: HsvScaling = field(default_factory=HsvScaling)
    """The papers' jitter, applied first."""
    brightness: Range = UNCHANGED
    """Range of the factor on all channels."""
    contrast: Range = UNCHANGED
    """Range of the factor on the distance from the image's mean grey."""
    saturation: Range = UNCHANGED
    """Range of the factor on the distance of each pixel from its own grey."""
    hue_deg: float = 0.0
    """Largest turn of the hue about the grey axis, degrees, either way."""
    drop_probability: float = 0.0
    """Probability that an image loses its colour."""
    blur_probability: float = 0.0
    """Probability that an image is blurred."""
    blur_sigma: Range = (0.1, 2.0)
    """Range of the Gaussian's standard deviation, pixels of the view."""

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            _check_range("ColourConfig", name, getattr(self, name), 0.0)
        _check_range("ColourConfig", "blur_sigma", self.blur_sigma, 0.01)
        for name in ("drop_probability", "blur_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"ColourConfig.{name}: expected a probability in [0, 1], "
                    f"got {getattr(self, name)}"
                )
        if not 0 <= self.hue_deg <= 180:
            raise ValueError(f"ColourConfig.hue_deg: expected 0 to 180 degrees, got {self.hue_deg}")


def jitter_colour(image: Tensor, config: ColourConfig, generator: torch.Generator) -> Tensor:
    """A batch of images, each with its own draw of every change that the config asks for.

    Args:
        image: (B,3,S,S) float32 in [0, 1], RGB. May be overwritten.
        config: the ranges.
        generator: CPU generator. The same number of draws is made whatever the config, so two
            configs with the same seed differ only in what they change.

    Returns:
        (B,3,S,S) float32 in [0, 1].
    """
    num = image.shape[0]
    draws = torch.rand(11, num, generator=generator).to(image.device)  # (11,B) in [0, 1)
    if config.hsv != HsvScaling():
        image = _scale_hsv(image, config.hsv, draws[:4])
    if _is_linear_jitter_on(config):
        image = _apply_colour_matrix(image, config, draws[4:9])
    if config.blur_probability > 0:
        blurred = draws[9] < config.blur_probability  # (B,) bool
        sigma = _within(config.blur_sigma, draws[10])[blurred]
        image[blurred] = gaussian_blur(image[blurred], sigma, config.blur_sigma[1])
    return image


def _within(limits: Range, draw: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * draw


def _is_linear_jitter_on(config: ColourConfig) -> bool:
    ranges = (config.brightness, config.contrast, config.saturation)
    return any(r != UNCHANGED for r in ranges) or config.hue_deg > 0 or config.drop_probability > 0


def _apply_colour_matrix(image: Tensor, config: ColourConfig, draws: Tensor) -> Tensor:
    """Rgb' = D Q S (c b (rgb - m) + b m) with m the image's mean grey; all but c fix greys.

    b brightness, c contrast, S saturation, Q hue, D colour drop. S, Q and D leave every grey as
    it is, so the offset is (1 - c) b m in each channel.
    """
    num, _, height, width = image.shape
    brightness = _within(config.brightness, draws[0])  # (B,)
    contrast = _within(config.contrast, draws[1])
    saturation = _within(config.saturation, draws[2])
    angle = math.radians(config.hue_deg) * (2 * draws[3] - 1)
    dropped = draws[4] < config.drop_probability

    to_yiq = image.new_tensor(RGB_TO_YIQ)  # (3,3)
    keep = saturation * (~dropped)  # (B,): S and D both scale the chroma
    cos, sin, zero = angle.cos() * keep, angle.sin() * keep, torch.zeros_like(angle)
    chroma = torch.stack([torch.ones_like(zero), zero, zero, zero, cos, -sin, zero, sin, cos], -1)
    matrix = torch.linalg.inv(to_yiq) @ chroma.view(num, 3, 3) @ to_yiq  # (B,3,3)

    flat = image.reshape(num, 3, height * width)
    mean_grey = flat.mean(dim=2) @ to_yiq[0]  # (B,)
    gain = (brightness * contrast)[:, None, None]
    offset = ((1 - contrast) * brightness * mean_grey)[:, None, None]
    jittered = torch.baddbmm(offset, gain * matrix, flat)
    return jittered.clamp_(0, 1).view_as(image)


def _scale_hsv(image: Tensor, config: HsvScaling, draws: Tensor) -> Tensor:
    """H' = f_h H, S' = f_s S, V' = f_v V + bias / 255, clamped to [0, 1]."""
    hue_factor, saturation_factor, value_factor = (
        _within(limits, draw)[:, None, None]
        for limits, draw in zip(
            (config.hue, config.saturation, config.value), draws[:3], strict=True
        )
    )
    bias = _within(config.value_bias, draws[3])[:, None, None] / 255
    hue, saturation, value = rgb_to_hsv(image)
    value = (value_factor * value + bias).clamp_(0, 1)
    return hsv_to_rgb(hue_factor * hue, (saturation_factor * saturation).clamp_(0, 1), value)


def rgb_to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in sextants [0, 6), saturation and value in [0, 1], each (B,S,S), of (B,3,S,S)."""
    red, green, blue = image.unbind(1)
    value = image.amax(1)
    chroma = value - image.amin(1)
    safe = chroma.clamp_min(1e-12)
    hue = torch.where(
        value == red,
        ((green - blue) / safe) % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return hue, chroma / value.clamp_min(1e-12), value


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Inverse of ``rgb_to_hsv``: V - V S clip(min(k, 4-k), 0, 1), k = (n + H) mod 6, n = 5,3,1."""
    chroma = value * saturation
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, dim=1)


def gaussian_blur(image: Tensor, sigma: Tensor, largest_sigma: float) -> Tensor:
    """Each image blurred by its own separable Gaussian, borders replicated.

    Args:
        image: (B,3,S,S).
        sigma: (B,) px.
        largest_sigma: px; fixes the kernel's radius, 3 sigma rounded up, for the whole batch.

    Returns:
        (B,3,S,S).
    """
    num, channels, height, width = image.shape
    if num == 0:
        return image
    radius = min(math.ceil(3 * largest_sigma), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)  # (B,2r+1)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = image.reshape(1, num * channels, height, width)
    flat = F.pad(flat, (radius, radius, radius, radius), mode="replicate")
    flat = F.conv2d(flat, kernel[:, :, None, :], groups=num * channels)
    flat = F.conv2d(flat, kernel[:, :, :, None], groups=num * channels)
    return flat.view_as(image)
