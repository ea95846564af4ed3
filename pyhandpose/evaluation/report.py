"""Results as Markdown and JSON that say what they are: units, samples, version, device, date."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import torch

from pyhandpose import __version__
from pyhandpose.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from pyhandpose.evaluation.evaluate import Evaluation


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
