"""Which poses to show of an evaluation."""

from __future__ import annotations

import numpy as np
import torch

from pyhandpose.data.registry import Dataset
from pyhandpose.evaluation.evaluate import Evaluation
from pyhandpose.evaluation.metrics import MM_PER_M, ErrorSummary
from pyhandpose.plot.examples import Example


def worst_median_best(evaluation: Evaluation, dataset: Dataset, by: ErrorSummary) -> list[Example]:
    """The labelled poses at the two ends and in the middle of a metric."""
    errors = evaluation.sample_errors(by.metric)
    order = np.argsort(errors)[: int((~np.isnan(errors)).sum())]  # NaN sorts last
    if len(order) == 0:
        raise ValueError(
            f"worst_median_best: expected a pose with a finite {by.title}, got none in "
            f"{evaluation.dataset}"
        )
    chosen = {"worst": order[-1], "median": order[len(order) // 2], "best": order[0]}
    batch = dataset.read(torch.tensor([int(index) for index in chosen.values()]))
    assert batch.joints_img is not None  # evaluate() requires it
    return [
        Example(
            caption=f"{word}: {errors[index]:.1f} {by.unit}",
            image=batch.image[row].numpy(),
            joints_img=evaluation.pose.joints_img[index].numpy(),
            truth_img=batch.joints_img[row].numpy(),
            joints_mm=MM_PER_M * evaluation.pose.joints_cam[index].numpy(),
            truth_mm=None if batch.joints_cam is None else MM_PER_M * batch.joints_cam[row].numpy(),
        )
        for row, (word, index) in enumerate(chosen.items())
    ]
