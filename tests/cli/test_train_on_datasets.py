"""The commands train on real formats: mixtures, image points without 3D, fingertips alone."""

import json

import numpy as np
import pytest

from pyhandpose.__main__ import main
from tests.data.fixtures.egodexter import write as write_egodexter
from tests.data.fixtures.freihand import write_freihand
from tests.data.fixtures.mesh import regressor
from tests.data.fixtures.youtube3d import write_youtube3d

SMALL = ["--epochs", "2", "--view-size", "32", "--encoder.width", "4", "--device", "cpu"]


@pytest.fixture
def roots(tmp_path, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path / "cache"))
    folders = {name: tmp_path / name for name in ("FH", "YT", "EGO")}
    for folder in folders.values():
        folder.mkdir()
    write_freihand(folders["FH"], hands=2, evaluation=1)
    write_youtube3d(folders["YT"])
    write_egodexter(folders["EGO"])
    np.save(tmp_path / "w.npy", regressor())
    return {"out": tmp_path / "run", "regressor": tmp_path / "w.npy", **folders}


def log_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_pretraining_draws_from_two_datasets(roots):
    spec = "freihand:{FH}?size=48@1,yt3d:{YT}?size=48&on_error=skip@1".format(**roots)
    (roots["YT"] / "youtube/video0/video/frames/2.png").unlink()
    assert main(["pretrain", "--data", spec, "--out", str(roots["out"]), *SMALL]) == 0
    settings = json.loads((roots["out"] / "config.json").read_text())
    assert settings["data"]["num_images"] == 8 + 5
    assert np.isfinite([line["loss"] for line in log_of(roots["out"])]).all()


def test_finetuning_takes_image_points_without_3d_beside_3d(roots):
    spec = "freihand:{FH}?size=48@1,yt3d:{YT}?size=48&regressor={regressor}@1".format(**roots)
    assert main(["finetune", "--data", spec, "--out", str(roots["out"]), *SMALL]) == 0
    last = log_of(roots["out"])[-1]
    assert np.isfinite([last["loss"], last["loss_2d"], last["loss_depth"]]).all()
    assert last["loss_depth"] > 0


def test_finetuning_on_fingertips_trains_their_image_points(roots):
    spec = "egodexter:{EGO}?size=48".format(**roots)
    assert main(["finetune", "--data", spec, "--out", str(roots["out"]), *SMALL]) == 0
    last = log_of(roots["out"])[-1]
    assert last["loss_2d"] > 0
    assert last["loss_depth"] == 0  # no wrist, no reference bone


def test_a_missing_image_ends_training_by_name_unless_it_is_skipped(roots, capsys):
    file = roots["YT"] / "youtube/video0/video/frames/2.png"
    file.unlink()
    spec = "yt3d:{YT}?size=48".format(**roots)
    assert main(["pretrain", "--data", spec, "--out", str(roots["out"]), *SMALL]) == 2
    assert f"{file}[7002]: no such file" in capsys.readouterr().err


def test_evaluation_of_a_dataset_leaves_unlabelled_joints_out(roots):
    spec = "freihand:{FH}?size=48".format(**roots)
    assert main(["finetune", "--data", spec, "--out", str(roots["out"]), *SMALL]) == 0
    results = roots["out"] / "results"
    for data, missing_2d, missing_3d in (
        ("egodexter:{EGO}?size=48", 6 * 17, 6 * 21),  # four tips; no reference bone, no scale
        ("freihand:{FH}?size=48&split=evaluation", 0, 0),
    ):
        arguments = ["--data", data.format(**roots), "--checkpoint", str(roots["out"])]
        assert main(["evaluate", *arguments, "--out", str(results)]) == 0
        record = json.loads((results / "results.json").read_text())["evaluations"][0]
        assert record["metrics"]["epe_2d"]["num_missing"] == missing_2d
        assert record["metrics"]["pa_epe"]["num_missing"] == missing_3d
