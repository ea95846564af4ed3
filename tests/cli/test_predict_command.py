"""``pyhandpose predict`` on good, bad and missing files, with a small untrained model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.cli.predict import main
from pyhandpose.hand.skeleton import JOINT_NAMES
from pyhandpose.methods.supervised import Supervised, SupervisedConfig
from pyhandpose.predict import Prediction
from pyhandpose.predict.photos import csv_header, free_stem
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


def hands_of(file):
    return json.loads(file.read_text())["hands"]


def test_writes_an_overlay_and_a_record(checkpoint, tmp_path, capsys):
    file = photo(tmp_path / "in" / "hand.jpg")
    assert main([file, "--checkpoint", checkpoint, "--out", str(tmp_path / "out")]) == 0
    expected = {"hand.overlay.png", "hand.3d.png", "hand.json", "report.html"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == expected
    (record,) = hands_of(tmp_path / "out" / "hand.json")
    assert list(record["joints_img_px"]) == list(JOINT_NAMES)
    prediction = Prediction.from_json(record)
    assert prediction.source == file
    assert prediction.box_from == "found"
    assert prediction.hand_scale_from == "assumed"
    assert len(record["assumptions"]) == 4
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
    assert {p.name for p in out.glob("*.json")} == {"good.json"}
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
    records = [record for path in out.glob("*.json") for record in hands_of(path)]
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
    options = ["--box=-10,0,60,60", "--intrinsics", "100,101,60,45", "--hand", "left"]
    options += ["--hand-scale", "0.08", "--out", str(tmp_path / "out"), "--no-report"]
    assert main([file, "--checkpoint", checkpoint, *options]) == 0
    assert not (tmp_path / "out" / "report.html").exists()
    (record,) = hands_of(tmp_path / "out" / "hand.json")
    x0, y0, x1, y1 = record["box_px"]
    assert (x1 - x0, y1 - y0) == pytest.approx((60 / 0.7, 60 / 0.7))
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((20, 30), abs=1)
    assert record["intrinsics_px"] == [100, 101, 60, 45]
    assert (record["hand"], record["hand_scale_mm"], record["assumptions"]) == ("left", 80, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "1,2,3"], "--box takes four numbers"),
        (["--intrinsics", "a,b,c,d"], "--intrinsics takes four numbers"),
        (["--fov-deg", "200"], "fov_deg"),
        (["--box", "9,9,-3,3"], "w and h"),
        (["--hand-scale", "-1"], "--hand-scale is in metres"),
        (["--hand-scale", "87"], "--hand-scale is in metres"),
        (["--passes", "3"], "passes must be 1 or 2"),
        (["--box", "1,1,9,9", "--boxes", "boxes.csv"], "not both"),
        (["--boxes", "missing.csv"], "missing.csv: cannot be read"),
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
    for word in ("examples:", "--box", "X,Y,W,H", "0.09", "METRES", "Exit status", "webcam:0"):
        assert word in text


def test_real_photos(checkpoint, tmp_path, real_data):
    files = sorted(map(str, (real_data / "in_the_wild").glob("*.jpg")))
    assert files
    assert main([*files, "--checkpoint", checkpoint, "--out", str(tmp_path)]) == 0
    for file in files:
        (record,) = hands_of(tmp_path / f"{Path(file).stem}.json")
        with Image.open(file) as image:
            assert tuple(record["image_size_px"]) == image.size


def test_folders_and_patterns(checkpoint, tmp_path, capsys):
    for name in ("a/one.jpg", "a/deep/two.png", "b/three.jpg", "b/notes.txt"):
        photo(tmp_path / name) if "txt" not in name else (tmp_path / name).touch()
    out = tmp_path / "a" / "out"  # inside the folder of photos: its pictures are not photos
    words = [str(tmp_path / "a"), str(tmp_path / "b" / "*.jpg"), str(tmp_path / "none*.jpg")]
    for _ in range(2):
        assert main([*words, "--checkpoint", checkpoint, "--out", str(out)]) == 1
        captured = capsys.readouterr()
        assert "3 of 3 predicted" in captured.out
        assert "none*.jpg: no photo or video in it" in captured.err
    assert {p.stem for p in out.glob("*.json")} == {"one", "two", "three"}


def test_a_file_of_boxes_gives_the_hands_of_each_photo(checkpoint, tmp_path, capsys):
    files = [photo(tmp_path / name, seed) for seed, name in enumerate(("a.png", "b.png", "c.png"))]
    lines = ["file,x,y,w,h,hand", "a.png,5,5,40,40,left", "a.png,60,20,50,50,right"]
    lines += ["b.png,10,10,30,30,", "c.png,500,0,20,20,right"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    out = tmp_path / "out"
    options = [
        "--checkpoint",
        checkpoint,
        "--out",
        str(out),
        "--boxes",
        str(tmp_path / "boxes.csv"),
    ]
    assert main([*files, *options]) == 1
    first, second = hands_of(out / "a.json")
    assert (first["hand"], second["hand"], second["box_from"]) == ("left", "right", "given")
    (only,) = hands_of(out / "b.json")
    assert (only["hand"], only["hand_from"]) == ("right", "assumed")
    captured = capsys.readouterr()
    assert "c.png: box" in captured.err
    assert "2 of 3 predicted" in captured.out


def test_either_hand_is_written_when_nobody_knows(checkpoint, tmp_path):
    file = photo(tmp_path / "hand.png")
    options = ["--checkpoint", checkpoint, "--out", str(tmp_path / "out"), "--hand", "auto-both"]
    assert main([file, *options]) == 0
    assert [hand["hand"] for hand in hands_of(tmp_path / "out" / "hand.json")] == ["right", "left"]
    with Image.open(tmp_path / "out" / "hand.overlay.png") as overlay:
        assert overlay.size == (240, 90)  # side by side


def test_a_video_gives_a_video_and_a_table(checkpoint, tmp_path, capsys):
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    from pyhandpose.data.video import VideoSource, VideoWriter

    with VideoWriter(tmp_path / "clip", 10.0, (96, 64)) as writer:
        for shade in range(6):
            writer.write(np.full((64, 96, 3), 40 * shade, np.uint8))
    out = tmp_path / "out"
    options = ["--checkpoint", checkpoint, "--out", str(out), "--seconds", "0.5"]
    assert main([str(writer.path), str(tmp_path / "missing.mp4"), *options]) == 1
    captured = capsys.readouterr()
    assert "5 frames" in captured.out
    assert "missing.mp4: no such file" in captured.err
    rows = [line.split(",") for line in (out / "clip.csv").read_text().splitlines()]
    assert rows[0] == csv_header()
    assert [row[:3] for row in rows[1:]] == [[str(i), f"{i / 10:.3f}", "right"] for i in range(5)]
    assert {len(row) for row in rows} == {4 + 21 * 5}
    (video,) = out.glob("clip.overlay.*")
    with VideoSource(str(video)) as source:
        assert [frame.shape for frame in source.frames()] == [(64, 96, 3)] * 5
    assert {p.suffix for p in out.iterdir()} == {".csv", video.suffix}  # nothing temporary


def test_without_opencv_videos_are_skipped_and_photos_done(
    checkpoint, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    (tmp_path / "clip.mp4").touch()
    words = [photo(tmp_path / "hand.png"), str(tmp_path / "clip.mp4"), "webcam:0"]
    assert main([*words, "--checkpoint", checkpoint, "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "1 of 3 predicted" in captured.out
    assert captured.err.count("pip install 'pyhandpose[opencv]'") == 2


def test_ctrl_c_ends_without_a_traceback(checkpoint, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pyhandpose.cli.predict.predict_photos", interrupted)
    file = photo(tmp_path / "hand.png")
    assert main([file, "--checkpoint", checkpoint, "--out", str(tmp_path / "out")]) == 130
    assert "stopped" in capsys.readouterr().err
