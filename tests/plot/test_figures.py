"""Figures show what they are given; matplotlib's own state stays as it was."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from pyhandpose.plot.curves import label_efficiency_figure, pck_figure, per_joint_figure
from pyhandpose.plot.examples import Example, examples_figure
from pyhandpose.plot.figure import png_bytes
from pyhandpose.plot.palette import JOINT_COLOURS, rgb
from pyhandpose.plot.skeleton3d import skeleton_figure


def test_pck_figure_draws_each_curve_with_its_area():
    thresholds = np.linspace(0, 50, 100)
    curves = {"one": thresholds / 50, "two": np.ones(100)}
    figure = pck_figure(curves, thresholds, {"one": 0.5, "two": 1.0})
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 100 * thresholds / 50)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["one\nAUC 0.500", "two\nAUC 1.000"]
    assert "mm" in axes.get_xlabel()


def test_label_efficiency_figure_draws_means_and_seeds():
    results = {"a": {64: [1.0, 2.0, 6.0], 256: [1.0]}, "b": {256: [2.0, 4.0]}}
    (axes,) = label_efficiency_figure(results, reference=("mean pose", 5.0)).axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[64, 3], [256, 1]])
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[256, 3]])
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 6
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "mean pose"]


def test_per_joint_figure_marks_missing_joints():
    errors = np.arange(1.0, 22.0)
    errors[5] = np.nan
    (axes,) = per_joint_figure(errors).axes
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, np.nan_to_num(errors))
    assert [text.get_text() for text in axes.texts].count("n/a") == 1
    with pytest.raises(ValueError, match="21"):
        per_joint_figure(errors[:20])


def test_skeleton_figure_is_drawn_about_the_wrist():
    pose = np.random.default_rng(0).normal(size=(21, 3)) * 40 + [0, 0, 500]
    figure = skeleton_figure(pose, pose + 5)
    front = figure.axes[0]
    drawn = np.concatenate([line.get_xydata() for line in front.lines])
    tip = (pose - pose[0])[8, :2]
    assert np.abs(drawn - tip).sum(1).min() < 1e-9
    with Image.open(io.BytesIO(png_bytes(figure))) as image:
        assert image.size[0] > 1000


def test_skeleton_figure_says_when_there_is_no_depth():
    figure = skeleton_figure(np.full((21, 3), np.nan), np.zeros((21, 3)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no depth"]


def test_examples_show_truth_and_estimate_on_the_enlarged_image():
    rng = np.random.default_rng(0)
    truth, estimate = rng.uniform(8, 40, (2, 21, 2))
    pose = rng.normal(size=(21, 3)) * 40
    example = Example("worst", np.zeros((48, 48, 3), np.uint8), estimate, truth, pose, pose + 1)
    figure = examples_figure([example, example])
    assert len(figure.axes) == 8
    assert figure.axes[0].get_ylabel() == "worst"
    for panel, joints in zip(figure.axes, (truth, estimate), strict=False):
        shown = panel.images[0].get_array()
        assert shown.shape == (384, 384, 3)  # 8 times
        x, y = np.round((joints[20] + 0.5) * 8 - 0.5).astype(int)  # the last joint drawn
        assert tuple(shown[y, x]) == rgb(JOINT_COLOURS[20])


def test_matplotlib_s_settings_are_left_alone():
    before = dict(mpl.rcParams)
    png_bytes(per_joint_figure(np.ones(21)))
    assert dict(mpl.rcParams) == before
