"""root_depth: laws, statuses made by hand, and the published arithmetic."""

import pytest
import torch

from pyhandpose import ops, reference
from pyhandpose.hand.camera import apply_image_affine, transform_points
from pyhandpose.testing.inputs import camera_matrix, generator, hands_in_view, view_affines
from pyhandpose.testing.tolerances import EXACT

CAMERA = torch.eye(3, dtype=torch.float64)


@pytest.mark.parametrize("root", [0, 5, 9, 20])
@pytest.mark.parametrize("bone", [(0, 5), (5, 0), (9, 10)])
def test_lifting_inverts_projection(device, root, bone):
    joints_cam, joints_25d, intrinsics, scale = (
        t.to(device) for t in hands_in_view(500, bone=bone, root=root)
    )
    out = ops.root_depth(joints_25d, intrinsics, scale, bone=bone)
    true_depth = joints_cam[:, root, 2] / scale
    ok, ambiguous = out.status == 0, out.status == 1
    assert (ok | ambiguous).all()
    assert ok.sum() > 400
    torch.testing.assert_close(out.joints[ok], joints_cam[ok], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.depth[ok], true_depth[ok], rtol=1e-9, atol=0)
    # Where both solutions are possible, one of them is the truth.
    solutions = torch.stack([out.depth, out.other_depth], 1)[ambiguous]
    nearest = (solutions - true_depth[ambiguous, None]).abs().amin(1)
    assert (nearest <= 1e-9 * true_depth[ambiguous]).all()


def test_the_scale_scales_the_pose_and_nothing_else(device):
    _, joints_25d, intrinsics, scale = (t.to(device) for t in hands_in_view(50))
    unit, scaled = (ops.root_depth(joints_25d, intrinsics, s) for s in (None, scale))
    torch.testing.assert_close(scaled.joints, scale[:, None, None] * unit.joints, **EXACT)
    torch.testing.assert_close(scaled.depth, unit.depth, rtol=0, atol=0)
    torch.testing.assert_close(scaled.other_depth, unit.other_depth, rtol=0, atol=0)


@pytest.mark.parametrize("turned", [False, True])
def test_lifting_follows_a_crop_and_a_resize(device, turned):
    _, joints_25d, intrinsics, scale = hands_in_view(200)
    affine = view_affines(200, translation=60.0)  # here in pixels
    if not turned:
        affine[:, :, :2] = torch.diag_embed(
            torch.linalg.det(affine[:, :, :2]).sqrt()[:, None].expand(-1, 2)
        )
    camera, rotation = apply_image_affine(intrinsics, affine)
    moved = torch.cat([transform_points(joints_25d[..., :2], affine), joints_25d[..., 2:]], -1)
    before = ops.root_depth(*(t.to(device) for t in (joints_25d, intrinsics, scale)))
    after = ops.root_depth(*(t.to(device) for t in (moved, camera, scale)))
    torch.testing.assert_close(after.status, before.status)
    torch.testing.assert_close(after.depth, before.depth, rtol=1e-9, atol=0)
    torch.testing.assert_close(after.other_depth, before.other_depth, rtol=1e-9, atol=1e-9)
    expected = before.joints @ rotation.to(device).mT
    torch.testing.assert_close(after.joints, expected, rtol=1e-9, atol=1e-9)


def test_both_roots_give_the_bone_its_length(device):
    _, joints_25d, intrinsics, _ = (t.to(device) for t in hands_in_view(500, bone=(3, 7)))
    out = ops.root_depth(joints_25d, intrinsics, bone=(3, 7))
    assert (out.status < 2).all()
    assert (out.other_depth <= out.depth).all()
    pixels = torch.cat([joints_25d[..., :2], torch.ones_like(joints_25d[..., :1])], -1)
    rays = pixels @ torch.linalg.inv(intrinsics).mT  # (B,J,3), by another way than the op's
    for depth in (out.depth, out.other_depth):
        joints = (depth[:, None] + joints_25d[..., 2])[..., None] * rays
        length = (joints[:, 3] - joints[:, 7]).norm(dim=-1)
        torch.testing.assert_close(length, torch.ones_like(length), rtol=1e-9, atol=0)


# With K = 1, n at x = p and m at x = q on one line, the bone has length 1 where
# Z (p - q) - dz q = +-sqrt(1 - dz^2), dz the depth of m relative to n (the root).
BY_HAND = [
    # name, p, q, z_m, z of a third joint; status, depth, other depth
    ("ok", 0.0, 0.125, 0.8, 0.0, 0, 4.0, -5.6),
    ("ambiguous", 1.125, 1.0, 0.8, 0.0, 1, 11.2, 1.6),
    ("the other root behind for a third joint", 1.125, 1.0, 0.8, -2.0, 0, 11.2, 1.6),
    ("no depth is enough", 1.125, 1.0, 1.25, 0.0, 2, 10.0, 10.0),
    ("a double root", 1.125, 1.0, 1.0, 0.0, 2, 8.0, 8.0),
    ("one ray", 1.0, 1.0, 0.8, 0.0, 3, None, None),
    ("a third joint behind the camera", 0.0, 0.125, 0.8, -4.5, 3, None, None),
    ("a third joint in the camera's plane", 0.0, 0.125, 0.0, -8.0, 3, None, None),
    ("clamped and behind the camera", 1.125, 1.0, 1.25, -10.5, 3, None, None),
]


def pose_by_hand(p, q, z_m, z_third):
    return torch.tensor([[[p, 0.0, 0.0], [q, 0.0, z_m], [0.5, 0.25, z_third]]], dtype=torch.float64)


@pytest.mark.parametrize(("name", "p", "q", "z_m", "z_third", "status", "depth", "other"), BY_HAND)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_statuses_by_hand(device, name, p, q, z_m, z_third, status, depth, other, dtype):
    pose = pose_by_hand(p, q, z_m, z_third).to(device, dtype).requires_grad_()
    out = ops.root_depth(pose, CAMERA.to(pose), bone=(0, 1))
    assert out.status.tolist() == [status]
    (out.joints.square().sum() + out.depth.sum()).backward()
    if status == 3:
        assert out.depth.isnan().all()
        assert out.other_depth.isnan().all()
        assert out.joints.isnan().all()
        assert (pose.grad == 0).all()
        return
    precision = {"rtol": 8 * torch.finfo(dtype).eps, "atol": 0}
    torch.testing.assert_close(out.depth, torch.full_like(out.depth, depth), **precision)
    torch.testing.assert_close(out.other_depth, torch.full_like(out.depth, other), **precision)
    # The third joint: (Z + z) (0.5, 0.25, 1).
    expected = (depth + z_third) * torch.tensor([0.5, 0.25, 1.0], dtype=dtype, device=device)
    torch.testing.assert_close(out.joints[0, 2], expected, **precision)
    assert pose.grad.isfinite().all()


def spoil_joint(pose, K, s):
    pose[0, 2, 1] = torch.nan


def spoil_relative_depth(pose, K, s):
    pose[0, 9, 2] = torch.inf


def spoil_bone(pose, K, s):
    pose[0, 5, 0] = torch.nan


def spoil_scale(pose, K, s):
    s[0] = torch.nan


def spoil_focal_length(pose, K, s):
    K[0, 0, 0] = torch.inf


def spoil_centre(pose, K, s):
    K[0, 1, 2] = torch.nan


def zero_fx(pose, K, s):
    K[0, 0, 0] = 0


def zero_fy(pose, K, s):
    K[0, 1, 1] = 0


def transpose_camera(pose, K, s):
    K[0] = K[0].T.clone()


def rescale_camera(pose, K, s):
    K[0] *= 2


FAULTS = [
    spoil_joint,
    spoil_relative_depth,
    spoil_bone,
    spoil_scale,
    spoil_focal_length,
    spoil_centre,
    zero_fx,
    zero_fy,
    transpose_camera,
    rescale_camera,
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("mode", ["stable", "published-data", "published-model"])
def test_faults_of_value_stay_in_their_sample(device, fault, mode):
    inputs = [t.clone() for t in hands_in_view(3)[1:]]
    sound = ops.root_depth(*(t[1:].to(device) for t in inputs), mode=mode)
    fault(*inputs)
    results = []
    for op in (ops.root_depth, reference.root_depth):
        given = [t.detach().to(device).requires_grad_() for t in inputs]
        out = op(*given, mode=mode)
        weight = torch.ones_like(out.depth)
        weight[0] = torch.nan  # as a loss hands it back that has met the NaN
        ((out.depth * weight).sum() + (out.joints * weight[:, None, None]).sum()).backward()
        results.append(([t.detach() for t in out], [t.grad for t in given]))
    (values, gradients), twin = results
    assert values[3][0] == 3
    assert all(t[0].isnan().all() for t in values[:3])
    assert all((t[0] == 0).all() for t in gradients)
    assert all(t.isfinite().all() for t in gradients)
    torch.testing.assert_close([t[1:] for t in values], list(sound), rtol=0, atol=0)
    torch.testing.assert_close((values, gradients), twin, **EXACT, equal_nan=True)


def naive_depth(joints_25d, camera):
    """The larger root by b^2 - 4ac, in the dtype given; bone (0, 1)."""
    x = (joints_25d[..., :2] - camera[:2, 2]) / camera[[0, 1], [0, 1]]
    z = joints_25d[..., 2:]
    d, e, dz = x[:, 0] - x[:, 1], z[:, 0] * x[:, 0] - z[:, 1] * x[:, 1], (z[:, 0] - z[:, 1])[:, 0]
    a, b, c = (d * d).sum(1), 2 * (d * e).sum(1), (e * e).sum(1) + dz**2 - 1
    return (-b + (b**2 - 4 * a * c).clamp_min(0).sqrt()) / (2 * a)


def test_float32_near_a_double_root_beats_the_plain_discriminant(device):
    # Bones that are nearly as far apart in depth as they can be at their rays: the discriminant is
    # 1e-4 to 1e-2 of its terms. The float32 pose is the data; the truth is its float64 solution.
    random = generator(5)
    uniform = torch.rand(4000, 6, generator=random, dtype=torch.float64)
    camera = camera_matrix(torch.tensor([500.0, 0.0, 112.0, 500.0, 112.0]).double())
    pixels = 20 + 200 * uniform[:, :2]
    other = pixels + 60 * (uniform[:, 2:4] - 0.5)
    x_n, x_m = (pixels - 112) / 500, (other - 112) / 500
    a = ((x_n - x_m) ** 2).sum(1)
    cross = x_n[:, 0] * x_m[:, 1] - x_m[:, 0] * x_n[:, 1]
    dz = (a / (a + cross**2)).sqrt() * (
        1 - 10 ** (-4 + 2 * uniform[:, 4])
    )  # disc = 0 without the last
    pose = torch.zeros(4000, 2, 3, dtype=torch.float64)
    pose[:, 0, :2], pose[:, 1, :2], pose[:, 0, 2] = pixels, other, dz
    single = pose.float()
    exact = ops.root_depth(single.double(), camera, bone=(0, 1))
    ours = ops.root_depth(single.to(device), camera.float().to(device), bone=(0, 1)).depth.cpu()
    naive = naive_depth(single, camera.float())
    usable = exact.status < 2
    assert usable.sum() > 1000

    def error(depth):
        relative = (depth.double() - exact.depth).abs() / exact.depth.abs()
        return relative[usable].quantile(0.9)

    assert error(ours) < error(naive) / 3
    stable = ops.root_depth(single.to(device), camera.float().to(device), bone=(0, 1))
    ordered = stable.other_depth <= stable.depth
    assert (ordered | stable.depth.isnan()).all()


def published(joints_25d, K, s, *, bone, floor, limits):
    """Transcribed from the description of the published code, and differentiated by autograd."""
    homogeneous = torch.cat([joints_25d[..., :2], torch.ones_like(joints_25d[..., :1])], -1)
    rays = homogeneous @ torch.linalg.inv(K).mT  # (B,J,3)
    (X_n, Y_n), (X_m, Y_m) = rays[:, bone[0], :2].unbind(1), rays[:, bone[1], :2].unbind(1)
    z_n, z_m = joints_25d[:, bone[0], 2], joints_25d[:, bone[1], 2]
    a = (X_n - X_m) ** 2 + (Y_n - Y_m) ** 2
    between = X_n * X_m + Y_n * Y_m
    b = 2 * (z_n * (X_n**2 + Y_n**2 - between) + z_m * (X_m**2 + Y_m**2 - between))
    c = (X_n * z_n - X_m * z_m) ** 2 + (Y_n * z_n - Y_m * z_m) ** 2 + (z_n - z_m) ** 2 - 1
    disc = (b**2 - 4 * a * c).clamp_min(floor)
    Z = (-b + disc.sqrt()) / (2 * a.clamp_min(floor))
    if limits is not None:
        Z = Z.detach().clamp(*limits)
    return Z, rays * ((Z[:, None] + joints_25d[..., 2]) * s[:, None])[..., None]


@pytest.mark.parametrize(
    ("mode", "floor", "limits"),
    [("published-data", 1e-6, None), ("published-model", 1e-8, (4.0, 50.0))],
)
def test_published_modes_equal_a_transcription(device, mode, floor, limits):
    _, joints_25d, intrinsics, scale = hands_in_view(300, bone=(3, 8))
    noise = torch.randn(300, 21, 3, generator=generator(6), dtype=torch.float64)
    joints_25d[:200] += noise[:200] * torch.tensor([2.0, 2.0, 0.25]).double()
    joints_25d[100:150, 8, :2] = joints_25d[100:150, 3, :2] + 0.02 * noise[100:150, 8, :2]
    results = []
    for solve in (
        lambda *inputs: ops.root_depth(*inputs, bone=(3, 8), mode=mode)[:2],
        lambda *inputs: published(*inputs, bone=(3, 8), floor=floor, limits=limits),
    ):
        inputs = [t.detach().to(device).requires_grad_() for t in (joints_25d, intrinsics, scale)]
        depth, joints = solve(*inputs)
        (depth.sum() + (joints * noise.to(device)).sum()).backward()
        # The transcription inverts all of K; the op differentiates by its five parameters.
        grad_parameters = inputs[1].grad[:, [0, 0, 0, 1, 1], [0, 1, 2, 1, 2]]
        gradients = inputs[0].grad, inputs[2].grad, grad_parameters
        results.append([depth.detach(), joints.detach(), *gradients])
    status = ops.root_depth(joints_25d, intrinsics, bone=(3, 8), mode=mode).status
    assert (status == 2).sum() > 10
    assert (status < 2).sum() > 100
    scale_of = [1 + t.abs() for t in results[1]]
    for ours, theirs, size in zip(*results, scale_of, strict=True):
        assert ((ours - theirs).abs() <= 1e-9 * size).all()


@pytest.mark.parametrize("mode", ["published-data", "published-model"])
def test_published_modes_keep_a_joint_behind_the_camera(device, mode):
    pose = pose_by_hand(0.0, 0.125, 0.8, -4.5).to(device)
    out = ops.root_depth(pose, CAMERA.to(device), bone=(0, 1), mode=mode)
    assert out.status.tolist() == [3]
    torch.testing.assert_close(out.depth.item(), 4.0)
    torch.testing.assert_close(out.joints[0, 2, 2].item(), -0.5)


def test_the_published_floor_shortens_the_depth_of_a_bone_along_its_ray():
    # A bone that lies 1e-4 rad off its ray's direction in the image: a = 1e-8, below 1e-6.
    pose = pose_by_hand(1e-4, 0.0, 0.0, 0.0)
    stable, clamped = (
        ops.root_depth(pose, CAMERA, bone=(0, 1), mode=mode)
        for mode in ("stable", "published-data")
    )
    torch.testing.assert_close(stable.depth.item(), 1e4)
    assert stable.status.item() < 2
    assert clamped.status.item() == 2
    assert clamped.depth.item() < stable.depth.item() / 10
