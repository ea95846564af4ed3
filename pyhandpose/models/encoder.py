"""Image encoders: (B,3,S,S) -> (B,F) pooled features.

Every encoder is an ``nn.Module`` with ``num_features``. Those of timm keep timm's parameter names,
which for ResNets are torchvision's without ``fc``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class EncoderConfig:
    """Which network turns an image into a feature vector."""

    name: str = "tiny"
    """"tiny" (a ten-layer ResNet for 64 px views on a CPU), "resnet18", "resnet34", "resnet50",
    "resnet101", "resnet152", or any timm model name."""
    width: int = 16
    """Channels of the first stage of "tiny", which has 32 times as many features; other encoders
    have their own widths and ignore this."""
    pretrained: bool = False
    """Start from timm's ImageNet weights (downloaded once); "tiny" has none."""


class Encoder(nn.Module):
    """What the methods ask of an encoder: (B,3,S,S) normalised images to (B,F) features.

    timm's models are such encoders without deriving from this class.
    """

    num_features: int
    """F, the width of the pooled features."""


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder that a config names.

    Raises:
        ValueError: an unknown name, or weights that do not exist.
        ModuleNotFoundError: timm is needed and not installed.
        OSError: the ImageNet weights are not cached and cannot be fetched.
    """
    if config.name == "tiny":
        if config.pretrained:
            raise ValueError(
                "build_encoder: the tiny encoder has no ImageNet weights; set pretrained to false "
                "or choose a timm model such as resnet18"
            )
        return TinyResNet(config.width)
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"build_encoder: encoder {config.name!r} comes from timm, which cannot be imported "
            f"({error}); run `pip install timm torchvision`, or use the encoder 'tiny'"
        ) from error
    if not timm.is_model(config.name):
        close = ", ".join(timm.list_models(f"*{config.name[:6]}*")[:5]) or "resnet18, resnet50"
        raise ValueError(
            f"build_encoder: expected 'tiny' or the name of a timm model, got {config.name!r}; "
            f"for example {close}"
        )
    try:
        # num_classes=0 keeps the global pooling and drops the classifier
        encoder = timm.create_model(config.name, pretrained=config.pretrained, num_classes=0)
    except OSError as error:
        raise OSError(
            f"build_encoder: the ImageNet weights of {config.name!r} could not be fetched "
            f"({error}); connect to the internet once, or set pretrained to false "
            "(--encoder.no-pretrained)"
        ) from error
    # some models have a wide layer after the pooling: theirs is the width that comes out
    encoder.num_features = encoder.head_hidden_size
    return encoder


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection, ResNet's basic block."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B,C_in,h,w) -> (B,C_out,h/stride,w/stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class TinyResNet(Encoder):
    """A ten-layer ResNet for small views: 3x3 stem of stride 2, max-pool, four stages of one block.

    With width w and 64 px views the stages have w, 2w, 4w, 8w channels at 16, 8, 4, 2 px. The last
    map is pooled to 2 x 2 and not to one mean: a hand's position must survive, and so few channels
    cannot carry it through a global mean as a ResNet-50's 2,048 can.
    """

    GRID = 2

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.num_features = 8 * width * self.GRID**2
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = ResidualBlock(width, width, stride=1)
        self.layer2 = ResidualBlock(width, 2 * width, stride=2)
        self.layer3 = ResidualBlock(2 * width, 4 * width, stride=2)
        self.layer4 = ResidualBlock(4 * width, 8 * width, stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """(B,3,S,S) -> (B,32w), the means over the quarters of the last feature map."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(F.adaptive_avg_pool2d(x, self.GRID), 1)
