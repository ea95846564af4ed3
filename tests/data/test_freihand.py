"""FreiHAND in its own layout: versions, splits that keep them together, and broken files."""

import json

import numpy as np
import pytest
import torch

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.freihand import NUM_HANDS, VERSIONS
from pyhandpose.data.registry import open_dataset
from pyhandpose.data.splits import random_split
from pyhandpose.hand.camera import project
from tests.data.fixtures.freihand import write_freihand


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("FreiHAND_pub_v2")
    return root, write_freihand(root)


@pytest.fixture
def own(tmp_path):
    """A copy that a test may break."""
    write_freihand(tmp_path, hands=2, evaluation=1)
    return tmp_path


def edit(path, change):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(change(record)))


def test_every_version_of_every_hand_comes_with_its_labels(written):
    root, hands = written
    data = open_dataset(f"freihand:{root}")
    assert len(data) == 12
    batch = data.read(torch.arange(12))
    again = torch.arange(3).repeat(4)
    torch.testing.assert_close(batch.joints_cam, hands.joints_cam[again])
    torch.testing.assert_close(batch.intrinsics, hands.intrinsics[again])
    torch.testing.assert_close(batch.joints_img, hands.joints_img[again], atol=2e-3, rtol=0)
    assert batch.image.shape == (12, 224, 224, 3)
    difference = (batch.image[:3].float() - hands.image.float()).abs().mean()
    assert difference < 3  # JPEG
    brightness = batch.image.float().mean((1, 2, 3)).view(4, 3).mean(1)
    assert (brightness.diff() > 5).all()  # the fixture brightens each version
    assert not batch.mirrored.any()
    assert [s.entry for s in batch.source[:4]] == ["0", "1", "2", "0"]
    assert batch.source[5].file.endswith("training/rgb/00000005.jpg")


def test_one_version_alone(written):
    root, _ = written
    data = open_dataset(f"freihand:{root}?version=sample")
    assert len(data) == 3
    everything = open_dataset(f"freihand:{root}").read(torch.arange(6, 9))
    assert torch.equal(data.read(torch.arange(3)).image, everything.image)


def test_masks_are_those_of_the_hand(written):
    root, hands = written
    batch = open_dataset(f"freihand:{root}?geometry=true&version=hom").read(torch.arange(3))
    assert (batch.mask == hands.mask).float().mean() > 0.99


def test_crops_about_the_joints_keep_projection(written):
    root, _ = written
    batch = open_dataset(f"freihand:{root}?crop=joints&size=100").read(torch.arange(3))
    projected = project(batch.joints_cam, batch.intrinsics)
    torch.testing.assert_close(projected, batch.joints_img, atol=2e-3, rtol=0)
    extent = (batch.joints_img.amax(1) - batch.joints_img.amin(1)).amax(1)
    torch.testing.assert_close(extent, torch.full((3,), 100 / 1.5), atol=0.01, rtol=0)


def test_evaluation_has_joints_only_with_the_published_truth(written, tmp_path):
    root, _ = written
    labelled = open_dataset(f"freihand:{root}?split=evaluation").read(torch.arange(2))
    assert labelled.joint_valid_cam.all()
    write_freihand(tmp_path, hands=1, truth=False)
    batch = open_dataset(f"freihand:{tmp_path}?split=evaluation").read(torch.arange(2))
    assert batch.joints_img is batch.joints_cam is None
    torch.testing.assert_close(batch.intrinsics, labelled.intrinsics)


def test_a_split_keeps_the_versions_of_a_hand_together(written, tmp_path):
    root, _ = written
    data = open_dataset(f"freihand:{root}")
    assert data.groups() == [0, 1, 2]
    path = tmp_path / "split.json"
    random_split("freihand", data.groups(), seed=4, held_out=0.3).write(path)
    random_split("stb", ["B1", "B2"]).write(tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"other\.json is a split of stb, not of freihand"):
        open_dataset(f"freihand:{root}?splits={tmp_path / 'other.json'}")
    hands = {}
    for part, size in (("train", 8), ("val", 4)):
        chosen = open_dataset(f"freihand:{root}?splits={path}&part={part}")
        assert len(chosen) == size
        entries = [s.entry for s in chosen.read(torch.arange(size)).source]
        assert all(entries.count(hand) == 4 for hand in entries)
        hands[part] = set(entries)
    assert hands["train"] | hands["val"] == {"0", "1", "2"}
    assert not hands["train"] & hands["val"]


def test_files_of_different_lengths_are_named(own):
    edit(own / "training_K.json", lambda rows: rows[:1])
    with pytest.raises(DatasetError, match=r"training_K\.json: expected 2 entries .*, got 1"):
        open_dataset(f"freihand:{own}")
    data = open_dataset(f"freihand:{own}?on_error=skip")
    assert len(data) == 4  # the hand that all files have, in four versions
    assert data.faults.counts == {"length": 1}
    files = [s.file[-12:] for s in data.read(torch.arange(4)).source]
    assert files == [f"{2 * version:08d}.jpg" for version in range(4)]


def test_truncated_json_says_where_and_is_fatal_for_what_is_needed(own):
    path = own / "training_xyz.json"
    path.write_text(path.read_text()[:-40])
    for mode in ("raise", "skip"):
        with pytest.raises(DatasetError, match=r"training_xyz\.json") as caught:
            open_dataset(f"freihand:{own}?on_error={mode}")
    assert "cut off or not JSON" in str(caught.value.earlier[0])


def test_a_broken_scale_is_skipped_because_nothing_needs_it(own):
    path = own / "training_scale.json"
    path.write_text(path.read_text()[:-3])
    assert len(open_dataset(f"freihand:{own}?on_error=skip")) == 8


def test_joints_that_do_not_belong_to_the_scale_are_named_by_entry(own):
    edit(own / "training_scale.json", lambda rows: [rows[0], rows[1] + 0.01])
    with pytest.raises(DatasetError, match=r"training_scale\.json\[1\]: expected the middle"):
        open_dataset(f"freihand:{own}")


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("xyz", [[0.0, 0.0, 0.5]] * 20, r"training_xyz\.json\[1\]: expected 21 x 3 numbers"),
        ("K", [[500.0, 0, 112]], r"training_K\.json\[1\]: expected 3 x 3 numbers"),
    ],
)
def test_an_entry_of_the_wrong_length_is_named_and_the_others_are_read(own, name, row, message):
    edit(own / f"training_{name}.json", lambda rows: [rows[0], row])
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"freihand:{own}")
    data = open_dataset(f"freihand:{own}?on_error=skip&version=gs")
    assert [s.entry for s in data.read(torch.arange(2)).source] == ["0"]
    assert data.faults.counts["annotation"] == 1


def test_nan_joints_odd_cameras_and_damaged_images_are_skipped_by_name(own):
    edit(own / "training_K.json", lambda rows: [np.diag([-5.0, 5, 1]).tolist(), rows[1]])
    (own / "training/rgb/00000001.jpg").write_bytes(b"\xff\xd8\xff")
    (own / "training/rgb/00000003.jpg").unlink()
    data = open_dataset(f"freihand:{own}?on_error=skip")
    assert len(data) == 7
    batch = data.read(torch.arange(7))
    assert [s.entry for s in batch.source] == ["1", "1"]
    assert data.faults.counts == {"missing image": 1, "intrinsics": 4, "unreadable image": 1}


def test_a_wrong_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"training_K\.json: no such file"):
        open_dataset(f"freihand:{tmp_path}")


def test_the_published_numbers_of_real_photos_are_versions_of_the_same_hands(real_data):
    record = json.loads((real_data / "freihand" / "test_freihand.json").read_text())
    hands = {}
    for annotation in record["annotations"]:
        hand = annotation["image_id"] % NUM_HANDS["training"]
        hands.setdefault(hand, []).append(annotation["keypoints"])
    assert all(len(versions) == len(VERSIONS) for versions in hands.values())
    assert all(joints == versions[0] for versions in hands.values() for joints in versions)
