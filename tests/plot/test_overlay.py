"""The overlay paints where the joints are and nowhere else."""

import numpy as np
import pytest

from pyhandpose.hand.skeleton import FINGER_JOINTS, NUM_JOINTS, PARENTS
from pyhandpose.plot.overlay import draw_skeleton
from pyhandpose.plot.palette import FINGER_COLOURS, JOINT_COLOURS, rgb


@pytest.fixture
def joints():
    """A spread hand in a 200 x 160 image."""
    spread = np.zeros((NUM_JOINTS, 2))
    spread[0] = 90, 140
    for finger, members in enumerate(FINGER_JOINTS.values()):
        for step, joint in enumerate(members):
            spread[joint] = 20 + 35 * finger, 110 - 25 * step
    return spread


@pytest.fixture
def grey():
    return np.full((160, 200, 3), 128, np.uint8)


def test_each_joint_has_its_finger_s_colour(grey, joints):
    drawn = draw_skeleton(grey, joints)
    for joint, (x, y) in enumerate(joints.astype(int)):
        assert tuple(drawn[y, x]) == rgb(JOINT_COLOURS[joint]), joint
    assert JOINT_COLOURS[8] == FINGER_COLOURS["index"]


def test_each_bone_is_painted_at_its_middle(grey, joints):
    drawn = draw_skeleton(grey, joints, line_px=3.0)
    for child in range(1, NUM_JOINTS):
        x, y = np.round((joints[child] + joints[PARENTS[child]]) / 2).astype(int)
        assert np.abs(drawn[y, x].astype(int) - rgb(JOINT_COLOURS[child])).max() < 60, child


def test_nothing_changes_away_from_the_hand(grey, joints):
    drawn = draw_skeleton(grey, joints, line_px=2.0)
    changed = np.argwhere((drawn != grey).any(2))[:, ::-1]  # (n,2) x, y
    start, end = joints[list(PARENTS[1:])], joints[1:]
    along = end - start
    t = ((changed[:, None] - start) * along).sum(2) / (along**2).sum(1)
    nearest = start + np.clip(t, 0, 1)[..., None] * along
    distance = np.linalg.norm(changed[:, None] - nearest, axis=2).min(1)
    assert distance.max() < 4
    assert (grey == 128).all(), "the input must not be painted on"


def test_strokes_grow_with_the_image(grey, joints):
    small = (draw_skeleton(grey, joints) != 128).any(2).mean()
    large = np.full((1600, 2000, 3), 128, np.uint8)
    big = (draw_skeleton(large, 10 * joints) != 128).any(2).mean()
    assert big == pytest.approx(small, rel=0.35)


def test_missing_and_far_joints_are_left_out(grey, joints):
    joints[[4, 8]] = np.nan
    joints[12] = 1e9, 0
    joints[16] = 10_000, -3
    drawn = draw_skeleton(grey, joints)
    assert tuple(drawn[int(joints[3, 1]), int(joints[3, 0])]) == rgb(JOINT_COLOURS[3])
    assert (draw_skeleton(grey, np.full((21, 2), np.nan)) == grey).all()


def test_a_hand_partly_outside_is_clipped(grey, joints):
    drawn = draw_skeleton(grey, joints + np.array([150.0, 0.0]))
    assert drawn.shape == grey.shape
    assert (drawn != grey).any()


def test_wrong_input_is_named(grey, joints):
    with pytest.raises(ValueError, match="uint8"):
        draw_skeleton(grey.astype(np.float32), joints)
    with pytest.raises(ValueError, match=r"\(21,2\)"):
        draw_skeleton(grey, joints[:20])
