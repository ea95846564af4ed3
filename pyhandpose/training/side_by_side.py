"""Several small trainings at once, each on its share of the cores.

A step of a small network is hundreds of operations too short to be divided among threads: on two
cores, two trainings side by side take about 0.6 of the time that they take one after the other.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from pyhandpose.training.loop import TrainingError, TrainingStoppedError

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """One training, as a call that another process can make."""

    name: str
    """What it is called on the progress bar."""
    run_dir: Path
    """Folder whose ``log.jsonl`` tells how far it is."""
    num_steps: int
    """Steps in all."""
    function: Callable[..., Any]
    """A function of a module."""
    arguments: tuple[Any, ...]
    """Its arguments; these and the result are pickled."""


def number_of_processes(num_jobs: int, threads: int) -> int:
    """One a thread; one a job where jobs are fewer than two a thread.

    Three jobs on two cores take turns: a third that began when the first had ended would leave a
    core without work.
    """
    if threads == 1:
        return 1
    return num_jobs if num_jobs < 2 * threads else threads


def run_side_by_side(jobs: Sequence[Job], output: Path, processes: int | None = None) -> list[Any]:
    """Make all calls and return their results, in the order of the jobs.

    Args:
        jobs: started in this order.
        output: file to which the processes append what they print.
        processes: None means ``number_of_processes``. With one, or on a GPU, the calls are made one
            after the other in this process.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after every training has saved a checkpoint.
        TrainingError: a process was killed, for example for its memory.
        Exception: the first that a call raised; the others have saved and stopped.
    """
    threads = torch.get_num_threads()
    if processes is None:
        processes = number_of_processes(len(jobs), threads)
    processes = min(processes, len(jobs))
    if processes <= 1 or torch.cuda.is_available():
        return [job.function(*job.arguments) for job in jobs]
    output.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(max(1, threads // processes), output),
    ) as pool:
        # Pickled here: the pool's own way for tensors, through shared memory, can fail.
        futures = [pool.submit(_call, pickle.dumps((job.function, job.arguments))) for job in jobs]
        try:
            with _stop_requested() as stop:
                _watch(jobs, futures, stop)
            return [pickle.loads(future.result()) for future in futures]
        except BrokenProcessPool as error:
            raise TrainingError(
                f"a process that trained was killed, perhaps for its memory; see {str(output)!r}"
            ) from error
        finally:
            if not all(future.done() for future in futures):
                for future in futures:
                    future.cancel()
                for worker in multiprocessing.active_children():
                    worker.terminate()  # SIGTERM, at which a training saves and stops


def _call(pickled: bytes) -> bytes:
    function, arguments = pickle.loads(pickled)
    try:
        return pickle.dumps(function(*arguments))
    except TrainingStoppedError:
        return b""  # the process that asked for it does not look at results


def _start_worker(threads: int, output: Path) -> None:
    """Prepare a process: its threads, its output, and an end when the one that started it ends."""
    os.setpgrp()  # Ctrl-C is for the parent, which passes it on once
    torch.set_num_threads(threads)
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _watch(jobs: Sequence[Job], futures: list[Future[bytes]], stop: threading.Event) -> None:
    """Show progress until all calls have returned or one has raised."""
    total = sum(job.num_steps for job in jobs)
    with tqdm(total=total, unit="step", disable=None) as bar:
        shown = "0 %"
        while not all(future.done() for future in futures):
            if stop.wait(POLL_SECONDS):
                raise KeyboardInterrupt
            if any(future.done() and future.exception() for future in futures):
                return
            lines = [_last_line(job.run_dir / "log.jsonl") for job in jobs]
            bar.n = done = sum(line.get("step", 0) for line in lines)
            states = [
                f"{job.name} epoch {line['epoch']}, loss {line['loss']:.3f}"
                for job, line, future in zip(jobs, lines, futures, strict=True)
                if line and not future.done()
            ]
            bar.set_postfix_str("; ".join(states), refresh=True)
            percent = f"{100 * done // total // 10 * 10} %"
            if bar.disable and percent != shown:  # no terminal: a line for each tenth
                print(f"{percent}: {'; '.join(states)}", file=sys.stderr, flush=True)
                shown = percent


def _last_line(log: Path) -> dict[str, Any]:
    """The newest whole line of a log; empty before there is one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().split(b"\n")[:-1]
        return json.loads(lines[-1]) if lines else {}
    except (FileNotFoundError, ValueError):
        return {}


@contextmanager
def _stop_requested() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        stop.set()
        print("\nfinishing the steps under way, then saving", file=sys.stderr)

    previous = {n: signal.signal(n, request) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
