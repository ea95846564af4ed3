"""Frozen features of a dataset, for probes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyhandpose.data.augment import AugmentConfig, augment
from pyhandpose.data.registry import Dataset
from pyhandpose.training.config import choose_device, uses_bf16


@torch.no_grad()
def extract_features(
    encoder: nn.Module,
    data: Dataset,
    view_size: int,
    batch_size: int = 512,
    device: str = "auto",
    precision: str = "auto",
) -> Tensor:
    """The encoder's pooled features of every image, unaugmented, in the dataset's order.

    Args:
        encoder: (B,3,S,S) -> (B,F), such as ``method.encoder``; moved to the
            device, its mode restored.
        data: N images.
        view_size: S, px.
        batch_size: images at a time; does not change the result beyond rounding.
        device: as ``TrainConfig.device``.
        precision: as ``TrainConfig.precision``.

    Returns:
        (N,F) float32 on the CPU.
    """
    where = choose_device(device)
    bf16 = uses_bf16(precision, where)
    was_training = encoder.training
    encoder.to(device=where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    unchanged, generator = AugmentConfig(), torch.Generator()
    features = []
    for indices in torch.arange(len(data)).split(batch_size):
        view = augment(data.read(indices).to(where), unchanged, generator, view_size)
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=bf16):
            features.append(encoder(view.image).float().cpu())
    encoder.train(was_training)
    return torch.cat(features)
