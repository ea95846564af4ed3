"""Results as Markdown and JSON that say what they are: units, samples, version, device, date."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import torch

from pyhandpose import __version__
from pyhandpose.evaluation.metrics import METRICS, ErrorSummary

if TYPE_CHECKING:
    from pyhandpose.evaluation.evaluate import Evaluation
    from pyhandpose.evaluation.mesh import MeshSummary
    from pyhandpose.evaluation.rmse import RmseSummary


def provenance(device: torch.device | str) -> dict[str, str]:
    """What made a result: package, torch and Python versions, device, date (UTC)."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "pyhandpose": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name or platform.machine()})",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def results(evaluations: Sequence[Evaluation], device: torch.device | str) -> dict[str, Any]:
    """The JSON record of several evaluations with their provenance."""
    return {
        "made_by": provenance(device),
        "evaluations": [evaluation.to_json() for evaluation in evaluations],
    }


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it also reads well in a terminal; numbers to the right."""
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"markdown_table: every row must have {len(header)} cells, got {rows}")
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(cells[0]), line(rule), *(line(row) for row in cells[1:])])


def number(value: float | None, digits: int = 2) -> str:
    """A value as printed in tables; ``n/a`` for None and NaN."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def evaluation_table(evaluation: Evaluation) -> str:
    """One evaluation: a row per metric; what was left out or failed is in the last columns."""
    header = ("metric", "unit", "mean", "median", "AUC", "joints", "missing", "failed")
    rows = [
        (
            summary.title,
            summary.unit,
            number(summary.mean),
            number(summary.median),
            number(summary.auc, 3),
            f"{summary.num_joints:,}",
            f"{summary.num_missing:,}",
            f"{summary.num_failed:,}",
        )
        for summary in evaluation.summaries.values()
    ]
    return markdown_table(header, rows)


def finger_table(evaluation: Evaluation) -> str:
    """Mean error of the wrist and of each finger: a row per metric."""
    groups = list(next(iter(evaluation.summaries.values())).per_finger)
    rows = [
        (f"{summary.title} ({summary.unit})", *(number(summary.per_finger[g]) for g in groups))
        for summary in evaluation.summaries.values()
    ]
    return markdown_table(("metric", *groups), rows)


def comparison_table(evaluations: Sequence[Evaluation]) -> str:
    """Several methods on the same data: a row per method, mean (and AUC) per metric."""
    metrics = [name for name in METRICS if name in evaluations[0].summaries]
    with_auc = [name for name in metrics if evaluations[0].summaries[name].auc is not None]
    header = ["method", *(f"{METRICS[m].title} ({METRICS[m].unit})" for m in metrics)]
    header += [f"AUC of {METRICS[m].title}" for m in with_auc]
    rows = [
        [
            evaluation.method,
            *(number(evaluation.summaries[m].mean) for m in metrics),
            *(number(evaluation.summaries[m].auc, 3) for m in with_auc),
        ]
        for evaluation in evaluations
    ]
    return markdown_table(header, rows)


def pck_table(summaries: Sequence[ErrorSummary]) -> str:
    """A row per metric and PCK, with the rule that its AUC, or its only PCK, was made by."""
    header = ("metric", "unit", "mean", "median", "AUC", "PCK", "correct", "failed")
    rows = []
    for summary in summaries:
        single = summary.thresholds is not None and len(summary.thresholds) == 1
        rows.append(
            (
                summary.title,
                summary.unit,
                number(summary.mean, 3),
                number(summary.median, 3),
                "" if single else number(summary.auc, 4),
                number(summary.pck[0], 4) if single and summary.pck is not None else "",
                _rule(summary),
                f"{summary.num_failed:,}",
            )
        )
    shown = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return markdown_table([header[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _rule(summary: ErrorSummary) -> str:
    """Which distances are correct, in the metric's unit: "<= 0 to 50 (100)" or "< 0.05"."""
    if summary.thresholds is None:
        return "n/a"
    first, last = summary.thresholds[0], summary.thresholds[-1]
    if first == last:
        return f"{summary.comparison} {first:g}"
    return f"{summary.comparison} {first:.4g} to {last:g} ({len(summary.thresholds)})"


def mesh_table(meshes: MeshSummary) -> str:
    """Vertex errors and F-scores, in camera space and aligned."""
    header = ("mesh", "mean (mm)", "AUC", *meshes.absolute.f_scores)
    rows = [
        (
            name,
            number(part.mean, 3),
            number(part.auc, 4),
            *(number(value, 4) for value in part.f_scores.values()),
        )
        for name, part in (("absolute", meshes.absolute), ("aligned", meshes.aligned))
    ]
    return markdown_table(header, rows)


def rmse_table(summaries: Sequence[RmseSummary]) -> str:
    """Thesis 004's tables: a row per joint type and finger, a column per dimension."""
    header = ("RMSE", *(f"{summary.title} ({summary.unit})" for summary in summaries))
    first = summaries[0]
    rows = [("wrist", *(number(s.wrist, 4) for s in summaries))]
    rows += [(n, *(number(s.joint_types[n], 4) for s in summaries)) for n in first.joint_types]
    rows += [(n, *(number(s.fingers[n], 4) for s in summaries)) for n in first.fingers]
    rows += [("total", *(number(s.total, 4) for s in summaries))]
    return markdown_table(header, rows)
