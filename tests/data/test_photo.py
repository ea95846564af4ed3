"""Photos of every mode arrive as the RGB that a viewer shows; unreadable files are named."""

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.data.photo import (
    BoxOutsideError,
    UnreadableImageError,
    read_photo,
    square_box,
    square_crop,
)

EXIF_ORIENTATION = 0x0112


@pytest.fixture
def rgb():
    """(12,20,3) with a different value everywhere."""
    y, x = np.mgrid[:12, :20]
    return np.stack([12 * x, 20 * y, x + y], 2).astype(np.uint8)


def shown(source):
    return np.asarray(read_photo(source).image)


def test_arrays_tensors_and_files_agree(rgb, tmp_path):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    for source in (rgb, torch.from_numpy(rgb), Image.fromarray(rgb), tmp_path / "a.png"):
        np.testing.assert_array_equal(shown(source), rgb)
    assert read_photo(tmp_path / "a.png").source == str(tmp_path / "a.png")
    assert read_photo(rgb).size == (20, 12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(rgb, tmp_path, orientation):
    # stored pixels for each orientation tag, from its definition: what transforms the stored image
    # into the displayed one, inverted by hand
    stored = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: rgb.transpose(1, 0, 2)[::-1],
        7: rgb.transpose(1, 0, 2)[::-1, ::-1],
        8: rgb.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "o.png", exif=exif)
    np.testing.assert_array_equal(shown(tmp_path / "o.png"), rgb)


def test_greyscale_of_8_and_16_bits(tmp_path):
    levels = np.linspace(0, 65535, 256).reshape(16, 16)
    Image.fromarray(levels.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray((levels / 257).astype(np.uint8)).save(tmp_path / "grey.png")
    deep, grey = shown(tmp_path / "deep.png"), shown(tmp_path / "grey.png")
    assert deep.shape == (16, 16, 3)
    np.testing.assert_array_equal(deep, np.arange(256).reshape(16, 16, 1).repeat(3, 2))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_transparency_is_laid_over_white(rgb, tmp_path):
    alpha = np.zeros((12, 20, 1), np.uint8)
    alpha[:6] = 255
    Image.fromarray(np.concatenate([rgb, alpha], 2)).save(tmp_path / "t.png")
    result = shown(tmp_path / "t.png")
    np.testing.assert_array_equal(result[:6], rgb[:6])
    assert (result[6:] == 255).all()


def test_cmyk_and_palettes_are_converted(tmp_path):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    red.convert("CMYK").save(tmp_path / "c.tif")
    red.convert("P").save(tmp_path / "p.gif")
    for name in ("c.tif", "p.gif"):
        assert np.abs(shown(tmp_path / name).astype(int) - [255, 0, 0]).max() <= 1


def test_floating_point_images_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UnreadableImageError, match=r"f\.tif.*floating-point"):
        read_photo(tmp_path / "f.tif")


@pytest.mark.parametrize("content", [b"", b"not an image", None], ids=["empty", "text", "cut off"])
def test_unreadable_files_are_named(rgb, tmp_path, content):
    path = tmp_path / "bad.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        read_photo(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"nowhere\.jpg: no such file"):
        read_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(UnreadableImageError, match="a folder"):
        read_photo(tmp_path)
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=r"a\.png/b\.png: not a readable image"):
        read_photo(tmp_path / "a.png" / "b.png")


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_arrays_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="uint8"):
        read_photo(np.zeros(shape, np.uint8))


def test_square_boxes():
    assert square_box(None, (20, 12)) == (4.0, 0.0, 16.0, 12.0)
    assert square_box((2, 1, 6, 3), (20, 12)) == (2.0, 0.0, 6.0, 4.0)
    for box in ((3, 0, 3, 5), (0, 0, float("nan"), 5), (0, 0, 5)):
        with pytest.raises(ValueError, match="x0,y0,x1,y1"):
            square_box(box, (20, 12))
    with pytest.raises(BoxOutsideError, match="outside"):
        square_box((20, 0, 30, 10), (20, 12))
    with pytest.raises(BoxOutsideError, match="twice"):
        square_box((0, 0, 1e9, 5), (20, 12))


def test_a_crop_of_whole_pixels_is_exact_and_black_outside(rgb):
    photo = read_photo(rgb)
    np.testing.assert_array_equal(square_crop(photo, (3.0, 2.0, 9.0, 8.0), 6), rgb[2:8, 3:9])
    outside = square_crop(photo, (-4.0, 0.0, 8.0, 12.0), 12)
    assert (outside[:, :4] == 0).all()
    np.testing.assert_array_equal(outside[:, 4:], rgb[:, :8])


def test_a_crop_between_pixels_samples_between_them():
    ramp = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], 3, 2).repeat(20, 0)
    crop = square_crop(read_photo(ramp), (4.5, 5.0, 10.5, 11.0), 6)
    # pixel i covers [i, i+1]: a box that starts at 4.5 has its first pixel centred at index 4.5
    np.testing.assert_allclose(crop[3, 1:-1, 0], 45 + 10 * np.arange(1, 5), atol=1)
