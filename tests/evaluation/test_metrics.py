"""Metrics against values worked out by hand, and the laws that they obey."""

import math

import numpy as np
import pytest
import torch

from pyhandpose.evaluation import metrics
from pyhandpose.evaluation.metrics import PCK_THRESHOLDS_MM, Pck, PoseErrors, summarise
from pyhandpose.evaluation.pck import BLOCK

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def poses():
    """(6,21,3) random poses in metres, half a metre away."""
    generator = torch.Generator().manual_seed(0)
    return 0.05 * torch.randn(6, 21, 3, generator=generator) + torch.tensor([0.0, 0.0, 0.5])


def random_similarity(generator, reflect=False):
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    if (torch.linalg.det(rotation) < 0) != reflect:
        rotation[:, 0] *= -1
    return rotation, torch.randn(3, generator=generator, dtype=torch.float64)


def test_distances_by_hand():
    estimate = torch.tensor([[[3.0, 4.0], [1.0, 1.0]], [[0.0, NAN], [5.0, 5.0]]])
    target = torch.tensor([[[0.0, 0.0], [1.0, NAN]], [[0.0, 0.0], [5.0, 7.0]]])
    valid = torch.tensor([[True, True], [True, False]])
    got = metrics.joint_distances(estimate, target, valid)
    np.testing.assert_array_equal(got, [[5.0, NAN], [INF, NAN]])


def test_epe_by_hand():
    # joint 0: 10 and 30 mm; joint 1: 20 mm and no label; joint 2: failed in both poses
    distances = np.full((2, 21), NAN)
    distances[:, 0], distances[0, 1], distances[:, 2] = (10.0, 30.0), 20.0, INF
    got = summarise("epe_absolute", distances)
    assert got.per_joint[:2] == (20.0, 20.0)
    assert math.isnan(got.per_joint[2])
    assert got.mean == 20.0
    assert got.median == 30.0  # of 10, 20, 30, inf, inf
    assert got.per_finger["wrist"] == 20.0
    assert got.per_finger["thumb"] == 20.0
    assert math.isnan(got.per_finger["little"])
    assert (got.num_poses, got.num_joints, got.num_missing, got.num_failed) == (2, 5, 37, 2)


def test_the_mean_is_over_joints_after_poses():
    distances = np.full((3, 21), NAN)
    distances[:, 0], distances[0, 1] = 10.0, 40.0
    assert summarise("epe_2d", distances).mean == 25.0  # not 17.5, the mean of the four


def test_pck_counts_the_threshold_itself_unless_it_is_strict():
    distances = np.array([[10.0, INF], [20.0, 20.0], [NAN, NAN], [0.0, 7.0]])
    got = metrics.pck_curve(distances, Pck(0, 20, 3))  # at 0, 10 and 20
    np.testing.assert_allclose(got, [[1 / 3, 0], [2 / 3, 1 / 3], [1, 2 / 3]], rtol=1e-15)
    got = metrics.pck_curve(distances, Pck(0, 20, 3, strict=True))
    np.testing.assert_allclose(got, [[0, 0], [1 / 3, 1 / 3], [2 / 3, 1 / 3]], rtol=1e-15)


@pytest.mark.parametrize(
    "pck",
    [
        Pck(0, 50, 100),
        Pck(0, 50, 100, strict=True),
        Pck(0, 495, 100, strict=True),
        Pck(8 * 50 / 19, 50, 12),
        Pck(0.3, 0.3, 1),
        Pck(0.3, 0.3, 1, strict=True),
    ],
)
def test_pck_equals_counting(pck):
    rng = np.random.default_rng(1)
    distances = rng.uniform(0, 1.2 * pck.stop, (40, 21))
    distances[rng.random((40, 21)) < 0.3] = rng.choice(pck.thresholds)  # ties
    for threshold in pck.thresholds[::7]:
        row, joint = rng.integers(40), rng.integers(21)
        distances[row, joint] = threshold
        distances[row - 1, joint] = np.nextafter(threshold, INF)
        distances[row - 2, joint] = np.nextafter(threshold, -INF)
    distances[rng.random((40, 21)) < 0.2] = NAN
    distances[rng.random((40, 21)) < 0.1] = INF
    got = metrics.pck_curve(distances, pck)
    for row, threshold in enumerate(pck.thresholds):
        for joint in range(21):
            column = distances[:, joint][~np.isnan(distances[:, joint])]
            correct = column < threshold if pck.strict else column <= threshold
            assert got[row, joint] == pytest.approx(correct.mean(), abs=1e-15)


def test_pck_over_many_blocks_equals_counting():
    distances = np.random.default_rng(2).uniform(0, 60, (3 * BLOCK + 5, 2))
    got = metrics.pck_curve(distances)
    expected = (distances <= PCK_THRESHOLDS_MM[:, None, None]).mean(1)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_pck_refuses_thresholds_that_make_no_curve():
    for wrong in ((0, 50, 0), (50, 0, 10), (-1, 50, 10), (0, 50, 1)):
        with pytest.raises(ValueError, match="0 <= start < stop"):
            Pck(*wrong)


@pytest.mark.parametrize("steps", [0, 7, 40.5, 99, 200])
def test_auc_of_a_constant_error_has_a_closed_form(steps):
    # the curve jumps from 0 to 1 between thresholds k - 1 and k, k = ceil(steps): the trapezoids
    # after it are full, the one of the jump is half
    spacing = 50.0 / 99
    got = summarise("pa_epe", np.full((5, 21), steps * spacing * (1 - 1e-12))).auc
    jump = math.ceil(steps)
    expected = 1.0 if jump == 0 else max(0.0, (99 - jump + 0.5) / 99)
    assert got == pytest.approx(expected, abs=1e-12)


def test_thresholds_are_those_of_the_papers():
    assert len(PCK_THRESHOLDS_MM) == 100
    assert (PCK_THRESHOLDS_MM[0], PCK_THRESHOLDS_MM[-1]) == (0.0, 50.0)


def test_absolute_error_is_the_length_of_the_shift_in_mm(poses):
    shift = torch.tensor([0.003, 0.004, 0.0])
    np.testing.assert_allclose(metrics.absolute_mm(poses + shift, poses), 5.0, rtol=1e-4)


def test_root_relative_error_ignores_where_the_hand_is(poses):
    moved = poses + torch.randn(6, 1, 3, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(metrics.root_relative_mm(moved, poses), 0.0, atol=1e-3)
    moved[:, 8, 0] += 0.01
    got = metrics.root_relative_mm(moved, poses)
    np.testing.assert_allclose(got[:, 8], 10.0, rtol=1e-3)
    np.testing.assert_allclose(np.delete(got, 8, 1), 0.0, atol=1e-3)


def test_root_relative_error_needs_the_root(poses):
    valid = torch.ones(6, 21, dtype=torch.bool)
    valid[0, 0] = False
    estimate = poses.clone()
    estimate[1, 0] = NAN
    got = metrics.root_relative_mm(estimate, poses, valid)
    assert np.isnan(got[0]).all()
    assert np.isinf(got[1]).all()
    assert np.isfinite(got[2:]).all()


def test_pa_error_of_a_moved_turned_and_scaled_hand_is_zero(poses):
    generator = torch.Generator().manual_seed(2)
    for scale in (0.2, 1.0, 30.0):
        rotation, shift = random_similarity(generator)
        moved = scale * poses.double() @ rotation.mT + shift
        assert metrics.procrustes_mm(moved, poses.double()).max() < 1e-9


def test_a_mirrored_hand_has_no_error_only_where_reflections_are_allowed(poses):
    rotation, shift = random_similarity(torch.Generator().manual_seed(3), reflect=True)
    mirrored = poses.double() @ rotation.mT + shift
    allowed = metrics.procrustes_mm(mirrored, poses.double(), allow_reflection=True)
    assert allowed.max() < 1e-9
    assert metrics.procrustes_mm(mirrored, poses.double()).mean() > 10


def test_aligned_errors_do_not_exceed_root_relative_ones_in_squares(poses):
    estimate = poses + 0.01 * torch.randn(poses.shape, generator=torch.Generator().manual_seed(4))
    aligned = (metrics.procrustes_mm(estimate, poses) ** 2).sum(1)
    relative = (metrics.root_relative_mm(estimate, poses) ** 2).sum(1)
    assert (aligned <= relative).all()


def test_only_labelled_joints_align(poses):
    generator = torch.Generator().manual_seed(5)
    valid = torch.rand(6, 21, generator=generator) < 0.6
    rotation, shift = random_similarity(generator)
    moved = poses.double() @ rotation.mT + shift
    moved[~valid] = 1e3
    moved[0, int((~valid[0]).nonzero()[0])] = NAN  # an unlabelled joint cannot fail
    got = metrics.procrustes_mm(moved, poses.double(), valid)
    np.testing.assert_array_equal(np.isnan(got), ~valid.numpy())
    assert np.nanmax(got) < 1e-9


def test_two_labels_are_too_few_to_align(poses):
    valid = torch.zeros(6, 21, dtype=torch.bool)
    valid[0, :2], valid[1, :3] = True, True
    got = metrics.procrustes_mm(poses + 0.001, poses, valid)
    assert np.isnan(got[0]).all()
    assert np.isfinite(got[1, :3]).all()


def test_a_pose_with_a_failed_joint_cannot_be_aligned(poses):
    estimate = poses.clone()
    estimate[2, 7, 1] = INF
    got = metrics.procrustes_mm(estimate, poses)
    assert np.isinf(got[2]).all()
    assert np.isfinite(np.delete(got, 2, 0)).all()
    summary = summarise("pa_epe", got)
    assert summary.num_failed == 21
    assert summary.pck[-1] == pytest.approx(5 / 6)
    assert math.isfinite(summary.mean)


def add_all(errors, poses, slices):
    generator = torch.Generator().manual_seed(6)
    estimate = poses + 0.01 * torch.randn(poses.shape, generator=generator)
    estimate[3] = NAN
    valid = torch.rand(6, 21, generator=generator) < 0.8
    for part in slices:
        errors.add(
            1000 * estimate[part, :, :2],
            estimate[part],
            1000 * poses[part, :, :2],
            poses[part],
            valid[part],
            torch.full((6, 2), 128.0)[part],
        )
    return errors


def test_batches_and_merged_parts_equal_one_pass(poses):
    whole = add_all(PoseErrors(tuple(metrics.METRICS)), poses, [slice(0, 6)]).summaries()
    batches = add_all(PoseErrors(tuple(metrics.METRICS)), poses, [slice(0, 1), slice(1, 6)])
    first = add_all(PoseErrors(tuple(metrics.METRICS)), poses, [slice(0, 4)])
    first.merge(add_all(PoseErrors(tuple(metrics.METRICS)), poses, [slice(4, 6)]))
    for metric, expected in whole.items():
        for other in (batches.summaries()[metric], first.summaries()[metric]):
            assert other.mean == pytest.approx(expected.mean, rel=1e-12)
            assert other.num_failed == expected.num_failed
            assert other.pck == expected.pck


def test_without_labels_everything_is_nan_and_counted(poses):
    errors = PoseErrors()
    errors.add(poses[..., :2], poses, None, None)
    for summary in errors.summaries().values():
        assert math.isnan(summary.mean)
        assert summary.num_missing == 6 * 21
        assert summary.to_json()["mean"] is None
    assert PoseErrors().summaries()["pa_epe"].num_poses == 0


def test_mistakes_are_named(poses):
    with pytest.raises(ValueError, match="valid must be"):
        metrics.joint_distances(poses, poses, torch.ones(6, 20, dtype=torch.bool))
    with pytest.raises(ValueError, match="estimate and target"):
        metrics.joint_distances(poses, poses[:3])
    with pytest.raises(ValueError, match="unheard"):
        PoseErrors(("unheard",))
    with pytest.raises(ValueError, match="epe_2d_sides needs image_size_px"):
        PoseErrors(("epe_2d_sides",)).add(poses[..., :2], poses, None, None)
    with pytest.raises(ValueError, match="expected metrics"):
        PoseErrors(("epe_2d",)).merge(PoseErrors())
