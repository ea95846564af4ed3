import numpy as np
import pytest
import torch

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.registry import open_dataset
from pyhandpose.data.stb import SK_CAMERA, rotation_matrix
from tests.data.fixtures import stb
from tests.data.fixtures.laws import assert_reads_back, assert_reprojects


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("STB")
    return root, stb.write(root)


@pytest.mark.parametrize(("camera", "rig"), [("sk", "sk"), ("bb_left", "bb")])
def test_the_hands_that_were_written_come_back(dataset, camera, rig):
    root, written = dataset
    data = open_dataset(f"stb:{root}?size=160&split=all&camera={camera}")
    batch = data.read(torch.arange(len(data)))
    scenes = written["B1Counting"][rig] + written["B2Random"][rig]
    assert_reads_back(batch, scenes)
    assert_reprojects(batch, 1e-3)
    assert batch.mirrored.all()


def test_the_right_camera_sees_the_hand_a_baseline_further_left(dataset):
    root, _ = dataset
    query = f"stb:{root}?size=160&split=test&camera="
    right = open_dataset(f"{query}bb_right").read(torch.arange(2))
    left = open_dataset(f"{query}bb_left").read(torch.arange(2))
    moved = (right.joints_cam - left.joints_cam).flatten(0, 1)
    # mirrored: a shift to the left is one to the right
    expected = torch.tensor([stb.BASELINE, 0, 0]).expand(42, 3)
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=0)
    assert "BB_right_0" in right.source[0].file
    for i in range(2):  # coarsely the same picture: the crop follows the hand
        coarse = [b.image[i].float().reshape(8, 20, 8, 20, 3).mean((1, 3)) for b in (left, right)]
        assert torch.corrcoef(torch.stack(coarse).flatten(1))[0, 1] > 0.7


def test_splits_are_the_literature_s(dataset):
    root, _ = dataset
    for split, sequence in (("train", "B2Random"), ("test", "B1Counting")):
        batch = open_dataset(f"stb:{root}?size=16&split={split}").read(torch.arange(2))
        assert [s.entry for s in batch.source] == [f"{sequence}[{n}]" for n in range(2)]


def test_joint_0_is_what_was_asked_for(dataset):
    root, written = dataset
    scene = written["B1Counting"]["sk"][0]
    query = f"stb:{root}?size=32&split=test&wrist="
    first = torch.tensor([0])
    palm = open_dataset(f"{query}palm").read(first).joints_cam[0, 0]
    expected = (scene.right_joints[0] + scene.right_joints[9]) / 2
    np.testing.assert_allclose(palm, expected, atol=1e-6)
    none = open_dataset(f"{query}none").read(first)
    assert none.joint_valid[0].tolist() == [False] + [True] * 20
    far = open_dataset(f"{query}extrapolated&wrist_factor=3").read(first).joints_cam[0]
    np.testing.assert_allclose(far[0] - far[9], 3 * (palm - far[9]), atol=1e-6)


def test_rotation_matrices_are_scipy_s():
    from scipy.spatial.transform import Rotation

    for vector in ((0.00531, -0.01196, 0.00301), (1.0, -2.0, 0.5)):
        expected = Rotation.from_rotvec(vector).as_matrix()
        np.testing.assert_allclose(rotation_matrix(vector), expected, atol=1e-14)


def test_depth_is_moved_into_the_colour_image(dataset):
    root, written = dataset
    data = open_dataset(f"stb:{root}?size=160&split=test&geometry=true")
    batch = data.read(torch.tensor([0]))
    assert open_dataset(f"stb:{root}?size=16").read(torch.tensor([0])).depth is None
    scene = written["B1Counting"]["sk"][0]
    T = batch.crop[0].double().numpy()
    rows, columns = np.mgrid[:160, :160]
    source = np.linalg.solve(T[:, :2], np.stack([columns.ravel(), rows.ravel()]) - T[:, 2:])
    u, v = np.rint(source).astype(int).clip(0, [[639], [479]])
    expected = scene.depth[v, u].reshape(160, 160)
    both = (expected > 0) & (batch.depth[0].numpy() > 0)
    assert both.sum() > 0.8 * (expected > 0).sum()
    assert np.median(np.abs(expected - batch.depth[0].numpy())[both]) < 0.002
    assert (np.abs(expected - batch.depth[0].numpy())[both] < 0.01).mean() > 0.9


def test_the_depth_sensor_is_where_the_readme_says():
    """X_depth = R X_colour + t, so the colour camera's centre is t in the depth sensor's axes."""
    np.testing.assert_allclose(SK_CAMERA.to_colour(stb.T), np.zeros(3), atol=1e-12)


def test_damaged_label_files_are_named(tmp_path):
    stb.write(tmp_path, sequences=("B1Counting",), frames=1)
    path = tmp_path / "labels" / "B1Counting_SK.mat"
    whole = path.read_bytes()
    for content in (whole[:300], b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"B1Counting_SK\.mat: .*MATLAB|no such variable"):
            open_dataset(f"stb:{tmp_path}?split=test")
    stb.write_labels(tmp_path, "B1Counting_SK", [np.zeros((20, 3))])
    with pytest.raises(DatasetError, match=r"expected \(3,21,N\), got shape \(3, 20, 1\)"):
        open_dataset(f"stb:{tmp_path}?split=test")
    stb.write(tmp_path, sequences=("B1Random",), frames=1)  # the other sequence is whole
    skipping = open_dataset(f"stb:{tmp_path}?split=test&on_error=skip&size=16")
    assert [s.entry for s in skipping.read(torch.arange(1)).source] == ["B1Random[0]"]
    assert skipping.faults.counts == {"annotation": 1}
    with pytest.raises(FileNotFoundError, match=r"B2Counting_SK\.mat"):
        open_dataset(f"stb:{tmp_path}?split=train")


def test_missing_images_are_counted(tmp_path):
    stb.write(tmp_path, sequences=("B1Random",), frames=2)
    (tmp_path / "images" / "B1Random" / "SK_color_0.png").unlink()
    data = open_dataset(f"stb:{tmp_path}?split=test&on_error=skip&size=16")
    assert len(data) == 1
    assert data.faults.counts == {"missing image": 1}
    with pytest.raises(DatasetError, match=r"SK_color_0\.png.*no such file"):
        open_dataset(f"stb:{tmp_path}?split=test&size=16").read(torch.tensor([0]))
