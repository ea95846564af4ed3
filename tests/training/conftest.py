import pytest
import torch

from pyhandpose.data.augment import AugmentConfig
from pyhandpose.data.sample import HandBatch
from pyhandpose.hand.camera import project
from pyhandpose.methods import PeCLRConfig
from pyhandpose.models.encoder import EncoderConfig
from pyhandpose.models.projector import ProjectorConfig
from pyhandpose.training.config import OptimizerConfig, TrainConfig


class ArrayDataset:
    """Labelled images held in memory: a bright blob at each joint of a random flat hand."""

    def __init__(self, num, side=40, seed=0):
        g = torch.Generator().manual_seed(seed)
        K = torch.tensor([[80.0, 0, (side - 1) / 2], [0, 80.0, (side - 1) / 2], [0, 0, 1]])
        joints = torch.randn(num, 21, 3, generator=g) * 0.03
        joints[..., 2] += 0.5
        joints[..., :2] += 0.04 * torch.randn(num, 1, 2, generator=g)
        points = project(joints, K)
        pixels = torch.arange(side, dtype=torch.float32)
        dx = pixels[None, None, None, :] - points[..., 0, None, None]
        dy = pixels[None, None, :, None] - points[..., 1, None, None]
        blobs = torch.exp(-(dx**2 + dy**2) / 4)  # (N,21,side,side)
        colours = torch.rand(21, 3, generator=g)
        image = torch.einsum("njyx,jc->nyxc", blobs, colours).clamp(0, 1)
        self.batch = HandBatch(
            image=(255 * image).to(torch.uint8),
            joints_img=points,
            joints_cam=joints,
            intrinsics=K.repeat(num, 1, 1),
            joint_valid=torch.ones(num, 21, dtype=torch.bool),
        )
        self.name = f"blobs-{num}"
        self.seed = seed

    def __len__(self):
        return len(self.batch)

    def read(self, indices):
        return self.batch[indices]

    def fingerprint(self):
        return f"{self.name}-{self.seed}"


@pytest.fixture
def blobs():
    return ArrayDataset


@pytest.fixture
def small_peclr():
    return PeCLRConfig(EncoderConfig("tiny", width=4), ProjectorConfig(num_points=8))


@pytest.fixture
def small_train():
    return TrainConfig(
        epochs=3,
        batch_size=8,
        view_size=32,
        augment=AugmentConfig(rotation_deg=30, translation=0.1),
        optimizer=OptimizerConfig(lr=1e-3),
        precision="fp32",
        device="cpu",
    )
