"""Checkpoints: a folder with the weights, what they are the weights of, and how to go on.

``model.safetensors`` and ``config.json`` are enough to use a model; ``training_state.pt`` (torch's
format, loaded with ``weights_only=True``) lets a run resume. In a run's folder, checkpoints are
``checkpoints/step-N`` and ``checkpoints/latest.json`` names the one to use: it is replaced after
the new folder is complete, so an interruption at any moment leaves a whole checkpoint in place.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import pyhandpose
from pyhandpose.data.whole_file import write_json
from pyhandpose.methods import METHODS, Method, build_method
from pyhandpose.models.encoder import EncoderConfig
from pyhandpose.training.config import from_dict, to_dict

WEIGHTS, CONFIG, STATE = "model.safetensors", "config.json", "training_state.pt"

ENCODER = "encoder"
"""Stands in ``config.json`` for the method when there is none: an encoder without a head."""

MAY_CHANGE = ("train.device", "train.checkpoint_every", "data.name")
"""Settings that a resumed run may have other than it was started with."""


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, incomplete or of another kind than expected."""


def save_checkpoint(
    path: Path, method: Method, input_size: int, training_state: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint folder; it appears complete or not at all.

    Args:
        path: the folder; an existing one is replaced.
        method: a module of ``methods.METHODS``.
        input_size: side of the views the method was trained on, px.
        training_state: tensors, numbers, texts, lists and dicts, for resuming.
    """
    record = {"method": _method_name(method), "method_config": to_dict(method.config)}
    _write(path, method.state_dict(), {**record, "input_size": input_size}, training_state)


def save_encoder(path: Path, encoder: nn.Module, config: EncoderConfig, input_size: int) -> None:
    """Write an encoder without a head as a checkpoint folder, for ``--init`` of a training run."""
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    record = {"method": ENCODER, "method_config": {"encoder": to_dict(config)}}
    _write(path, tensors, {**record, "input_size": input_size}, None)


def _write(
    path: Path,
    tensors: Mapping[str, Tensor],
    record: dict[str, Any],
    training_state: dict[str, Any] | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary / WEIGHTS)
    # safetensors writes for the owner alone; colleagues may read what the folder lets them
    (temporary / WEIGHTS).chmod(temporary.stat().st_mode & 0o666)
    if training_state is not None:
        torch.save(training_state, temporary / STATE)
    write_json(temporary / CONFIG, {**record, "version": pyhandpose.__version__})
    if path.exists():
        shutil.rmtree(path)
    os.replace(temporary, path)


def save_run_checkpoint(
    run_dir: Path,
    method: Method,
    optimizer: torch.optim.Optimizer,
    input_size: int,
    progress: dict[str, Any],
) -> Path:
    """Save a checkpoint that can be resumed, make it the run's latest, remove the ones before.

    Args:
        run_dir: the run's folder.
        method: whose weights to save.
        optimizer: whose state to save.
        input_size: side of the views, px.
        progress: ``step`` (steps done), ``seconds`` (spent) and ``settings`` of the run.

    Returns:
        The checkpoint's folder.
    """
    folder = run_dir / "checkpoints"
    path = folder / f"step-{progress['step']:08d}"
    save_checkpoint(path, method, input_size, {**progress, "optimizer": optimizer.state_dict()})
    write_json(folder / "latest.json", {"checkpoint": path.name})
    for other in folder.iterdir():  # older ones, and what a killed process left half written
        if other.is_dir() and other != path:
            shutil.rmtree(other)
    return path


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that ``path`` is, or the latest of the run that ``path`` is.

    Raises:
        CheckpointError: neither.
    """
    if (path / WEIGHTS).is_file():
        return path
    pointer = path / "checkpoints" / "latest.json"
    if pointer.is_file():
        return path / "checkpoints" / json.loads(pointer.read_text())["checkpoint"]
    state = "it does not exist" if not path.exists() else f"it has no {WEIGHTS} and no checkpoints/"
    raise CheckpointError(
        f"expected a checkpoint or the folder of a run, got {str(path)!r}, but {state}; give the "
        "folder that was passed as --out to `pyhandpose pretrain` or `pyhandpose finetune`"
    )


def load_method(path: Path | str) -> tuple[Any, dict[str, Any]]:
    """The method of a checkpoint, on the CPU and in ``eval()`` mode, and its ``config.json``.

    Args:
        path: a checkpoint folder, or a run's folder for its latest checkpoint.

    Raises:
        CheckpointError: missing, truncated, from an unknown method, or weights of another network.
        ValueError: a setting that this version does not know.
    """
    folder, config, weights = _read(path)
    if config["method"] == ENCODER:
        raise CheckpointError(
            f"{str(folder)!r} holds an encoder without a head; `pyhandpose finetune --init` trains "
            "one on it"
        )
    cls = METHODS[config["method"]]
    method_config = from_dict(cls.Config, _without_download(config["method_config"]))
    method = build_method(method_config)
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder / WEIGHTS} does not fit {folder / CONFIG}; were they written by another "
            f"version ({config.get('version')}, this is {pyhandpose.__version__})? {error}"
        ) from error
    return method.eval(), config


def restore_run(
    run_dir: Path,
    method: Method,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    resume: bool,
) -> dict[str, Any]:
    """Where a run starts: at step 0 in a folder without a run, or where a checkpoint left it.

    Args:
        run_dir: the run's folder.
        method: receives the weights when resuming.
        optimizer: receives its state when resuming.
        settings: of the run (``log.run_settings``); must be those that it was started with.
        resume: whether to go on.

    Returns:
        ``step`` (steps done), ``seconds`` (spent so far), ``checkpoint`` (folder or None).

    Raises:
        CheckpointError: a run is there and not to be resumed, or it is another run.
    """
    has_run = (run_dir / "checkpoints" / "latest.json").is_file()
    if not resume:
        if has_run:
            raise CheckpointError(
                f"{str(run_dir)!r} already holds a run; go on with it (--resume), or choose "
                "another folder (--out)"
            )
        return {"step": 0, "seconds": 0.0, "checkpoint": None}
    folder = find_checkpoint(run_dir)
    if not (folder / STATE).is_file():
        raise CheckpointError(f"{str(folder)!r} has no {STATE}: it can be used, not resumed")
    try:
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        weights = load_file(folder / WEIGHTS)
    except (OSError, EOFError, RuntimeError, UnpicklingError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the checkpoint {str(folder)!r}: {error}") from error
    if differences := _differences(state["settings"], settings):
        raise CheckpointError(
            f"cannot resume {str(run_dir)!r}, its settings or data differ: {differences}; repeat "
            f"the command in {str(run_dir / 'command.txt')!r} with --resume"
        )
    method.load_state_dict(weights)
    optimizer.load_state_dict(state["optimizer"])
    return {"step": state["step"], "seconds": state["seconds"], "checkpoint": folder}


def load_encoder(path: Path | str, into: Method) -> None:
    """Copy the encoder of a checkpoint into a method with the same encoder.

    Raises:
        CheckpointError: the encoders differ.
    """
    config, weights = read_encoder(path)
    try:
        into.encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the encoder of {str(path)!r} ({config}) does not fit the new one "
            f"({into.config.encoder})"
        ) from error


def read_encoder(path: Path | str) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """The encoder of a checkpoint of any method, or of an encoder alone: what it is, its weights.

    Raises:
        CheckpointError: missing, truncated or from an unknown method.
        ValueError: a setting that this version does not know.
    """
    _, config, weights = _read(path)
    encoder = _without_download(config["method_config"])["encoder"]
    prefix = "encoder."
    return from_dict(EncoderConfig, encoder), {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def _read(path: Path | str) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    """The checkpoint's folder, its ``config.json`` with all its keys, and its tensors."""
    folder = find_checkpoint(Path(path))
    try:
        config = json.loads((folder / CONFIG).read_text())
        weights = load_file(folder / WEIGHTS)
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the checkpoint {str(folder)!r}: {error}") from error
    if config.get("method") not in (*METHODS, ENCODER):
        raise CheckpointError(
            f"{folder / CONFIG}: unknown method {config.get('method')!r}; this version knows "
            f"{', '.join(METHODS)}"
        )
    if missing := {"method_config", "input_size"} - config.keys():
        raise CheckpointError(f"{folder / CONFIG}: {', '.join(sorted(missing))} is missing")
    return folder, config, weights


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str:
    """``name: old -> new`` for every leaf that matters and differs."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after, name = old.get(key), new.get(key), f"{prefix}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            if nested := _differences(before, after, f"{name}."):
                found.append(nested)
        elif before != after and name not in MAY_CHANGE:
            found.append(f"{name}: {before} -> {after}")
    return ", ".join(found)


def _method_name(method: Method) -> str:
    return next(name for name, cls in METHODS.items() if type(method) is cls)


def _without_download(method_config: dict[str, Any]) -> dict[str, Any]:
    """The weights come from the checkpoint: do not fetch ImageNet's first."""
    encoder = method_config.get("encoder", {})
    return {**method_config, "encoder": {**encoder, "pretrained": False}}
