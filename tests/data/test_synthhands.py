import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.data.background import Backgrounds, foreground, generated, replace_background
from pyhandpose.data.faults import DatasetError
from pyhandpose.data.registry import open_dataset
from tests.data.fixtures import synthhands
from tests.data.fixtures.laws import assert_reprojects


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("SynthHands_Release")
    return root, synthhands.write(root)


def test_the_hands_that_were_written_come_back(dataset):
    root, written = dataset
    batch = open_dataset(f"synthhands:{root}?size=160").read(torch.arange(4))
    scenes = [scene for folder in synthhands.FOLDERS for scene in written[folder]]
    for i, scene in enumerate(scenes):
        expected = torch.from_numpy(scene.right_joints).float()
        torch.testing.assert_close(batch.joints_cam[i], expected, atol=1e-6, rtol=0)
    assert_reprojects(batch, 1e-3)
    assert batch.mirrored.all()
    assert batch.source[2].entry == "male_object/seq07/cam05/03/00000000"


def test_the_mask_is_the_hand_s(dataset):
    root, _ = dataset
    query = f"synthhands:{root}?size=160&geometry=true&background=keep"
    batch = open_dataset(query).read(torch.arange(2))
    green = (batch.image.int() - torch.tensor([14, 255, 14])).abs().amax(-1) < 24
    inside = batch.mask & ~green
    assert inside.sum() > 0.97 * batch.mask.sum()  # the crop is smoothed at the outline
    assert (batch.mask ^ ~green).float().mean() < 0.08
    assert (batch.depth[batch.mask] > 0.2).float().mean() > 0.9


def test_the_formula_takes_the_hand_where_the_mask_is_1_and_else_the_background():
    random = np.random.default_rng(0)
    image, background = random.integers(0, 256, (2, 6, 7, 3), np.uint8)
    mask = random.random((6, 7)) > 0.5
    got = replace_background(image, mask, background)
    M = mask[..., None].astype(np.uint8)
    np.testing.assert_array_equal(got, image * M + background * (1 - M))


def test_the_screen_is_green_and_nothing_else():
    screen, skin, grass, black = (14, 255, 14), (224, 172, 140), (60, 160, 40), (0, 0, 0)
    almost = (25, 240, 20)
    image = np.array([[screen, skin, grass, black, almost]], np.uint8)
    assert foreground(image).tolist() == [[False, True, True, True, False]]


def test_the_green_is_gone_and_the_hand_unchanged(dataset):
    root, _ = dataset
    kept = open_dataset(f"synthhands:{root}?size=160&geometry=true&background=keep")
    made = open_dataset(f"synthhands:{root}?size=160&geometry=true")
    before, after = kept.read(torch.arange(2)), made.read(torch.arange(2))
    core = torch.nn.functional.max_pool2d((~before.mask).float()[:, None], 9, 1, 4)[:, 0] == 0
    assert core.sum() > 500
    changed = (before.image[core].int() - after.image[core].int()).abs().amax(-1) > 1
    assert changed.float().mean() < 0.005  # gaps between fingers that are thinner than a pixel
    outside = torch.nn.functional.max_pool2d(before.mask.float()[:, None], 9, 1, 4)[:, 0] == 0
    pixels = after.image[outside].int()
    greenish = (pixels - torch.tensor([14, 255, 14])).abs().amax(-1) < 24
    assert not greenish.any()
    assert after.mask.equal(before.mask)  # the mask is of the files' screen


def test_a_background_is_the_same_each_time_unless_a_fresh_one_is_asked_for(dataset):
    root, _ = dataset
    index = torch.tensor([1, 1])
    same = open_dataset(f"synthhands:{root}?size=64").read(index).image
    assert same[0].equal(same[1])
    assert open_dataset(f"synthhands:{root}?size=64").read(index).image.equal(same)
    fresh = open_dataset(f"synthhands:{root}?size=64&fresh=true").read(index).image
    assert not fresh[0].equal(fresh[1])
    other = open_dataset(f"synthhands:{root}?size=64&background_seed=3").read(index).image
    assert not other.equal(same)


def test_backgrounds_come_from_a_folder_of_photos(dataset, tmp_path):
    root, _ = dataset
    Image.new("RGB", (800, 700), "red").save(tmp_path / "large.png")
    Image.new("L", (30, 50), 200).save(tmp_path / "small_grey.png")
    backgrounds = Backgrounds(tmp_path, seed=0)
    drawn = [backgrounds.draw((640, 480), i) for i in range(12)]
    assert {picture.shape for picture in drawn} == {(480, 640, 3)}
    assert {tuple(picture[5, 5]) for picture in drawn} == {(255, 0, 0), (200, 200, 200)}
    data = open_dataset(f"synthhands:{root}?size=64&geometry=true&background={tmp_path}")
    batch = data.read(torch.arange(4))
    corners = {tuple(pixel) for pixel in batch.image[:, 0, 0].tolist()}
    assert corners <= {(255, 0, 0), (200, 200, 200)}
    with pytest.raises(FileNotFoundError, match="no image below"):
        Backgrounds(tmp_path / "nowhere", 0)


def test_generated_backgrounds_are_coloured_and_all_different():
    first, second = (generated(np.random.default_rng(seed), (160, 120)) for seed in (1, 2))
    assert first.shape == (120, 160, 3)
    assert first.std(axis=(0, 1)).min() > 8
    assert np.abs(first.astype(int) - second).mean() > 10


def test_objects_can_be_chosen(dataset):
    root, _ = dataset
    for objects, first in (("with", "male_object"), ("without", "female_noobject")):
        data = open_dataset(f"synthhands:{root}?size=16&objects={objects}")
        batch = data.read(torch.arange(len(data)))
        assert {s.entry.split("/")[0] for s in batch.source} == {first}


def test_missing_and_damaged_files_are_named_or_counted(tmp_path):
    synthhands.write(tmp_path)
    folder = tmp_path / synthhands.FOLDERS[0]
    (folder / "00000000_color.png").unlink()
    numbers = folder / "00000001_joint_pos.txt"
    numbers.write_text(numbers.read_text()[:200])
    joints = tmp_path / synthhands.FOLDERS[1] / "00000000_joint_pos.txt"
    joints.unlink()
    data = open_dataset(f"synthhands:{tmp_path}?size=16&on_error=skip")
    assert len(data) == 3
    assert len(data.read(torch.arange(3))) == 1
    assert data.faults.counts == {
        "missing image": 1,
        "annotation": 1,
        "missing file": 1,
    }
    strict = open_dataset(f"synthhands:{tmp_path}?size=16")
    with pytest.raises(DatasetError, match="expected 63 numbers, got"):
        strict.read(torch.tensor([1]))
    with pytest.raises(FileNotFoundError, match="expected a folder female_noobject"):
        open_dataset(f"synthhands:{folder}")
