"""``pyhandpose evaluate``: a checkpoint's errors on a labelled dataset."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import tyro

from pyhandpose.data.registry import Dataset, open_dataset
from pyhandpose.data.whole_file import write_bytes, write_json
from pyhandpose.evaluation.evaluate import Evaluation, evaluate
from pyhandpose.evaluation.examples import worst_median_best
from pyhandpose.evaluation.metrics import PCK_THRESHOLDS_MM
from pyhandpose.evaluation.report import results
from pyhandpose.plot.curves import pck_figure, per_joint_figure
from pyhandpose.plot.examples import examples_figure
from pyhandpose.plot.figure import png_bytes
from pyhandpose.predict import Predictor
from pyhandpose.training.checkpoint import CheckpointError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = """Measure a trained model on labelled images.

Prints, and writes to --out as results.json and report.md: 2D EPE in px, absolute, root-relative
and Procrustes-aligned EPE in mm, the area under the PCK curve, and errors by joint and by finger;
draws the PCK curve, the error of each joint, and the worst, median and best examples.
docs/evaluation.md says what each number means.

examples:
  pyhandpose evaluate --checkpoint runs/finetuned --data "synthetic:512?seed=9"
  pyhandpose evaluate --checkpoint runs/finetuned --data "synthetic:512?look=wild" --out wild
"""


@dataclass(frozen=True)
class Options:
    """Options of ``pyhandpose evaluate``."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """A labelled dataset, such as "synthetic:512?seed=9"."""
    checkpoint: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of a trained model; without it, the one `pyhandpose quickstart` made."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("evaluation")
    """Folder for the results; made if it does not exist."""
    batch_size: int = 128
    """Images at a time."""
    device: str = "auto"
    """Where to compute: "auto" (CUDA where there is one, else CPU), "cpu" or "cuda"."""


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    options = tyro.cli(Options, prog="pyhandpose evaluate", description=DESCRIPTION, args=argv)
    try:
        predictor = Predictor.load(options.checkpoint, options.device)
        dataset = open_dataset(options.data)  # may have to be rendered first, which takes a while
        evaluation = evaluate(
            predictor.method,
            dataset,
            name=predictor.checkpoint,
            input_size=predictor.input_size,
            batch_size=options.batch_size,
            device=predictor.device,
        )
        written = write_results(options.out, evaluation, dataset, predictor.device)
    except (ValueError, OSError, ImportError, CheckpointError) as error:
        print(f"pyhandpose evaluate: {error}", file=sys.stderr)
        return 2
    print(heading(evaluation))
    print(evaluation.table())
    print(f"\nwritten to {options.out}: {', '.join(written)}")
    return 0


def heading(evaluation: Evaluation) -> str:
    """What was measured, for a person."""
    return (
        f"{evaluation.method} on {evaluation.dataset}: {evaluation.num_samples:,} images, px of "
        f"the dataset's images; hand scale from: {evaluation.scale_from}\n"
    )


def write_results(
    folder: Path, evaluation: Evaluation, dataset: Dataset, device: torch.device
) -> list[str]:
    """The record, the tables and the pictures of one evaluation; the names of the files."""
    files = {name: png_bytes(figure) for name, figure in figures(evaluation, dataset).items()}
    pictures = "\n\n".join(f"![{Path(name).stem}]({name})" for name in files)
    report = f"# Evaluation\n\n{heading(evaluation)}\n{evaluation.table()}\n\n{pictures}\n"
    files["report.md"] = report.encode()
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / "results.json", results([evaluation], device))
    return ["results.json", *files]


def figures(evaluation: Evaluation, dataset: Dataset) -> dict[str, Figure]:
    """The PCK curves (with 3D labels), the error of each joint, and examples, by file name."""
    pictures = {}
    in_3d = [s for s in evaluation.summaries.values() if s.pck is not None and s.num_joints > 0]
    if in_3d:
        pictures["pck.png"] = pck_figure(
            {summary.title: summary.pck for summary in in_3d if summary.pck is not None},
            PCK_THRESHOLDS_MM.tolist(),
            {summary.title: summary.auc for summary in in_3d if summary.auc is not None},
            title=evaluation.dataset,
        )
    summary = evaluation.summaries["pa_epe" if in_3d else "epe_2d"]
    pictures["joints.png"] = per_joint_figure(
        summary.per_joint, ylabel=f"{summary.title} ({summary.unit})", title=evaluation.dataset
    )
    pictures["examples.png"] = examples_figure(worst_median_best(evaluation, dataset, summary))
    return pictures
