"""Options of a benchmark run, its harnesses, and what is written at its end."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

# Before torch's threads exist: waiting threads that spin take the cores from the rival whose turn
# it is. The workers inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch

from benchmarks.comparison import OURS
from benchmarks.harness import Harness
from benchmarks.memory import total_bytes
from benchmarks.ops import OPS, load
from benchmarks.prediction import Limits
from benchmarks.report import write_reports
from benchmarks.results import RESULTS, ROOT, CaseResult, OpResults, environment

BUDGET_SECONDS = {"cpu": 780.0, "cuda": 240.0}
"""After which what is left is marked as not run."""
CASE_SECONDS = {"cpu": 3.0, "cuda": 1.0}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rivals")
    group.addoption("--device", choices=("cpu", "cuda"), default="cpu")
    group.addoption("--budget", type=float, help="seconds for all cases together")
    group.addoption("--largest", type=int, help="leave out cases above this size")
    group.addoption("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    group.addoption("--docs", type=Path, default=ROOT / "docs", help="folder of benchmarks.md")
    group.addoption("--called-as", help="the command to show instead of pytest's")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    largest = metafunc.config.getoption("largest")
    cases = [
        pytest.param(op, case, id=f"{op}-{case}")
        for op in OPS
        for case in load(op).cases
        if largest is None or case.size <= largest
    ]
    metafunc.parametrize(("op", "case"), cases)


class Recorder:
    """The results of a session, written even if it is interrupted."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.device: str = config.getoption("device")
        if self.device == "cuda" and not torch.cuda.is_available():
            pytest.exit("benchmarks: --device cuda: torch sees no GPU", returncode=1)
        budget = config.getoption("budget") or BUDGET_SECONDS[self.device]
        self.started = time.monotonic()
        self.deadline = self.started + budget
        self.environment = environment(self.device, config.getoption("called_as"))
        self.results: dict[str, OpResults] = {}
        self.harness: Harness | None = None

    def harness_of(self, op: str) -> Harness:
        """The op's harness; that of the op before is closed."""
        if self.harness is None or self.harness.comparison.op != op:
            self.close()
            limits = Limits(total_bytes(self.device), case_seconds=CASE_SECONDS[self.device])
            self.harness = Harness(load(op), self.device, limits, deadline=self.deadline)
        return self.harness

    def close(self) -> None:
        if self.harness is not None:
            self.harness.close()
            self.harness = None

    def add(self, op: str, result: CaseResult) -> None:
        """Keep a case's result and say how it went."""
        if op not in self.results:
            comparison = load(op)
            self.results[op] = OpResults(
                op=op,
                letter=comparison.letter,
                growth=comparison.growth,
                grows_from=comparison.grows_from,
                note=comparison.note,
                dtypes=dict(comparison.dtypes),
                environment=self.environment,
            )
        self.results[op].cases.append(result)
        self.results[op].write(self.config.getoption("results"))  # if the run should be killed
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        capture: Any = self.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled():
            options = "".join(f", {name} {value}" for name, value in result.options.items())
            case = f"{op} {result.size}{options}, {result.passes}"
            seconds = time.monotonic() - self.started
            reporter.write_line(f"\n[{seconds:.0f} s] {case}: {line(result)}")

    def write(self) -> str:
        """The documents' tables and plots; the summary for the terminal."""
        self.close()
        if not self.results:
            return "no case was measured"
        return write_reports(self.config.getoption("results"), self.config.getoption("docs"))


RECORDER = pytest.StashKey[Recorder]()


def line(result: CaseResult) -> str:
    """One line of a case."""
    ours = result.providers.get(OURS)
    if ours is None or ours.median is None:
        return f"{OURS}: {ours.status if ours else 'not measured'}"
    parts = [f"{1e3 * ours.median:.3g} ms"]
    for name, measurement in result.providers.items():
        if name != OURS:
            ratio = result.ratio(name)
            parts.append(f"{name} {measurement.status if ratio is None else f'{ratio:.1f}x'}")
    return ", ".join(parts)


@pytest.fixture(scope="session")
def recorder(request: pytest.FixtureRequest) -> Recorder:
    recorder = Recorder(request.config)
    request.config.stash[RECORDER] = recorder
    return recorder


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if RECORDER in config.stash:  # also after an interruption
        terminalreporter.write_line(config.stash[RECORDER].write())
