"""Weights in every published layout, laid out by the test, and files that are not to be trusted."""

import pickle

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from pyhandpose.models.pretrained import (
    RESNETS,
    PretrainedError,
    UntrustedPickleError,
    compare,
    read_weights,
    resnet_name,
    translate,
)


class Payload:
    """An object whose unpickling leaves a trace."""

    ran = False

    def __reduce__(self):
        return _trace, ()


def _trace():
    Payload.ran = True
    return {}


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18()


@pytest.mark.parametrize("name", RESNETS.values())
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_every_resnet_is_recognised_with_the_names_of_timm(name, library):
    with torch.device("meta"):
        if library == "timm":
            model = timm.create_model(name)
        else:
            model = getattr(torchvision.models, name)()
        encoder = timm.create_model(name, num_classes=0)
    translated = translate(model.state_dict())
    assert translated.layout == "resnet"
    assert set(translated.left_out) == {"fc.weight", "fc.bias"}
    ours = {key.removeprefix("encoder."): v for key, v in translated.tensors.items()}
    assert resnet_name(set(ours)) == name
    report = compare(encoder.state_dict(), ours)
    assert report.fits
    assert not report.unexpected


def test_other_networks_are_named(resnet):
    with pytest.raises(PretrainedError, match="--encoder"):
        resnet_name({k for k in resnet.state_dict() if not k.startswith("layer3.1")})
    with pytest.raises(PretrainedError, match=r"layout is not known.*2 tensors such as a, b"):
        translate({"b": torch.zeros(1), "a": torch.zeros(1)})


def test_the_lightning_layout(resnet):
    """``encoder.features`` is the Sequential of the published ResNetModel."""
    features = torch.nn.Sequential(
        *(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool),
        *(resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4),
        torch.nn.AdaptiveAvgPool2d(1),
    )
    published = {f"encoder.features.{k}": v for k, v in features.state_dict().items()}
    published["encoder.final_layer.0.weight"] = torch.zeros(64, 512)
    published["projection_head.0.weight"] = torch.ones(512, 512)
    translated = translate(published)
    assert translated.layout == "peclr-lightning"
    assert translated.left_out == ("encoder.final_layer.0.weight",)
    for key, value in resnet.state_dict().items():
        if not key.startswith("fc."):
            assert translated.tensors[f"encoder.{key}"] is value or torch.equal(
                translated.tensors[f"encoder.{key}"], value
            )
    assert "projector.layers.0.weight" in translated.tensors


def test_every_misfit_is_reported(resnet):
    expected = resnet.state_dict()
    got = dict(expected)
    del got["conv1.weight"]
    got["fc.weight"] = torch.zeros(64, 512)
    got["K_default"] = torch.zeros(1, 3, 3)
    report = compare(expected, got)
    assert (report.missing, report.unexpected) == (("conv1.weight",), ("K_default",))
    assert report.reshaped == ("fc.weight: expected (1000, 512), got (64, 512)",)
    assert not report.fits
    for word in ("missing    conv1.weight", "unexpected K_default", "reshaped   fc.weight"):
        assert word in str(report)
    assert compare(expected, expected).fits


@pytest.mark.parametrize("nested", [False, True])
def test_reads_torch_and_safetensors_files(resnet, tmp_path, nested):
    state = resnet.state_dict()
    torch.save({"state_dict": state, "epoch": 3} if nested else state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        read = read_weights(tmp_path / name)
        assert read.keys() == state.keys()
        assert all(torch.equal(read[key], state[key]) for key in state)


def test_no_code_runs_unless_it_is_asked_for_by_name(tmp_path):
    file = tmp_path / "peclr.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1)}, "hyper_parameters": Payload()}, file)
    Payload.ran = False
    with pytest.raises(UntrustedPickleError, match="--trust-pickle") as error:
        read_weights(file)
    assert not Payload.ran
    assert "peclr.ckpt" in str(error.value)
    assert read_weights(file, trust_pickle=True).keys() == {"a"}
    assert Payload.ran


@pytest.mark.parametrize("content", [b"", b"not weights", pickle.dumps([1, 2])[:-3]])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_file_of_weights_is_named(tmp_path, content, suffix):
    file = tmp_path / f"broken{suffix}"
    file.write_bytes(content)
    with pytest.raises(PretrainedError, match="broken"):
        read_weights(file)
    with pytest.raises(PretrainedError, match=r"missing\.pth"):
        read_weights(tmp_path / "missing.pth")


def test_a_file_without_tensors_by_name(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(PretrainedError, match="'epoch' is a int"):
        read_weights(tmp_path / "a.pth")
    torch.save([torch.ones(1)], tmp_path / "b.pth")
    with pytest.raises(PretrainedError, match="got list"):
        read_weights(tmp_path / "b.pth")
