import importlib

import pytest
import torch
from PIL import Image

from pyhandpose.__main__ import main
from pyhandpose.training.checkpoint import load_method
from pyhandpose.training.loop import TrainingStoppedError

SMALL = ["--epochs", "1", "--view-size", "32", "--encoder.width", "4", "--device", "cpu"]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, colour in enumerate(("red", "green", "blue", "white")):
        Image.new("RGB", (32, 32), colour).save(folder / f"{i}.png")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_help_has_examples_units_and_every_group(command, capsys):
    with pytest.raises(SystemExit) as exit_status:
        main([command, "--help"])
    assert exit_status.value.code == 0
    text = capsys.readouterr().out
    for word in ("examples:", "--data", "degrees", "--optimizer.lr", "--resume", "tiny-cpu"):
        assert word in text


def test_pretrain_on_photos_then_finetune_from_it(photos, tmp_path, capsys):
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    assert main(["pretrain", "--data", f"folder:{photos}?size=32", "--out", str(run), *SMALL]) == 0
    assert f"--init {run}" in capsys.readouterr().out
    source, _ = load_method(run)
    assert source.config.temperature == 0.2

    options = ["--data", "synthetic:6?size=32", "--num-labels", "4", "--init", str(run)]
    few = ["--epochs", "1", "--view-size", "32", "--optimizer.lr", "0", "--device", "cpu"]
    assert main(["finetune", *options, "--out", str(tuned), *few]) == 0
    estimator, _ = load_method(tuned)
    for name, value in source.encoder.named_parameters():
        assert torch.equal(value, dict(estimator.encoder.named_parameters())[name])


def test_method_and_preset_choose_each_others_defaults(photos, tmp_path):
    from pyhandpose.cli.pretrain import parse

    required = ["--data", f"folder:{photos}", "--out", str(tmp_path)]
    simclr = parse([*required, "--method", "simclr"])
    assert type(simclr.network).__name__ == "SimCLRConfig"
    assert simclr.train.augment.rotation_deg == 0
    paper = parse([*required, "--preset=simclr-paper", "--batch-size", "64"])
    assert (paper.method, paper.train.batch_size, paper.train.epochs) == ("simclr", 64, 100)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "folder:/nowhere/at/all"], "is not a folder"),
        (["--data", "photos"], "expected folder:PATH"),
        (["--data", "{photos}", "--preset", "simclr-paper", "--method", "peclr"], "no settings"),
        (["--data", "{photos}", "--encoder.name", "resnet17"], "for example"),
        (["--data", "{photos}", "--epochs", "0"], "epochs: expected at least 1"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(photos, tmp_path, capsys, argv, message):
    argv = [a.replace("{photos}", f"folder:{photos}") for a in argv]
    assert main(["pretrain", "--out", str(tmp_path / "run"), *argv]) == 2
    assert message in capsys.readouterr().err


def test_finetune_on_photos_says_that_it_needs_labels(photos, tmp_path, capsys):
    arguments = ["--data", f"folder:{photos}?size=32", "--out", str(tmp_path / "run"), *SMALL]
    assert main(["finetune", *arguments]) == 2
    assert "fine-tuning needs labels" in capsys.readouterr().err


def test_finetune_from_nothing_says_what_to_give(tmp_path, capsys):
    arguments = ["--data", "synthetic:4?size=32", "--out", str(tmp_path / "run"), *SMALL]
    assert main(["finetune", *arguments, "--init", str(tmp_path / "none")]) == 2
    assert "pyhandpose pretrain" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
@pytest.mark.parametrize("during", ["train", "open_dataset"])
def test_ctrl_c_exits_130_and_says_how_to_go_on(
    photos, tmp_path, capsys, monkeypatch, command, during
):
    module = importlib.import_module(f"pyhandpose.cli.{command}")

    def stop(*_, **__):
        raise TrainingStoppedError(tmp_path, 3) if during == "train" else KeyboardInterrupt

    monkeypatch.setattr(module, during, stop)
    arguments = ["--data", f"folder:{photos}?size=32", "--out", str(tmp_path / "run"), *SMALL]
    assert main([command, *arguments]) == 130
    message = capsys.readouterr().err
    assert ("--resume" in message) == (during == "train")
    assert "stopped" in message


def test_pretrain_on_the_real_photos(real_data, tmp_path):
    arguments = ["--data", f"folder:{real_data}?size=48", "--out", str(tmp_path / "run")]
    assert main(["pretrain", *arguments, *SMALL]) == 0
