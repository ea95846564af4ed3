"""What each benchmark and paper measures, by name: metrics, thresholds and comparison.

>>> score("freihand", predictions, labels).table()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from pyhandpose.evaluation.mesh import MeshErrors, MeshSummary
from pyhandpose.evaluation.metrics import (
    METRICS,
    ErrorSummary,
    Pck,
    PoseErrors,
    summarise,
    without_non_finite,
)
from pyhandpose.evaluation.pck import FREIHAND_PCK
from pyhandpose.evaluation.poses import Poses
from pyhandpose.evaluation.report import mesh_table, pck_table, rmse_table
from pyhandpose.evaluation.rmse import RmseSummary, rmse_summary
from pyhandpose.hand.skeleton import NUM_JOINTS

PECLR_REPO_PCK = Pck(0.0, 495.0, 100, strict=True)
"""``arange(0, 0.5, 0.005)`` m, d < t."""

PECLR_THESIS_PCK = Pck(0.0, 500.0, 101, strict=True)
"""0 to 500 mm in steps of 5 mm, joints "under" the threshold (000 section 3.5)."""

RHD_PCK = Pck(0.0, 50.0, 20)
"""0 to 50 mm, 20 thresholds, d <= t: the evaluator that RHD came with."""

STB_PCK = Pck(8 * 50 / 19, 50.0, 12)
"""The last 12 of ``RHD_PCK``, from 21.05 mm, which that evaluator calls "20mm - 50mm"."""

PCK_2D = Pck(0.05, 0.05, 1, strict=True)
"""d < 0.05 of the image's side (002 eq. 2.8 and section 7.4)."""


class Line(NamedTuple):
    """One line of a protocol's result."""

    metric: str
    """Key of ``METRICS``."""
    pck: Pck | None = None
    """None for a metric without a PCK."""
    optional: bool = False
    """Left out where the files do not have the points."""


@dataclass(frozen=True)
class Protocol:
    """What a benchmark or a paper reports."""

    name: str
    summary: str
    """One line for a person: what is measured, and whose tables hold such numbers."""
    lines: tuple[Line, ...]
    rmse: bool = False
    """Report root mean squared errors by joint type and finger instead of means and PCK."""
    meshes: bool = False
    """Score meshes too, where both files have them."""
    layout: Literal["freihand", "ho3d"] = "freihand"
    """Joint order and axes of ``pred.json`` and of the labels' files, see ``pose_files``."""


def _both(pck: Pck) -> tuple[Line, ...]:
    """The lines of PeCLR's tables, which differ in the thresholds alone."""
    return Line("epe_2d", optional=True), Line("epe_absolute", pck), Line("pa_epe", pck)


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "freihand",
            "FreiHAND's evaluator: EPE and PA-EPE (reflections allowed), AUC to 50 mm, meshes",
            (Line("epe_absolute", FREIHAND_PCK), Line("pa_epe_freihand", FREIHAND_PCK)),
            meshes=True,
        ),
        Protocol(
            "ho3d",
            "HO-3D's evaluator: FreiHAND's, and EPE with scale and wrist aligned",
            (
                Line("epe_absolute", FREIHAND_PCK),
                Line("epe_scale_translation", FREIHAND_PCK),
                Line("pa_epe_freihand", FREIHAND_PCK),
            ),
            meshes=True,
            layout="ho3d",
        ),
        Protocol(
            "peclr-paper",
            "PeCLR's paper: EPE and PA-EPE, AUC from 0 to 50 mm",
            _both(FREIHAND_PCK),
        ),
        Protocol(
            "peclr-thesis",
            "the thesis behind PeCLR: MKP-3D and PA MKP-3D, AUC from 0 to 500 mm in 5 mm steps",
            _both(PECLR_THESIS_PCK),
        ),
        Protocol(
            "peclr-repo",
            "PeCLR's published code: AUC from 0 to 495 mm, d < t",
            _both(PECLR_REPO_PCK),
        ),
        Protocol(
            "rhd-stb",
            "RHD and STB: relative to joint 0, AUC from 0 (RHD) and from 20 mm (STB) to 50 mm",
            (Line("epe_root_relative", RHD_PCK), Line("epe_root_relative", STB_PCK)),
        ),
        Protocol(
            "rhd-stb@middle-mcp",
            "the same relative to the middle MCP, as dissertation 002 has it",
            (Line("epe_middle_mcp_relative", RHD_PCK), Line("epe_middle_mcp_relative", STB_PCK)),
        ),
        Protocol(
            "pck2d@0.05",
            "dissertation 002, chapter 7: image points nearer than 0.05 of the image's side",
            (Line("epe_2d_sides", PCK_2D),),
        ),
        Protocol(
            "rmse-by-joint",
            "thesis 004: RMSE by joint type and finger, 2D in image sides, 3D in palm lengths",
            (Line("epe_2d_sides", optional=True), Line("epe_palm_lengths", optional=True)),
            rmse=True,
        ),
    )
}


@dataclass(frozen=True)
class ProtocolScore:
    """Predictions measured by one protocol."""

    protocol: str
    predictions: str
    labels: str
    num_poses: int
    summaries: tuple[ErrorSummary, ...]
    """In the protocol's order; the same metric twice where it has two PCKs."""
    rmse: tuple[RmseSummary, ...]
    meshes: MeshSummary | None
    notes: tuple[str, ...]
    """What was left out, and why."""

    def table(self) -> str:
        """Markdown."""
        parts = [] if not self.summaries else [pck_table(self.summaries)]
        parts += [rmse_table(self.rmse)] if self.rmse else []
        parts += [] if self.meshes is None else [mesh_table(self.meshes)]
        return "\n\n".join([*parts, *(f"Note: {note}." for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null."""
        record = {
            "protocol": self.protocol,
            "predictions": self.predictions,
            "labels": self.labels,
            "num_poses": self.num_poses,
            "metrics": [summary.to_json() for summary in self.summaries],
            "rmse": [summary.to_json() for summary in self.rmse],
            "meshes": None if self.meshes is None else self.meshes.to_json(),
            "notes": list(self.notes),
        }
        return {key: without_non_finite(value) for key, value in record.items()}


def score(protocol: str, predictions: Poses, labels: Poses) -> ProtocolScore:
    """Measure predictions as a benchmark or paper does.

    Where both have names the predictions are put into the labels' order, else the orders must be
    the same.

    Args:
        protocol: a key of ``PROTOCOLS``.
        predictions: N poses, or more when there are names.
        labels: N poses.

    Raises:
        ValueError: an unknown protocol, different numbers of poses, or points that the protocol
            needs and the files do not have.

    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"score: protocol must be one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    chosen = PROTOCOLS[protocol]
    if predictions.names is not None and labels.names is not None:
        predictions = predictions.named(labels.names)
    if len(predictions) != len(labels):
        raise ValueError(
            f"{predictions.source} has {len(predictions):,} poses and {labels.source} "
            f"{len(labels):,}: give one prediction for each label, in the same order"
        )
    lines, notes = _possible(chosen, predictions, labels)
    summaries, rmse = _measure(chosen, lines, predictions, labels)
    meshes, mesh_notes = _meshes(predictions, labels) if chosen.meshes else (None, [])
    return ProtocolScore(
        protocol,
        predictions.source,
        labels.source,
        len(labels),
        summaries,
        rmse,
        meshes,
        tuple(notes + mesh_notes),
    )


def _possible(
    protocol: Protocol, predictions: Poses, labels: Poses
) -> tuple[list[Line], list[str]]:
    """The lines whose points both files have, and notes on those that had to be left out."""
    lines, notes = [], []
    for line in protocol.lines:
        lacking = _lacking(line, predictions, labels)
        if lacking is None:
            lines.append(line)
        elif line.optional:
            notes.append(f"no {METRICS[line.metric].title}: {lacking}")
        else:
            raise ValueError(f"protocol {protocol.name}: {lacking}")
    if not lines:
        raise ValueError(f"protocol {protocol.name}: nothing to measure; {'; '.join(notes)}")
    return lines, notes


def _lacking(line: Line, predictions: Poses, labels: Poses) -> str | None:
    """What the files do not have for a line; None where they have everything."""
    points = METRICS[line.metric].points
    for poses in (predictions, labels):
        if points == "cam" and poses.joints_cam is None:
            return f"{poses.source} has no camera points (joints_cam_mm)"
        if points != "cam" and poses.joints_img is None:
            return f"{poses.source} has no image points (joints_img_px)"
    if points == "img / side" and predictions.image_size_px is labels.image_size_px is None:
        return f"{labels.source} has no image sizes (image_size_px)"
    return None


def _measure(
    protocol: Protocol, lines: list[Line], predictions: Poses, labels: Poses
) -> tuple[tuple[ErrorSummary, ...], tuple[RmseSummary, ...]]:
    errors = PoseErrors(tuple(dict.fromkeys(line.metric for line in lines)))
    nothing = torch.full((1, 1, 1), torch.nan).expand(len(labels), NUM_JOINTS, 3)
    sizes = predictions.image_size_px if labels.image_size_px is None else labels.image_size_px
    errors.add(
        nothing[..., :2] if predictions.joints_img is None else predictions.joints_img,
        nothing if predictions.joints_cam is None else predictions.joints_cam,
        labels.joints_img,
        labels.joints_cam,
        labels.valid,
        sizes,
    )
    if not protocol.rmse:
        tables = ((line, errors.distances(line.metric)) for line in lines)
        return tuple(summarise(line.metric, table, line.pck) for line, table in tables), ()
    summaries = []
    for line in lines:
        metric = METRICS[line.metric]
        dimension = 3 if metric.points == "cam" else 2
        table = errors.distances(line.metric)
        summaries.append(rmse_summary(f"{dimension}D", metric.unit, table, dimension))
    return (), tuple(summaries)


def _meshes(predictions: Poses, labels: Poses) -> tuple[MeshSummary | None, list[str]]:
    """The meshes' scores; None and a note where there are no meshes."""
    for poses in (predictions, labels):
        if poses.vertices is None:
            return None, [f"no mesh scores: {poses.source} has no vertices"]
        if not bool(poses.vertices.any()):  # what methods without a mesh submit
            return None, [f"no mesh scores: all vertices in {poses.source} are zero"]
    assert predictions.vertices is not None
    assert labels.vertices is not None
    errors = MeshErrors()
    errors.add(predictions.vertices, labels.vertices)
    return errors.summary(), []
