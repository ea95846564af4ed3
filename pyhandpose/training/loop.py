"""The one training loop: every method, every dataset, pre-training and fine-tuning alike."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pyhandpose.data.augment import View, make_views
from pyhandpose.data.loader import DrawsEpochs, derived_seed, epoch_batches
from pyhandpose.data.registry import Dataset
from pyhandpose.methods import Method
from pyhandpose.training.checkpoint import restore_run, save_run_checkpoint
from pyhandpose.training.config import TrainConfig, choose_device, uses_bf16
from pyhandpose.training.log import MetricLog, describe_run, run_settings, save_view_picture
from pyhandpose.training.optim import build_optimizer, lr_factor, set_lr

LOG_INTERVAL = 10
"""Steps between lines of log.jsonl; the last step of an epoch always has one."""


EXIT_STOPPED = 130
"""Exit status of a command that Ctrl-C has ended: 128 + SIGINT, as shells have it."""


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what to do."""


class TrainingStoppedError(Exception):
    """Ctrl-C or SIGTERM: the step was finished and a checkpoint saved."""

    def __init__(self, run_dir: Path, step: int) -> None:
        super().__init__(f"stopped after step {step}; its checkpoint is in {str(run_dir)!r}")


def train(
    method: Method, data: Dataset, config: TrainConfig, run_dir: Path, *, resume: bool = False
) -> Path:
    """Train a method on a dataset and leave checkpoints, a log and a picture in ``run_dir``.

    Which images a step sees, and how they are augmented, are functions of (seed, step) alone, so a
    resumed run repeats an uninterrupted one exactly on a CPU with a fixed number of threads.

    Args:
        method: trained in place, and left in ``eval()`` mode.
        data: read batch by batch.
        config: everything else.
        run_dir: the run's folder.
        resume: go on from the folder's latest checkpoint; otherwise it must have none.

    Returns:
        The folder of the last checkpoint.

    Raises:
        ValueError: too few images for a method that compares them, or no such device.
        TrainingStoppedError: Ctrl-C or SIGTERM, after a checkpoint.
        TrainingError: a loss or a weight is not finite; the last checkpoint is kept.
        CheckpointError: the folder holds a run already, or not the run that is to be resumed.
    """
    num_images = min(config.batch_size, len(data))
    if method.num_views > 1 and num_images < 2:
        raise ValueError(
            f"train: {type(method).__name__} compares images with one another: expected at least 2 "
            f"in a batch, got {num_images} (batch size {config.batch_size}, {len(data)} images)"
        )
    run_dir.mkdir(parents=True, exist_ok=True)
    device = choose_device(config.device)
    bf16 = uses_bf16(config.precision, device)
    method.to(device=device, memory_format=torch.channels_last)
    method.train()
    optimizer = build_optimizer(method.parameters(), config.optimizer)
    settings = run_settings(method, data, config)
    state = restore_run(run_dir, method, optimizer, settings, resume)

    order = _Order(data, config)
    if not resume:
        describe_run(run_dir, settings)
    log = MetricLog(run_dir / "log.jsonl", state["step"])
    meter = _Meter(state["seconds"])
    checkpoint = state["checkpoint"]
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        _stop_requested() as stop,
        tqdm(total=order.num_steps, initial=state["step"], unit="step", disable=None) as bar,
    ):
        for step in range(state["step"], order.num_steps):
            epoch, indices = order.batch(step)
            view = _views_of_step(data, indices, method.num_views, config, step, device)
            if step == 0:
                save_view_picture(run_dir / "views.png", view, method.num_views)

            lr = config.optimizer.lr * lr_factor(step, order.num_steps, config.optimizer)
            set_lr(optimizer, lr)
            meter.add(len(indices), _training_step(method, view, optimizer, bf16, step, run_dir))
            done = step + 1

            stopping = stop.is_set()  # read once: a signal after this line waits for the next step
            epoch_ends = done % order.steps_per_epoch == 0
            if epoch_ends or done % LOG_INTERVAL == 0 or stopping:
                line = {"step": done, "epoch": epoch + 1, "lr": lr, **meter.flush()}
                log.append(line)
                _show(bar, line, config.epochs, epoch_ends)
            bar.update()
            due = epoch_ends and (epoch + 1) % config.checkpoint_every == 0
            if due or done == order.num_steps or stopping:
                _require_finite_weights(method, done, run_dir)
                progress = {"settings": settings, "step": done, "seconds": meter.seconds}
                checkpoint = save_run_checkpoint(
                    run_dir, method, optimizer, config.view_size, progress
                )
            if stopping and done < order.num_steps:
                raise TrainingStoppedError(run_dir, done)
    method.eval()
    return checkpoint


def _training_step(
    method: Method,
    view: View,
    optimizer: torch.optim.Optimizer,
    bf16: bool,
    step: int,
    run_dir: Path,
) -> dict[str, float]:
    """One forward, backward and update; returns the loss and the metrics."""
    with torch.autocast(view.image.device.type, dtype=torch.bfloat16, enabled=bf16):
        outputs = method(view)
    loss, metrics = method.loss(outputs, view)
    value = loss.item()
    if not torch.isfinite(loss):
        raise _not_finite(f"the loss of step {step + 1} is {value}", run_dir)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return {"loss": value, **{name: metric.item() for name, metric in metrics.items()}}


def _views_of_step(
    data: Dataset,
    indices: Tensor,
    num_views: int,
    config: TrainConfig,
    step: int,
    device: torch.device,
) -> View:
    """The step's augmented views; also seeds what the network itself draws (dropout)."""
    seed = derived_seed(config.seed, 1, step)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    batch = data.read(indices).to(device)
    return make_views(batch, config.augment, generator, config.view_size, num_views)


class _Order:
    """Which images each step of a run sees."""

    def __init__(self, data: Dataset, config: TrainConfig) -> None:
        self._settings = (len(data), config.batch_size, config.seed)
        self._draws = data if isinstance(data, DrawsEpochs) else None
        self._epoch, self._batches = 0, epoch_batches(*self._settings, 0, self._draws)
        self.steps_per_epoch = len(self._batches)
        self.num_steps = self.steps_per_epoch * config.epochs

    def batch(self, step: int) -> tuple[int, Tensor]:
        """``(epoch, indices)`` of a step, both counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, epoch_batches(*self._settings, epoch, self._draws)
        return epoch, self._batches[position]


class _Meter:
    """Means since the last line of the log, the rate, and the time the run has taken."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._mark = time.perf_counter()
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._num_steps = 0
        self._num_images = 0

    def add(self, num_images: int, values: dict[str, float]) -> None:
        """Count one step."""
        for name, value in values.items():
            self._sums[name] += value
        self._num_steps += 1
        self._num_images += num_images

    def flush(self) -> dict[str, float]:
        """The means of the steps since the last call, ``images_per_s`` and ``seconds``."""
        now = time.perf_counter()
        interval, self._mark = now - self._mark, now
        self.seconds += interval
        line = {name: total / self._num_steps for name, total in self._sums.items()}
        line["images_per_s"] = self._num_images / interval
        line["seconds"] = self.seconds
        self._reset()
        return line


def _show(bar: tqdm, line: dict[str, Any], epochs: int, epoch_ends: bool) -> None:
    """The log's line on the progress bar; one line per epoch where there is no terminal."""
    epoch = f"epoch {line['epoch']}/{epochs}"
    metrics = f"loss {line['loss']:.4f}, {line['images_per_s']:.0f} images/s"
    bar.set_description_str(epoch, refresh=False)
    bar.set_postfix_str(metrics, refresh=False)
    if bar.disable and epoch_ends:
        print(f"{epoch}: {metrics}, {line['seconds']:.0f} s", file=sys.stderr, flush=True)


def _require_finite_weights(method: Method, step: int, run_dir: Path) -> None:
    if not all(p.isfinite().all() for p in method.parameters()):
        raise _not_finite(f"a weight is not finite after step {step}", run_dir)


def _not_finite(what: str, run_dir: Path) -> TrainingError:
    saved = (run_dir / "checkpoints" / "latest.json").is_file()
    kept = f"the last checkpoint in {str(run_dir)!r} is good" if saved else "nothing was saved yet"
    return TrainingError(
        f"{what}; {kept}. Try a lower learning rate, precision fp32, or look for broken labels"
    )


@contextmanager
def _stop_requested() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that a step is never cut in half.

    A second Ctrl-C stops at once. Only the main thread can listen to signals; elsewhere the event
    is never set.
    """
    stop = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print("\nfinishing this step, then saving; once more to stop at once", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {
        number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
