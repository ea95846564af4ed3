import numpy as np
import pytest
import torch

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.ho3d import parse_meta
from pyhandpose.data.registry import open_dataset
from tests.data.fixtures import ho3d
from tests.data.fixtures.laws import assert_reads_back, assert_reprojects


@pytest.fixture(scope="module", params=[2, 3])
def dataset(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(f"HO3D_v{request.param}")
    return root, ho3d.write(root, version=request.param)


def test_the_hands_that_were_written_come_back(dataset):
    root, written = dataset
    data = open_dataset(f"ho3d:{root}?size=160")
    assert len(data) == 3
    batch = data.read(torch.arange(3))
    assert_reads_back(batch, written["train"])
    assert_reprojects(batch, 1e-3)
    assert not batch.mirrored.any()
    assert [s.entry for s in batch.source] == ["ABF10/0000", "SM1/0001", "ABF10/0002"]


def test_evaluation_frames_have_a_wrist_and_a_box_that_holds_the_hand(dataset):
    root, written = dataset
    batch = open_dataset(f"ho3d:{root}?size=160&split=evaluation&margin=1.2").read(torch.arange(2))
    only_wrist = np.arange(21) == 0
    assert_reads_back(batch, written["evaluation"], valid=only_wrist)
    for i, scene in enumerate(written["evaluation"]):
        points = scene.right_joints @ batch.intrinsics[i].double().numpy().T
        points = points[:, :2] / points[:, 2:]
        spread = np.ptp(points, axis=0).max()
        assert points.min() >= -0.5
        assert points.max() <= 159.5
        assert spread * 1.2 == pytest.approx(160, rel=0.03)


def test_depth_is_in_metres_at_the_pixels_of_the_crop(dataset):
    root, written = dataset
    data = open_dataset(f"ho3d:{root}?size=160&geometry=true&split=train")
    batch = data.read(torch.tensor([1]))
    scene = written["train"][1]
    level = 0.00012498664727900177
    at = batch.source_points(batch.joints_img)[0].round().long()
    expected = torch.from_numpy(scene.depth)[at[:, 1], at[:, 0]]
    here = batch.joints_img[0].round().long()
    got = batch.depth[0, here[:, 1], here[:, 0]]
    close = (got - expected).abs() <= 0.01  # neighbouring pixels at an edge differ
    assert close.float().mean() > 0.85
    levels = batch.depth[0][batch.depth[0] > 0] / level
    torch.testing.assert_close(levels, levels.round(), atol=2e-3, rtol=0)


def test_boxes_may_be_lists_or_arrays():
    meta = {"camMat": ho3d.K, "handJoints3D": np.array([0.0, 0.0, -0.5])}
    for box in ([1, 2, 30, 40], np.array([1, 2, 30, 40]), np.array([[1.0, 2], [30, 40]])):
        assert parse_meta(meta | {"handBoundingBox": box}, "", "").box == (1, 2, 30, 40)
    for broken in ([1, 2, 3], "none", [1, 2, 3, None]):
        with pytest.raises(DatasetError, match="0007"):
            parse_meta(meta | {"handBoundingBox": broken}, "0007.pkl", "0007")
    with pytest.raises(DatasetError, match=r"expected \(21,3\) or \(3,\), got \(20, 3\)"):
        parse_meta(meta | {"handJoints3D": np.zeros((20, 3))}, "", "")


def damaged(tmp_path):
    written = ho3d.write(tmp_path, train=4, evaluation=0)
    meta = {"camMat": ho3d.K, "handJoints3D": ho3d.to_mano(written["train"][0].joints_cam)}
    folder = tmp_path / "train"
    ho3d.write_meta(folder / "ABF10" / "meta" / "0000.pkl", meta | {"handJoints3D": None})
    pickle_file = folder / "SM1" / "meta" / "0001.pkl"
    pickle_file.write_bytes(pickle_file.read_bytes()[:100])
    not_finite = meta["handJoints3D"].copy()
    not_finite[7, 1] = np.nan
    ho3d.write_meta(folder / "ABF10" / "meta" / "0002.pkl", meta | {"handJoints3D": not_finite})
    return tmp_path


def test_damaged_frames_are_named_or_counted(tmp_path):
    root = damaged(tmp_path)
    data = open_dataset(f"ho3d:{root}?size=32")
    for index, words in (
        (0, r"0000\.pkl.*None"),
        (1, r"0001\.pkl: not a whole pickle"),
        (2, r"not finite at joint 7"),
    ):
        with pytest.raises(DatasetError, match=words):
            data.read(torch.tensor([index]))
    skipping = open_dataset(f"ho3d:{root}?size=32&on_error=skip")
    batch = skipping.read(torch.arange(4))
    assert [s.entry for s in batch.source] == ["SM1/0003"]
    assert skipping.faults.counts == {
        "frame without annotation": 1,
        "corrupt pickle": 1,
        "joints": 1,
    }


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    import os

    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/must_not_exist",)

    ho3d.write(tmp_path, train=1, evaluation=0)
    ho3d.write_meta(tmp_path / "train" / "ABF10" / "meta" / "0000.pkl", Bomb())
    with pytest.raises(DatasetError, match=r"asks for posix\.system"):
        open_dataset(f"ho3d:{tmp_path}").read(torch.tensor([0]))
    assert not (tmp_path / "must_not_exist").exists()


def test_another_folder_and_another_list_say_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"HO-3D: expected the file train\.txt in"):
        open_dataset(f"ho3d:{tmp_path}")
    (tmp_path / "train.txt").write_text("ABF10/0000\n../../etc/passwd\n")
    with pytest.raises(DatasetError, match=r"train\.txt\[line 2\]: expected SEQ/ID"):
        open_dataset(f"ho3d:{tmp_path}")
    ho3d.write(tmp_path, train=1, evaluation=0)
    with open(tmp_path / "train.txt", "a") as file:
        file.write("not_a_frame\n")
    data = open_dataset(f"ho3d:{tmp_path}?on_error=skip")
    assert len(data) == 1
    assert data.faults.counts == {"frame list": 1}
