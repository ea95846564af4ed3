"""A process that computes for one provider, on request.

Rivals do not share a process, so that one that is killed for its memory takes no other along, and
the resident set that is measured is the provider's own. The parent asks for one turn after the
other (``harness.py``); a worker that is not asked sleeps.
"""

from __future__ import annotations

import io
import math
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import Case, Inputs, Provider
from benchmarks.memory import peak_of_call
from benchmarks.ops import load

LONG_CALL = 1.0
"""Seconds above which a call is not repeated to be rid of first-call costs."""
TURN = 0.02
"""Seconds that a turn of a short call is made of, by repetition."""


def cotangents(outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Upstream gradients: fixed normal numbers, 1 for a loss."""
    random = torch.Generator().manual_seed(7)
    return tuple(
        torch.ones_like(out) if out.dim() == 0 else torch.randn(out.shape, generator=random).to(out)
        for out in outputs
    )


class Job:
    """One case of one provider, ready to be called."""

    def __init__(
        self,
        provider: Provider,
        case: Case,
        inputs: Inputs,
        device: str,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        function = provider.build(case)
        if function is None:
            raise ValueError(f"{provider.name} does not compute {case}")
        self.function = function
        self.device = device
        self.with_backward = case.passes == "forward+backward"
        inputs = inputs.map(lambda tensor: tensor.detach().to(device, dtype))
        self.leaves = [leaf.requires_grad_(self.with_backward) for leaf in inputs.leaves]
        self.constants = inputs.constants
        self.upstream: tuple[Tensor, ...] | None = None

    def __call__(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Outputs, and gradients for the leaves where the backward pass is asked for."""
        if not self.with_backward:
            with torch.no_grad():
                return self.function(*self.leaves, *self.constants), ()
        outputs = self.function(*self.leaves, *self.constants)
        kept = [out for out in outputs if out.requires_grad]
        if self.upstream is None:
            self.upstream = cotangents(tuple(kept))
        return outputs, torch.autograd.grad(kept, self.leaves, self.upstream)

    def wait(self) -> None:
        """Until the device has done what it was asked for."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, repetitions: int) -> float:
        """Wall time of one call, the mean of `repetitions`."""
        self.wait()
        start = time.perf_counter()
        for _ in range(repetitions):
            self()
        self.wait()
        return (time.perf_counter() - start) / repetitions

    def prepare(self, predicted: float) -> dict[str, Any]:
        """A call's time and memory, and how many calls make a turn.

        They are a second call's, as a first one may load libraries or compile; unless the case is
        known to be long from smaller ones, in `predicted` seconds.
        """
        start = time.perf_counter()
        _, peak = peak_of_call(self, self.device)
        once = time.perf_counter() - start
        if predicted < LONG_CALL:
            start = time.perf_counter()
            _, peak = peak_of_call(self, self.device)
            once = time.perf_counter() - start
        if once >= LONG_CALL:
            return {"seconds": once, "bytes": peak, "repetitions": 1}
        once = self.seconds(1)
        # The first of many calls is slower than the rest: look again at what a turn would be.
        once = self.seconds(min(100, max(1, math.ceil(TURN / 4 / once))))
        return {"seconds": once, "bytes": peak, "repetitions": max(1, math.ceil(TURN / once))}

    def results(self) -> bytes:
        """Outputs and gradients, as ``torch.save`` writes them."""
        outputs, gradients = self()
        buffer = io.BytesIO()
        torch.save([[t.detach().cpu() for t in part] for part in (outputs, gradients)], buffer)
        return buffer.getvalue()


class Server:
    """Answers the parent's requests about one case after the other."""

    def __init__(self, op: str, name: str, device: str) -> None:
        self.comparison, self.device = load(op), device
        self.provider = next(p for p in self.comparison.providers if p.name == name)
        self.job: Job | None = None
        self.inputs: tuple[int, Inputs] | None = None  # of the last size, which others may share

    def inputs_of(self, size: int) -> Inputs:
        """The inputs of a size, on the device."""
        if self.inputs is None or self.inputs[0] != size:
            self.inputs = None
            made = self.comparison.inputs(size).map(lambda tensor: tensor.to(self.device))
            self.inputs = (size, made)
        return self.inputs[1]

    def answer(self, request: str, argument: Any) -> Any:
        """One of "prepare" ((case, predicted seconds)), "turn" (calls), "results", "release"."""
        if request in ("prepare", "release"):
            self.job = None
            if self.device == "cuda":
                torch.cuda.empty_cache()
        if request == "release":
            return None
        if request == "prepare":
            case, predicted = argument
            self.job = Job(self.provider, case, self.inputs_of(case.size), self.device)
            return self.job.prepare(predicted)
        if self.job is None:
            raise RuntimeError(f"{request}: no case has been prepared")
        return self.job.seconds(argument) if request == "turn" else self.job.results()


def serve(connection: Connection, op: str, name: str, device: str) -> None:
    """Answer until the connection closes: ("ok", answer) or ("failed", why)."""
    server = Server(op, name, device)
    while True:
        try:
            request, argument = connection.recv()
        except EOFError:
            return
        try:
            reply = ("ok", server.answer(request, argument))
        except Exception as error:  # whatever a rival raises is the rival's result
            last = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
            reply = ("failed", last)
        connection.send(reply)
