"""Submissions: what is written is what the benchmarks describe, and mistakes are found."""

import json
import zipfile

import numpy as np
import pytest
import torch

from pyhandpose.data.registry import open_dataset
from pyhandpose.evaluation import leaderboard
from pyhandpose.evaluation.leaderboard import (
    BENCHMARKS,
    check_submission,
    read_submission,
    write_freihand,
    write_ho3d,
)
from pyhandpose.hand.skeleton import from_canonical

COUNT = 6


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
    """(6,21,3) m: hands of the synthetic world, canonical order, OpenCV axes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYHANDPOSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_dataset(f"synthetic:{COUNT}?size=32").read(torch.arange(COUNT)).joints_cam


@pytest.fixture
def few(monkeypatch):
    """Benchmarks of six images."""
    small = {name: b._replace(counts={COUNT: b.title}) for name, b in BENCHMARKS.items()}
    monkeypatch.setattr(leaderboard, "BENCHMARKS", small)


@pytest.fixture
def frames(tmp_path):
    """HO-3D's list, and the names of the predictions in another order."""
    names = [f"SM1/{number:04d}" for number in range(COUNT)]
    (tmp_path / "evaluation.txt").write_text("\n".join(reversed(names)) + "\n")
    return names, tmp_path / "evaluation.txt"


def content_of(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["pred.json"]
        return json.loads(archive.read("pred.json"))


def write_raw(path, joints, vertices=None):
    """A zip with these lists, whatever they are."""
    vertices = np.zeros((len(joints), 778, 3)) if vertices is None else vertices
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pred.json", json.dumps([np.asarray(joints).tolist(), vertices.tolist()]))
    return path


def test_freihand_s_file_is_as_it_describes_it(hands, few, tmp_path):
    vertices = hands.mean(1, keepdim=True) + 0.05 * torch.rand(COUNT, 778, 3)
    write_freihand(tmp_path / "pred.zip", hands, vertices)
    joints, mesh = content_of(tmp_path / "pred.zip")
    np.testing.assert_allclose(joints, hands, atol=0.51e-7)
    np.testing.assert_allclose(mesh, vertices, atol=0.51e-7)
    back = read_submission(tmp_path / "pred.zip", "freihand")
    np.testing.assert_allclose(back.joints_cam, hands, atol=0.51e-7)
    assert back.vertices.shape == (COUNT, 778, 3)
    found = check_submission(tmp_path / "pred.zip", "freihand")
    assert (found.problems, found.warnings) == ((), ())
    assert "ready for upload" in str(found)


def test_the_same_predictions_give_the_same_file(hands, few, tmp_path):
    for name in ("a.zip", "b.zip"):
        write_freihand(tmp_path / name, hands)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    found = check_submission(tmp_path / "a.zip", "freihand")
    assert "all vertices are zero" in found.warnings[0]


def test_ho3d_s_file_has_its_order_axes_and_frames(hands, few, frames, tmp_path):
    names, frame_list = frames
    vertices = hands.mean(1, keepdim=True) + 0.05 * torch.rand(COUNT, 778, 3)
    write_ho3d(tmp_path / "pred.zip", hands, names, frame_list, vertices)
    joints, mesh = content_of(tmp_path / "pred.zip")
    opengl = vertices.flip(0) * torch.tensor([1.0, -1.0, -1.0])
    np.testing.assert_allclose(mesh, opengl, atol=0.51e-7)
    for row, pose in enumerate(joints):
        hand = hands[COUNT - 1 - row].double().numpy()  # the list is the other way round
        # MANO: 0 wrist, 1 index MCP, 4 middle MCP, 13 thumb CMC, 16 to 20 the tips from the thumb
        for mano, canonical in ((0, 0), (1, 5), (4, 9), (7, 17), (10, 13), (13, 1), (17, 8)):
            x, y, z = hand[canonical]
            np.testing.assert_allclose(pose[mano], [x, -y, -z], atol=0.51e-7)
        assert (np.array(pose)[:, 2] < 0).all()
    back = read_submission(tmp_path / "pred.zip", "ho3d")
    np.testing.assert_allclose(back.joints_cam, hands.flip(0), atol=0.51e-7)
    np.testing.assert_allclose(back.vertices, vertices.flip(0), atol=0.51e-7)
    assert check_submission(tmp_path / "pred.zip", "ho3d").problems == ()


def test_a_frame_without_prediction_is_named(hands, few, frames, tmp_path):
    names, frame_list = frames
    with pytest.raises(ValueError, match="no pose for 1 of 6 names: SM1/0003"):
        write_ho3d(tmp_path / "pred.zip", hands[:5], names[:3] + names[4:], frame_list)
    assert not (tmp_path / "pred.zip").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hands: hands[:-1], "5 poses, expected 6"),
        (lambda hands: 1000 * hands, "look like millimetres"),
        (lambda hands: 10 * hands, "the unit must be metres"),
        (lambda hands: hands * torch.tensor([1.0, -1.0, -1.0]), "6 of 6 hands are behind"),
        (lambda hands: from_canonical(hands, "ait"), "the joints look like the order 'ait'"),
        (lambda hands: torch.full_like(hands, torch.nan), "6 poses are not finite, the first is 0"),
        (lambda hands: hands - hands, "behind the camera"),
    ],
)
def test_mistakes_of_the_right_shape_are_found_and_not_written(
    change, message, hands, few, tmp_path
):
    wrong = change(hands)
    found = check_submission(write_raw(tmp_path / "pred.zip", wrong), "freihand")
    assert message in str(found)
    assert "ready" not in str(found)
    with pytest.raises(ValueError, match=r"new\.zip: "):
        write_freihand(tmp_path / "new.zip", wrong)
    assert not (tmp_path / "new.zip").exists()


def test_a_known_wrong_order_is_named(hands, few, tmp_path):
    for order in ("ait", "mano", "rhd", "interhand"):
        stored = from_canonical(hands, order)
        found = check_submission(write_raw(tmp_path / "pred.zip", stored), "freihand")
        assert f"look like the order {order!r}" in found.problems[0]
    found = check_submission(write_raw(tmp_path / "pred.zip", hands), "ho3d")
    assert any("look like the order 'canonical'" in problem for problem in found.problems)
    assert any("OpenGL axes, where z is negative" in problem for problem in found.problems)


def test_all_problems_are_reported_together(hands, few, tmp_path):
    wrong = hands.clone()[:5]
    wrong[2, 3, 1] = torch.nan
    vertices = np.full((5, 778, 3), 700.0)
    with zipfile.ZipFile(tmp_path / "pred.zip", "w") as archive:
        archive.writestr("out/pred.json", json.dumps([wrong.tolist(), vertices.tolist()]))
        archive.writestr("readme.txt", "")
    problems = check_submission(tmp_path / "pred.zip", "freihand").problems
    for part in ("pred.json and nothing else, at its top", "5 poses, expected 6", "first is 2"):
        assert any(part in problem for problem in problems)
    wrong[2, 3, 1] = 0
    problems = check_submission(
        write_raw(tmp_path / "pred.zip", wrong, vertices), "freihand", num_images=5
    ).problems
    assert len(problems) == 1
    assert "mm from the joints" in problems[0]


def test_files_that_are_no_submission(hands, few, tmp_path):
    def problem(content, name="pred.json"):
        (tmp_path / name).write_text(content)
        return str(check_submission(tmp_path / name, "freihand"))

    joints = hands.tolist()
    assert "cut off or not JSON" in problem(json.dumps([joints, joints])[:-40])
    assert "a submission is a list [joints, vertices], got a list of 6" in problem(
        json.dumps(joints)
    )
    assert "got something else" in problem(json.dumps({"joints_cam_mm": joints}))
    joints[4] = joints[4][:20]
    vertices = np.zeros((COUNT, 778, 3)).tolist()
    assert "entry 4 must be 21 x 3 numbers, got 20 x 3" in problem(json.dumps([joints, vertices]))
    joints[4] = "hand"
    assert "entry 4 is not an array" in problem(json.dumps([joints, vertices]))
    assert "it is not zipped" in problem(json.dumps([hands.tolist(), vertices]))
    assert "nowhere.zip" in str(check_submission(tmp_path / "nowhere.zip", "freihand"))
    with pytest.raises(ValueError, match="benchmark must be one of freihand, ho3d"):
        check_submission(tmp_path / "pred.json", "frei")


def test_the_real_leaderboards_are_the_size_they_are(hands, tmp_path):
    problem = str(check_submission(write_raw(tmp_path / "pred.zip", hands), "freihand"))
    assert "6 poses, expected 3,960 (FreiHAND)" in problem
    problem = str(check_submission(tmp_path / "pred.zip", "ho3d"))
    assert "expected 11,524 (HO-3D v2) or 20,137 (HO-3D v3)" in problem
