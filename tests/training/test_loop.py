import json
import math
import os
import signal
from dataclasses import replace

import pytest
import torch

from pyhandpose.data.augment import AugmentConfig, augment
from pyhandpose.methods import PeCLRConfig, SupervisedConfig, build_method
from pyhandpose.models.encoder import EncoderConfig
from pyhandpose.training.checkpoint import CheckpointError, load_method
from pyhandpose.training.config import OptimizerConfig, TrainConfig
from pyhandpose.training.features import extract_features
from pyhandpose.training.log import read_log
from pyhandpose.training.loop import TrainingError, TrainingStoppedError, train


def weights(path):
    return load_method(path)[0].state_dict()


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


class StopAt:
    """A dataset that presses Ctrl-C while the batch of one step is read."""

    def __init__(self, data, step, number=signal.SIGINT):
        self._data, self._countdown, self._number = data, step, number
        self.name = data.name

    def __len__(self):
        return len(self._data)

    def read(self, indices):
        self._countdown -= 1
        if self._countdown == 0:
            os.kill(os.getpid(), self._number)
        return self._data.read(indices)

    def fingerprint(self):
        return self._data.fingerprint()


def test_a_run_leaves_log_settings_picture_and_a_loadable_checkpoint(
    blobs, small_peclr, small_train, tmp_path
):
    path = train(build_method(small_peclr), blobs(20), small_train, tmp_path)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        *("checkpoints", "config.json", "environment.json", "command.txt"),
        *("log.jsonl", "views.png"),
    }
    lines = list(read_log(tmp_path / "log.jsonl"))
    assert [line["step"] for line in lines] == [2, 4, 6]
    fields = {"step", "epoch", "lr", "loss", "positive_cosine", "images_per_s", "seconds"}
    assert all(set(line) == fields for line in lines)
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["data"]["fingerprint"] == blobs(20).fingerprint()
    assert settings["train"]["batch_size"] == 8
    method, config = load_method(path)
    assert config["input_size"] == 32
    assert method.config == small_peclr


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(
    blobs, small_peclr, small_train, tmp_path
):
    def run(name, seed):
        config = replace(small_train, seed=seed)
        train(build_method(small_peclr, seed=0), blobs(16), config, tmp_path / name)
        return weights(tmp_path / name)

    torch.manual_seed(1)  # neither read nor changed by a run
    state = torch.get_rng_state()
    first = run("a", 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert_same_weights(first, run("b", 0))
    other = run("c", 1)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_resumes_to_the_bit(
    blobs, small_peclr, small_train, tmp_path, capsys, step, number
):
    data = blobs(16)  # two steps an epoch: step 2 ends an epoch, step 3 is inside one
    train(build_method(small_peclr), data, small_train, tmp_path / "whole")

    handler = signal.getsignal(number)
    with pytest.raises(TrainingStoppedError, match=f"stopped after step {step}"):
        train(build_method(small_peclr), StopAt(data, step, number), small_train, tmp_path / "cut")
    assert signal.getsignal(number) is handler
    assert "finishing this step" in capsys.readouterr().err
    # the weights of the process that resumes come from the checkpoint, not from its own seed
    train(build_method(small_peclr, seed=9), data, small_train, tmp_path / "cut", resume=True)
    assert_same_weights(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    steps = [line["step"] for line in read_log(tmp_path / "cut" / "log.jsonl")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 6


def test_a_finished_run_resumes_to_itself(blobs, small_peclr, small_train, tmp_path):
    path = train(build_method(small_peclr), blobs(16), small_train, tmp_path)
    assert train(build_method(small_peclr), blobs(16), small_train, tmp_path, resume=True) == path


def test_runs_are_not_overwritten_and_not_mixed(blobs, small_peclr, small_train, tmp_path):
    train(build_method(small_peclr), blobs(16), small_train, tmp_path)
    with pytest.raises(CheckpointError, match="already holds a run"):
        train(build_method(small_peclr), blobs(16), small_train, tmp_path)
    changed = replace(small_train, epochs=9)
    with pytest.raises(CheckpointError, match=r"differ: train\.epochs: 3 -> 9"):
        train(build_method(small_peclr), blobs(16), changed, tmp_path, resume=True)
    other = replace(small_peclr, temperature=0.1)
    with pytest.raises(CheckpointError, match=r"differ: network\.temperature: 0\.5 -> 0\.1"):
        train(build_method(other), blobs(16), small_train, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"data\.fingerprint: blobs-16-0 -> blobs-16-1"):
        train(build_method(small_peclr), blobs(16, seed=1), small_train, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="expected a checkpoint or the folder of a run"):
        train(build_method(small_peclr), blobs(16), small_train, tmp_path / "none", resume=True)


@pytest.mark.parametrize("file", ["training_state.pt", "model.safetensors"])
def test_a_truncated_checkpoint_is_refused_by_name(blobs, small_peclr, small_train, tmp_path, file):
    path = train(build_method(small_peclr), blobs(16), small_train, tmp_path) / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*step-00000006"):
        train(build_method(small_peclr), blobs(16), small_train, tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    blobs, small_peclr, small_train, tmp_path
):
    method = build_method(small_peclr)
    loss, calls = method.loss, []

    def breaks_in_the_second_epoch(outputs, batch):
        calls.append(None)
        value, metrics = loss(outputs, batch)
        return (value * math.nan if len(calls) == 4 else value), metrics

    method.loss = breaks_in_the_second_epoch
    with pytest.raises(TrainingError, match=r"loss of step 4 is nan; the last checkpoint"):
        train(method, blobs(16), small_train, tmp_path)
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


def test_a_first_loss_that_is_not_finite_promises_no_checkpoint(
    blobs, small_peclr, small_train, tmp_path
):
    method = build_method(small_peclr)
    loss = method.loss
    method.loss = lambda outputs, batch: (loss(outputs, batch)[0] * math.nan, {})
    with pytest.raises(TrainingError, match=r"loss of step 1 is nan; nothing was saved yet"):
        train(method, blobs(16), small_train, tmp_path)


@pytest.mark.parametrize(("num_images", "batch_size"), [(1, 8), (16, 1)])
def test_a_contrastive_method_needs_two_images(
    blobs, small_peclr, small_train, tmp_path, num_images, batch_size
):
    config = replace(small_train, batch_size=batch_size)
    with pytest.raises(ValueError, match=r"PeCLR compares images .* at least 2 in a batch, got 1"):
        train(build_method(small_peclr), blobs(num_images), config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite_are_not_saved(blobs, small_peclr, small_train, tmp_path):
    method = build_method(small_peclr)
    loss = method.loss

    def exploding_gradient(outputs, batch):
        value, metrics = loss(outputs, batch)
        if (tmp_path / "checkpoints").exists():
            value.register_hook(lambda grad: grad * math.inf)
        return value, metrics

    method.loss = exploding_gradient
    with pytest.raises(TrainingError, match=r"not finite after step 4|loss of step 4"):
        train(method, blobs(16), small_train, tmp_path)
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


def test_bf16_trains_to_nearly_the_same_loss(blobs, small_peclr, small_train, tmp_path):
    losses = []
    for precision in ("fp32", "bf16"):
        config = replace(small_train, precision=precision)
        train(build_method(small_peclr), blobs(16), config, tmp_path / precision)
        losses.append(next(read_log(tmp_path / precision / "log.jsonl"))["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_peclr_learns_to_tell_images_apart(blobs, tmp_path):
    config = TrainConfig(
        epochs=40,
        batch_size=32,
        view_size=32,
        augment=AugmentConfig(rotation_deg=30, translation=0.1),
        optimizer=OptimizerConfig(lr=3e-3),
        precision="fp32",
        device="cpu",
    )
    network = PeCLRConfig(EncoderConfig("tiny", width=8), temperature=0.2)
    train(build_method(network), blobs(32), config, tmp_path)
    lines = list(read_log(tmp_path / "log.jsonl"))
    assert lines[-1]["loss"] < math.log(63) - 1


def test_the_estimator_overfits_sixteen_hands_to_less_than_a_pixel(blobs, tmp_path):
    data = blobs(16)
    config = TrainConfig(
        epochs=150,
        batch_size=16,
        view_size=32,
        optimizer=OptimizerConfig(lr=1e-2, weight_decay=0.0),
        precision="fp32",
        device="cpu",
        checkpoint_every=150,
    )
    method = build_method(SupervisedConfig(EncoderConfig("tiny", width=8)))
    train(method, data, config, tmp_path)
    view = augment(data.batch, AugmentConfig(), torch.Generator(), 32)
    scale = (data.batch.joints_cam[:, 0] - data.batch.joints_cam[:, 5]).norm(dim=-1)
    pose = method.predict(view.image, view.intrinsics, scale)
    assert (pose.joints_img - view.joints_img).norm(dim=-1).mean() < 1


def test_features_do_not_depend_on_the_batching_and_leave_the_mode(blobs, small_peclr):
    encoder = build_method(small_peclr).encoder.train()
    whole = extract_features(encoder, blobs(10), 32, precision="fp32")
    assert whole.shape == (10, encoder.num_features)
    assert encoder.training
    parts = extract_features(encoder, blobs(10), 32, batch_size=3, precision="fp32")
    torch.testing.assert_close(parts, whole)
