"""Time and memory against the size, log-log."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from benchmarks.comparison import OURS
from benchmarks.results import OpResults

PASSES = "forward+backward"


def plot(result: OpResults, path: Path, **options: object) -> Path | None:
    """A line for each provider; None without matplotlib, which is said."""
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: no plot")
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    options = options or {"temperature": 0.5}
    cases = [
        case
        for case in result.cases
        if case.passes == PASSES and all(case.options.get(k) == v for k, v in options.items())
    ]
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    time_axes, memory_axes = figure.subplots(1, 2)
    names = dict.fromkeys(name for case in cases for name in case.providers)
    for name in names:
        measured = [(c.size, c.providers[name]) for c in cases if name in c.providers]
        style = {"marker": "o", "markersize": 4, "linewidth": 2.5 if name == OURS else 1.2}
        times = [(size, m.median) for size, m in measured if m.median is not None]
        memory = [(size, m.bytes) for size, m in measured if m.bytes]
        if times:
            time_axes.plot(*zip(*times, strict=True), label=name, **style)
            memory_axes.plot(*zip(*memory, strict=True), label=name, **style)
    time_axes.set_ylabel("seconds a call")
    memory_axes.set_ylabel("bytes beyond the inputs, at most")
    for axes in (time_axes, memory_axes):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(f"{result.letter}, rows")
        axes.grid(True, which="major", alpha=0.3)
    time_axes.legend(fontsize=8)
    e = result.environment
    figure.suptitle(f"{result.op}, {PASSES}: {e['device']}, {e['date']}", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path
