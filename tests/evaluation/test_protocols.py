"""The protocols: their thresholds and comparisons, closed forms, and what they ask of the files."""

import json
import math

import numpy as np
import pytest
import torch

from pyhandpose.evaluation.distances import palm_lengths
from pyhandpose.evaluation.metrics import METRICS
from pyhandpose.evaluation.poses import Poses
from pyhandpose.evaluation.protocols import PROTOCOLS, score
from pyhandpose.evaluation.rmse import rmse_summary

THRESHOLDS_MM = {
    "freihand": [np.linspace(0, 50, 100)] * 2,
    "ho3d": [np.linspace(0, 50, 100)] * 3,
    "peclr-paper": [np.linspace(0, 50, 100)] * 2,
    "peclr-thesis": [np.arange(101) * 5.0] * 2,
    "peclr-repo": [1000 * np.arange(0.0, 0.5, 0.005)] * 2,
    "rhd-stb": [np.linspace(0, 50, 20), np.linspace(0, 50, 20)[8:]],
    "rhd-stb@middle-mcp": [np.linspace(0, 50, 20), np.linspace(0, 50, 20)[8:]],
    "pck2d@0.05": [np.array([0.05])],
}
STRICT = {"peclr-thesis", "peclr-repo", "pck2d@0.05"}


def labels(count=4, **more):
    generator = torch.Generator().manual_seed(1)
    joints = 0.04 * torch.randn(count, 21, 3, generator=generator, dtype=torch.float64)
    joints[..., 2] += 0.6
    return Poses("labels", joints, 300 * joints[..., :2], **more)


def shifted(poses, shift_m, shift_px=(0.0, 0.0), **more):
    """The poses moved by constants; joint 0 and the middle MCP stay where they are."""
    rest = torch.ones(21, 1, dtype=torch.float64)
    rest[[0, 9]] = 0
    cam = poses.joints_cam + rest * torch.tensor(shift_m, dtype=torch.float64)
    img = poses.joints_img + torch.tensor(shift_px, dtype=torch.float64)
    return Poses("predictions", cam, img, **more)


@pytest.mark.parametrize("name", THRESHOLDS_MM)
def test_thresholds_and_comparison_are_the_protocol_s(name):
    curves = [line.pck for line in PROTOCOLS[name].lines if line.pck is not None]
    assert len(curves) == len(THRESHOLDS_MM[name])
    for pck, expected in zip(curves, THRESHOLDS_MM[name], strict=True):
        np.testing.assert_allclose(pck.thresholds, expected, rtol=1e-12)
        assert pck.strict is (name in STRICT)


@pytest.mark.parametrize("name", [name for name in THRESHOLDS_MM if name != "pck2d@0.05"])
@pytest.mark.parametrize("error_mm", [3.2, 24.9, 47.0, 478.0])
def test_area_under_a_constant_error_has_a_closed_form(name, error_mm):
    """Of 21 joints two are exact and 19 off by e: the curve is two steps."""
    metric = "epe_absolute"
    if name.startswith("rhd"):
        metric = PROTOCOLS[name].lines[0].metric
    truth = labels()
    found = score(name, shifted(truth, (0.0, error_mm / 1000, 0.0)), truth).summaries
    for summary in (s for s in found if s.metric == metric):
        t = np.asarray(summary.thresholds)
        exact = 1.0
        if name in STRICT:
            exact = 1 - (t[1] - t[0]) / 2 / (t[-1] - t[0])  # nothing is below the threshold 0
        first = int((t < error_mm).sum())  # index of the first threshold above the error
        if first == 0:
            off = 1.0
        elif first == len(t):
            off = 0.0
        else:  # the trapezoid of the jump is half
            off = (t[-1] - (t[first - 1] + t[first]) / 2) / (t[-1] - t[0])
        assert summary.auc == pytest.approx((2 * exact + 19 * off) / 21, abs=1e-9)
        assert summary.mean == pytest.approx(19 / 21 * error_mm, abs=1e-9)


def test_2d_pck_counts_what_is_nearer_than_a_twentieth_of_the_side():
    size = torch.tensor([[200.0, 100.0]] * 4)
    truth = labels(image_size_px=size)
    for shift, expected in (
        ((9.99, 0.0), 1.0),
        ((10.01, 0.0), 0.0),
        ((0.0, 4.99), 1.0),
        ((0.0, 5.01), 0.0),
        ((7.0, 3.5), 1.0),  # 0.0495
        ((7.2, 3.6), 0.0),  # 0.0509
    ):
        found = score("pck2d@0.05", shifted(truth, (0, 0, 0), shift), truth)
        assert found.summaries[0].pck == (expected,)
    origin = Poses(
        "origin",
        joints_img=torch.zeros(1, 21, 2, dtype=torch.float64),
        image_size_px=torch.tensor([[64.0, 64.0]]),
    )
    exactly = Poses("exactly", joints_img=origin.joints_img + torch.tensor([64 * 0.05, 0.0]))
    found = score("pck2d@0.05", exactly, origin).summaries[0]
    assert found.pck == (0.0,)
    assert math.isnan(found.auc)


def test_rmse_groups_by_hand():
    """Joint j is off by j in each of two poses, joint 20 by 20 and 40."""
    distances = np.arange(21.0) * np.ones((2, 1))
    distances[1, 20] = 40
    got = rmse_summary("3D", "palm lengths", distances, 3)
    value = np.arange(21.0) / math.sqrt(3)
    value[20] = math.sqrt((20**2 + 40**2) / 2 / 3)
    assert got.wrist == 0
    assert got.fingers["index"] == pytest.approx(value[5:9].mean())
    assert got.fingers["little"] == pytest.approx(value[17:21].mean())
    assert got.joint_types["MCP"] == pytest.approx(value[[1, 5, 9, 13, 17]].mean())
    assert got.joint_types["fingertip"] == pytest.approx(value[[4, 8, 12, 16, 20]].mean())
    assert got.total == pytest.approx(value.mean())
    assert list(got.to_json())[2:] == [
        *("wrist", "MCP", "PIP", "DIP", "fingertip"),
        *("thumb", "index", "middle", "ring", "little", "total"),
    ]


def test_rmse_leaves_out_joints_without_labels_and_failed_ones():
    distances = np.full((3, 21), 2.0)
    distances[0, 5], distances[1, 5], distances[:, 0] = np.nan, np.inf, np.nan
    got = rmse_summary("2D", "sides", distances, 2)
    assert got.total == pytest.approx(math.sqrt(2))
    assert math.isnan(got.wrist)


def test_palm_lengths_do_not_depend_on_unit_or_place():
    truth = labels().joints_cam
    estimate = truth + 0.01 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
    got = palm_lengths(estimate, truth)
    moved = torch.tensor([0.3, -0.2, 0.1])
    np.testing.assert_allclose(palm_lengths(1000 * estimate + moved, 1000 * truth), got, rtol=1e-9)
    palm = (truth[:, 9] - truth[:, 0]).norm(dim=1)
    expected = (estimate[:, 4] - estimate[:, 9] - truth[:, 4] + truth[:, 9]).norm(dim=1) / palm
    np.testing.assert_allclose(got[:, 4], expected, rtol=1e-12)
    valid = torch.ones(4, 21, dtype=torch.bool)
    valid[0, 0] = valid[1, 9] = False
    estimate[2, 9] = torch.nan
    estimate[3, 0] = torch.nan
    got = palm_lengths(estimate, truth, valid)
    assert np.isnan(got[:2]).all()
    assert np.isinf(got[2]).all()
    assert np.isinf(got[3, 0])
    assert np.isfinite(got[3, 1:]).all()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_a_table_and_a_record(name):
    truth = labels(
        vertices=torch.rand(4, 778, 3, dtype=torch.float64),
        image_size_px=torch.full((4, 2), 224.0),
    )
    guess = shifted(truth, (0.01, 0, 0), (3.0, 0), vertices=truth.vertices + 0.003)
    got = score(name, guess, truth)
    json.dumps(got.to_json(), allow_nan=False)
    table = got.table()
    for line in PROTOCOLS[name].lines:
        assert PROTOCOLS[name].rmse or METRICS[line.metric].title in table
    assert ("F@5mm" in table) is PROTOCOLS[name].meshes
    assert got.num_poses == 4


def test_names_decide_the_order():
    truth = labels(names=("a", "b", "c", "d"))
    rows = torch.tensor([2, 0, 3, 1, 1])
    guess = Poses(
        "guess", truth.joints_cam[rows], truth.joints_img[rows], names=("c", "a", "d", "b", "more")
    )
    assert score("peclr-paper", guess, truth).summaries[1].mean == 0
    with pytest.raises(ValueError, match="no pose for 1 of 4 names: b"):
        score("freihand", Poses("guess", truth.joints_cam, names=("a", "x", "c", "d")), truth)
    with pytest.raises(ValueError, match="the same name twice: a"):
        score("freihand", Poses("guess", truth.joints_cam, names=("a", "a", "c", "d")), truth)


def test_what_is_missing_is_named():
    truth = labels()
    with pytest.raises(ValueError, match=r"protocol must be one of freihand, ho3d, .* got 'frei'"):
        score("frei", truth, truth)
    with pytest.raises(ValueError, match="few has 3 poses and labels 4"):
        score("freihand", Poses("few", truth.joints_cam[:3]), truth)
    with pytest.raises(ValueError, match="no image sizes"):
        score("pck2d@0.05", truth, truth)
    only_2d = Poses("flat", joints_img=truth.joints_img)
    with pytest.raises(ValueError, match="flat has no camera points"):
        score("freihand", only_2d, truth)
    without_2d = score("peclr-repo", Poses("deep", truth.joints_cam), truth)
    assert [s.metric for s in without_2d.summaries] == ["epe_absolute", "pa_epe"]
    assert "no 2D EPE: deep has no image points" in without_2d.table()
    zero = Poses("jointly", truth.joints_cam, vertices=torch.zeros(4, 778, 3))
    meshed = labels(vertices=torch.rand(4, 778, 3))
    assert "all vertices in jointly are zero" in score("freihand", zero, meshed).table()
    with pytest.raises(ValueError, match=r"vertices must be \(4, 778, 3\), got \(4, 20, 3\)"):
        labels(vertices=torch.rand(4, 20, 3))
