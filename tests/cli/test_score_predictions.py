"""``pyhandpose evaluate --pred``: any model's predictions, by protocol."""

import json
import zipfile

import pytest
import torch
from PIL import Image

from pyhandpose.cli.evaluate import main
from pyhandpose.evaluation import leaderboard
from pyhandpose.evaluation.pose_files import read_poses, write_poses
from pyhandpose.evaluation.poses import Poses
from pyhandpose.evaluation.protocols import PROTOCOLS, score

DATA = "synthetic:8?size=32"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Labels and predictions of synthetic hands, in every form."""
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path / "cache"))
    truth = read_poses(DATA)
    generator = torch.Generator().manual_seed(0)
    mesh = truth.joints_cam.mean(1, keepdim=True) + 0.03 * torch.randn(8, 778, 3)
    cam = truth.joints_cam + 0.006 * torch.randn(8, 21, 3, generator=generator)
    img = truth.joints_img + torch.randn(8, 21, 2, generator=generator)
    guess = Poses("guess", cam, img, vertices=mesh + 0.002)
    write_poses(tmp_path / "gt.json", truth)
    write_poses(tmp_path / "pred.json", guess)
    (tmp_path / "freihand").mkdir()
    for name, value in (("xyz", truth.joints_cam), ("verts", mesh)):
        path = tmp_path / "freihand" / f"evaluation_{name}.json"
        path.write_text(json.dumps(value.tolist()))
    with zipfile.ZipFile(tmp_path / "pred.zip", "w") as archive:
        archive.writestr("pred.json", json.dumps([cam.tolist(), guess.vertices.tolist()]))
    return tmp_path


def run(files, *arguments):
    return main([*map(str, arguments), "--out", str(files / "out")])


def record(files):
    return json.loads((files / "out" / "results.json").read_text())["score"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_writes_table_record_and_pictures(protocol, files, capsys):
    status = run(
        files, "--pred", files / "pred.json", "--gt", files / "gt.json", "--protocol", protocol
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert f"8 poses, protocol {protocol}" in printed
    assert record(files)["protocol"] == protocol
    report = (files / "out" / "report.md").read_text()
    curves = any(line.pck and line.pck.count > 1 for line in PROTOCOLS[protocol].lines)
    assert (files / "out" / "pck.png").is_file() is curves
    for picture in (files / "out").glob("*.png"):
        with Image.open(picture) as image:
            assert min(image.size) > 300
        assert picture.name in report


@pytest.mark.parametrize("pred", ["pred.json", "pred.zip"])
@pytest.mark.parametrize("gt", ["gt.json", "freihand", "freihand/evaluation_xyz.json", DATA])
def test_every_form_of_a_file_gives_the_same_score(pred, gt, files):
    where = gt if gt == DATA else files / gt
    assert run(files, "--pred", files / pred, "--gt", where, "--protocol", "freihand") == 0
    found = record(files)
    expected = score("freihand", read_poses(files / "pred.json"), read_poses(files / "gt.json"))
    for got, wanted in zip(found["metrics"], expected.summaries, strict=True):
        assert got["mean"] == pytest.approx(wanted.mean, rel=1e-6)
        assert got["auc"] == pytest.approx(wanted.auc, rel=1e-6)
    if "freihand" in str(where):
        assert found["meshes"]["aligned"]["f_scores"]["F@5mm"] == pytest.approx(1, abs=1e-6)
    else:
        assert found["meshes"] is None
        assert "has no vertices" in found["notes"][0]


def test_without_labels_a_submission_is_checked(files, capsys, monkeypatch):
    assert run(files, "--pred", files / "pred.zip", "--protocol", "freihand") == 1
    assert "problem: 8 poses, expected 3,960 (FreiHAND)" in capsys.readouterr().out
    eight = {"freihand": leaderboard.BENCHMARKS["freihand"]._replace(counts={8: "eight"})}
    monkeypatch.setattr(leaderboard, "BENCHMARKS", eight)
    leaderboard.write_freihand(files / "whole.zip", read_poses(files / "gt.json").joints_cam)
    assert run(files, "--pred", files / "whole.zip", "--protocol", "freihand") == 0
    assert "ready for upload" in capsys.readouterr().out
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --data NAME to measure a model"),
        (["--gt", "gt.json"], "belong to --pred FILE"),
        (["--pred", "pred.json", "--data", DATA], "--pred scores a file"),
        (["--pred", "pred.json"], "--protocol must be one of freihand, ho3d, peclr-paper"),
        (["--pred", "pred.json", "--protocol", "pck"], "got 'pck'"),
        (["--pred", "pred.json", "--protocol", "peclr-repo"], "give the labels with --gt"),
        (
            ["--pred", "none.json", "--gt", "gt.json", "--protocol", "freihand"],
            "none.json: no such file or folder, and no dataset (folder",
        ),
        (
            ["--pred", "few.json", "--gt", "gt.json", "--protocol", "freihand"],
            "few.json has 5 poses and gt.json 8: give one prediction for each label",
        ),
    ],
)
def test_mistakes_say_what_to_do(arguments, message, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    write_poses(files / "few.json", Poses("few", read_poses("gt.json").joints_cam[:5]))
    assert run(files, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (files / "out").exists()
