import pytest
import torch


def random_hands(num, seed=0):
    """``(joints_cam (num,21,3) m, intrinsics (num,3,3) px)``, float64, in front of the camera."""
    g = torch.Generator().manual_seed(seed)
    joints = torch.randn(num, 21, 3, generator=g, dtype=torch.float64) * 0.06
    joints[..., 2] += 0.6
    K = torch.zeros(num, 3, 3, dtype=torch.float64)
    K[:, 0, 0] = 200 + 50 * torch.rand(num, generator=g)
    K[:, 1, 1] = 210 + 50 * torch.rand(num, generator=g)
    K[:, 0, 1] = torch.randn(num, generator=g)
    K[:, :2, 2] = 60 + 5 * torch.rand(num, 2, generator=g)
    K[:, 2, 2] = 1
    return joints, K


@pytest.fixture
def hands():
    return random_hands
