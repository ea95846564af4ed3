"""Estimates beside the truth: image, overlay and 3D, a row per example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyhandpose.plot.figure import new_figure
from pyhandpose.plot.overlay import draw_skeleton
from pyhandpose.plot.skeleton3d import draw_views

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENLARGED_PX = 384
"""Images are enlarged to about this side before the skeleton is drawn, so that it stays crisp."""


@dataclass(frozen=True, eq=False)
class Example:
    """One image with its estimated and true pose."""

    caption: str
    image: NDArray[np.uint8]
    """(H,W,3) RGB."""
    joints_img: NDArray[np.floating]
    """(21,2) px."""
    truth_img: NDArray[np.floating]
    """(21,2) px."""
    joints_mm: NDArray[np.floating]
    """(21,3) mm, camera axes."""
    truth_mm: NDArray[np.floating] | None
    """(21,3) mm, None without 3D labels."""


def examples_figure(examples: Sequence[Example], *, title: str = "") -> Figure:
    """Truth and estimate on the image, and the estimate in 3D over the truth in grey."""
    rows = len(examples)
    with new_figure((9.6, 2.5 * rows + (0.3 if title else 0.0)), rows, 4) as (figure, axes):
        for row, example in enumerate(examples):
            truth, estimate, *views = axes[4 * row : 4 * row + 4]
            truth.imshow(_enlarged_overlay(example.image, example.truth_img))
            estimate.imshow(_enlarged_overlay(example.image, example.joints_img))
            truth.set_ylabel(example.caption)
            for panel in (truth, estimate):
                panel.set_xticks([])
                panel.set_yticks([])
                panel.grid(visible=False)
                panel.spines[:].set_visible(False)
            draw_views(views, example.joints_mm, example.truth_mm)
            for panel, heading in zip((truth, estimate), ("truth", "estimate"), strict=True):
                panel.set_title(heading if row == 0 else "")
            for panel in views:
                panel.tick_params(labelsize=7)
                panel.xaxis.label.set_fontsize(8)
                panel.yaxis.label.set_fontsize(8)
                panel.set_title(f"{panel.get_title()} (grey: truth)" if row == 0 else "")
                if row < rows - 1:
                    panel.set_xlabel("")
        if title:
            figure.suptitle(title)
    return figure


def _enlarged_overlay(
    image: NDArray[np.uint8], joints_img: NDArray[np.floating]
) -> NDArray[np.uint8]:
    times = max(1, round(ENLARGED_PX / max(image.shape[:2])))
    large = image.repeat(times, 0).repeat(times, 1)
    return draw_skeleton(large, (joints_img + 0.5) * times - 0.5)
