import torch

from pyhandpose.hand.camera import project
from pyhandpose.hand.pose25d import to_25d


def test_relative_depth_is_in_bone_lengths_from_the_root(hands):
    joints, K = hands(5)
    joints_25d, scale = to_25d(project(joints, K), joints, bone=(9, 10), root=3)
    torch.testing.assert_close(scale, (joints[:, 9] - joints[:, 10]).norm(dim=-1))
    assert (joints_25d[:, 3, 2] == 0).all()
    torch.testing.assert_close(
        joints_25d[..., 2] * scale[:, None], joints[..., 2] - joints[:, 3:4, 2]
    )
