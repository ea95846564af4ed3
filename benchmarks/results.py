"""What was measured, where and how; as JSON, one file an op and device."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.comparison import OURS
from benchmarks.memory import total_bytes

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass
class Measurement:
    """One provider in one case."""

    status: str = "ok"
    """Or the reason why there is no figure."""
    seconds: list[float] = field(default_factory=list)
    """Wall time of a call, one entry a round."""
    bytes: int | None = None
    """Peak memory of one call beyond its inputs."""
    error: dict[str, float] = field(default_factory=dict)
    """Of "outputs" and "gradients": the largest |x - exact| / |exact| among them."""

    @property
    def median(self) -> float | None:
        """Seconds, None where nothing was measured."""
        return statistics.median(self.seconds) if self.seconds else None


@dataclass
class CaseResult:
    """Everybody in one case."""

    size: int
    passes: str
    options: dict[str, Any]
    providers: dict[str, Measurement]

    def ratio(self, rival: str) -> float | None:
        """How many times longer the rival takes than we do."""
        ours, theirs = self.providers.get(OURS), self.providers.get(rival)
        if ours is None or theirs is None or ours.median is None or theirs.median is None:
            return None
        return theirs.median / ours.median


@dataclass
class OpResults:
    """One op on one device."""

    op: str
    letter: str
    growth: float
    grows_from: int
    note: str
    dtypes: dict[str, str]
    environment: dict[str, Any]
    cases: list[CaseResult] = field(default_factory=list)

    @property
    def device(self) -> str:
        """The device's name in file names."""
        return slug(self.environment["device"])

    def find(self, size: int, passes: str, **options: Any) -> CaseResult | None:
        """The case of these options, others as they come."""
        for case in self.cases:
            same = all(case.options.get(name) == value for name, value in options.items())
            if case.size == size and case.passes == passes and same:
                return case
        return None

    def write(self, folder: Path = RESULTS) -> Path:
        """Write ``<op>--<device>.json``, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.op}--{self.device}.json"
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> OpResults:
        """What ``write`` wrote."""
        data = json.loads(path.read_text())
        data["cases"] = [
            CaseResult(
                **{
                    **case,
                    "providers": {
                        name: Measurement(**measurement)
                        for name, measurement in case["providers"].items()
                    },
                }
            )
            for case in data["cases"]
        ]
        return cls(**data)


def read_all(folder: Path = RESULTS) -> Iterator[OpResults]:
    """Every result in a folder, by name."""
    for path in sorted(folder.glob("*--*.json")):
        yield OpResults.read(path)


def write_text(path: Path, text: str) -> None:
    """The file with this text, or as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def slug(name: str) -> str:
    """A name in lower case, its words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def environment(device: str, command: str | None) -> dict[str, Any]:
    """Machine, software, threads and time: what a figure means nothing without."""
    from pyhandpose import _extension

    cores = len(os.sched_getaffinity(0))
    kinds = {
        "kind": device,
        "device": torch.cuda.get_device_name(0) if device == "cuda" else f"{cpu()}, {cores} cores",
        "memory_bytes": total_bytes(device),
    }
    return {
        **kinds,
        "cpu": cpu(),
        "cores": cores,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instruction_set": _extension.active_isa,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command or "python -m pytest " + shlex.join(sys.argv[1:]),
        "threads": {
            "torch.get_num_threads()": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        },
    }


def cpu() -> str:
    """The processor as the system names it."""
    path = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", path.read_text()) if path.exists() else None
    return match[1].strip() if match else platform.machine()


def commit() -> str:
    """The commit that was measured, marked where files differ from it."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
