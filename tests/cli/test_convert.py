"""``pyhandpose convert`` on files laid out as the published ones, then used."""

import itertools
import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from PIL import Image

from pyhandpose.__main__ import main
from pyhandpose.training.checkpoint import CheckpointError, load_method, read_encoder

SMALL = ["--epochs", "1", "--view-size", "32", "--optimizer.lr", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18()


@pytest.fixture
def pretrained(resnet, tmp_path):
    """As peclr_rn50_yt3dh_fh.pth, of a smaller network."""
    torch.save({"state_dict": resnet.state_dict()}, tmp_path / "peclr_rn18_yt3dh_fh.pth")
    return str(tmp_path / "peclr_rn18_yt3dh_fh.pth")


def run(*arguments, capsys):
    status = main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_pretrained_encoder_starts_both_kinds_of_training(pretrained, resnet, tmp_path, capsys):
    encoder = tmp_path / "encoder"
    status, out, _ = run("convert", pretrained, "--out", encoder, capsys=capsys)
    assert status == 0
    assert "resnet18" in out
    assert "unexpected fc.weight" in out
    assert {p.name for p in encoder.iterdir()} == {"model.safetensors", "config.json"}
    with pytest.raises(CheckpointError, match="without a head"):
        load_method(encoder)
    data = ["--data", "synthetic:4?size=32", "--init", str(encoder)]
    for command in ("finetune", "pretrain"):
        assert main([command, *data, "--out", str(tmp_path / command), *SMALL]) == 0
        config, weights = read_encoder(tmp_path / command)
        assert config.name == "resnet18"
        assert torch.equal(weights["layer4.1.conv2.weight"], resnet.layer4[1].conv2.weight)


def test_a_finetuned_network_predicts(tmp_path, capsys):
    backbone = torchvision.models.resnet18(num_classes=64)
    widths = (64, 128, 128, 1)
    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    refiner = {"0": layers[0], "1": torch.nn.BatchNorm1d(128), "3": layers[1]}
    refiner |= {"4": torch.nn.BatchNorm1d(128), "6": layers[2]}
    state = {f"backend_model.{key}": value for key, value in backbone.state_dict().items()}
    for position, layer in refiner.items():
        for key, value in layer.state_dict().items():
            state[f"zroot_ref.zroot_ref.{position}.{key}"] = value
    torch.save({"state_dict": state}, tmp_path / "ft.pth")
    model = tmp_path / "model"
    status, out, _ = run("convert", tmp_path / "ft.pth", "--out", model, capsys=capsys)
    assert status == 0
    assert "every key has its place" in out
    assert "pyhandpose predict" in out
    assert json.loads((model / "config.json").read_text())["input_size"] == 224
    Image.new("RGB", (64, 48), "tan").save(tmp_path / "photo.png")
    arguments = [tmp_path / "photo.png", "--checkpoint", model, "--out", tmp_path / "out"]
    assert run("predict", *arguments, capsys=capsys)[0] == 0


def test_a_lightning_checkpoint_is_the_method_peclr(resnet, tmp_path, capsys):
    named = dict(resnet.named_children())
    state = {
        f"encoder.features.{position}.{key}": value
        for position, child in zip(
            (0, 1, 4, 5, 6, 7),
            ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"),
            strict=True,
        )
        for key, value in named[child].state_dict().items()
    }
    head = torch.nn.Sequential(
        torch.nn.Linear(512, 512),
        torch.nn.BatchNorm1d(512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 128, bias=False),
    )
    state |= {f"projection_head.{key}": value for key, value in head.state_dict().items()}
    state["encoder.final_layer.0.weight"] = torch.zeros(64, 512)
    torch.save({"state_dict": state, "global_step": 5}, tmp_path / "epoch=3.ckpt")
    arguments = [tmp_path / "epoch=3.ckpt", "--out", tmp_path / "peclr"]
    status, out, _ = run("convert", *arguments, capsys=capsys)
    assert status == 0
    assert "unexpected encoder.final_layer.0.weight" in out
    method, config = load_method(tmp_path / "peclr")
    assert (config["method"], method.config.temperature) == ("peclr", 0.5)
    x = torch.randn(2, 512)
    torch.testing.assert_close(method.projector(x), head.eval()(x))


def test_our_own_checkpoint_without_its_training_state(pretrained, tmp_path, capsys):
    run("convert", pretrained, "--out", tmp_path / "encoder", capsys=capsys)
    data = ["--data", "synthetic:4?size=32", "--out", str(tmp_path / "run")]
    assert main(["finetune", *data, *SMALL, "--encoder.width", "4"]) == 0
    assert run("convert", tmp_path / "run", "--out", tmp_path / "own", capsys=capsys)[0] == 0
    assert {p.name for p in (tmp_path / "own").iterdir()} == {"model.safetensors", "config.json"}
    assert load_method(tmp_path / "own")[1]["method"] == "supervised"


def test_misfits_are_listed_and_nothing_is_written(resnet, tmp_path, capsys):
    state = resnet.state_dict()
    del state["layer1.0.bn1.weight"], state["bn1.running_mean"]
    state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    torch.save(state, tmp_path / "odd.pth")
    arguments = [tmp_path / "odd.pth", "--out", tmp_path / "model"]
    status, _, err = run("convert", *arguments, capsys=capsys)
    assert status == 2
    assert "missing    encoder.layer1.0.bn1.weight" in err
    assert "missing    encoder.bn1.running_mean" in err
    assert "reshaped   encoder.conv1.weight: expected (64, 3, 7, 7), got (64, 3, 3, 3)" in err
    assert not (tmp_path / "model").exists()


def test_other_networks_are_named_by_the_user(tmp_path, capsys):
    torch.save(timm.create_model("resnet14t").state_dict(), tmp_path / "r14t.pth")
    arguments = [tmp_path / "r14t.pth", "--out", tmp_path / "model"]
    status, _, err = run("convert", *arguments, capsys=capsys)
    assert status == 2
    assert "--encoder" in err
    assert run("convert", *arguments, "--encoder", "resnet14t", capsys=capsys)[0] == 0
    assert read_encoder(tmp_path / "model")[0].name == "resnet14t"


def test_an_existing_folder_is_not_replaced(pretrained, tmp_path, capsys):
    (tmp_path / "precious").mkdir()
    status, _, err = run("convert", pretrained, "--out", tmp_path / "precious", capsys=capsys)
    assert status == 2
    assert "exists already" in err
    assert (tmp_path / "precious").is_dir()


def test_pickled_code_is_refused_by_name(tmp_path, capsys):
    torch.save({"state_dict": {}, "hyper_parameters": Path}, tmp_path / "bad.ckpt")
    status, _, err = run("convert", tmp_path / "bad.ckpt", "--out", tmp_path / "x", capsys=capsys)
    assert status == 2
    assert "--trust-pickle" in err
