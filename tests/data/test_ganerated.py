import numpy as np
import pytest
import torch

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.registry import open_dataset
from tests.data.fixtures import ganerated
from tests.data.fixtures.laws import assert_reads_back, assert_reprojects


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("GANeratedHands_Release")
    return root, ganerated.write(root)


def test_the_hands_that_were_written_come_back(dataset):
    root, written = dataset
    batch = open_dataset(f"ganerated:{root}?size=256").read(torch.arange(4))
    scenes = written["noObject"] + written["withObject"]
    assert_reads_back(batch, scenes)
    assert_reprojects(batch, 1e-3)
    assert batch.mirrored.all()
    for i, scene in enumerate(scenes):  # the whole picture, mirrored
        np.testing.assert_array_equal(batch.image[i], scene.image[:, ::-1])
    assert [s.entry for s in batch.source][1:3] == ["noObject/0001/0002", "withObject/0001/0001"]


def test_image_points_are_the_file_s_and_fit_the_crop_s_camera(dataset):
    root, written = dataset
    batch = open_dataset(f"ganerated:{root}?size=128").read(torch.arange(2))
    for i, scene in enumerate(written["noObject"]):
        got = batch.source_points(batch.joints_img)[i]
        np.testing.assert_allclose(got, scene.joints_img, atol=2e-3)
    assert_reprojects(batch, 1e-3)


def test_a_folder_of_the_data_itself_and_a_kind_can_be_opened(dataset):
    root, _ = dataset
    data = open_dataset(f"ganerated:{root / 'data'}?size=16&objects=with")
    assert len(data) == 2
    assert {data.annotations.group(i) for i in range(2)} == {"withObject/0001"}
    with pytest.raises(FileNotFoundError, match="expected a folder noObject or withObject"):
        open_dataset(f"ganerated:{root / 'data' / 'noObject'}")


def test_damaged_files_are_named_or_counted(tmp_path):
    ganerated.write(tmp_path)
    folder = tmp_path / "data" / "noObject" / "0001"
    (folder / "0001_crop_params.txt").write_text("10, 20, 0")
    (folder / "0002_joint2D.txt").write_text("1,2,nan,4")
    other = tmp_path / "data" / "withObject" / "0001"
    whole = (other / "0002_color_composed.png").read_bytes()
    (other / "0002_color_composed.png").write_bytes(whole[:100])
    strict = open_dataset(f"ganerated:{tmp_path}?size=16")
    with pytest.raises(DatasetError, match=r"0001_crop_params\.txt: expected u, v, s with s > 0"):
        strict.read(torch.tensor([0]))
    with pytest.raises(DatasetError, match=r"0002_joint2D\.txt: expected 42 numbers, got 4"):
        strict.read(torch.tensor([1]))
    data = open_dataset(f"ganerated:{tmp_path}?size=16&on_error=skip")
    assert len(data.read(torch.arange(4))) == 1
    assert data.faults.counts == {"annotation": 2, "unreadable image": 1}


def test_the_fingerprint_follows_the_frames(tmp_path):
    ganerated.write(tmp_path)
    before = open_dataset(f"ganerated:{tmp_path}").fingerprint()
    assert open_dataset(f"ganerated:{tmp_path}").fingerprint() == before
    folder = tmp_path / "data" / "noObject" / "0001"
    for path in list(folder.glob("0001_*")):
        path.rename(path.with_name(path.name.replace("0001_", "0009_")))
    assert open_dataset(f"ganerated:{tmp_path}").fingerprint() != before
