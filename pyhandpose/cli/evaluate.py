"""``pyhandpose evaluate``: a checkpoint's errors on a dataset, or the score of a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import tyro

from pyhandpose.data.registry import Dataset, open_dataset
from pyhandpose.data.whole_file import write_bytes, write_json
from pyhandpose.evaluation.evaluate import Evaluation, evaluate
from pyhandpose.evaluation.examples import worst_median_best
from pyhandpose.evaluation.leaderboard import BENCHMARKS, check_submission
from pyhandpose.evaluation.metrics import ErrorSummary
from pyhandpose.evaluation.pose_files import read_poses
from pyhandpose.evaluation.protocols import PROTOCOLS, ProtocolScore, score
from pyhandpose.evaluation.report import provenance, results
from pyhandpose.plot.curves import pck_figure, per_joint_figure
from pyhandpose.plot.examples import examples_figure
from pyhandpose.plot.figure import png_bytes
from pyhandpose.predict import Predictor
from pyhandpose.training.checkpoint import CheckpointError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = f"""Measure a trained model on labelled images, or score a file of predictions.

A model (--data, --checkpoint): prints, and writes to --out as results.json and report.md, 2D EPE in
px, absolute, root-relative and Procrustes-aligned EPE in mm, the area under the PCK curve, and
errors by joint and by finger; draws the PCK curve, the error of each joint, and the worst, median
and best examples.

Predictions of any model (--pred, --gt, --protocol): pred.json or pred.zip as FreiHAND and HO-3D
take it, our own JSON, or the folder that `pyhandpose predict` wrote. Labels: evaluation_xyz.json
(with evaluation_verts.json beside it) or its folder, our own JSON, or a labelled dataset by name.
Both must be in the same order, unless both have names. Without --gt a freihand or ho3d file is only
checked for upload: exit status 0 ready, 1 not.

protocols (thresholds and comparison decide an AUC; they differ):
{chr(10).join(f"  {name:<18} {protocol.summary}" for name, protocol in PROTOCOLS.items())}

docs/evaluation.md says what each number means, and how to write our JSON.

examples:
  pyhandpose evaluate --checkpoint runs/finetuned --data "synthetic:512?seed=9"
  pyhandpose evaluate --checkpoint runs/finetuned --data "synthetic:512?look=wild" --out wild
  pyhandpose evaluate --pred pred.json --gt FreiHAND_pub_v2 --protocol freihand
  pyhandpose evaluate --pred pred.json --gt "synthetic:512?seed=9" --protocol peclr-paper
  pyhandpose evaluate --pred pred.zip --protocol ho3d
"""


@dataclass(frozen=True)
class Options:
    """Options of ``pyhandpose evaluate``."""

    data: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """A labelled dataset to measure a model on, such as "synthetic:512?seed=9"."""
    checkpoint: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of a trained model; without it, the one `pyhandpose quickstart` made."""
    camera: Literal["given", "unknown"] = "given"
    """Whether the model is given each image's camera and hand scale; "unknown" takes K = I and
    s = 1 and compares after Procrustes alignment only."""
    pred: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Predictions to score instead of a model."""
    gt: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """The labels of --pred: a file, a folder, or a dataset's name."""
    protocol: Annotated[str | None, tyro.conf.arg(metavar="PROTOCOL")] = None
    """What to measure in --pred, one of the protocols above."""
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
        if options.pred is None:
            return _measure_model(options)
        return _score_file(options, options.pred)
    except (ValueError, OSError, ImportError, CheckpointError) as error:
        print(f"pyhandpose evaluate: {error}", file=sys.stderr)
        return 2


def _measure_model(options: Options) -> int:
    """Measure a checkpoint on a dataset."""
    if options.gt is not None or options.protocol is not None:
        raise ValueError("--gt and --protocol belong to --pred FILE, which is missing")
    if options.data is None:
        raise ValueError(
            "give --data NAME to measure a model on labelled images, or --pred FILE, --gt FILE and "
            "--protocol PROTOCOL to score predictions; --help has examples"
        )
    predictor = Predictor.load(options.checkpoint, options.device)
    dataset = open_dataset(options.data)  # may have to be rendered first, which takes a while
    evaluation = evaluate(
        predictor.method,
        dataset,
        name=predictor.checkpoint,
        input_size=predictor.input_size,
        batch_size=options.batch_size,
        camera=options.camera,
        device=predictor.device,
    )
    written = write_results(options.out, evaluation, dataset, predictor.device)
    print(heading(evaluation))
    print(evaluation.table())
    print(f"\nwritten to {options.out}: {', '.join(written)}")
    return 0


def _score_file(options: Options, pred: str) -> int:
    """Score a file of predictions, or check it for upload."""
    if options.data is not None or options.checkpoint is not None or options.camera != "given":
        raise ValueError("--pred scores a file: --data, --checkpoint and --camera are for a model")
    protocol = options.protocol
    if protocol is None or protocol not in PROTOCOLS:
        raise ValueError(f"--protocol must be one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    if options.gt is None:
        if protocol not in BENCHMARKS:
            raise ValueError(
                f"give the labels with --gt: without them a file can only be checked for upload, "
                f"with --protocol {' or '.join(BENCHMARKS)}"
            )
        check = check_submission(Path(pred), protocol)
        print(check)
        return 1 if check.problems else 0
    layout = PROTOCOLS[protocol].layout
    found = score(protocol, read_poses(pred, layout), read_poses(options.gt, layout))
    written = write_score(options.out, found)
    print(score_heading(found))
    print(found.table())
    print(f"\nwritten to {options.out}: {', '.join(written)}")
    return 0


def score_heading(found: ProtocolScore) -> str:
    """What was scored, for a person."""
    return (
        f"{found.predictions} against {found.labels}: {found.num_poses:,} poses, protocol "
        f"{found.protocol}: {PROTOCOLS[found.protocol].summary}\n"
    )


def write_score(folder: Path, found: ProtocolScore) -> list[str]:
    """The record, the table and the pictures of scored predictions; the names of the files."""
    curves = [s for s in found.summaries if s.thresholds is not None and len(s.thresholds) > 1]
    curves = [s for s in curves if s.thresholds == curves[0].thresholds]
    pictures = {"pck.png": _pck_figure(curves, found.protocol)} if curves else {}
    if found.summaries:
        last = found.summaries[-1]
        pictures["joints.png"] = per_joint_figure(
            last.per_joint, ylabel=f"{last.title} ({last.unit})", title=found.protocol
        )
    record = {"made_by": provenance("cpu"), "score": found.to_json()}
    return _write(folder, "Score", f"{score_heading(found)}\n{found.table()}", pictures, record)


def heading(evaluation: Evaluation) -> str:
    """What was measured, for a person."""
    given = f"hand scale from: {evaluation.scale_from}"
    if evaluation.camera == "unknown":
        given = "camera and hand scale unknown (K = I, s = 1)"
    return (
        f"{evaluation.method} on {evaluation.dataset}: {evaluation.num_samples:,} images, px of "
        f"the dataset's images; {given}\n"
    )


def write_results(
    folder: Path, evaluation: Evaluation, dataset: Dataset, device: torch.device
) -> list[str]:
    """The record, the tables and the pictures of one evaluation; the names of the files."""
    text = f"{heading(evaluation)}\n{evaluation.table()}"
    record = results([evaluation], device)
    return _write(folder, "Evaluation", text, figures(evaluation, dataset), record)


def _write(
    folder: Path, title: str, text: str, pictures: dict[str, Figure], record: dict[str, Any]
) -> list[str]:
    """report.md with its pictures, and results.json; the names of the files."""
    files = {name: png_bytes(figure) for name, figure in pictures.items()}
    shown = "\n\n".join(f"![{Path(name).stem}]({name})" for name in files)
    files["report.md"] = f"# {title}\n\n{text}\n\n{shown}\n".encode()
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / "results.json", record)
    return ["results.json", *files]


def _pck_figure(summaries: Sequence[ErrorSummary], title: str) -> Figure:
    """The PCK curves of metrics with the same thresholds."""
    return pck_figure(
        {summary.title: summary.pck for summary in summaries if summary.pck is not None},
        summaries[0].thresholds or (),
        {summary.title: summary.auc for summary in summaries if summary.auc is not None},
        title=title,
    )


def figures(evaluation: Evaluation, dataset: Dataset) -> dict[str, Figure]:
    """The PCK curves (with 3D labels), the error of each joint, and examples, by file name."""
    pictures = {}
    in_3d = [s for s in evaluation.summaries.values() if s.pck is not None and s.num_joints > 0]
    if in_3d:
        pictures["pck.png"] = _pck_figure(in_3d, evaluation.dataset)
    summary = evaluation.summaries["pa_epe" if in_3d else "epe_2d"]
    pictures["joints.png"] = per_joint_figure(
        summary.per_joint, ylabel=f"{summary.title} ({summary.unit})", title=evaluation.dataset
    )
    if evaluation.camera == "given":  # otherwise the poses have another size and place
        pictures["examples.png"] = examples_figure(worst_median_best(evaluation, dataset, summary))
    return pictures
