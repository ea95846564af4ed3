"""The laws of the synthetic world: determinism, cameras, depth, anatomy."""

import dataclasses

import numpy as np
import pytest
import torch

from pyhandpose._extension import synthetic as renderer
from pyhandpose.data.sample import HandBatch
from pyhandpose.data.synthetic import LOOKS, render
from pyhandpose.hand.camera import project
from pyhandpose.hand.skeleton import BONES, FINGER_JOINTS

NOT_RENDERED = {"joint_valid_cam", "mirrored", "crop", "source"}
FIELDS = [field.name for field in dataclasses.fields(HandBatch) if field.name not in NOT_RENDERED]


@pytest.fixture(scope="module", params=LOOKS)
def batch(request):
    return render(7, range(48), 64, request.param)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", [64, 37])  # 37: not a multiple of a tile
def test_a_sample_is_the_same_whatever_is_rendered_with_it(look, size):
    together = render(3, range(6), size, look, num_threads=1)
    apart = render(3, [4, 1], size, look, num_threads=3)
    for field in FIELDS:
        assert torch.equal(getattr(together, field)[[4, 1]], getattr(apart, field)), field


def test_seeds_indices_and_looks_differ():
    images = [
        render(0, [0], 32).image,
        render(1, [0], 32).image,
        render(0, [1], 32).image,
        render(0, [0], 32, "wild").image,
    ]
    for i in range(len(images)):
        for j in range(i):
            assert not torch.equal(images[i], images[j])


def test_looks_share_hand_and_camera():
    studio, wild = render(5, range(4), 32), render(5, range(4), 32, "wild")
    for field in ("joints_img", "joints_cam", "intrinsics"):
        assert torch.equal(getattr(studio, field), getattr(wild, field))


def test_shapes_and_types(batch):
    expected = {
        "image": ((48, 64, 64, 3), torch.uint8),
        "joints_img": ((48, 21, 2), torch.float32),
        "joints_cam": ((48, 21, 3), torch.float32),
        "intrinsics": ((48, 3, 3), torch.float32),
        "joint_valid": ((48, 21), torch.bool),
        "visibility": ((48, 21), torch.bool),
        "mask": ((48, 64, 64), torch.bool),
        "depth": ((48, 64, 64), torch.float32),
        "occluded": ((48,), torch.bool),
    }
    for field, (shape, dtype) in expected.items():
        value = getattr(batch, field)
        assert (tuple(value.shape), value.dtype) == (shape, dtype), field


def test_joints_project_to_their_pixels(batch):
    projected = project(batch.joints_cam, batch.intrinsics)
    torch.testing.assert_close(projected, batch.joints_img, atol=1e-3, rtol=0)


def test_hands_fill_the_picture_and_lie_in_it(batch):
    inside = ((batch.joints_img >= -0.5) & (batch.joints_img <= 63.5)).all(-1)
    assert inside.float().mean() > 0.99
    extent = (batch.joints_img.amax(1) - batch.joints_img.amin(1)).amax(-1) / 64
    assert 0.499 < extent.min() < 0.53
    assert 0.72 < extent.max() < 0.751
    assert 0.3 < batch.visibility.float().mean() < 0.9


def test_mask_is_where_there_is_depth(batch):
    assert torch.equal(batch.mask, batch.depth > 0)
    assert batch.mask.flatten(1).any(1).all()


@pytest.fixture(scope="module")
def in_front():
    """How far the surface lies in front of each joint, m, at its pixel and the eight around it.

    (40,21,9), the joint's own pixel at 4; NaN where the hand is not seen.
    """
    batch = render(2, range(40), 128)
    pixel = batch.joints_img.round().long()
    offset = torch.tensor([[x, y] for y in (-1, 0, 1) for x in (-1, 0, 1)])
    around = (pixel[:, :, None] + offset).clamp(0, 127)
    surface = batch.depth[torch.arange(40)[:, None, None], around[..., 1], around[..., 0]]
    gap = torch.where(surface > 0, batch.joints_cam[..., 2, None] - surface, torch.nan)
    return batch, gap


def test_surface_lies_within_the_flesh_in_front_of_a_visible_joint(in_front):
    batch, gap = in_front
    joint = torch.nonzero(batch.visibility)[:, 1]
    gap = gap[batch.visibility]
    assert gap.shape[0] > 300
    at_joint = gap[:, 4]
    assert at_joint.isfinite().float().mean() > 0.99  # rounding may leave the hand's outline
    assert (at_joint[at_joint.isfinite()] > 0).all()
    nearest = gap.nan_to_num(1.0).amin(1)  # rounding may also meet the finger next to it
    assert nearest.max() < 0.032  # on a slant through the thickest flesh, the thumb's root
    finger = (joint >= 5) & ((joint - 5) % 4 > 0)
    assert nearest[finger].max() < 0.02


def test_a_joint_behind_something_else_is_not_visible(in_front):
    batch, gap = in_front
    hidden = (gap > 0.03).all(-1)
    assert hidden.sum() > 20
    assert not (hidden & batch.visibility).any()


def test_occluded_samples_are_marked():
    batch = render(11, range(80), 48, "wild")
    fraction = batch.occluded.float().mean()
    assert 0.15 < fraction < 0.5
    share = batch.mask.flatten(1).float().mean(1)
    assert share[batch.occluded].mean() < share[~batch.occluded].mean()


def test_bone_lengths_do_not_depend_on_the_pose():
    rng = np.random.default_rng(0)
    low, high = renderer.pose_limits()
    lengths = []
    for _ in range(5):
        joints = renderer.joints(rng.uniform(low, high), 3)
        lengths.append([np.linalg.norm(joints[b] - joints[a]) for a, b in BONES])
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], (5, 20)), rtol=1e-10)


def test_proportions_are_human(batch):
    """Adult hands measure about 160 to 210 mm from the wrist to the middle fingertip."""
    bone = torch.stack(
        [(batch.joints_cam[:, b] - batch.joints_cam[:, a]).norm(dim=-1) for a, b in BONES], 1
    )
    by_child = {child: bone[:, i] for i, (_, child) in enumerate(BONES)}
    hand = sum(by_child[j] for j in FINGER_JOINTS["middle"])
    assert hand.min() > 0.135
    assert hand.max() < 0.24
    for finger in ("index", "middle", "ring", "little"):
        _, proximal, middle, distal = (by_child[j] for j in FINGER_JOINTS[finger])
        assert (proximal > middle).all()
        assert ((distal / proximal > 0.3) & (distal / proximal < 0.75)).all()
    assert bone.std(0).min() > 1e-3  # people differ


def test_angles_lie_within_the_limits():
    poses = renderer.poses(0, np.arange(300))
    low, high = renderer.pose_limits()
    assert (poses >= low - 1e-12).all()
    assert (poses <= high + 1e-12).all()
    assert (poses.std(0) > np.radians(2)).all()


def test_angles_are_those_between_the_bones():
    """The flexion of PIP and DIP, measured on the rendered joints, is the pose's."""
    joints = render(0, range(60), 16).joints_cam.double().numpy()
    poses = renderer.poses(0, np.arange(60))
    for f, finger in enumerate(("index", "middle", "ring", "little")):
        chain = joints[:, FINGER_JOINTS[finger]]
        bones = np.diff(chain, axis=1)
        bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
        bend = np.arccos(np.clip((bones[:, :-1] * bones[:, 1:]).sum(-1), -1, 1))
        np.testing.assert_allclose(bend, np.abs(poses[:, 4 * f + 2 : 4 * f + 4]), atol=2e-3)


def test_spread_is_coupled_to_flexion():
    poses = renderer.poses(1, np.arange(300))
    bent = poses[:, 0] > np.radians(70)
    assert bent.sum() > 10
    assert np.abs(poses[bent, 1]).max() < np.radians(5)


def test_poses_do_not_pass_through_themselves():
    depth = [renderer.penetration(pose, 0) for pose in renderer.poses(2, np.arange(200))]
    assert np.mean(np.array(depth) < 0.003) > 0.95
    assert max(depth) < 0.012


@pytest.mark.parametrize("call", [renderer.joints, renderer.penetration])
def test_a_pose_of_another_length_is_refused(call):
    with pytest.raises(ValueError, match=r"pose must hold .* angles, got 3"):
        call(np.zeros(3), 0)


def test_the_hand_is_a_right_one():
    """Of an open right hand: fingers along y, thumb towards x, curling towards the palm's side."""
    poses = renderer.archetypes()
    open_hand, fist = (renderer.joints(poses[name], 0) for name in ("open", "fist"))
    distal = open_hand[9] - open_hand[0]
    radial = open_hand[5] - open_hand[17]
    palmar = np.cross(radial, distal)  # the palm's side, of a right hand only
    assert np.dot(open_hand[4] - open_hand[1], radial) > 0
    for tip in (8, 12, 16, 20):
        assert np.dot(fist[tip] - open_hand[tip], palmar) > 0


def test_camera_axes_keep_the_hand_right_handed(batch):
    """Rendering does not mirror: in camera axes too, fingers bend about the radial direction."""
    j = batch.joints_cam
    radial = j[:, 5] - j[:, 17]
    bones = j[:, 10] - j[:, 9], j[:, 11] - j[:, 10]
    axis = torch.linalg.cross(*bones) / (bones[0].norm(dim=-1) * bones[1].norm(dim=-1))[:, None]
    bent = axis.norm(dim=-1) > 0.2
    assert bent.sum() > 20
    assert ((axis * radial).sum(-1)[bent] > 0).all()


def test_depth_of_one_cone_is_the_true_perspective_depth():
    """Against the envelope of many spheres, each met by the quadratic formula in float64."""
    start, end, radii = np.array([-0.03, 0.02, 0.4]), np.array([0.05, -0.03, 0.5]), (0.03, 0.012)
    size, focal, center = 48, 110.0, 23.0
    cone = np.concatenate([start, end, radii])[None]
    depth = renderer.cones_depth(cone, [focal, center, center], size)

    y, x = np.mgrid[:size, :size]
    ray = np.stack([(x - center) / focal, (y - center) / focal, np.ones((size, size))], -1)
    expected = np.full((size, size), np.inf)
    for t in np.linspace(0, 1, 4001):
        middle, radius = start + t * (end - start), radii[0] + t * (radii[1] - radii[0])
        a, b = (ray**2).sum(-1), ray @ middle
        root = b**2 - a * (middle @ middle - radius**2)
        near = np.where(root >= 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        expected = np.minimum(expected, near)
    seen = np.isfinite(expected)
    outline = seen ^ (depth > 0)
    assert outline.sum() <= 2  # rays that graze the surface
    both = seen & (depth > 0)
    assert both.sum() > 300
    assert np.abs(depth - expected)[both].max() < 1e-3  # at grazing rays
    assert np.median(np.abs(depth - expected)[both]) < 5e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"indices": [-1]}, "indices"),
        ({"indices": [[0]]}, "indices"),
        ({"size": 15}, "size must be 16"),
        ({"size": 4096}, "size"),
        ({"look": "cartoon"}, "look must be one of studio, wild, got 'cartoon'"),
        ({"num_threads": 0}, "num_threads"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render(**({"seed": 0, "indices": [0], "size": 16} | arguments))


def test_no_samples_are_an_empty_batch():
    assert render(0, [], 16).image.shape == (0, 16, 16, 3)


def test_geometry_can_be_left_out():
    batch = render(0, [0], 16, geometry=False)
    assert batch.mask is None
    assert batch.depth is None
    assert torch.equal(batch.image, render(0, [0], 16).image)
