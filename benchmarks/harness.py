"""Measures a comparison: the rivals of one case take turns, back to back, each in its process.

A round is one turn of everybody; rounds start with another provider each time, so that a machine
that slows down slows all alike. Time is wall time. The first call and the memory measurement are
not among the rounds, except that calls of more than `VERY_LONG` seconds are timed once.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from benchmarks.comparison import OURS, Case, Comparison, Provider
from benchmarks.prediction import History, Limits
from benchmarks.results import CaseResult, Measurement
from benchmarks.worker import Job, serve
from pyhandpose.testing.tolerances import error

FEWEST, MOST = 3, 15
LONG_ROUND = 12.0
"""Seconds; longer rounds are played once."""
VERY_LONG = 5.0
ANSWER_SECONDS = 240.0
"""A worker that has not answered by then is ended."""


class WorkerFailedError(Exception):
    """A worker could not answer; the message says why."""


class Worker(Protocol):
    """What the harness asks a provider's process for."""

    def ask(self, request: str, argument: Any = None) -> Any:
        """The answer; WorkerFailedError where there is none."""

    def close(self) -> None:
        """End the process."""


class ProcessWorker:
    """``worker.serve`` in a process that is forked from a server which has torch loaded."""

    def __init__(self, op: str, name: str, device: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "pyhandpose.ops"])
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, op, name, device))
        self.process.start()
        theirs.close()

    def ask(self, request: str, argument: Any = None) -> Any:
        """The answer; WorkerFailedError where there is none."""
        try:
            self.connection.send((request, argument))
            if not self.connection.poll(ANSWER_SECONDS):
                self.process.kill()
                raise WorkerFailedError(f"no answer within {ANSWER_SECONDS:.0f} s")
            outcome, answer = self.connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join()
            raise WorkerFailedError(
                f"process ended with {self.process.exitcode}"
                + (" (killed: out of memory?)" if self.process.exitcode == -9 else "")
            ) from None
        if outcome == "failed":
            raise WorkerFailedError(answer)
        return answer

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@dataclass
class Turn:
    """A provider that takes part in the rounds of a case."""

    name: str
    repetitions: int
    measurement: Measurement


class Run:
    """One case under way."""

    def __init__(self, harness: Harness, case: Case) -> None:
        self.harness, self.case = harness, case
        self.measurements: dict[str, Measurement] = {}
        self.turns: list[Turn] = []
        self.round_seconds = 0.0
        for provider in harness.comparison.providers:
            if provider.takes(case, harness.device):
                self.measurements[provider.name] = measurement = Measurement()
                self.prepare(provider, measurement)
        self.played = 0

    def prepare(self, provider: Provider, measurement: Measurement) -> None:
        """The first call, or the reason why there is none."""
        harness, case = self.harness, self.case
        if (refusal := harness.refusal(provider, case)) is not None:
            measurement.status = refusal
            return
        try:
            predicted = harness.history.seconds(provider.name, case.passes, case.size)
            first = harness.worker(provider.name).ask("prepare", (case, predicted))
        except WorkerFailedError as failure:
            self.drop(provider.name, measurement, str(failure))
            return
        seconds, repetitions = first["seconds"], first["repetitions"]
        measurement.bytes = first["bytes"]
        harness.history.add(provider.name, case.passes, case.size, seconds, first["bytes"])
        if seconds >= VERY_LONG:
            measurement.seconds.append(seconds)
            return
        self.turns.append(Turn(provider.name, repetitions, measurement))
        self.round_seconds += seconds * repetitions

    def drop(self, name: str, measurement: Measurement, reason: str) -> None:
        """A provider that failed leaves the case, and its process goes."""
        measurement.status, measurement.seconds = f"failed: {reason}", []
        self.turns = [turn for turn in self.turns if turn.name != name]
        self.harness.end(name)

    @property
    def rounds(self) -> int:
        """How many are to be played; 0 without anybody to play them."""
        if not self.turns:
            return 0
        if self.round_seconds > LONG_ROUND:
            return 1
        return min(
            MOST, max(FEWEST, math.floor(self.harness.limits.case_seconds / self.round_seconds))
        )

    def play_round(self) -> None:
        """Everybody's turn, beginning with the next provider."""
        start = self.played % max(1, len(self.turns))
        for turn in self.turns[start:] + self.turns[:start]:
            try:
                seconds = self.harness.worker(turn.name).ask("turn", turn.repetitions)
            except WorkerFailedError as failure:
                self.drop(turn.name, turn.measurement, str(failure))
            else:
                turn.measurement.seconds.append(seconds)
        self.played += 1

    def finish(self) -> CaseResult:
        """Errors against float64 where the case is small enough, and everything together."""
        case, comparison = self.case, self.harness.comparison
        if case.size <= comparison.exact_up_to:
            self.measure_errors()
        for name, measurement in self.measurements.items():
            self.release(name, measurement)
        return CaseResult(case.size, case.passes, dict(case.options), self.measurements)

    def release(self, name: str, measurement: Measurement) -> None:
        """Let a provider's process forget the case's tensors."""
        if measurement.status == "ok":
            try:
                self.harness.worker(name).ask("release")
            except WorkerFailedError as failure:
                self.drop(name, measurement, str(failure))

    def measure_errors(self) -> None:
        """|x - exact| / |exact|, the largest of the outputs and of the gradients."""
        exact = exact_results(self.harness.comparison, self.case)
        for turn in list(self.turns):
            try:
                answer = self.harness.worker(turn.name).ask("results")
            except WorkerFailedError as failure:
                self.drop(turn.name, turn.measurement, str(failure))
                continue
            for part, theirs, ours in zip(
                ("outputs", "gradients"), torch.load(io.BytesIO(answer)), exact, strict=True
            ):
                if ours:
                    errors = [error(a, b) for a, b in zip(theirs, ours, strict=True)]
                    turn.measurement.error[part] = max(errors)


class Harness:
    """Measures the cases of one op on one kind of device, sizes in ascending order."""

    def __init__(
        self,
        comparison: Comparison,
        device: str,
        limits: Limits,
        *,
        deadline: float = math.inf,
        start: Callable[[str, str, str], Worker] = ProcessWorker,
    ) -> None:
        self.comparison, self.device, self.limits = comparison, device, limits
        self.deadline = deadline  # of time.monotonic()
        self.history = History(comparison.growth, comparison.grows_from)
        self.start = start
        self.workers: dict[str, Worker] = {}

    def run(self, case: Case) -> Run:
        """The case, everybody prepared."""
        return Run(self, case)

    def worker(self, name: str) -> Worker:
        """The provider's process, started when it is first needed."""
        if name not in self.workers:
            self.workers[name] = self.start(self.comparison.op, name, self.device)
        return self.workers[name]

    def end(self, name: str) -> None:
        """End a provider's process; the next case starts another."""
        if name in self.workers:
            self.workers.pop(name).close()

    def close(self) -> None:
        """End every process."""
        for name in list(self.workers):
            self.end(name)

    def refusal(self, provider: Provider, case: Case) -> str | None:
        """Why a provider is not run on a case, if so."""
        if (module := provider.missing()) is not None:
            return f"{module} is not installed"
        left = self.deadline - time.monotonic()
        if left <= 0:
            return "time was up"
        ours = provider.name.startswith(OURS)
        allowed = self.limits.our_seconds if ours else self.limits.rival_seconds
        return self.history.refusal(
            provider.name, case.passes, case.size, self.limits, min(allowed, left)
        )


def exact_results(comparison: Comparison, case: Case) -> list[list[torch.Tensor]]:
    """Outputs and gradients of the readable twin in float64, on the CPU."""
    twin = Provider("exact", comparison.exact)
    job = Job(twin, case, comparison.inputs(case.size), "cpu", torch.float64)
    return [[tensor.detach() for tensor in part] for part in job()]
