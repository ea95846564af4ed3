"""The published fine-tuned network against a plain twin, on weights laid out as in its file."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from pyhandpose.data.augment import View
from pyhandpose.hand.camera import project
from pyhandpose.hand.skeleton import MIDDLE_MCP, MIDDLE_PIP, from_canonical
from pyhandpose.methods import PeCLRFineTunedConfig, build_method
from pyhandpose.models.encoder import EncoderConfig
from pyhandpose.models.pretrained import compare, translate

SMALL = PeCLRFineTunedConfig(EncoderConfig("resnet18"))
K_DEFAULT = torch.tensor([[388.9018310596544, 0, 112], [0, 388.71231836584275, 112], [0, 0, 1]])


# in the published order: palm, 5 MCPs, 5 PIPs, 5 DIPs, 5 tips
THEIR_MCP, THEIR_PIP = 3, 8

FINGERTIPWARDS = [[1, 6, 11, 16], [2, 7, 12, 17], [3, 8, 13, 18], [4, 9, 14, 19], [5, 10, 15, 20]]


class Twin:
    """The published network a second time, as plainly as possible: one sample, one joint at a time.

    ``backbone`` and ``refiner`` are modules; ``predict`` is everything after them.
    """

    def __init__(self, pose, seed=0, resnet="resnet18"):
        """``pose`` (21,3), added to small random outputs, so that they are near a hand's."""
        torch.manual_seed(seed)
        self.backbone = getattr(torchvision.models, resnet)()
        self.backbone.fc = nn.Linear(self.backbone.fc.in_features, 64)
        with torch.no_grad():
            self.backbone.fc.weight *= 0.02
            self.backbone.fc.bias[:63] += torch.as_tensor(pose, dtype=torch.float32).flatten()
        width = 128
        self.refiner = nn.Sequential(
            nn.Linear(64, width),
            nn.BatchNorm1d(width),
            nn.LeakyReLU(),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.LeakyReLU(),
            nn.Linear(width, 1),
        )
        for module in [*self.backbone.modules(), *self.refiner]:
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.num_batches_tracked += 7
        self.backbone.eval()
        self.refiner.eval()

    def published_weights(self):
        backbone = {f"backend_model.{k}": v for k, v in self.backbone.state_dict().items()}
        refiner = {f"zroot_ref.zroot_ref.{k}": v for k, v in self.refiner.state_dict().items()}
        return {**backbone, **refiner}

    @torch.no_grad()
    def predict(self, image, K):
        """(B,3,224,224), (B,3,3) -> (B,21,3) in bone lengths, wrist first, finger by finger."""
        outputs = self.backbone(image).numpy().astype(np.float64)
        return np.stack(
            [self._lift(o, k) for o, k in zip(outputs, K.double().numpy(), strict=True)]
        )

    def _lift(self, output, K):
        pose = output[:63].reshape(21, 3)
        z = pose[:, 2].copy()
        z[0] = 0
        rays = np.stack([np.linalg.inv(K) @ [u, v, 1] for u, v, _ in pose])
        x_m, y_m, x_n, y_n = *rays[THEIR_MCP, :2], *rays[THEIR_PIP, :2]
        z_m, z_n = z[THEIR_MCP], z[THEIR_PIP]
        a = (x_n - x_m) ** 2 + (y_n - y_m) ** 2
        b = 2 * ((x_n - x_m) * (x_n * z_n - x_m * z_m) + (y_n - y_m) * (y_n * z_n - y_m * z_m))
        c = (x_n * z_n - x_m * z_m) ** 2 + (y_n * z_n - y_m * z_m) ** 2 + (z_n - z_m) ** 2 - 1
        discriminant = max(b * b - 4 * a * c, 1e-8)
        root = min(max((-b + np.sqrt(discriminant)) / (2 * max(a, 1e-8)), 4.0), 50.0)
        self.unrefined = root
        known = np.concatenate([z, rays[:, :2].ravel(), [root]])
        root += self.refiner(torch.tensor(known[None], dtype=torch.float32)).item()
        joints = rays * (z + root)[:, None]
        wrist = 2 * joints[0] - joints[THEIR_MCP]
        return np.stack([wrist, *(joints[j] for finger in FINGERTIPWARDS for j in finger)])


def hand(seed=0, distance=0.6, num=1):
    """(num,21,3) m: points about a palm 9 cm from the wrist, in front of the default camera."""
    g = torch.Generator().manual_seed(seed)
    joints = 0.04 * torch.randn(num, 21, 3, generator=g)
    joints[:, MIDDLE_PIP] = joints[:, MIDDLE_MCP] + torch.tensor([0.02, -0.03, 0.01])
    return joints + torch.tensor([0.0, 0.0, distance])


def pose_25d(joints):
    """(21,3) of the published order, palm first, px and bone lengths."""
    palm = (joints[0] + joints[MIDDLE_MCP]) / 2
    joints = torch.cat([palm[None], joints[1:]])
    scale = (joints[MIDDLE_MCP] - joints[MIDDLE_PIP]).norm()
    points = project(joints[None], K_DEFAULT[None])[0]
    z = (joints[:, 2:] - palm[2]) / scale
    return from_canonical(torch.cat([points, z], 1), "ait")


def loaded(twin):
    method = build_method(SMALL)
    tensors = translate(twin.published_weights()).tensors
    assert compare(method.state_dict(), tensors).fits
    method.load_state_dict(tensors)
    return method.eval()


@pytest.mark.parametrize(
    ("distance", "unrefined"), [(0.6, None), (0.09, 4.0), (4.0, 50.0)], ids=["", "near", "far"]
)
def test_it_is_the_published_arithmetic(distance, unrefined):
    twin = Twin(pose_25d(hand(1, distance)[0]))
    image = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    K = K_DEFAULT.repeat(3, 1, 1)
    K[1, 0, 0], K[1, 0, 2], K[2, 1, 1] = 300.0, 90.0, 500.0
    expected = twin.predict(image, K)
    if unrefined is not None:
        assert twin.unrefined == unrefined  # this case is about the clamp
    else:
        assert 4 < twin.unrefined < 50
    scale = torch.tensor([0.03, 0.028, 0.035])
    pose = loaded(twin).predict(image, K, scale)
    np.testing.assert_allclose(
        pose.joints_cam, expected * scale.numpy()[:, None, None], rtol=2e-4, atol=1e-5
    )
    # in the image every joint is where the network put it, the wrist where its 3D point is seen
    np.testing.assert_allclose(project(pose.joints_cam, K), pose.joints_img, rtol=1e-4, atol=1e-2)
    without_scale = loaded(twin).predict(image, K)
    np.testing.assert_allclose(without_scale.joints_cam, expected, rtol=2e-4, atol=2e-4)


def test_without_intrinsics_the_published_ones_are_taken():
    method = loaded(Twin(pose_25d(hand(1)[0])))
    image = torch.randn(2, 3, 224, 224)
    ours, default = method.predict(image, None), method.predict(image, K_DEFAULT.repeat(2, 1, 1))
    torch.testing.assert_close(ours.joints_cam, default.joints_cam)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"224.*got \(1, 3, 128, 128\)"):
        build_method(SMALL).predict(torch.zeros(1, 3, 128, 128), None)


def labelled_view(num=4):
    joints = hand(3, num=num)
    K = K_DEFAULT.repeat(num, 1, 1)
    return View(
        image=torch.zeros(num, 3, 224, 224),
        affine=torch.eye(2, 3).repeat(num, 1, 1),
        joints_img=project(joints, K),
        joints_cam=joints,
        intrinsics=K,
        joint_valid=torch.ones(num, 21, dtype=torch.bool),
    )


def test_the_true_pose_has_no_loss_but_the_untrained_refiner_s():
    method, view = build_method(SMALL).eval(), labelled_view()
    truth = torch.stack([pose_25d(joints) for joints in view.joints_cam])
    _, metrics = method.loss(truth, view)
    assert metrics["loss_2d"].item() == pytest.approx(0, abs=1e-3)
    assert metrics["loss_depth"].item() == pytest.approx(0, abs=1e-4)
    for parameter in method.refiner.layers[-1].parameters():
        torch.nn.init.zeros_(parameter)  # adds nothing: the closed form is exact
    assert method.loss(truth, view)[1]["loss_refined_depth"].item() == pytest.approx(0, abs=1e-2)
    loss, metrics = method.loss(truth + torch.tensor([2.0, -1.0, 0.5]), view)
    assert metrics["loss_2d"].item() == pytest.approx(3.0, abs=1e-3)
    assert metrics["loss_depth"].item() == pytest.approx(0.5, abs=1e-4)
    total = 3.0 + 5 * 0.5 + metrics["loss_refined_depth"].item()
    assert loss.item() == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("joint", [0, MIDDLE_MCP, MIDDLE_PIP])
def test_a_hand_without_palm_or_bone_gives_no_depth_term(joint):
    method, view = build_method(SMALL).eval(), labelled_view()
    view.joint_valid[1, joint] = False
    view.joints_cam[1, joint] = 0
    outputs = torch.randn(4, 21, 3, requires_grad=True)
    loss, _ = method.loss(outputs, view)
    loss.backward()
    assert loss.isfinite()
    assert outputs.grad.isfinite().all()
    # of the depths only the refiner could speak, and it has nothing to say of this hand
    assert (outputs.grad[1, :, 2] == 0).all()
    assert (outputs.grad[0, 1:, 2] != 0).all()
    if joint != MIDDLE_PIP:
        assert (outputs.grad[1, 0] == 0).all()


def test_points_alone_train_all_but_the_palm():
    method, view = build_method(SMALL), labelled_view()
    outputs = torch.randn(4, 21, 3, requires_grad=True)
    flat = View(view.image, view.affine, view.joints_img, None, None, view.joint_valid)
    loss, metrics = method.loss(outputs, flat)
    loss.backward()
    assert list(metrics) == ["loss_2d"]
    assert (outputs.grad[:, 0] == 0).all()
    assert (outputs.grad[:, 1:, :2] != 0).all()
