import json
import shutil

import numpy as np
import pytest
import torch

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.registry import open_dataset
from pyhandpose.hand.skeleton import BONES
from tests.data.fixtures import interhand
from tests.data.fixtures.laws import assert_reads_back, assert_reprojects


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("InterHand2.6M")
    return root, interhand.write(root)


def test_every_hand_that_was_written_comes_back_as_a_right_one(dataset):
    root, (right, left, pair) = dataset
    data = open_dataset(f"interhand:{root}?size=160")
    assert len(data) == 4
    batch = data.read(torch.arange(4))
    assert batch.mirrored.tolist() == [False, True, False, True]
    without_thumb_tip = np.arange(21) != 4
    assert_reads_back(batch[torch.tensor([0])], [right])
    assert_reads_back(batch[torch.tensor([1])], [left], valid=without_thumb_tip)
    assert_reprojects(batch, 1e-2)
    for i, scene in ((2, pair[0]), (3, pair[1])):  # the picture shows both
        expected = torch.from_numpy(scene.right_joints).float()
        torch.testing.assert_close(batch.joints_cam[i], expected, atol=1e-5, rtol=0)
        points = batch.source_points(batch.joints_img)[i]
        np.testing.assert_allclose(points, scene.joints_img, atol=1e-2)
    assert batch.source[3].entry.endswith("image102.jpg left")


def test_single_and_interacting_hands_can_be_chosen(dataset):
    root, _ = dataset
    for hands, expected in (("single", [False, True]), ("interacting", [False, True])):
        data = open_dataset(f"interhand:{root}?size=16&hands={hands}")
        batch = data.read(torch.arange(len(data)))
        assert batch.mirrored.tolist() == expected
        assert all(("image102" in s.file) == (hands == "interacting") for s in batch.source)


def annotation_file(root, which):
    return root / "annotations" / "train" / f"InterHand2.6M_train_{which}.json"


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_what_does_not_fit_together_is_named_or_counted(tmp_path):
    interhand.write(tmp_path)

    def change(record):
        record["annotations"][0]["image_id"] = 999
        record["images"][1]["camera"] = "no_such_camera"
        record["annotations"][2]["joint_valid"] = [1, 0]

    edit(annotation_file(tmp_path, "data"), change)
    strict = open_dataset(f"interhand:{tmp_path}?size=16")
    assert len(strict) == 3
    for i, words in enumerate(("its image is not", "the camera of its image", "not of 42 joints")):
        with pytest.raises(DatasetError, match=rf"data\.json\[annotation {i}\]: .*{words}"):
            strict.read(torch.tensor([i]))
    edit(annotation_file(tmp_path, "data"), lambda r: r["annotations"].append({"id": 7}))
    interhand_good = json.loads(annotation_file(tmp_path, "data").read_text())
    interhand_good["annotations"][2]["joint_valid"] = [[1]] * 21 + [[0]] * 21
    annotation_file(tmp_path, "data").write_text(json.dumps(interhand_good))
    data = open_dataset(f"interhand:{tmp_path}?on_error=skip&size=16")
    batch = data.read(torch.arange(len(data)))
    assert len(batch) == 1
    assert data.faults.counts == {"annotation": 3}


@pytest.mark.parametrize("which", ["data", "camera", "joint_3d"])
def test_truncated_and_foreign_files_are_named(which, tmp_path):
    interhand.write(tmp_path)
    path = annotation_file(tmp_path, which)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=rf"{which}\.json: .*not JSON"):
        open_dataset(f"interhand:{tmp_path}")
    path.write_text('{"images": [1], "annotations": [2], "0": {"1": {}}}')
    with pytest.raises(DatasetError, match=rf"{which}\.json: .*(structure|expected objects)"):
        open_dataset(f"interhand:{tmp_path}")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"train_{which}\.json"):
        open_dataset(f"interhand:{tmp_path}")


def test_the_files_are_parsed_once(tmp_path, monkeypatch):
    from pyhandpose.data import interhand_tables

    interhand.write(tmp_path)
    first = open_dataset(f"interhand:{tmp_path}?size=16").read(torch.arange(4))

    def forbidden(*_, **__):
        raise AssertionError("parsed again")

    with monkeypatch.context() as patch:
        patch.setattr(interhand_tables, "_parse", forbidden)
        again = open_dataset(f"interhand:{tmp_path}?size=16").read(torch.arange(4))
    assert again.joints_cam.nan_to_num().equal(first.joints_cam.nan_to_num())
    assert again.source == first.source
    change = lambda r: r["images"].pop(0)  # noqa: E731
    edit(annotation_file(tmp_path, "data"), change)
    with pytest.raises(DatasetError, match="its image is not"):
        open_dataset(f"interhand:{tmp_path}?size=16").read(torch.tensor([0]))


def test_real_frames_fit_their_images_and_have_the_bones_of_a_hand(real_data, tmp_path):
    folder = tmp_path / "annotations" / "test"
    folder.mkdir(parents=True)
    images = tmp_path / "images" / "test"
    images.mkdir(parents=True)
    for what in ("data", "camera", "joint_3d"):
        source = real_data / "interhand2.6m" / f"test_interhand2.6m_{what}.json"
        shutil.copy(source, folder / f"InterHand2.6M_test_{what}.json")
    for path in (real_data / "interhand2.6m").glob("*.jpg"):
        shutil.copy(path, images / path.name)
    data = open_dataset(f"interhand:{tmp_path}?split=test&size=256")
    assert len(data) == 6  # two of the four images show both hands
    batch = data.read(torch.arange(6))
    assert_reprojects(batch, 1e-2)
    record = json.loads((folder / "InterHand2.6M_test_data.json").read_text())
    boxes = dict(
        zip((i["file_name"] for i in record["images"]), record["annotations"], strict=True)
    )
    for i, source in enumerate(batch.source):
        valid = batch.joint_valid[i]
        x, y, w, h = boxes[source.entry.split()[0]]["bbox"]
        points = batch.source_points(batch.joints_img)[i, valid].numpy()
        margin = 2.0
        assert (points > [x - margin, y - margin]).all()
        assert (points < [x + w + margin, y + h + margin]).all()
        joints = batch.joints_cam[i]
        bones = [torch.dist(joints[a], joints[b]).item() for a, b in BONES if valid[a] and valid[b]]
        assert min(bones) > 0.01
        assert max(bones) < 0.12
