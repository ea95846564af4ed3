"""Dexter+Object and EgoDexter."""

import numpy as np
import pytest
import torch

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.fingertips import HAND_EXTENT, hand_box
from pyhandpose.data.registry import open_dataset
from tests.data.fixtures import dexter_object, egodexter
from tests.data.fixtures.laws import assert_reads_back, assert_reprojects

TIPS = [4, 8, 12, 16, 20]
FORMATS = {
    "dexter": (dexter_object, "Grasp1", "Rotate", 1e-5),
    "egodexter": (egodexter, "Desk", "Kitchen", 1e-5),
}


@pytest.fixture(scope="module", params=FORMATS)
def dataset(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    writer, first, second, atol = FORMATS[request.param]
    return request.param, root, writer.write(root), (first, second), atol


def test_the_fingertips_that_were_written_come_back(dataset):
    kind, root, written, sequences, atol = dataset
    data = open_dataset(f"{kind}:{root}?size=160")
    assert len(data) == 6  # a row without any label is no sample
    batch = data.read(torch.arange(6))
    scenes = [scene for name in sequences for scene in written[name]]
    for i, scene in enumerate(scenes):
        valid = np.zeros(21, bool)
        valid[TIPS] = True
        valid[TIPS[i % 3]] = False
        one = torch.tensor([i])
        assert_reads_back(batch[one], [scene], atol_m=atol, valid=valid)
    assert_reprojects(batch, 1e-2)
    assert batch.mirrored.all()
    assert [s.entry for s in batch.source] == [f"{s}[{n}]" for s in sequences for n in range(3)]


def test_the_crop_shows_the_whole_hand_and_not_only_the_tips(dataset):
    kind, root, written, sequences, _ = dataset
    batch = open_dataset(f"{kind}:{root}?size=160&sequence={sequences[0]}").read(torch.arange(3))
    for i, scene in enumerate(written[sequences[0]]):
        points = scene.right_joints @ batch.intrinsics[i].double().numpy().T
        points = points[:, :2] / points[:, 2:]
        assert points.min() >= 0
        assert points.max() <= 159


def test_the_crop_has_the_size_of_a_hand_at_the_fingertips_distance():
    camera = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
    tips = np.full((5, 3), np.nan)
    tips[2] = [0.1, 0.0, 0.6]
    x0, y0, x1, y1 = hand_box(tips, camera, "", "")
    assert x1 - x0 == pytest.approx(HAND_EXTENT * 600 / 0.6)
    assert (x0 + x1) / 2 == pytest.approx(320 + 100 + 0.5)
    assert (y0 + y1) / 2 == pytest.approx(240 + 0.5)
    with pytest.raises(DatasetError, match="behind the camera"):
        hand_box(-tips, camera, "", "")


def test_depth_is_moved_into_the_colour_image(dataset):
    kind, root, written, sequences, _ = dataset
    query = f"{kind}:{root}?size=200&geometry=true&sequence={sequences[1]}"
    batch = open_dataset(query).read(torch.arange(3))
    for i, scene in enumerate(written[sequences[1]]):
        T = batch.crop[i].double().numpy()
        grid = np.mgrid[:200, :200]
        source = np.linalg.solve(T[:, :2], np.stack([grid[1].ravel(), grid[0].ravel()]) - T[:, 2:])
        u, v = np.rint(source).astype(int).clip(0, [[639], [479]])
        expected = scene.depth[v, u].reshape(200, 200)
        got = batch.depth[i].numpy()
        hand = (expected > 0) & (expected < 0.9)
        both = hand & (got > 0)
        assert both.sum() > 0.8 * hand.sum()
        assert (np.abs(expected - got)[both] < 0.015).mean() > 0.85


def test_each_sequence_can_be_opened_by_itself(dataset):
    kind, root, _, sequences, _ = dataset
    data = open_dataset(f"{kind}:{root}?size=16&sequence={sequences[1]}")
    assert len(data) == 3
    assert {data.annotations.group(i) for i in range(3)} == {sequences[1]}
    with pytest.raises(ValueError, match=sequences[0]):
        open_dataset(f"{kind}:{root}?sequence=Nowhere")
    with pytest.raises(FileNotFoundError, match="expected a folder"):
        open_dataset(f"{kind}:{root / 'data'}")


def annotation_file(kind, root):
    if kind == "dexter":
        return root / "data" / "Rotate" / "annotations" / "Rotate3D.txt"
    return root / "data" / "Kitchen" / "annotation.txt_3D.txt"


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_rows_name_their_line(kind, tmp_path):
    writer, *_ = FORMATS[kind]
    writer.write(tmp_path)
    path = annotation_file(kind, tmp_path)
    lines = path.read_text().splitlines()
    for broken, words in (
        (lines[1][: len(lines[1]) // 2], "expected 5 points of 3 numbers"),
        (lines[1].replace(",", " ", 1), "expected 5 points of 3 numbers"),
        (lines[1].replace(".", "x", 1), "could not convert"),
    ):
        path.write_text("\n".join([lines[0], broken, *lines[2:]]) + "\n")
        with pytest.raises(DatasetError, match=rf"{path.name}\[line 2\]: .*{words}"):
            open_dataset(f"{kind}:{tmp_path}")
        data = open_dataset(f"{kind}:{tmp_path}?on_error=skip")
        assert len(data) == 5
        assert data.faults.counts == {"annotation": 1}
    path.unlink()
    with pytest.raises(DatasetError, match=f"{path.name}: no such file"):
        open_dataset(f"{kind}:{tmp_path}")
    data = open_dataset(f"{kind}:{tmp_path}?on_error=skip")
    assert len(data) == 3  # the other sequence
    assert data.faults.counts == {"missing file": 1}


@pytest.mark.parametrize("kind", FORMATS)
def test_images_and_rows_that_do_not_belong_together_are_counted(kind, tmp_path):
    writer, _, second, _ = FORMATS[kind]
    writer.write(tmp_path)
    folder = tmp_path / "data" / second / "color"
    first = folder / "image_00000_color.png"
    (folder / "image_00007_color.png").write_bytes(first.read_bytes())
    first.unlink()
    with pytest.raises(DatasetError, match="its number 7 is not one of"):
        open_dataset(f"{kind}:{tmp_path}")
    data = open_dataset(f"{kind}:{tmp_path}?on_error=skip&size=16")
    assert len(data) == 5
    assert data.faults.counts == {"image without annotation": 1, "missing image": 1}
    entries = [s.entry for s in data.read(torch.arange(5)).source]
    assert f"{second}[0]" not in entries
    assert f"{second}[1]" in entries  # and it is still the image with the number 1


@pytest.mark.parametrize("kind", FORMATS)
def test_images_may_be_counted_from_1(kind, tmp_path):
    writer, first, *_ = FORMATS[kind]
    writer.write(tmp_path, sequences=(first,))
    before = open_dataset(f"{kind}:{tmp_path}?size=32&geometry=true").read(torch.arange(3))
    for what in ("color", "depth"):
        for path in sorted((tmp_path / "data" / first / what).iterdir(), reverse=True):
            number = int(path.name[6:11]) + 1
            path.rename(path.with_name(f"cam2_{number:05d}.png"))
    after = open_dataset(f"{kind}:{tmp_path}?size=32&geometry=true").read(torch.arange(3))
    assert after.image.equal(before.image)
    assert after.depth.equal(before.depth)


def test_egodexter_s_two_files_must_have_one_length(tmp_path):
    egodexter.write(tmp_path)
    path = tmp_path / "data" / "Desk" / "annotation.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(DatasetError, match=r"3 rows, but annotation\.txt has 2"):
        open_dataset(f"egodexter:{tmp_path}")
