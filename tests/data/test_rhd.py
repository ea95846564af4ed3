import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.registry import open_dataset
from pyhandpose.data.restricted_pickle import UnsafePickleError
from pyhandpose.hand.skeleton import BONES
from tests.data.fixtures import rhd
from tests.data.fixtures.laws import assert_reads_back, assert_reprojects


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("RHD_published_v2")
    return root, rhd.write(root)


def test_the_hand_with_the_larger_mask_comes_back_as_a_right_one(dataset):
    root, scenes = dataset
    batch = open_dataset(f"rhd:{root}?size=160").read(torch.arange(4))
    assert_reads_back(batch, scenes)
    assert_reprojects(batch, 0.01)
    assert batch.mirrored.tolist() == [True, False, True, False]


def test_visibility_follows_the_joints_of_the_chosen_hand(dataset):
    root, _ = dataset
    batch = open_dataset(f"rhd:{root}?size=64").read(torch.arange(2))
    seen = np.arange(42) % 3 > 0
    for i, hand in enumerate((seen[:21], seen[21:])):
        assert batch.visibility[i].tolist() == rhd.to_rhd(hand).tolist()


def test_mask_and_depth_are_those_of_the_hand(dataset):
    root, scenes = dataset
    batch = open_dataset(f"rhd:{root}?size=128&geometry=true").read(torch.arange(4))
    for i, scene in enumerate(scenes):
        hand = batch.depth[i][batch.mask[i]]
        assert hand.numel() > 500
        z = scene.right_joints[:, 2]
        within = (hand > z.min() - 0.08) & (hand < z.max() + 0.2)  # the mask has the forearm too
        assert within.float().mean() > 0.99
        at = batch.joints_img[i].round().long()
        assert batch.mask[i, at[:, 1].clip(0, 127), at[:, 0].clip(0, 127)].float().mean() > 0.6


def test_broken_annotations_are_named(dataset, tmp_path):
    rhd.write(tmp_path, count=2)
    path = tmp_path / "training" / "anno_training.pickle"
    record = pickle.loads(path.read_bytes())
    record[1]["xyz"] = record[1]["xyz"][:21]
    rhd.write_annotations(tmp_path, record)
    with pytest.raises(DatasetError, match=r"anno_training.pickle\[1\]: xyz: expected shape \(42,"):
        open_dataset(f"rhd:{tmp_path}")
    skipping = open_dataset(f"rhd:{tmp_path}?on_error=skip&size=16")
    assert [s.entry for s in skipping.read(torch.arange(len(skipping))).source] == ["00000"]
    assert skipping.faults.counts == {"annotation": 1}
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="not a whole pickle"):
        open_dataset(f"rhd:{tmp_path}")
    rhd.write_annotations(tmp_path, {0: print})
    with pytest.raises(UnsafePickleError, match="print"):
        open_dataset(f"rhd:{tmp_path}")
    with pytest.raises(FileNotFoundError, match=r"expected the file anno_evaluation\.pickle"):
        open_dataset(f"rhd:{dataset[0]}?split=evaluation")


def test_damaged_samples_are_skipped_and_counted(tmp_path):
    rhd.write(tmp_path, count=6)
    folder = tmp_path / "training"
    record = pickle.loads((folder / "anno_training.pickle").read_bytes())
    record[1]["K"][0, 0] = -1
    record[2]["uv_vis"][3, 0] = np.inf
    rhd.write_annotations(tmp_path, record)
    (folder / "color" / "00000.png").unlink()
    whole = (folder / "mask" / "00003.png").read_bytes()
    (folder / "mask" / "00003.png").write_bytes(whole[:60])
    Image.new("RGB", (64, 64)).save(folder / "color" / "00004.png")
    data = open_dataset(f"rhd:{tmp_path}?size=32&on_error=skip")
    assert len(data) == 5
    batch = data.read(torch.arange(5))
    assert [s.entry for s in batch.source] == ["00005"]
    assert data.faults.counts == {
        "missing image": 1,
        "intrinsics": 1,
        "joints": 1,
        "unreadable mask or depth": 1,
        "image size": 1,
    }


def test_real_renders_reproject_and_have_the_bones_of_a_hand(real_data, tmp_path):
    record = json.loads((real_data / "rhd" / "test_rhd.json").read_text())
    annotations = {}
    for image, labels in zip(record["images"], record["annotations"], strict=True):
        number, left = image["id"], labels["hand_type"] == "left"
        focal, centre = image["cam_param"]["focal"], image["cam_param"]["princpt"]
        K = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
        xyz, uv_vis = np.zeros((42, 3)), np.zeros((42, 3))
        half = slice(0, 21) if left else slice(21, 42)
        xyz[half] = np.array(labels["joint_cam"]) / 1000
        uv_vis[half] = labels["keypoints"]
        annotations[number] = {"K": K, "uv_vis": uv_vis, "xyz": xyz}
        color = tmp_path / "training" / "color" / f"{number:05d}.png"
        color.parent.mkdir(parents=True, exist_ok=True)
        color.write_bytes((real_data / "rhd" / image["file_name"]).read_bytes())
        classes = np.zeros((320, 320), np.uint8)
        classes[100:140, 100:140] = 9 if left else 25
        (tmp_path / "training" / "mask").mkdir(exist_ok=True)
        Image.fromarray(classes).save(tmp_path / "training" / "mask" / f"{number:05d}.png")
    rhd.write_annotations(tmp_path, annotations)
    batch = open_dataset(f"rhd:{tmp_path}?size=320").read(torch.arange(len(annotations)))
    zoom = batch.crop[:, 1, 1].max().item()
    assert_reprojects(batch, 0.1 * zoom)
    parents, children = (list(ends) for ends in zip(*BONES, strict=True))
    bones = torch.linalg.vector_norm(
        batch.joints_cam[:, parents] - batch.joints_cam[:, children], dim=-1
    )
    assert bones.min() > 0.008
    assert bones.max() < 0.13
    finger = [bone for bone, parent in enumerate(parents) if parent]  # without the metacarpals
    assert bones[:, finger].max() < 0.07
