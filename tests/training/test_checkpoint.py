import json
import os

import pytest
import torch

from pyhandpose.methods import SupervisedConfig, build_method
from pyhandpose.models.encoder import EncoderConfig
from pyhandpose.training import checkpoint as module
from pyhandpose.training.checkpoint import (
    CheckpointError,
    find_checkpoint,
    load_encoder,
    load_method,
    save_checkpoint,
    save_run_checkpoint,
)


def save_step(run_dir, method, step):
    optimizer = torch.optim.Adam(method.parameters())
    return save_run_checkpoint(run_dir, method, optimizer, 32, {"step": step})


@pytest.fixture
def method(small_peclr):
    return build_method(small_peclr, seed=3)


def test_a_checkpoint_is_weights_and_json_and_loads_as_it_was(method, tmp_path):
    method.to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "c", method, input_size=32)
    assert {p.name for p in (tmp_path / "c").iterdir()} == {"model.safetensors", "config.json"}
    loaded, config = load_method(tmp_path / "c")
    assert (config["method"], config["input_size"]) == ("peclr", 32)
    assert loaded.config == method.config
    assert not loaded.training
    for name, value in method.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_colleagues_may_read_what_others_may(method, tmp_path):
    before = os.umask(0o022)
    try:
        save_checkpoint(tmp_path / "c", method, 32)
    finally:
        os.umask(before)
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "c").iterdir()}
    assert modes == {0o644}


def test_the_training_state_loads_with_weights_only(method, tmp_path):
    save_checkpoint(tmp_path / "c", method, 32, {"step": 7, "moments": [torch.ones(2)]})
    state = torch.load(tmp_path / "c" / "training_state.pt", weights_only=True)
    assert state["step"] == 7


def test_a_run_keeps_its_latest_checkpoint(method, tmp_path):
    (tmp_path / "checkpoints" / ".step-00000004.1.tmp").mkdir(parents=True)  # of a killed process
    for step in (8, 16):
        save_step(tmp_path, method, step)
    names = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step-00000016", "latest.json"}
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoints" / "step-00000016"
    load_method(tmp_path)


@pytest.mark.parametrize("stage", ["save_file", "write_json"])
def test_a_crash_while_saving_leaves_the_checkpoint_before(method, tmp_path, monkeypatch, stage):
    save_step(tmp_path, method, 8)
    before = load_method(tmp_path)[0].state_dict()
    with torch.no_grad():
        next(method.parameters()).add_(1)

    def crash(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(module, stage, crash)
    with pytest.raises(OSError, match="no space"):
        save_step(tmp_path, method, 16)
    monkeypatch.undo()
    after = load_method(tmp_path)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    save_step(tmp_path, method, 16)  # and the run can go on


def test_missing_checkpoints_say_what_to_give(tmp_path):
    with pytest.raises(CheckpointError, match="it does not exist; give the folder"):
        load_method(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_method(tmp_path)


def test_truncated_weights_are_refused_by_name(method, tmp_path):
    save_checkpoint(tmp_path, method, 32)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        load_method(tmp_path)


def test_unknown_methods_are_refused(method, tmp_path):
    save_checkpoint(tmp_path, method, 32)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "method": "byol"}))
    with pytest.raises(CheckpointError, match="unknown method 'byol'; this version knows peclr"):
        load_method(tmp_path)


def test_weights_of_another_network_are_refused_by_name(method, tmp_path):
    save_checkpoint(tmp_path, method, 32)
    config = json.loads((tmp_path / "config.json").read_text())
    config["method_config"]["encoder"]["width"] *= 2
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not fit .*config\.json"):
        load_method(tmp_path)
    del config["method_config"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json: method_config is missing"):
        load_method(tmp_path)


def test_the_encoder_moves_from_pre_training_to_the_estimator(method, tmp_path):
    save_checkpoint(tmp_path, method, 32)
    estimator = build_method(SupervisedConfig(EncoderConfig("tiny", width=4)))
    load_encoder(tmp_path, into=estimator)
    theirs = method.encoder.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in estimator.encoder.state_dict().items())
    with pytest.raises(CheckpointError, match="does not fit"):
        load_encoder(tmp_path, into=build_method(SupervisedConfig(EncoderConfig("tiny", width=8))))
