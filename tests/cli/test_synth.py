import json

import numpy as np
import pytest
from PIL import Image

from pyhandpose.cli import synth
from pyhandpose.data.synthetic import SyntheticDataset, render


def test_folder_holds_images_and_labels(tmp_path, capsys):
    out = tmp_path / "hands"
    arguments = f"--count 3 --size 32 --look wild --seed 2 --geometry --out {out}"
    assert synth.main(arguments.split()) == 0
    batch = render(2, range(3), 32, "wild")
    for i in range(3):
        np.testing.assert_array_equal(Image.open(out / f"images/{i:06d}.png"), batch.image[i])
        np.testing.assert_array_equal(
            np.asarray(Image.open(out / f"masks/{i:06d}.png")) == 255, batch.mask[i]
        )
        depth = np.asarray(Image.open(out / f"depths/{i:06d}.png")) * 1e-4
        np.testing.assert_allclose(depth, batch.depth[i], atol=0.51e-4)
        labels = json.loads((out / f"labels/{i:06d}.json").read_text())
        np.testing.assert_array_equal(np.float32(labels["joints_cam_m"]), batch.joints_cam[i])
        np.testing.assert_array_equal(np.float32(labels["joints_img_px"]), batch.joints_img[i])
        np.testing.assert_array_equal(np.float32(labels["intrinsics_px"]), batch.intrinsics[i])
        assert labels["visible"] == batch.visibility[i].tolist()
        assert labels["occluded"] == bool(batch.occluded[i])
        assert len(labels["joint_names"]) == 21
    assert str(out) in capsys.readouterr().out


def test_without_a_folder_the_cache_is_filled(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path))
    assert synth.main(["--count", "5", "--size", "16"]) == 0
    data = SyntheticDataset(5, 16, progress=False)
    output = capsys.readouterr().out
    assert str(data.directory) in output
    assert "synthetic:5?look=studio&size=16&seed=0" in output
    assert len(list(tmp_path.rglob("*.npy"))) == 1


@pytest.mark.parametrize("skeleton", [False, True])
def test_contact_sheet_shows_both_looks(tmp_path, skeleton):
    path = tmp_path / "new" / "sheet.png"
    arguments = f"--count 9 --size 32 --contact-sheet {path}".split() + ["--skeleton"] * skeleton
    assert synth.main(arguments) == 0
    sheet = np.asarray(Image.open(path))
    assert sheet.shape == (4 * 34 - 2, 8 * 34 - 2, 3)  # nine of a look are two rows of eight
    studio, wild = render(0, [0], 32).image[0].numpy(), render(0, [0], 32, "wild").image[0].numpy()
    for row, image in ((0, studio), (2, wild)):
        tile = sheet[row * 34 : row * 34 + 32, :32]
        assert np.array_equal(tile, image) != skeleton


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "-4"], "--count must be at least 1, got -4"),
        (["--size", "7"], "size must be 16"),
        (["--seed", "-1"], "seed must be"),
        (["--threads", "0"], "num_threads must be"),
    ],
)
def test_mistakes_are_explained(tmp_path, arguments, message, capsys):
    assert synth.main(["--out", str(tmp_path / "x"), *arguments]) == 2
    assert message in capsys.readouterr().err
