"""Writes what was measured into the documents: targets, one table, growth, one plot a device.

Run as ``python -m benchmarks.report`` it writes them anew from the results that are there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.comparison import OURS
from benchmarks.growth import exponent
from benchmarks.plot import plot
from benchmarks.results import (
    RESULTS,
    ROOT,
    CaseResult,
    Measurement,
    OpResults,
    read_all,
    write_text,
)
from benchmarks.targets import outcomes

NOT_MEASURED = "not measured"
SMALLEST_MEMORY = 1 << 20
"""Bytes below which memory is page-sized noise and is not fitted."""


def write_reports(results: Path = RESULTS, docs: Path = ROOT / "docs") -> str:
    """Write the blocks into benchmarks.md and README.md, the plots; the terminal's summary."""
    measured = list(read_all(results))
    plots = [path for device in devices(measured) if (path := plot_of(measured, device, docs))]
    targets, growth = target_table(measured), growth_table(measured)
    for document in (docs / "benchmarks.md", docs.parent / "README.md"):
        if document.is_file():
            blocks = {
                "conditions": conditions(measured),
                "targets": targets,
                "table": ratio_table(measured),
                "growth": growth,
                "notes": notes(measured),
                "plots": pictures(plots, document.parent),
            }
            write_text(document, fill(document.read_text(), blocks))
    return "\n".join(["", plain(targets), "", plain(growth), ""])


def fill(text: str, blocks: dict[str, str]) -> str:
    """The text with what stands between each block's markers replaced."""
    for name, block in blocks.items():
        begin, end = f"<!-- begin benchmark {name} -->", f"<!-- end benchmark {name} -->"
        before, found, rest = text.partition(f"{begin}\n")
        if found:
            text = f"{before}{begin}\n{block}\n{end}{rest.partition(end)[2]}"
    return text


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(markdown: str) -> str:
    """A Markdown table with its columns aligned."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines()]
    rows = [row for row in rows if row and set(row[0]) != {"-"}]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def devices(results: Sequence[OpResults]) -> list[str]:
    """Slugs of the devices, CPUs first."""
    kinds = {result.device: result.environment["kind"] for result in results}
    return sorted(kinds, key=lambda device: (kinds[device] != "cpu", device))


def conditions(results: Sequence[OpResults]) -> str:
    """Date, machine, command and threads of each run, and which ops it measured."""
    runs: dict[str, list[OpResults]] = {}
    for device in devices(results):
        for result in results:
            if result.device == device:
                runs.setdefault(f"{device} {result.environment['date']}", []).append(result)
    lines = []
    for measured in runs.values():
        e = measured[0].environment
        threads = ", ".join(f"{name} {value}" for name, value in e["threads"].items())
        lines.append(
            f"- **{e['device']}** ({e['memory_bytes'] / 1e9:.0f} GB): `{e['command']}` on "
            f"{e['date']}, commit {e['commit']}; Python {e['python']}, torch {e['torch']}, CPU "
            f"kernels {e['instruction_set']}; threads: {threads}. Measured: "
            f"{', '.join(result.op for result in measured)}."
        )
    if not any(result.environment["kind"] == "cuda" for result in results):
        lines.append(f"- GPU: {NOT_MEASURED}.")
    return "\n".join(lines)


def notes(results: Sequence[OpResults]) -> str:
    """What the reader must know of each op's cases."""
    lines = {}
    for result in results:
        lower = "".join(f" `{name}` computes in {dtype}." for name, dtype in result.dtypes.items())
        on_gpu = result.environment["kind"] == "cuda"
        lines[result.op, on_gpu] = f"- `{result.op}`: {result.note}{lower if on_gpu else ''}"
    return "\n".join(line for (op, gpu), line in lines.items() if gpu or (op, True) not in lines)


def target_table(results: Sequence[OpResults]) -> str:
    """Each target, what was measured, and whether that reaches it."""
    rows = []
    for outcome in outcomes(results):
        target = outcome.target
        sign = "at least" if target.kind == "ratio" else "at most"
        rows.append(
            [
                target.device.upper(),
                outcome.what,
                f"{sign} {target.show(target.bound)}",
                outcome.measured,
                outcome.verdict,
            ]
        )
    return table(["device", "what", "target", "measured", "verdict"], rows)


def ratio_table(results: Sequence[OpResults]) -> str:
    """A row for each case; for each device our figures and everybody else's beside them."""
    names = devices(results)
    header = ["case"]
    for device in names:
        e = next(result.environment for result in results if result.device == device)
        header += [f"{OURS}, {e['device']}", "rivals: times as long, memory, error"]
    with_gpu = any(result.environment["kind"] == "cuda" for result in results)
    rows = []
    for op, key in case_keys(results):
        size, passes, options = key
        row = [f"`{op}` {size:,}{options}<br>{passes}"]
        for device in names:
            case = next(
                (
                    case
                    for result in results
                    if result.device == device and result.op == op
                    for case in result.cases
                    if case_key(case) == key
                ),
                None,
            )
            row += cells(case)
        rows.append(row if with_gpu else [*row, NOT_MEASURED])
    return table(header if with_gpu else [*header, "GPU"], rows)


def case_key(case: CaseResult) -> tuple[int, str, str]:
    """Size, passes and options of a case, to be compared and shown."""
    options = "".join(f", {name} {value}" for name, value in case.options.items())
    return case.size, case.passes, options


def case_keys(results: Sequence[OpResults]) -> list[tuple[str, tuple[int, str, str]]]:
    """Every case of every device once: (op, key)."""
    keys = {(result.op, case_key(case)) for result in results for case in result.cases}
    return sorted(keys, key=lambda item: (item[0], item[1][2], item[1][0], item[1][1]))


def cells(case: CaseResult | None) -> list[str]:
    """Our figures, and a line for each rival."""
    if case is None:
        return [NOT_MEASURED, NOT_MEASURED]
    ours = case.providers[OURS]
    rivals = []
    for name, rival in case.providers.items():
        if name == OURS:
            continue
        ratio = case.ratio(name)
        if rival.median is None:
            figures = [rival.status]
        elif ratio is None:
            figures = figures_of(rival)
        else:
            figures = [f"**{ratio:.2g}x**" if ratio < 10 else f"**{ratio:.0f}x**"]
            figures += figures_of(rival)[1:]
        rivals.append(f"{name} " + ", ".join(figures))
    return [", ".join(figures_of(ours)), "<br>".join(rivals)]


def figures_of(measurement: Measurement) -> list[str]:
    """Median time with its spread, memory, and error; or why there are none."""
    if measurement.median is None:
        return [measurement.status]
    text = duration(measurement.median)
    if len(measurement.seconds) > 1:
        low, high = min(measurement.seconds), max(measurement.seconds)
        text += f" ({duration(low)} to {duration(high)})"
    figures = [text]
    if measurement.bytes is not None:
        figures.append(f"{measurement.bytes / 1e6:.0f} MB")
    if measurement.error:
        figures.append(" / ".join(f"{error:.0e}" for error in measurement.error.values()))
    return figures


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} us"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def growth_table(results: Sequence[OpResults]) -> str:
    """Exponents of time and memory in the size, of everybody with three sizes or more."""
    rows = []
    for result in results:
        groups: dict[tuple[str, str, str], list[tuple[int, Measurement]]] = {}
        for case in result.cases:
            size, passes, options = case_key(case)
            if size < result.grows_from:
                continue
            for name, measurement in case.providers.items():
                groups.setdefault((name, passes, options), []).append((size, measurement))
        for (name, passes, options), points in groups.items():
            times = [(size, m.median) for size, m in points if m.median is not None]
            memory = [(s, m.bytes) for s, m in points if m.bytes and m.bytes >= SMALLEST_MEMORY]
            if len(times) < 3:
                continue
            sizes = f"{times[0][0]:,} to {times[-1][0]:,}"
            fitted = [fit(times, result.letter), fit(memory, result.letter)]
            where = f"{result.op}{options}, {passes}"
            rows.append([result.environment["device"], where, name, sizes, *fitted])
    return table(["device", "case", "who", "sizes", "time", "memory"], rows)


def fit(points: Sequence[tuple[int, Any]], letter: str) -> str:
    """The exponent of points in three sizes or more."""
    if len(points) < 3:
        return "too little to fit"
    return f"{letter}^{exponent(*zip(*points, strict=True)):.2f}"


def plot_of(results: Sequence[OpResults], device: str, docs: Path) -> Path | None:
    """The device's plot, None where it has nothing to show or nothing to draw with."""
    for result in results:
        if result.device == device and result.op == "equivariant_nt_xent":
            return plot(result, docs / "figures" / f"benchmark--{device}.png")
    return None


def pictures(paths: Sequence[Path], folder: Path) -> str:
    """Links to the plots."""
    return "\n".join(
        f"![Time and memory against M]({os.path.relpath(path, folder)})" for path in paths
    )


if __name__ == "__main__":
    print(write_reports())
