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


def test_real_photos_are_read(real_data):
    data = FolderDataset(real_data / "in_the_wild", 96)
    assert len(data) == 5
    assert not data.skipped
    assert data.read(torch.arange(5)).image.float().std() > 10
