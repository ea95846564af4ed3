"""``pyhandpose evaluate`` on a few synthetic hands, with a small untrained model."""

import json

import pytest
import torch
from PIL import Image

from pyhandpose.cli.evaluate import main
from pyhandpose.methods.peclr import PeCLR
from pyhandpose.methods.supervised import Supervised, SupervisedConfig
from pyhandpose.training.checkpoint import save_checkpoint


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path / "cache"))
    return "synthetic:9?size=48"


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "model", Supervised(SupervisedConfig()), 32)
    return str(tmp_path / "model")


def test_writes_table_record_and_pictures(cached, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--data", cached, "--checkpoint", checkpoint, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for word in ("2D EPE", "PA-EPE", "AUC", "thumb", "9 images", "results.json"):
        assert word in printed
    record = json.loads((out / "results.json").read_text())["evaluations"][0]
    assert record["num_samples"] == 9
    assert record["metrics"]["epe_2d"]["num_joints"] == 9 * 21
    assert sum(record["depth_status"].values()) == 9
    for name in ("pck.png", "joints.png", "examples.png"):
        with Image.open(out / name) as image:
            assert min(image.size) > 300
        assert name in (out / "report.md").read_text()


def test_mistakes_end_with_status_2(cached, checkpoint, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(["--data", "nonsense", "--checkpoint", checkpoint, *out]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert main(["--data", cached, "--checkpoint", str(tmp_path / "nowhere"), *out]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["--data", cached, "--checkpoint", checkpoint, "--batch-size", "0", *out]) == 2
    assert "batch_size must be at least 1" in capsys.readouterr().err
    assert main(["--data", cached, "--checkpoint", checkpoint, "--device", "gpu", *out]) == 2
    assert "expected 'auto', 'cpu', 'cuda'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_photos_cannot_be_evaluated(checkpoint, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64)).save(photos / "a.png")
    assert main(["--data", f"folder:{photos}", "--checkpoint", checkpoint]) == 2
    assert "no joint labels" in capsys.readouterr().err


def test_an_encoder_without_a_pose_head_is_refused(cached, tmp_path, capsys):
    save_checkpoint(tmp_path / "pretrained", PeCLR(PeCLR.Config()), 32)
    assert main(["--data", cached, "--checkpoint", str(tmp_path / "pretrained")]) == 2
    assert "pyhandpose finetune" in capsys.readouterr().err
