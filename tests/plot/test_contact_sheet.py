import numpy as np
import pytest

from pyhandpose.plot.contact_sheet import contact_sheet


def test_images_lie_in_rows():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 4, 3), np.uint8)
    sheet = contact_sheet(images, columns=2, gap_px=1, zoom=2)
    assert sheet.shape == (2 * 5 - 1, 2 * 9 - 1, 3)
    assert (sheet[:4, :8] == 0).all()
    assert (sheet[:4, 9:] == 1).all()
    assert (sheet[5:, :8] == 2).all()
    assert (sheet[4] == 255).all()
    assert (sheet[5:, 8:] == 255).all()


@pytest.mark.parametrize(
    "options", [{"columns": 0}, {"gap_px": -1}, {"zoom": 0}, {"images": np.zeros((1, 2, 2, 3))}]
)
def test_bad_arguments_are_named(options):
    with pytest.raises(ValueError, match=r"contact_sheet: .* got"):
        contact_sheet(**({"images": np.zeros((1, 2, 2, 3), np.uint8)} | options))
