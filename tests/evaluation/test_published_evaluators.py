"""The metrics against the published evaluators, written here once more pose by pose with scipy."""

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist

from pyhandpose.evaluation import distances, mesh, metrics
from pyhandpose.evaluation.metrics import Pck, summarise


@pytest.fixture
def poses():
    """Estimates and labels (30,21,3) m: mirrored, collapsed, far too large."""
    rng = np.random.default_rng(7)
    label = 0.04 * rng.normal(size=(30, 21, 3)) + (0.02, -0.05, 0.6)
    estimate = label + 0.012 * rng.normal(size=label.shape)
    estimate[:8, :, 0] *= -1
    for pose in range(30):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        estimate[pose] = rng.uniform(0.5, 2) * estimate[pose] @ turn + 0.05 * rng.normal(size=3)
    estimate[10] = estimate[10, 0]
    estimate[11] *= 1000
    estimate[12, 9] = estimate[12, 0]
    return estimate, label


def freihand_alignment(label, estimate):
    """One pose (J,3): centred, divided by norms with 1e-8 added, turned or mirrored, and back."""
    centred_label, centred = label - label.mean(0), estimate - estimate.mean(0)
    label_norm, norm = np.linalg.norm(centred_label) + 1e-8, np.linalg.norm(centred) + 1e-8
    turn, size = orthogonal_procrustes(centred_label / label_norm, centred / norm)
    return size * label_norm * (centred / norm) @ turn.T + label.mean(0)


def wrist_alignment(label, estimate):
    """HO-3D's scale and translation alignment of one pose, in canonical order."""
    length = np.linalg.norm(estimate[9] - estimate[0])
    scaled = estimate / length if length > 0 else estimate
    scaled = scaled * np.linalg.norm(label[9] - label[0])
    return scaled - scaled[0] + label[0]


def proper_alignment(label, estimate):
    """One pose moved by the best similarity without a reflection (Umeyama)."""
    centred_label, centred = label - label.mean(0), estimate - estimate.mean(0)
    u, s, vt = np.linalg.svd(centred_label.T @ centred)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    spread = (centred**2).sum()
    factor = (s * sign).sum() / spread if spread > 1e-20 else 1.0
    return factor * centred @ (u * sign @ vt).T + label.mean(0)


def published(estimate, label, align, thresholds, correct):
    """Mean error and AUC as the evaluators compute them: per joint, then over the joints."""
    aligned = np.stack([align(y, x) for x, y in zip(estimate, label, strict=True)])
    error = np.sqrt(((label - aligned) ** 2).sum(2))  # (N,J) m
    means, areas = [], []
    for joint in range(error.shape[1]):
        means.append(error[:, joint].mean())
        curve = np.array([correct(error[:, joint], t).mean() for t in thresholds])
        steps = np.diff(thresholds)
        area = sum((a + b) / 2 * h for a, b, h in zip(curve, curve[1:], steps, strict=False))
        areas.append(area / (thresholds[-1] - thresholds[0]))
    return np.mean(means), np.mean(areas)


AT_MOST = (np.less_equal, False)
BELOW = (np.less, True)
EVALUATORS = {
    "freihand": ("pa_epe_freihand", freihand_alignment, np.linspace(0, 0.05, 100), AT_MOST),
    "absolute": ("epe_absolute", lambda y, x: x, np.linspace(0, 0.05, 100), AT_MOST),
    "ho3d": ("epe_scale_translation", wrist_alignment, np.linspace(0, 0.05, 100), AT_MOST),
    "peclr-repo": ("pa_epe", proper_alignment, np.arange(0.0, 0.5, 0.005), BELOW),
    "peclr-thesis": ("pa_epe", proper_alignment, np.linspace(0, 0.5, 101), BELOW),
    "stb": (
        "epe_root_relative",
        lambda y, x: x - x[0] + y[0],
        np.linspace(0, 0.05, 20)[8:],
        AT_MOST,
    ),
    "dissertation": (
        "epe_middle_mcp_relative",
        lambda y, x: x - x[9] + y[9],
        np.linspace(0, 0.05, 20)[8:],
        AT_MOST,
    ),
}


@pytest.mark.parametrize("name", EVALUATORS)
def test_means_and_areas_are_those_of_the_published_evaluator(name, poses):
    metric, align, thresholds, (correct, strict) = EVALUATORS[name]
    estimate, label = poses
    mean, area = published(estimate, label, align, thresholds, correct)
    pck = Pck(1000 * thresholds[0], 1000 * thresholds[-1], len(thresholds), strict)
    table = metrics.METRICS[metric].measure(
        torch.from_numpy(estimate), torch.from_numpy(label), None
    )
    got = summarise(metric, table, pck)
    assert got.mean == pytest.approx(1000 * mean, rel=1e-12, abs=1e-9)
    assert got.auc == pytest.approx(area, abs=1e-12)


def test_the_offset_of_freihand_s_norms_is_in_the_result(poses):
    """Without it the fifth digit after the point, in mm, differs."""
    estimate, label = (torch.from_numpy(part[:8]) for part in poses)
    estimate = 1e-4 * estimate  # a small estimate, where 1e-8 m is a larger part
    expected = [
        np.linalg.norm(freihand_alignment(y, x) - y, axis=1)
        for x, y in zip(estimate.numpy(), label.numpy(), strict=True)
    ]
    got = distances.freihand_procrustes_mm(estimate, label)
    np.testing.assert_allclose(got, 1000 * np.array(expected), atol=1e-9)
    plain = distances.procrustes_mm(estimate, label, allow_reflection=True)
    assert np.abs(got - plain).max() > 1e-5


def test_only_labelled_joints_take_part_in_freihand_s_alignment(poses):
    estimate, label = poses
    valid = np.random.default_rng(0).random((30, 21)) < 0.6
    got = distances.freihand_procrustes_mm(
        torch.from_numpy(estimate), torch.from_numpy(label), torch.from_numpy(valid)
    )
    for pose in range(30):
        rows = valid[pose]
        aligned = freihand_alignment(label[pose, rows], estimate[pose, rows])
        expected = 1000 * np.linalg.norm(aligned - label[pose, rows], axis=1)
        np.testing.assert_allclose(got[pose, rows], expected, rtol=1e-12, atol=1e-9)
        assert np.isnan(got[pose, ~rows]).all()


def test_ho3d_s_wrist_alignment_needs_the_bone(poses):
    estimate, label = (torch.from_numpy(part.copy()) for part in poses)
    estimate[0, 9], estimate[1, 0], estimate[2, 5] = torch.nan, torch.inf, torch.nan
    label[3, 9] = torch.nan
    valid = torch.ones(30, 21, dtype=torch.bool)
    valid[4, 0] = False
    got = distances.scale_translation_mm(estimate, label, valid)
    assert np.isinf(got[:2]).all()
    assert np.isinf(got[2, 5])
    assert np.isfinite(np.delete(got[2], 5)).all()
    assert np.isnan(got[3:5]).all()
    assert np.isfinite(got[5:]).all()


def brute_force_f_score(estimate, label, threshold):
    apart = cdist(estimate, label)
    recall = (apart.min(1) < threshold).mean()
    precision = (apart.min(0) < threshold).mean()
    both = recall + precision
    return 2 * recall * precision / both if both > 0 else 0.0


@pytest.fixture
def meshes():
    """Estimates and labels (5,778,3) m; the last estimate is nowhere near."""
    rng = np.random.default_rng(3)
    label = 0.05 * rng.normal(size=(5, 778, 3)) + (0, 0, 0.6)
    estimate = label + 0.004 * rng.normal(size=label.shape)
    estimate[4] = 0
    return estimate, label


def test_f_scores_equal_brute_force(meshes):
    estimate, label = meshes
    got = mesh.f_scores(torch.from_numpy(estimate), torch.from_numpy(label))
    for index in range(5):
        for column, threshold in enumerate((0.005, 0.015)):
            expected = brute_force_f_score(estimate[index], label[index], threshold)
            assert got[index, column] == pytest.approx(expected, abs=1e-12)
    assert (got[4] == 0).all()


def test_f_score_s_threshold_is_strict_both_ways():
    """One of two points is found exactly, the other at 500 mm: an exact distance in binary."""
    label = torch.tensor([[[0.0, 0, 0], [8, 0, 0]]])
    estimate = torch.tensor([[[0.5, 0, 0], [8, 0, 0]]])
    assert mesh.f_scores(estimate, label, (500.0,)).item() == 0.5
    assert mesh.f_scores(estimate, label, (500.0 + 1e-9,)).item() == 1


def test_f_score_by_hand():
    """Two of four label points are near an estimate, and both estimates near a label point."""
    label = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]])
    estimate = torch.tensor([[[0.001, 0, 0], [0.999, 0, 0]]])
    got = mesh.f_scores(estimate, label).tolist()
    assert got == [[pytest.approx(2 * 1 * 0.5 / 1.5)] * 2]


def test_a_mesh_summary_equals_the_evaluator_s(meshes):
    estimate, label = meshes
    errors = mesh.MeshErrors()
    errors.add(torch.from_numpy(estimate), torch.from_numpy(label))
    got = errors.summary()
    thresholds = np.linspace(0, 0.05, 100)
    for score, align in ((got.absolute, lambda y, x: x), (got.aligned, freihand_alignment)):
        mean, area = published(estimate, label, align, thresholds, np.less_equal)
        assert score.mean == pytest.approx(1000 * mean, abs=1e-9)
        assert score.auc == pytest.approx(area, abs=1e-12)
        aligned = [align(y, x) for x, y in zip(estimate, label, strict=True)]
        for key, threshold in (("F@5mm", 0.005), ("F@15mm", 0.015)):
            expected = [
                brute_force_f_score(x, y, threshold) for x, y in zip(aligned, label, strict=True)
            ]
            assert score.f_scores[key] == pytest.approx(np.mean(expected), abs=1e-12)
    assert (got.num_meshes, got.num_failed) == (5, 0)


def test_failed_meshes_are_counted_and_score_nothing(meshes):
    estimate, label = (torch.from_numpy(part) for part in meshes)
    whole, first = mesh.MeshErrors(), mesh.MeshErrors()
    estimate[1, 700, 2] = torch.nan
    whole.add(estimate, label)
    first.add(estimate[:2], label[:2])
    rest = mesh.MeshErrors()
    rest.add(estimate[2:], label[2:])
    first.merge(rest)
    assert whole.summary() == first.summary()
    assert whole.summary().num_failed == 1
    without = mesh.MeshErrors()
    without.add(estimate[[0, 2, 3, 4]], label[[0, 2, 3, 4]])
    assert whole.summary().absolute.f_scores["F@15mm"] == pytest.approx(
        0.8 * without.summary().absolute.f_scores["F@15mm"]
    )


def test_mistakes_are_named(meshes):
    estimate, label = (torch.from_numpy(part) for part in meshes)
    with pytest.raises(ValueError, match=r"expected vertices and target \(5, 778, 3\)"):
        mesh.MeshErrors().add(estimate[:, :777], label)
    with pytest.raises(ValueError, match="f_scores: expected estimate"):
        mesh.f_scores(estimate[:3], label)
    assert np.isnan(mesh.MeshErrors().summary().aligned.mean)
