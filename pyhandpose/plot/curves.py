"""Figures of the tables: PCK curves, label efficiency, errors by joint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pyhandpose.hand.skeleton import FINGER_JOINTS, JOINT_NAMES, NUM_JOINTS
from pyhandpose.plot.figure import new_figure
from pyhandpose.plot.palette import JOINT_COLOURS, SERIES_COLOURS, SERIES_MARKERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# anatomy's acronyms in capitals, "tip" is a word
JOINT_LABELS = (
    "wrist",
    *(part if (part := name.split("_")[1]) == "tip" else part.upper() for name in JOINT_NAMES[1:]),
)


def pck_figure(
    curves: Mapping[str, Sequence[float]],
    thresholds_mm: Sequence[float],
    areas: Mapping[str, float] | None = None,
    *,
    title: str = "",
) -> Figure:
    """Share of correct joints against the threshold, one curve per name, AUC in the legend.

    ``curves[name]`` (T,) in 0 to 1 at ``thresholds_mm`` (T,).
    """
    with new_figure((6.4, 3.4)) as (figure, (axes,)):
        for index, (name, pck) in enumerate(curves.items()):
            label = name if areas is None else f"{name}\nAUC {areas[name]:.3f}"
            axes.plot(
                thresholds_mm,
                100 * np.asarray(pck),
                color=SERIES_COLOURS[index % len(SERIES_COLOURS)],
                linestyle=("-", "--", "-.", ":")[index % 4],
                label=label,
            )
        axes.set_xlim(thresholds_mm[0], thresholds_mm[-1])
        axes.set_ylim(0, 101)
        axes.set_xlabel("error threshold (mm)")
        axes.set_ylabel("correct joints (%)")
        axes.set_title(title)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def label_efficiency_figure(
    results: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    ylabel: str = "2D EPE (px)",
    title: str = "",
    reference: tuple[str, float] | None = None,
) -> Figure:
    """Error against the number of labels (log scale): mean over seeds, every seed as a dot.

    ``results[method][num_labels]`` holds one value per seed; ``reference`` is a horizontal line,
    for instance ``("mean pose", 10.1)``.
    """
    counts = sorted({count for by_count in results.values() for count in by_count})
    with new_figure((5.2, 3.6)) as (figure, (axes,)):
        for index, (name, by_count) in enumerate(results.items()):
            colour = SERIES_COLOURS[index % len(SERIES_COLOURS)]
            labels = sorted(by_count)
            axes.plot(
                labels,
                [float(np.mean(by_count[count])) for count in labels],
                marker=SERIES_MARKERS[index % len(SERIES_MARKERS)],
                color=colour,
                label=name,
            )
            for count in labels:
                seeds = by_count[count]
                axes.scatter([count] * len(seeds), seeds, s=9, color=colour, alpha=0.45, lw=0)
        if reference is not None:
            axes.axhline(reference[1], color="#555555", lw=1.2, ls=":", label=reference[0])
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.margins(x=0.12)
        axes.set_xlabel("labelled images")
        axes.set_ylabel(ylabel)
        axes.set_title(title)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def per_joint_figure(
    per_joint: Sequence[float], *, ylabel: str = "PA-EPE (mm)", title: str = ""
) -> Figure:
    """Mean error of each joint as bars, fingers in the overlay's colours, their mean as a line.

    ``per_joint`` (21,); NaN (no labels) is left empty and marked.
    """
    if len(per_joint) != NUM_JOINTS:
        raise ValueError(f"per_joint_figure: per_joint must have 21 values, got {len(per_joint)}")
    values = np.asarray(per_joint, float)
    labelled = np.isfinite(values)
    with new_figure((7.2, 3.0)) as (figure, (axes,)):
        axes.grid(axis="x", visible=False)
        axes.bar(
            np.arange(NUM_JOINTS),
            np.where(labelled, values, 0.0),
            color=JOINT_COLOURS,
            edgecolor="#333333",
            linewidth=0.6,
        )
        for joint in np.flatnonzero(~labelled).tolist():
            axes.text(joint, 0, "n/a", ha="center", va="bottom", fontsize=8, color="#555555")
        for finger, joints in FINGER_JOINTS.items():
            first, last = joints[0], joints[-1]
            known = values[first : last + 1][labelled[first : last + 1]]
            if known.size:
                axes.hlines(known.mean(), first - 0.45, last + 0.45, color="#333333", lw=1.4)
            axes.text(
                (first + last) / 2,
                -0.22,
                finger,
                ha="center",
                va="top",
                transform=axes.get_xaxis_transform(),
            )
        axes.plot([], [], color="#333333", lw=1.4, label="mean of the finger")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
        axes.set_xticks(range(NUM_JOINTS), JOINT_LABELS, rotation=60, ha="right", fontsize=8)
        axes.set_xlim(-0.7, NUM_JOINTS - 0.3)
        axes.set_ylabel(ylabel)
        axes.set_title(title)
    return figure
