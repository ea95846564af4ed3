import pytest
import torch

from pyhandpose.methods import METHODS, build_method
from pyhandpose.training.config import TrainConfig, choose_device, from_dict, to_dict, uses_bf16
from pyhandpose.training.presets import PRESETS, peek, preset_of

ALL = [(name, method) for name, methods in PRESETS.items() for method in methods]


@pytest.mark.parametrize(("name", "method"), ALL)
def test_presets_survive_json(name, method):
    preset = preset_of(name, method)
    assert isinstance(preset.method, METHODS[method].Config)
    assert from_dict(type(preset.method), to_dict(preset.method)) == preset.method
    assert from_dict(TrainConfig, to_dict(preset.train)) == preset.train


def test_absent_fields_take_their_defaults_and_unknown_ones_are_refused():
    assert from_dict(TrainConfig, {"epochs": 3}) == TrainConfig(epochs=3)
    with pytest.raises(ValueError, match="TrainConfig: unknown field epoch;"):
        from_dict(TrainConfig, {"epoch": 3})


def test_paper_presets_hold_the_papers_numbers():
    peclr = preset_of("peclr-paper", "peclr").train
    assert (peclr.epochs, peclr.batch_size, peclr.view_size) == (100, 2048, 128)
    assert peclr.optimizer.lr == pytest.approx(4.5e-3, rel=0.01)
    assert peclr.augment.translation * 128 == pytest.approx(15)
    simclr = preset_of("simclr-paper", "simclr").train.augment
    assert (simclr.rotation_deg, simclr.translation, simclr.scale) == (0, 0, (0.6, 2.0))
    finetune = preset_of("finetune-paper", "supervised").train
    assert (finetune.optimizer.lr, finetune.augment.rotation_deg) == (5e-4, 90)


def test_a_preset_without_settings_for_the_method_names_those_that_have():
    with pytest.raises(ValueError, match=r"no settings for simclr; choose one of tiny-cpu, sim"):
        preset_of("peclr-paper", "simclr")


def test_an_unknown_method_is_refused_with_the_known():
    with pytest.raises(ValueError, match=r"expected one of peclr, simclr, .*, got 'byol'"):
        preset_of("tiny-cpu", "byol")


def test_every_tiny_preset_builds():
    for method in PRESETS["tiny-cpu"]:
        build_method(preset_of("tiny-cpu", method).method)


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        (["--preset", "a"], "a"),
        (["--x", "--preset=b"], "b"),
        (["--preset", "a", "--preset=b"], "b"),
        (["--preset"], None),
        ([], None),
    ],
)
def test_peeking_at_an_option(argv, value):
    assert peek(argv, "--preset") == value


def test_devices_and_precisions():
    cpu = torch.device("cpu")
    assert choose_device("cpu") == cpu
    assert uses_bf16("bf16", cpu)
    assert not uses_bf16("fp32", cpu)
    if not torch.cuda.is_available():
        assert choose_device("auto") == cpu
        with pytest.raises(ValueError, match="torch sees no CUDA device"):
            choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:x", ""])
def test_an_unknown_device_is_refused_with_the_known(name):
    with pytest.raises(ValueError, match=f"expected 'auto', 'cpu', 'cuda' or .*, got '{name}'"):
        choose_device(name)


@pytest.mark.parametrize("field", ["epochs", "batch_size", "view_size", "checkpoint_every"])
def test_settings_below_one_are_refused(field):
    with pytest.raises(ValueError, match=f"TrainConfig.{field}: expected at least 1, got 0"):
        TrainConfig(**{field: 0})
