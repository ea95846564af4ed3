from dataclasses import replace

import pytest
import torch

from pyhandpose.data.augment import View
from pyhandpose.hand.camera import project
from pyhandpose.hand.pose25d import to_25d
from pyhandpose.methods import SupervisedConfig, build_method
from pyhandpose.models.encoder import EncoderConfig

TINY = SupervisedConfig(EncoderConfig("tiny", width=4))
SIDE = 32


def labelled_view(num=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    joints = torch.randn(num, 21, 3, generator=g) * 0.04
    joints[..., 2] += 0.5
    K = torch.tensor([[60.0, 0, 15.5], [0, 60.0, 15.5], [0, 0, 1]]).repeat(num, 1, 1)
    return View(
        image=torch.randn(num, 3, SIDE, SIDE, generator=g),
        affine=torch.eye(2, 3).repeat(num, 1, 1),
        joints_img=project(joints, K),
        joints_cam=joints,
        intrinsics=K,
        joint_valid=torch.ones(num, 21, dtype=torch.bool),
    )


def test_the_true_pose_has_zero_loss_and_a_known_error_its_own():
    view, method = labelled_view(), build_method(TINY)
    truth, _ = to_25d(view.joints_img, view.joints_cam)
    assert method.loss(truth, view)[0].item() == pytest.approx(0, abs=1e-5)
    off = truth + torch.tensor([2.0, -1.0, 0.5])
    loss, metrics = method.loss(off, view)
    assert metrics["loss_2d"].item() == pytest.approx(3.0, abs=1e-4)
    assert metrics["loss_depth"].item() == pytest.approx(0.5, abs=1e-4)
    assert loss.item() == pytest.approx(3.0 + 5 * 0.5, abs=1e-4)


def test_joints_without_labels_do_not_count():
    view, method = labelled_view(), build_method(TINY)
    outputs = torch.randn(6, 21, 3, requires_grad=True)
    view.joint_valid[2:, 8] = False
    view.joints_img[2:, 8] = 0
    view.joints_cam[2:, 8] = 0
    method.loss(outputs, view)[0].backward()
    assert (outputs.grad[2:, 8] == 0).all()
    assert (outputs.grad[:2, 8] != 0).all()


def test_image_points_without_3d_train_2d_alone_in_a_mixed_batch():
    view, method = labelled_view(), build_method(TINY)
    has_3d = torch.tensor([True, False]).repeat(3)
    view.joints_cam[~has_3d] = 0
    mixed = replace(view, joint_valid_cam=has_3d[:, None].expand(6, 21))
    outputs = torch.randn(6, 21, 3, requires_grad=True)
    method.loss(outputs, mixed)[0].backward()
    assert (outputs.grad[..., :2] != 0).all()
    assert (outputs.grad[has_3d][:, 1:, 2] != 0).all()
    assert (outputs.grad[~has_3d][..., 2] == 0).all()


@pytest.mark.parametrize("joint", [0, 5])
def test_a_missing_reference_bone_leaves_the_image_points(joint):
    view, method = labelled_view(), build_method(TINY)
    view.joint_valid[1, joint] = False
    view.joints_cam[1, joint] = 0
    outputs = torch.randn(6, 21, 3, requires_grad=True)
    loss, _ = method.loss(outputs, view)
    loss.backward()
    assert loss.isfinite()
    assert (outputs.grad[1, :, 2] == 0).all()
    assert (outputs.grad[1, 10, :2] != 0).all()


def test_2d_labels_alone_train_2d():
    view = labelled_view()
    flat = View(view.image, view.affine, joints_img=view.joints_img, joint_valid=view.joint_valid)
    _, metrics = build_method(TINY).loss(torch.randn(6, 21, 3), flat)
    assert set(metrics) == {"loss_2d"}


def test_images_without_labels_are_refused_with_what_they_are_for():
    view = labelled_view()
    with pytest.raises(ValueError, match="pyhandpose pretrain"):
        build_method(TINY).loss(torch.randn(6, 21, 3), View(view.image, view.affine))


def test_a_centred_output_is_the_centre_pixel_at_any_view_size():
    method = build_method(TINY).eval()
    torch.nn.init.zeros_(method.regressor.linear.weight)
    torch.nn.init.zeros_(method.regressor.linear.bias)
    for side in (32, 48):
        pose = method.joints_25d(torch.randn(2, 3, side, side))
        assert (pose[..., :2] == (side - 1) / 2).all()


def test_a_perfect_network_predicts_the_pose_in_metres_and_in_bone_lengths():
    view, method = labelled_view(), build_method(TINY).eval()
    truth, scale = to_25d(view.joints_img, view.joints_cam)
    method.joints_25d = lambda image: truth
    pose = method.predict(view.image, view.intrinsics, scale)
    sure = pose.status == 0
    assert sure.any()
    torch.testing.assert_close(pose.joints_cam[sure], view.joints_cam[sure], atol=1e-4, rtol=0)
    torch.testing.assert_close(pose.joints_img, view.joints_img)
    in_bones = method.predict(view.image, view.intrinsics)
    torch.testing.assert_close(
        in_bones.joints_cam[sure] * scale[sure, None, None], pose.joints_cam[sure]
    )
