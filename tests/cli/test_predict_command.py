"""``pyhandpose predict`` on good, bad and missing files, with a small untrained model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.cli.predict import free_stem, main
from pyhandpose.hand.skeleton import JOINT_NAMES
from pyhandpose.methods.supervised import Supervised, SupervisedConfig
from pyhandpose.predict import Prediction
from pyhandpose.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained pose estimator: what it answers is arbitrary, where it is written is not."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save_checkpoint(folder, Supervised(SupervisedConfig()), 64)
    return str(folder)


def photo(path, seed=0, size=(120, 90)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def test_writes_an_overlay_and_a_record(checkpoint, tmp_path, capsys):
    file = photo(tmp_path / "in" / "hand.jpg")
    assert main([file, "--checkpoint", checkpoint, "--out", str(tmp_path / "out")]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"hand.overlay.png", "hand.json"}
    record = json.loads((tmp_path / "out" / "hand.json").read_text())
    assert list(record["joints_img_px"]) == list(JOINT_NAMES)
    prediction = Prediction.from_json(record)
    assert prediction.source == file
    assert prediction.box_px == (15.0, 0.0, 105.0, 90.0)
    assert prediction.hand_scale_from == "assumed"
    assert len(record["assumptions"]) == 2
    with Image.open(tmp_path / "out" / "hand.overlay.png") as overlay:
        assert overlay.size == (120, 90)
    assert "1 of 1 predicted" in capsys.readouterr().out


def test_bad_files_are_named_and_the_others_done(checkpoint, tmp_path, capsys):
    good = photo(tmp_path / "good.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "broken.jpg").write_bytes(Path(photo(tmp_path / "x.jpg")).read_bytes()[:700])
    names = [tmp_path / n for n in ("empty.jpg", "good.png", "broken.jpg", "missing.jpg")]
    out = tmp_path / "out"
    assert main([*map(str, names), "--checkpoint", checkpoint, "--out", str(out)]) == 1
    assert {p.name for p in out.iterdir()} == {"good.overlay.png", "good.json"}
    captured = capsys.readouterr()
    assert "1 of 4 predicted" in captured.out
    for name in ("empty.jpg", "broken.jpg", "missing.jpg"):
        assert f"skipped {tmp_path / name}" in captured.err
    assert good not in captured.err


def test_same_stems_do_not_overwrite_each_other(checkpoint, tmp_path):
    files = [
        photo(tmp_path / d / n, s)
        for s, (d, n) in enumerate(
            [("a", "hand.png"), ("b", "hand.png"), ("c", "Hand.jpg"), ("d", "hand_2.png")]
        )
    ]
    out = tmp_path / "out"
    assert main([*files, "--checkpoint", checkpoint, "--out", str(out)]) == 0
    records = [json.loads(path.read_text()) for path in out.glob("*.json")]
    assert sorted(record["source"] for record in records) == sorted(files)
    assert len(list(out.glob("*.overlay.png"))) == 4


def test_free_stems():
    taken = set()
    assert [free_stem(s, taken) for s in ("a", "a", "A", "a_2", "b")] == [
        "a",
        "a_2",
        "A_3",
        "a_2_2",
        "b",
    ]


def test_options_reach_the_prediction(checkpoint, tmp_path):
    file = photo(tmp_path / "hand.png")
    options = ["--box=-10,0,50,60", "--intrinsics", "100,101,60,45", "--hand", "left"]
    options += ["--hand-scale-mm", "80", "--out", str(tmp_path / "out")]
    assert main([file, "--checkpoint", checkpoint, *options]) == 0
    record = json.loads((tmp_path / "out" / "hand.json").read_text())
    assert record["box_px"] == [-10, 0, 50, 60]
    assert record["intrinsics_px"] == [100, 101, 60, 45]
    assert (record["hand"], record["hand_scale_mm"], record["assumptions"]) == ("left", 80, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "1,2,3"], "--box takes four numbers"),
        (["--intrinsics", "a,b,c,d"], "--intrinsics takes four numbers"),
        (["--fov-deg", "200"], "fov_deg"),
        (["--box", "9,9,3,3"], "box must be"),
        (["--hand-scale-mm", "-1"], "hand_scale_mm"),
        (["--checkpoint", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_end_with_status_2(checkpoint, tmp_path, capsys, options, message):
    file = photo(tmp_path / "hand.png")
    if "--checkpoint" not in options:
        options = [*options, "--checkpoint", checkpoint]
    assert main([file, *options, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_named(checkpoint, tmp_path, capsys):
    file = photo(tmp_path / "hand.png")
    assert main([file, "--checkpoint", checkpoint, "--out", file]) == 2
    assert file in capsys.readouterr().err


def test_unknown_options_end_with_status_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["photo.jpg", "--bxo", "1"])
    assert exit_.value.code == 2
    assert "bxo" in capsys.readouterr().err


def test_no_files_end_with_status_2(capsys):
    assert main([]) == 2
    assert "image file" in capsys.readouterr().err


def test_without_a_checkpoint_the_quick_start_s_is_used_and_named(
    checkpoint, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path))
    file = photo(tmp_path / "hand.png")
    assert main([file, "--out", str(tmp_path / "out")]) == 2
    assert "pyhandpose quickstart" in capsys.readouterr().err
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart" / "model").symlink_to(checkpoint)
    assert main([file, "--out", str(tmp_path / "out")]) == 0
    assert str(tmp_path / "quickstart" / "model") in capsys.readouterr().out


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for word in ("examples:", "--box", "X0,Y0,X1,Y1", "90 mm", "Exit status"):
        assert word in text


def test_real_photos(checkpoint, tmp_path, real_data):
    files = sorted(map(str, (real_data / "in_the_wild").glob("*.jpg")))
    assert files
    assert main([*files, "--checkpoint", checkpoint, "--out", str(tmp_path)]) == 0
    for file in files:
        record = json.loads((tmp_path / f"{Path(file).stem}.json").read_text())
        with Image.open(file) as image:
            assert tuple(record["image_size_px"]) == image.size
