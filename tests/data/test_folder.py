import json
import logging

import pytest
import torch
from PIL import Image

from pyhandpose.data.folder import FolderDataset
from pyhandpose.data.registry import Subset, open_dataset


@pytest.fixture
def photos(tmp_path):
    """Red, green and blue photos of different shapes and formats, one in a folder below."""
    (tmp_path / "below").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    Image.new("RGB", (20, 50), "lime").save(tmp_path / "b.webp", lossless=True)
    Image.new("RGB", (16, 16), "blue").save(tmp_path / "below" / "c.BMP")
    (tmp_path / "notes.txt").write_text("not a photo")
    return tmp_path


def test_photos_are_found_everywhere_and_read_in_order(photos):
    data = open_dataset(f"folder:{photos}?size=24")
    assert len(data) == 3
    batch = data.read(torch.tensor([2, 0, 1]))
    assert batch.image.shape == (3, 24, 24, 3)
    assert batch.image.dtype == torch.uint8
    colours = batch.image.flatten(1, 2).float().mean(1)
    expected = torch.tensor([[0.0, 0, 255], [255, 0, 0], [0, 255, 0]])
    torch.testing.assert_close(colours, expected, atol=1.0, rtol=0)
    assert batch.joints_img is None


def test_the_centre_of_an_oblong_photo_is_kept(tmp_path):
    photo = Image.new("RGB", (90, 30), "black")
    photo.paste("white", (30, 0, 60, 30))
    photo.save(tmp_path / "middle.png")
    image = FolderDataset(tmp_path, 30).read(torch.tensor([0])).image
    assert image.float().mean() > 250


def test_unreadable_photos_are_skipped_counted_and_named(photos, caplog):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    whole = (photos / "a.png").read_bytes()
    (photos / "short.png").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        data = FolderDataset(photos, 16)
    assert len(data) == 3
    assert {p.name for p in data.skipped} == {"broken.jpg", "short.png"}
    assert "2 of 5 images could not be read" in caplog.text
    assert "broken.jpg" in caplog.text


def test_the_fingerprint_follows_names_and_pixels(photos):
    before = FolderDataset(photos, 16).fingerprint()
    assert FolderDataset(photos, 16).fingerprint() == before
    Image.new("RGB", (40, 30), "pink").save(photos / "a.png")
    changed = FolderDataset(photos, 16).fingerprint()
    assert changed != before
    (photos / "a.png").rename(photos / "aa.png")
    assert FolderDataset(photos, 16).fingerprint() not in (before, changed)


def test_folders_without_photos_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        FolderDataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no image .*png.* below"):
        FolderDataset(tmp_path)
    (tmp_path / "broken.png").write_text("")
    with pytest.raises(FileNotFoundError, match="none of the 1 images"):
        FolderDataset(tmp_path)


@pytest.mark.parametrize("spec", ["photos", "zip:photos", "folder:", "folder:x?size=big"])
def test_unknown_specs_are_refused_with_the_forms(spec):
    with pytest.raises(ValueError, match="open_dataset"):
        open_dataset(spec)


@pytest.mark.parametrize(("option", "lowest"), [("size=0", 1), ("seed=-1", 0), ("seed=a", 0)])
def test_numbers_out_of_range_are_refused_with_the_lowest(option, lowest):
    with pytest.raises(ValueError, match=f"expected a whole number from {lowest}, got"):
        open_dataset(f"synthetic:4?{option}")


def test_a_folder_may_be_named_from_home(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos.parent))
    assert len(open_dataset(f"folder:~/{photos.name}?size=8")) == len(FolderDataset(photos, 8))


def test_unknown_options_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown option sise; known: look, seed, size"):
        open_dataset("synthetic:4?sise=3")


def test_a_subset_reads_the_chosen_samples(photos):
    data = FolderDataset(photos, 8)
    subset = Subset(data, torch.tensor([2, 0]))
    assert len(subset) == 2
    assert torch.equal(
        subset.read(torch.tensor([1, 0])).image, data.read(torch.tensor([0, 2])).image
    )
    assert subset.fingerprint() != Subset(data, torch.tensor([0, 2])).fingerprint()


@pytest.fixture
def boxed(tmp_path):
    """A photo with a white square at the left and a green one at the right, and its boxes."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    photo = Image.new("RGB", (100, 60), "black")
    photo.paste("white", (10, 20, 30, 40))
    photo.paste("lime", (70, 20, 80, 40))
    photo.save(folder / "below" / "two.png")
    Image.new("RGB", (50, 50), "red").save(folder / "other.png")
    (tmp_path / "boxes.csv").write_text(
        "file,x,y,w,h,hand\ntwo.png,10,20,20,20,right\ntwo.png,60,20,20,20,left\n"
    )
    return folder, tmp_path / "boxes.csv"


def test_each_box_is_a_sample_and_left_hands_are_mirrored(boxed):
    folder, boxes = boxed
    data = open_dataset(f"folder:{folder}?boxes={boxes}&size=20&margin=1")
    assert len(data) == 2
    batch = data.read(torch.arange(2))
    assert (batch.image[0] == 255).all()
    assert batch.mirrored.tolist() == [False, True]
    lime = (batch.image[1] == torch.tensor([0, 255, 0])).all(-1)
    assert lime[:, :10].all()  # it is at the right in the file
    assert not lime[:, 10:].any()
    assert [s.entry for s in batch.source] == ["below/two.png#0", "below/two.png#1"]
    centre = batch.source_points(torch.full((2, 1, 2), 9.5))
    assert centre.tolist() == [[[19.5, 29.5]], [[69.5, 29.5]]]
    assert data.groups() == ["below/two.png"]
    assert data.annotations.notes == ["boxes.csv names 1 of 2 photos"]


def test_a_margin_shows_more_than_the_box(boxed):
    folder, boxes = boxed
    image = open_dataset(f"folder:{folder}?boxes={boxes}&size=40&margin=2").read(torch.arange(1))
    white = (image.image[0] == 255).all(-1)
    assert white.float().mean() == pytest.approx(0.25, abs=0.05)


def test_boxed_photos_that_cannot_be_read_are_skipped_and_folders_must_exist(boxed):
    folder, boxes = boxed
    boxes.write_text(boxes.read_text() + "other.png,0,0,9,9,\n")
    (folder / "below" / "two.png").write_bytes(b"")
    data = open_dataset(f"folder:{folder}?boxes={boxes}&size=8")
    assert len(data.read(torch.arange(3))) == 1
    assert data.faults.counts == {"unreadable image": 2}
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        open_dataset(f"folder:{folder}/nowhere?boxes={boxes}")


def test_real_photos_with_coco_boxes_are_cropped_about_their_hands(real_data):
    folder = real_data / "freihand"
    boxes = folder / "test_freihand.json"
    data = open_dataset(f"folder:{folder}?boxes={boxes}&size=96")
    record = json.loads(boxes.read_text())
    assert len(data) == len(record["annotations"]) == 8
    batch = data.read(torch.arange(8))
    names = {image["id"]: image["file_name"] for image in record["images"]}
    for annotation in record["annotations"]:
        row = [s.file.endswith(names[annotation["image_id"]]) for s in batch.source].index(True)
        joints = torch.tensor(annotation["keypoints"]).view(21, 3)[:, :2]
        in_crop = joints @ batch.crop[row, :, :2].T + batch.crop[row, :, 2]
        assert ((in_crop > -1) & (in_crop < 96)).all()
        assert in_crop.amax() - in_crop.amin() > 96 / 3


def test_real_photos_are_read(real_data):
    data = FolderDataset(real_data / "in_the_wild", 96)
    assert len(data) == 5
    assert not data.skipped
    assert data.read(torch.arange(5)).image.float().std() > 10
