"""Files of poses: every form comes back as what was written."""

import json

import numpy as np
import pytest
import torch

from pyhandpose.data.registry import open_dataset
from pyhandpose.evaluation.pose_files import labels_of, read_poses, write_poses
from pyhandpose.evaluation.poses import Poses
from pyhandpose.hand.skeleton import JOINT_NAMES, from_canonical
from pyhandpose.predict import Prediction


@pytest.fixture
def poses():
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(3, 21, 3, generator=generator, dtype=torch.float64)
    return Poses(
        "made",
        joints,
        100 * joints[..., :2],
        vertices=torch.randn(3, 778, 3, generator=generator, dtype=torch.float64),
        valid=torch.rand(3, 21, generator=generator) < 0.7,
        image_size_px=torch.tensor([[224.0, 200.0]] * 3, dtype=torch.float64),
        names=("a", "b", "c"),
    )


def assert_equal(found, expected):
    for name in ("joints_cam", "joints_img", "vertices", "valid", "image_size_px"):
        got, wanted = getattr(found, name), getattr(expected, name)
        assert (got is None) is (wanted is None), name
        if wanted is not None:
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12, err_msg=name)
    assert found.names == expected.names


def test_our_own_json_comes_back(poses, tmp_path):
    poses.joints_cam[1, 4] = torch.nan
    write_poses(tmp_path / "poses.json", poses)
    assert "NaN" not in (tmp_path / "poses.json").read_text()
    assert_equal(read_poses(tmp_path / "poses.json"), poses)


def test_only_2d_comes_back(poses, tmp_path):
    flat = Poses("flat", joints_img=poses.joints_img)
    write_poses(tmp_path / "poses.json", flat)
    assert_equal(read_poses(tmp_path / "poses.json"), flat)


def test_another_joint_order_is_put_right(poses, tmp_path):
    record = {
        "joint_order": "rhd",
        "joints_cam_mm": (1000 * from_canonical(poses.joints_cam, "rhd")).tolist(),
        "joint_valid": from_canonical(poses.valid[..., None], "rhd")[..., 0].tolist(),
    }
    (tmp_path / "rhd.json").write_text(json.dumps(record))
    got = read_poses(tmp_path / "rhd.json")
    assert_equal(got, Poses("expected", poses.joints_cam, valid=poses.valid))


@pytest.mark.parametrize("where", ["folder", "file"])
def test_freihand_s_labels_are_two_files(where, poses, tmp_path):
    (tmp_path / "evaluation_xyz.json").write_text(json.dumps(poses.joints_cam.tolist()))
    source = tmp_path if where == "folder" else tmp_path / "evaluation_xyz.json"
    assert_equal(read_poses(source), Poses("expected", poses.joints_cam))
    (tmp_path / "evaluation_verts.json").write_text(json.dumps(poses.vertices.tolist()))
    assert_equal(read_poses(source), Poses("expected", poses.joints_cam, vertices=poses.vertices))


def test_ho3d_s_labels_are_in_its_order_and_axes(poses, tmp_path):
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    stored = from_canonical(poses.joints_cam, "mano") * flip
    (tmp_path / "evaluation_xyz.json").write_text(json.dumps(stored.tolist()))
    assert_equal(read_poses(tmp_path, "ho3d"), Poses("expected", poses.joints_cam))


def test_two_poses_are_not_taken_for_joints_and_vertices(poses, tmp_path):
    (tmp_path / "two.json").write_text(json.dumps(poses.joints_cam[:2].tolist()))
    assert len(read_poses(tmp_path / "two.json")) == 2


def test_predictions_of_a_folder_of_photos(poses, tmp_path):
    for index, name in enumerate("cab"):
        record = {
            "image_size_px": [640, 480],
            "joints_img_px": dict(zip(JOINT_NAMES, poses.joints_img[index].tolist(), strict=True)),
            "joints_cam_mm": dict(
                zip(JOINT_NAMES, (1000 * poses.joints_cam[index]).tolist(), strict=True)
            ),
            "joint_order": "canonical",
        }
        photo = {"source": f"{name}.jpg", "hands": [record]}
        (tmp_path / f"{name}.json").write_text(json.dumps(photo))
    got = read_poses(tmp_path)
    assert got.names == ("a", "b", "c")
    np.testing.assert_allclose(got.joints_cam, poses.joints_cam[[1, 2, 0]], rtol=1e-12)
    assert got.image_size_px.tolist() == [[640, 480]] * 3
    (tmp_path / "a.json").write_text(json.dumps({"source": "a.jpg", "hands": [record, record]}))
    with pytest.raises(ValueError, match=r"a\.json: expected one hand in the photo, got 2"):
        read_poses(tmp_path)


def test_what_predict_writes_is_read(tmp_path):
    """The very record, so that a change of its form is noticed."""
    joints_img = np.arange(42, dtype=np.float32).reshape(21, 2)
    joints_mm = np.arange(63, dtype=np.float32).reshape(21, 3)
    prediction = Prediction(
        source="photo.jpg",
        image_size_px=(640, 480),
        hand="right",
        hand_from="given",
        joints_img_px=joints_img,
        joints_cam_mm=joints_mm,
        depth="determined",
        intrinsics_px=(600.0, 600.0, 320.0, 240.0),
        intrinsics_from="given",
        fov_deg=None,
        hand_scale_mm=90.0,
        hand_scale_from="given",
        reference_bone=("wrist", "index_mcp"),
        box_px=(0.0, 0.0, 640.0, 480.0),
        box_from="given",
        checkpoint="model",
    )
    photo = {"source": "photo.jpg", "hands": [prediction.to_json()]}
    (tmp_path / "photo.json").write_text(json.dumps(photo))
    got = read_poses(tmp_path)
    np.testing.assert_allclose(1000 * got.joints_cam[0], joints_mm, rtol=1e-12)
    np.testing.assert_array_equal(got.joints_img[0], joints_img)
    assert got.names == ("photo",)


def test_labels_of_a_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path))
    batch = open_dataset("synthetic:5?size=32").read(torch.arange(5))
    got = read_poses("synthetic:5?size=32")
    np.testing.assert_array_equal(got.joints_cam, batch.joints_cam)
    np.testing.assert_array_equal(got.joints_img, batch.joints_img)
    assert got.image_size_px.tolist() == [[32, 32]] * 5
    np.testing.assert_array_equal(
        labels_of(open_dataset("synthetic:5?size=32"), 2).joints_cam, batch.joints_cam
    )


def test_what_cannot_be_read_is_said(poses, tmp_path):
    def refuse(content, message):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            read_poses(tmp_path / "x.json")

    refuse("[1, 2", "cut off or not JSON")
    refuse("[[1, 2], [3]]", r"expected \[joints, vertices\]")
    refuse('{"poses": []}', "its keys are poses")
    refuse('{"joints_cam_mm": []}', "expected a list of N arrays of 21 x 3")
    short = {"joints_cam_mm": poses.joints_cam.tolist(), "names": ["a"]}
    refuse(json.dumps(short), "expected 3 names, got 1")
    with pytest.raises(FileNotFoundError, match="no such file or folder, and no dataset"):
        read_poses(tmp_path / "nowhere.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected evaluation_xyz\.json"):
        read_poses(tmp_path / "empty")
