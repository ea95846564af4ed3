"""The experiment on samples that the test lays out as the real ones are."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.data.two_pass import TwoPass
from pyhandpose.evaluation.mean_pose import MeanPose
from pyhandpose.experiments.real_photos import measure, read_labelled, table
from pyhandpose.hand.pose25d import HandPose
from pyhandpose.hand.skeleton import from_canonical
from pyhandpose.predict import Predictor

SIDE = 32


@pytest.fixture
def samples(tmp_path):
    """Two photos of 80 x 60 px in FreiHAND's form and one of two hands in InterHand2.6M's."""
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 50, (2, 21, 2))
    (tmp_path / "freihand").mkdir()
    images, annotations = [], []
    for index, joints in enumerate(points):
        name = f"{index}.png"
        Image.new("RGB", (80, 60), "tan").save(tmp_path / "freihand" / name)
        images.append({"id": index, "file_name": name})
        flags = np.ones((21, 1))
        flags[3] = 0  # the thumb's tip has no label in either
        labels = np.concatenate([joints, flags], 1).ravel().tolist()
        annotations.append({"image_id": index, "keypoints": labels})
    record = {"images": images, "annotations": annotations}
    (tmp_path / "freihand" / "test_freihand.json").write_text(json.dumps(record))

    folder = tmp_path / "interhand2.6m"
    folder.mkdir()
    Image.new("RGB", (80, 60), "tan").save(folder / "a.png")
    image = {"id": 5, "file_name": "a.png", "capture": 1, "camera": "c", "frame_idx": 9}
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    position = np.array([10.0, 20, -500])
    seen = np.concatenate([rng.uniform(-20, 20, (42, 2)), rng.uniform(300, 400, (42, 1))], 1)
    world = seen @ turn + position  # R^T X + position
    parts = {
        "data": {
            "images": [image],
            "annotations": [{"image_id": 5, "joint_valid": [[1]] * 21 + [[0]] * 19 + [[1]] * 2}],
        },
        "camera": {
            "1": {
                "campos": {"c": position.tolist()},
                "camrot": {"c": turn.tolist()},
                "focal": {"c": [300.0, 310.0]},
                "princpt": {"c": [40.0, 30.0]},
            }
        },
        "joint_3d": {"1": {"9": {"world_coord": world.tolist()}}},
    }
    for part, content in parts.items():
        (folder / f"test_interhand2.6m_{part}.json").write_text(json.dumps(content))
    projected = seen[:, :2] / seen[:, 2:] * [300.0, 310.0] + [40.0, 30.0]
    return tmp_path, points, projected


def test_labels_arrive_in_px_and_canonical_order(samples):
    folder, points, projected = samples
    first, second, right, left = read_labelled(folder)
    assert [h.dataset for h in (first, right)] == ["freihand", "interhand2.6m"]
    np.testing.assert_allclose(np.delete(second.joints_px, 3, 0), np.delete(points[1], 3, 0))
    assert np.isnan(second.joints_px[3]).all()
    assert (right.hand, left.hand) == ("right", "left")
    theirs = from_canonical(torch.from_numpy(right.joints_px), "interhand").numpy()
    np.testing.assert_allclose(theirs, projected[:21])
    # its last two are the wrist and the little finger's MCP
    assert np.flatnonzero(np.isfinite(left.joints_px[:, 0])).tolist() == [0, 17]
    known = np.delete(points[0], 3, 0)
    np.testing.assert_allclose(first.box, [*(known.min(0) + 0.5), *(known.max(0) + 0.5)])


class Centre:
    """Puts every joint in the middle of the crop."""

    two_pass = TwoPass(first_fraction=None, fill=0.7)

    def predict(self, image, intrinsics, hand_scale=None):
        points = torch.full((len(image), 21, 2), (SIDE - 1) / 2)
        status = torch.zeros(len(image), dtype=torch.int8)
        return HandPose(points, torch.zeros(len(image), 21, 3), status)


def test_errors_are_distances_in_px_of_the_photo(samples):
    folder, points, _ = samples
    hands = read_labelled(folder)
    mean = MeanPose(torch.zeros(21, 2), torch.zeros(21, 3), 1.0)
    errors = measure(Predictor(Centre(), SIDE, "centre"), mean, hands)
    middle = np.array([39.5, 29.5])
    expected = [
        np.linalg.norm(np.delete(joints, 3, 0) - middle, axis=1).mean() for joints in points
    ]
    np.testing.assert_allclose(errors["model, two looks"][:2], expected, atol=1e-3)
    np.testing.assert_allclose(errors["mean pose, centre"], errors["model, two looks"], atol=1e-3)
    known = np.delete(points[0], 3, 0)
    box_middle = (known.min(0) + known.max(0)) / 2
    side = (known.max(0) - known.min(0)).max() / 0.7
    # the crop's middle is half a crop pixel before the box's (data/two_pass.py)
    box_middle -= 0.5 * side / SIDE
    in_box = np.linalg.norm(known - box_middle, axis=1).mean()
    assert errors["model, in the box"][0] == pytest.approx(in_box, abs=1e-3)
    text = table(hands, errors)
    assert f"| freihand | 2 | {np.mean(expected):.1f} px" in text
    assert "| all | 4 |" in text


def test_a_folder_without_samples_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no labelled photos"):
        read_labelled(tmp_path)


def test_the_real_samples(real_data):
    hands = read_labelled(real_data)
    counts = {name: sum(h.dataset == name for h in hands) for name in {h.dataset for h in hands}}
    assert counts == {"freihand": 8, "onehand10k": 4, "rhd": 3, "interhand2.6m": 6}
    for hand in hands:  # the labels lie in their photos
        known = hand.joints_px[np.isfinite(hand.joints_px).all(1)]
        inside = (known > -1) & (known < hand.photo.size)
        assert inside.all(1).mean() > 0.9, (hand.dataset, hand.photo.source)
