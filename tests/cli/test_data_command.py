"""``pyhandpose data``: what it finds, what it prints, what it writes, and its exit status."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.cli import data
from pyhandpose.data.joint_regressor import load_regressor
from pyhandpose.data.registry import FORMS, open_dataset
from tests.data.fixtures.freihand import write_freihand
from tests.data.fixtures.youtube3d import write_youtube3d


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def freihand(tmp_path):
    write_freihand(tmp_path / "FH", hands=3, evaluation=1)
    return tmp_path / "FH"


def edit(path, change):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(change(record)))


def checked(capsys, *arguments):
    """``(status, report of the first dataset)``."""
    status = data.main(["check", *map(str, arguments), "--json", "-"])
    return status, json.loads(capsys.readouterr().out)[0]


def test_a_whole_dataset_has_no_problem_and_a_sheet_of_its_hands(freihand, capsys, tmp_path):
    assert data.main(["check", f"freihand:{freihand}"]) == 0
    text = capsys.readouterr().out
    assert "no problem found" in text
    assert "12 entries where 130,240 were published" in text
    assert "224x224 (12)" in text
    sheet = np.asarray(Image.open(tmp_path / "work" / "contact-sheet.png"))
    assert sheet.shape == (2 * 162 - 2, 8 * 162 - 2, 3)  # twelve in rows of eight
    first = open_dataset(f"freihand:{freihand}?size=160").read(torch.arange(1))
    tile = sheet[:160, :160].astype(int)
    close = (np.abs(tile - first.image[0].numpy()) < 12).all(-1).mean()
    assert 0.85 < close < 1  # the picture, with a skeleton on it


def test_every_problem_is_named_with_its_file_and_entry(freihand, capsys):
    edit(freihand / "training_K.json", lambda K: [K[0], np.diag([-9.0, 9, 1]).tolist(), K[2]])
    edit(freihand / "training_mano.json", lambda rows: rows)  # not needed, not looked at
    edit(freihand / "training_scale.json", lambda s: [s[0], s[1], 2 * s[2]])
    (freihand / "training/rgb/00000000.jpg").unlink()
    Image.new("RGB", (100, 100)).save(freihand / "training/rgb/00000003.jpg")
    whole = (freihand / "training/rgb/00000005.jpg").read_bytes()
    (freihand / "training/rgb/00000005.jpg").write_bytes(whole[: len(whole) // 2])
    status, report = checked(capsys, f"freihand:{freihand}")
    assert status == 1
    assert report["counts"] == {
        "scale": 1,
        "missing image": 1,
        "intrinsics": 4,
        "image size": 1,
        "unreadable image": 1,
    }
    found = {(p["kind"], p["file"].split("/")[-1], p["entry"]) for p in report["problems"]}
    assert ("scale", "training_scale.json", "2") in found
    assert ("missing image", "00000000.jpg", "entry 0") in found
    assert ("intrinsics", "00000001.jpg", "1") in found
    assert ("image size", "00000003.jpg", "0") in found
    assert ("unreadable image", "00000005.jpg", "2") in found


def test_labels_that_make_no_sense_are_found(freihand, capsys):
    def disturb(hands):
        hands[0] = (1000 * np.array(hands[0])).tolist()  # mm
        hands[1] = (np.array(hands[1]) * [1, 1, -1]).tolist()
        hands[2] = np.add(hands[2], [9, 0, 0]).tolist()
        return hands

    edit(freihand / "training_xyz.json", disturb)
    (freihand / "training_scale.json").unlink()
    status, report = checked(capsys, f"freihand:{freihand}?version=gs", "--images", 2)
    assert status == 1
    kinds = {(p["kind"], p["entry"]) for p in report["problems"]}
    assert {("hand size", "0"), ("behind the camera", "1"), ("outside the image", "2")} <= kinds
    assert report["images_read"] == 2
    assert report["palm_mm"]["max"] > 40_000


def test_problems_of_many_entries_are_cut_in_print_and_whole_in_json(freihand, capsys, tmp_path):
    for number in range(12):
        (freihand / f"training/rgb/{number:08d}.jpg").write_bytes(b"")
    path = tmp_path / "report.json"
    assert data.main(["check", f"freihand:{freihand}", "--json", str(path)]) == 1
    text = capsys.readouterr().out
    assert "unreadable image: 12" in text
    assert text.count("the file is empty") == 10
    assert "... and 2 more" in text
    assert len(json.loads(path.read_text())[0]["problems"]) == 12


def test_a_dataset_that_cannot_be_opened_says_everything_that_is_wrong(freihand, capsys):
    (freihand / "training_scale.json").unlink()
    path = freihand / "training_xyz.json"
    path.write_text(path.read_text()[:-9])
    assert data.main(["check", f"freihand:{freihand}"]) == 1
    text = capsys.readouterr().err
    assert "training_scale.json: no such file" in text
    assert "training_xyz.json: cut off or not JSON" in text
    for number in range(4):
        (freihand / f"evaluation/rgb/{number:08d}.jpg").unlink(missing_ok=True)
    assert data.main(["check", f"freihand:{freihand}?split=evaluation"]) == 1
    assert "no usable entry; 1 x missing image" in capsys.readouterr().err


def test_left_hands_missing_frames_and_mixtures(tmp_path, capsys, freihand):
    root = tmp_path / "YT"
    root.mkdir()
    write_youtube3d(root)
    (root / "youtube/video1/video/frames/3.png").unlink()
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (300, 300)).save(photos / "a.png")
    (photos / "b.png").write_text("no")
    spec = f"yt3d:{root}@1,freihand:{freihand}@1,folder:{photos}?size=224@2"
    assert data.main(["check", spec, "--json", "-"]) == 1
    yt3d, own, folder = json.loads(capsys.readouterr().out)
    assert yt3d["left_hands"] == 2
    assert yt3d["counts"] == {"missing image": 1}
    assert not own["problems"]
    assert folder["counts"] == {"unreadable image": 1}


def test_masks_darken_what_is_outside(freihand, tmp_path, capsys):
    pictures = {}
    for geometry in ("true", "false"):
        path = tmp_path / f"{geometry}.png"
        spec = f"freihand:{freihand}?version=gs&geometry={geometry}"
        assert data.main(["check", spec, "--contact-sheet", str(path)]) == 0
        pictures[geometry] = np.asarray(Image.open(path)).astype(float)
    assert pictures["true"].mean() < 0.7 * pictures["false"].mean()


def test_mistakes_on_the_command_line_have_status_2(freihand, capsys):
    for arguments in (
        ["check", "frei:x"],
        ["check", f"freihand:{freihand}?split=trainning"],
        ["check", f"freihand:{freihand}", "--images", "0"],
        ["split", "synthetic:2?size=16", "--out", "s.json"],
    ):
        assert data.main(arguments) == 2
        assert "pyhandpose data: " in capsys.readouterr().err


def test_the_list_has_every_name(capsys):
    assert data.main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}:" in text for name in FORMS)


def test_a_split_is_written_and_used(freihand, capsys):
    assert data.main(["split", f"freihand:{freihand}", "--out", "s.json"]) == 0
    assert "train: 2, val: 1 groups" in capsys.readouterr().out
    assert len(open_dataset(f"freihand:{freihand}?splits=s.json&part=val")) == 4
    arguments = ["split", f"freihand:{freihand}", "--out", "t.json", "--held-out", "0.6"]
    assert data.main(arguments) == 0
    assert len(open_dataset(f"freihand:{freihand}?splits=t.json&part=val")) == 8


def test_a_regressor_is_fitted_and_loads(tmp_path, capsys):
    write_freihand(tmp_path / "FH", hands=20, evaluation=1, verts=True)
    assert data.main(["fit-regressor", str(tmp_path / "FH"), "--out", "w.npy"]) == 0
    assert "wrist" in capsys.readouterr().out
    assert load_regressor(tmp_path / "work" / "w.npy").shape == (21, 778)


@pytest.mark.parametrize("command", ["check", "split", "fit-regressor", "list"])
def test_help_explains_each_command(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        data.main([command, "--help"])
    assert stopped.value.code == 0
    assert "usage: pyhandpose data" in capsys.readouterr().out
