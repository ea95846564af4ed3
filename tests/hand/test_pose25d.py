import pytest
import torch

from pyhandpose.hand.camera import project
from pyhandpose.hand.pose25d import lift, to_25d


def test_relative_depth_is_in_bone_lengths_from_the_root(hands):
    joints, K = hands(5)
    joints_25d, scale = to_25d(project(joints, K), joints, bone=(9, 10), root=3)
    torch.testing.assert_close(scale, (joints[:, 9] - joints[:, 10]).norm(dim=-1))
    assert (joints_25d[:, 3, 2] == 0).all()
    torch.testing.assert_close(
        joints_25d[..., 2] * scale[:, None], joints[..., 2] - joints[:, 3:4, 2]
    )


@pytest.mark.parametrize(("bone", "root"), [((0, 5), 0), ((9, 10), 0), ((0, 9), 7)])
def test_lift_inverts_projection(hands, bone, root):
    joints, K = hands(40)
    joints_25d, scale = to_25d(project(joints, K), joints, bone, root)
    pose = lift(joints_25d, K, scale, bone=bone)
    sure = pose.status == 0
    assert sure.float().mean() > 0.5
    torch.testing.assert_close(pose.joints_cam[sure], joints[sure], atol=1e-9, rtol=0)
    torch.testing.assert_close(pose.joints_img, joints_25d[..., :2])
