"""Submissions to the FreiHAND and HO-3D leaderboards: written, read back, checked before upload.

Both want a zip with one ``pred.json`` at its top: [joints N x 21 x 3, vertices N x 778 x 3] in
metres, in the order of the evaluation images. FreiHAND: canonical joint order, OpenCV axes (the
hand is at z > 0). HO-3D: MANO's joint order, OpenGL axes (z < 0), in the order of evaluation.txt.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyhandpose.data.whole_file import write_bytes
from pyhandpose.evaluation.mesh import NUM_VERTICES
from pyhandpose.evaluation.metrics import MM_PER_M
from pyhandpose.evaluation.pck import Array
from pyhandpose.evaluation.pose_files import (
    LAYOUTS,
    LayoutName,
    in_layout,
    json_content,
    parse_poses,
    zip_members,
)
from pyhandpose.evaluation.poses import Poses
from pyhandpose.hand.skeleton import (
    BONES,
    JOINT_ORDERS,
    MIDDLE_MCP,
    WRIST,
    from_canonical,
    to_canonical,
)

DECIMALS = 7
"""Of the metres in a file: a tenth of a micrometre, and half the size of full precision."""

PALM_M = (0.04, 0.2)
"""Between these lies the median length from the wrist to the middle MCP of any set of hands."""

SHORTER_BONES = 0.9
"""Another joint order is taken for the true one where its bones are shorter by this factor: in a
wrong order they cross the hand."""

MESH_DISTANCE_M = 0.1
"""Median distance between the means of joints and vertices that is no longer one hand's."""

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same predictions give the same file


class Benchmark(NamedTuple):
    """What a leaderboard expects."""

    title: str
    layout: LayoutName
    counts: Mapping[int, str]
    """Number of evaluation images, and of what."""


BENCHMARKS: Mapping[str, Benchmark] = {
    "freihand": Benchmark("FreiHAND", "freihand", {3960: "FreiHAND"}),
    "ho3d": Benchmark("HO-3D", "ho3d", {11524: "HO-3D v2", 20137: "HO-3D v3"}),
}


@dataclass(frozen=True)
class SubmissionCheck:
    """What is wrong with a submission, and what may be meant but should be known."""

    source: str
    num_poses: int
    problems: tuple[str, ...]
    """The server would refuse the file, or score something else than was meant."""
    warnings: tuple[str, ...]

    def require_valid(self) -> None:
        """Raise ValueError with all problems, unless there are none."""
        if self.problems:
            raise ValueError(f"{self.source}: " + "; ".join(self.problems))

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.num_poses:,} poses"]
        lines += [f"  problem: {problem}" for problem in self.problems]
        lines += [f"  note: {warning}" for warning in self.warnings]
        return "\n".join(lines if self.problems else [*lines, "  ready for upload"])


def write_freihand(path: Path, joints_cam: Tensor, vertices: Tensor | None = None) -> None:
    """Write FreiHAND's ``pred.zip``, or ``pred.json`` where ``path`` ends so.

    Args:
        path: the file.
        joints_cam: (3960,21,3) m, canonical order, OpenCV axes, in the order of the images.
        vertices: (3960,778,3) m; None writes zeros, as methods without a mesh do.

    Raises:
        ValueError: what ``check_submission`` calls a problem; nothing is written.

    """
    _write(path, "freihand", joints_cam, vertices, None)


def write_ho3d(
    path: Path,
    joints_cam: Tensor,
    names: Sequence[str],
    frame_list: Path,
    vertices: Tensor | None = None,
) -> None:
    """Write HO-3D's submission: its joint order, its axes, and the order of its frame list.

    Args:
        path: the file, ``.zip`` or ``.json``.
        joints_cam: (N,21,3) m, canonical order, OpenCV axes, in any order of frames.
        names: (N) the frames, ``SEQ/ID``.
        frame_list: the dataset's ``evaluation.txt``.
        vertices: (N,778,3) m, OpenCV axes; None writes zeros.

    Raises:
        ValueError: a frame without prediction, or what ``check_submission`` calls a problem;
            nothing is written.

    """
    frames = tuple(frame_list.read_text().split())
    poses = Poses("write_ho3d", joints_cam, vertices=vertices, names=tuple(names)).named(frames)
    assert poses.joints_cam is not None
    _write(path, "ho3d", poses.joints_cam, poses.vertices, len(frames))


def read_submission(path: Path, benchmark: str) -> Poses:
    """The poses of a submission, in canonical order and OpenCV axes.

    Raises:
        ValueError: an unknown benchmark, no such file, or not a submission, by entry.

    """
    layout = _benchmark(benchmark).layout
    content = json_content(path)
    if not (isinstance(content, list) and len(content) == 2):
        got = f"a list of {len(content)}" if isinstance(content, list) else "something else"
        raise ValueError(f"{path}: a submission is a list [joints, vertices], got {got}")
    return parse_poses(content, str(path), layout)


def check_submission(
    path: Path, benchmark: str, *, num_images: int | None = None
) -> SubmissionCheck:
    """Check a file before upload: all problems, not only the first.

    Args:
        path: ``pred.zip`` or ``pred.json``.
        benchmark: "freihand" or "ho3d".
        num_images: images of the evaluation set; None expects the benchmark's own number.

    Raises:
        ValueError: an unknown benchmark.

    """
    _benchmark(benchmark)
    problems = _packing(path)
    try:
        poses = read_submission(path, benchmark)
    except (ValueError, OSError) as error:
        return SubmissionCheck(str(path), 0, (*problems, str(error)), ())
    return _checked(poses, benchmark, num_images, problems)


def _write(
    path: Path, benchmark: str, joints_cam: Tensor, vertices: Tensor | None, count: int | None
) -> None:
    joints = joints_cam.detach().cpu().double()
    mesh = torch.zeros(len(joints), NUM_VERTICES, 3) if vertices is None else vertices
    mesh = mesh.detach().cpu().double()
    _checked(Poses(str(path), joints, vertices=mesh), benchmark, count, []).require_valid()
    layout = BENCHMARKS[benchmark].layout
    stored = in_layout(joints.numpy(), layout), mesh.numpy() * LAYOUTS[layout].axes
    # + 0.0 makes -0.0 a plain zero
    text = json.dumps(
        [(part.round(DECIMALS) + 0.0).tolist() for part in stored], separators=(",", ":")
    )
    if path.suffix == ".json":
        write_bytes(path, text.encode())
        return
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo("pred.json", _ZIP_TIME)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = 0o644 << 16
        archive.writestr(member, text)
    write_bytes(path, buffer.getvalue())


def _benchmark(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark must be one of {', '.join(BENCHMARKS)}; got {name!r}")
    return BENCHMARKS[name]


def _packing(path: Path) -> list[str]:
    """Problems of the zip itself."""
    if not zipfile.is_zipfile(path):
        if path.suffix != ".json" or not path.is_file():
            return []  # reading it says what is wrong
        return ["it is not zipped: the leaderboard takes a zip with pred.json at its top"]
    names = zip_members(path)
    if names == ["pred.json"]:
        return []
    return [
        f"the zip must hold pred.json and nothing else, at its top (zip -j); it holds "
        f"{', '.join(names) or 'nothing'}"
    ]


def _checked(
    poses: Poses, benchmark: str, num_images: int | None, problems: list[str]
) -> SubmissionCheck:
    """The checks of what a file holds; ``poses`` in canonical order and OpenCV axes."""
    expected = _benchmark(benchmark)
    assert poses.joints_cam is not None
    joints = poses.joints_cam.double().numpy()
    counts = expected.counts if num_images is None else {num_images: "the frame list"}
    problems, warnings = list(problems), []
    if len(joints) not in counts:
        wanted = " or ".join(f"{count:,} ({what})" for count, what in counts.items())
        problems.append(f"{len(joints):,} poses, expected {wanted}")
    broken = np.flatnonzero(~np.isfinite(joints).all((1, 2)))
    if broken.size:
        problems.append(
            f"{broken.size:,} poses are not finite, the first is {broken[0]}: give every image a "
            "pose, for instance the mean pose"
        )
    finite = np.delete(joints, broken, axis=0)
    if len(finite):
        problems += _geometry(finite, expected)
    if poses.vertices is None:
        problems.append(
            f"no vertices: give {len(joints):,} x 778 x 3 numbers, zeros if there is no mesh"
        )
        return SubmissionCheck(poses.source, len(joints), tuple(problems), ())
    vertices = poses.vertices.double().numpy()
    if not vertices.any():
        warnings.append("all vertices are zero: the mesh scores will mean nothing")
    elif not np.isfinite(vertices).all():
        problems.append("some vertices are not finite")
    elif len(finite) == len(joints):
        apart = float(np.median(np.linalg.norm(vertices.mean(1) - joints.mean(1), axis=1)))
        if apart > MESH_DISTANCE_M:
            problems.append(
                f"the vertices lie {MM_PER_M * apart:,.0f} mm from the joints: both must be in "
                "camera space and in metres"
            )
    return SubmissionCheck(poses.source, len(joints), tuple(problems), tuple(warnings))


def _geometry(joints: Array, benchmark: Benchmark) -> list[str]:
    """Wrong axes, units or joint order, which files of the right shape can have."""
    problems = []
    behind = int((joints[..., 2] <= 0).all(1).sum())
    if behind:
        sign = "negative" if benchmark.layout == "ho3d" else "positive"
        axes = "OpenGL" if benchmark.layout == "ho3d" else "OpenCV"
        problems.append(
            f"{behind:,} of {len(joints):,} hands are behind the camera: {benchmark.title} has "
            f"{axes} axes, where z is {sign} before it"
        )
    stored = from_canonical(joints, LAYOUTS[benchmark.layout].order)
    lengths = {  # in each order, were the file in it
        order: float(np.median(_bone_lengths(to_canonical(stored, order))))
        for order in JOINT_ORDERS
    }
    declared = LAYOUTS[benchmark.layout].order
    likely = min(lengths, key=lambda order: lengths[order])
    if lengths[likely] < SHORTER_BONES * lengths[declared]:
        problems.append(
            f"the joints look like the order {likely!r}: {benchmark.title} wants {declared!r} "
            "(pyhandpose.hand.skeleton.JOINT_ORDERS)"
        )
        return problems  # in a wrong order the palm is not where it is looked for
    palm = float(np.median(np.linalg.norm(joints[:, MIDDLE_MCP] - joints[:, WRIST], axis=1)))
    if not PALM_M[0] <= palm <= PALM_M[1]:
        hint = ""
        if PALM_M[0] <= palm / MM_PER_M <= PALM_M[1]:
            hint = ", and these look like millimetres"
        problems.append(
            f"the median hand measures {palm:.3g} from the wrist to the middle MCP: the unit must "
            f"be metres (about 0.09){hint}"
        )
    return problems


def _bone_lengths(joints: Array) -> Array:
    """(N,) sum over the 20 bones of poses (N,21,3) in canonical order."""
    parents, children = (list(ends) for ends in zip(*BONES, strict=True))
    return np.linalg.norm(joints[:, children] - joints[:, parents], axis=2).sum(1)
