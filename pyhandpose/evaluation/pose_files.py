"""Reading and writing files of poses: what the benchmarks publish and accept, and our own JSON.

``read_poses`` takes, recognised by their content:

- FreiHAND's and HO-3D's ``pred.json``, a list [joints N x 21 x 3, vertices N x 778 x 3] in metres,
  or a ``.zip`` with it;
- their labels, ``evaluation_xyz.json`` (N x 21 x 3) with ``evaluation_verts.json`` beside it, or
  the folder with both;
- our own JSON, an object of arrays (see ``write_poses``);
- a folder of the JSON files that ``pyhandpose predict`` writes;
- a labelled dataset by its name, such as ``freihand:PATH?split=evaluation``.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyhandpose.data.annotation_json import load_json
from pyhandpose.data.ho3d import OPENGL_TO_OPENCV
from pyhandpose.data.registry import FORMS, Dataset, open_dataset
from pyhandpose.data.whole_file import write_text
from pyhandpose.evaluation.metrics import MM_PER_M
from pyhandpose.evaluation.pck import Array
from pyhandpose.evaluation.poses import Poses
from pyhandpose.hand.skeleton import JOINT_NAMES, NUM_JOINTS, from_canonical, to_canonical

LayoutName = Literal["freihand", "ho3d"]


class Layout(NamedTuple):
    """How a benchmark's files store joints and vertices, in metres."""

    order: str
    """Key of ``hand.skeleton.JOINT_ORDERS``."""
    axes: Array
    """(3,) signs from its axes to OpenCV's, and back."""


LAYOUTS: Mapping[str, Layout] = {
    "freihand": Layout("canonical", np.ones(3)),
    "ho3d": Layout("mano", OPENGL_TO_OPENCV),
}

FORMS_READ = (
    "expected [joints, vertices] as in FreiHAND's pred.json, a list of N x 21 x 3 numbers as in "
    "evaluation_xyz.json, or an object with joints_cam_mm or joints_img_px"
)


def read_poses(source: str | Path, layout: LayoutName = "freihand") -> Poses:
    """The poses of a file, a folder or a dataset, in canonical order, metres and OpenCV axes.

    Args:
        source: see the module's docstring.
        layout: joint order and axes of files in the benchmarks' own form; our JSON says its own.

    Raises:
        FileNotFoundError: there is nothing of that name.
        ValueError: contents that are none of the forms, by entry.

    """
    path = Path(source)
    if not path.exists() and str(source).partition(":")[0] in FORMS:
        return labels_of(open_dataset(str(source)))
    if path.is_dir():
        return _read_folder(path, layout)
    if not path.is_file():
        raise FileNotFoundError(
            f"{source}: no such file or folder, and no dataset ({', '.join(FORMS)}: ...)"
        )
    return parse_poses(json_content(path), str(path), layout, vertices_of=path)


def parse_poses(
    content: Any, source: str, layout: LayoutName = "freihand", *, vertices_of: Path | None = None
) -> Poses:
    """The poses of a JSON file's content; ``source`` names it in messages.

    ``vertices_of`` is a file ``*_xyz.json``, whose vertices are in the ``*_verts.json`` beside it.
    """
    if isinstance(content, dict):
        return _own(content, source)
    depth = _depth(content)
    if depth == 4 and len(content) == 2:
        joints, vertices = content
    elif depth == 3:
        joints, vertices = content, None
        if vertices_of is not None and vertices_of.name.endswith("_xyz.json"):
            beside = vertices_of.with_name(vertices_of.name.replace("_xyz.json", "_verts.json"))
            vertices = load_json(beside) if beside.is_file() else None
    else:
        raise ValueError(f"{source}: {FORMS_READ}")
    stored = LAYOUTS[layout]
    points = rows(joints, (NUM_JOINTS, 3), f"{source}: joints") * stored.axes
    mesh = None
    if vertices:
        mesh = torch.from_numpy(rows(vertices, (778, 3), f"{source}: vertices") * stored.axes)
    return Poses(source, torch.from_numpy(to_canonical(points, stored.order)), vertices=mesh)


def write_poses(path: Path, poses: Poses) -> None:
    """Write our own JSON: an object of arrays, NaN and inf as null, in millimetres and pixels.

    Keys, all but one of the first two optional: ``joints_cam_mm`` (N,21,3), OpenCV camera axes;
    ``joints_img_px`` (N,21,2); ``vertices_cam_mm`` (N,778,3); ``joint_valid`` (N,21) bool;
    ``image_size_px`` (N,2), width and height; ``names`` (N); ``joint_order``, a key of
    ``hand.skeleton.JOINT_ORDERS``, canonical if left out.
    """
    record: dict[str, Any] = {"joint_order": "canonical"}
    for key, value, factor in (
        ("joints_cam_mm", poses.joints_cam, MM_PER_M),
        ("joints_img_px", poses.joints_img, 1.0),
        ("vertices_cam_mm", poses.vertices, MM_PER_M),
        ("image_size_px", poses.image_size_px, 1.0),
    ):
        if value is not None:
            record[key] = _nullable(factor * value.detach().cpu().double().numpy())
    if poses.valid is not None:
        record["joint_valid"] = poses.valid.tolist()
    if poses.names is not None:
        record["names"] = list(poses.names)
    write_text(path, json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n")


def labels_of(dataset: Dataset, batch_size: int = 64) -> Poses:
    """The labels of every sample of a dataset, in its order.

    Left hands are the mirrored right hands that the dataset gives. Image points are left out where
    the dataset crops its images: predictions would not be in these pixels.
    """
    from tqdm import tqdm

    parts: dict[str, list[Tensor]] = {"joints_cam": [], "joints_img": [], "valid": [], "size": []}
    for start in tqdm(
        range(0, len(dataset), batch_size), desc=f"labels of {dataset.name}", disable=None
    ):
        batch = dataset.read(torch.arange(start, min(start + batch_size, len(dataset))))
        if batch.joints_cam is not None:
            parts["joints_cam"].append(batch.joints_cam)
        if batch.joints_img is not None and batch.crop is None:
            parts["joints_img"].append(batch.joints_img)
            height, width = batch.image.shape[1:3]
            parts["size"].append(torch.tensor([[width, height]]).expand(len(batch), 2))
        # labels that are NaN are not there for any metric, so that one mask serves 2D and 3D
        valid = batch.joint_valid
        parts["valid"].append(
            torch.ones(len(batch), NUM_JOINTS, dtype=torch.bool) if valid is None else valid
        )
    whole = {
        name: torch.cat(found) if found and sum(map(len, found)) == len(dataset) else None
        for name, found in parts.items()
    }
    return Poses(
        dataset.name,
        joints_cam=whole["joints_cam"],
        joints_img=whole["joints_img"],
        valid=whole["valid"],
        image_size_px=whole["size"],
    )


def rows(values: Any, shape: tuple[int, ...], what: str) -> Array:
    """A list of N arrays as (N, *shape) float64; null is NaN.

    Raises:
        ValueError: the first entry that is not such an array.

    """
    try:
        array = np.array(values, dtype=np.float64)
        if array.shape == (len(values), *shape):
            return array
    except (TypeError, ValueError):
        pass  # not all alike: find out which
    size = " x ".join(map(str, shape))
    if not isinstance(values, list) or not values:
        raise ValueError(
            f"{what}: expected a list of N arrays of {size} numbers, got {values!r:.60}"
        )
    for index, value in enumerate(values):
        try:
            found = np.array(value, dtype=np.float64).shape
        except (TypeError, ValueError):
            raise ValueError(
                f"{what}: entry {index} is not an array of {size} numbers: {value!r:.60}"
            ) from None
        if found != shape:
            got = " x ".join(map(str, found)) or "a single number"
            raise ValueError(f"{what}: entry {index} must be {size} numbers, got {got}")
    raise AssertionError("an array was refused whose entries are all right")


def in_layout(points_cam: Array, layout: LayoutName) -> Array:
    """Joints (N,21,3), canonical with OpenCV axes, in a benchmark's order and axes."""
    return from_canonical(points_cam, LAYOUTS[layout].order) * LAYOUTS[layout].axes


def _own(record: dict[str, Any], source: str) -> Poses:
    """Our own JSON: an object of arrays, or a photo's of ``pyhandpose predict``."""
    if "hands" in record:
        if len(record["hands"]) != 1:
            raise ValueError(
                f"{source}: expected one hand in the photo, got {len(record['hands'])}; predict "
                "with one box for each photo"
            )
        record = record["hands"][0]
    arrays: dict[str, Tensor | None] = {}
    order = record.get("joint_order", "canonical")
    for key, shape in (
        ("joints_cam_mm", (NUM_JOINTS, 3)),
        ("joints_img_px", (NUM_JOINTS, 2)),
        ("vertices_cam_mm", (778, 3)),
    ):
        value = record.get(key)
        if isinstance(value, dict):  # by name, as predict writes them
            value = [[value[name] for name in JOINT_NAMES]]
        array = None if value is None else rows(value, shape, f"{source}: {key}")
        if array is not None and shape[0] == NUM_JOINTS:
            array = to_canonical(array, order)
        arrays[key] = None if array is None else torch.from_numpy(array)
    count = next((len(array) for array in arrays.values() if array is not None), 0)
    if arrays["joints_cam_mm"] is arrays["joints_img_px"] is None:
        raise ValueError(f"{source}: {FORMS_READ}; its keys are {', '.join(record) or 'none'}")
    size = record.get("image_size_px")
    if size is not None and not isinstance(size[0], list):
        size = [size] * count
    valid = record.get("joint_valid")
    if valid is not None:
        known = rows(valid, (NUM_JOINTS,), f"{source}: joint_valid")[..., None]  # (N,21,1)
        arrays["valid"] = torch.from_numpy(to_canonical(known, order)[..., 0]).bool()
    names = record.get("names")
    cam, mesh = arrays["joints_cam_mm"], arrays["vertices_cam_mm"]
    return Poses(
        source,
        joints_cam=None if cam is None else cam / MM_PER_M,
        joints_img=arrays["joints_img_px"],
        vertices=None if mesh is None else mesh / MM_PER_M,
        valid=arrays.get("valid"),
        image_size_px=None
        if size is None
        else torch.from_numpy(rows(size, (2,), f"{source}: image_size_px")),
        names=None if names is None else tuple(map(str, names)),
    )


def _read_folder(folder: Path, layout: LayoutName) -> Poses:
    """A benchmark's labels, or what ``pyhandpose predict`` wrote, a file for each image."""
    labels = folder / "evaluation_xyz.json"
    if labels.is_file():
        return parse_poses(load_json(labels), str(labels), layout, vertices_of=labels)
    parts = []
    for path in sorted(folder.glob("*.json")):
        content = load_json(path)
        if isinstance(content, dict) and "hands" in content:
            parts.append((path.stem, _own(content, str(path))))
    if not parts:
        raise ValueError(
            f"{folder}: expected evaluation_xyz.json, or the JSON files of `pyhandpose predict`"
        )
    cams = [part.joints_cam for _, part in parts if part.joints_cam is not None]
    imgs = [part.joints_img for _, part in parts if part.joints_img is not None]
    sizes = [part.image_size_px for _, part in parts if part.image_size_px is not None]
    return Poses(
        str(folder),
        joints_cam=torch.cat(cams),
        joints_img=torch.cat(imgs) if len(imgs) == len(parts) else None,
        image_size_px=torch.cat(sizes) if len(sizes) == len(parts) else None,
        names=tuple(stem for stem, _ in parts),
    )


def zip_members(path: Path) -> list[str]:
    """The files in a zip, without folders and what macOS adds."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return [name for name in names if not name.endswith("/") and "__MACOSX" not in name]


def json_content(path: Path) -> Any:
    """The content of a JSON file, or of the one JSON file in a zip.

    Raises:
        ValueError: no such file (``DatasetError``), not JSON, or not one JSON file in the zip.

    """
    if not zipfile.is_zipfile(path):
        return load_json(path)
    names = [name for name in zip_members(path) if name.endswith(".json")]
    if len(names) != 1:
        raise ValueError(f"{path}: expected one .json in the zip, got {', '.join(names) or 'none'}")
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(names[0]))
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: {names[0]} is cut off or not JSON ({error})") from error


def _depth(content: Any) -> int:
    """How many lists lie in each other, by the first entries."""
    depth = 0
    while isinstance(content, list) and content:
        depth, content = depth + 1, content[0]
    return depth


def _nullable(array: Array) -> Any:
    """Nested lists with None for what is not finite."""
    if np.isfinite(array).all():
        return array.tolist()
    values = array.astype(object)
    values[~np.isfinite(array)] = None
    return values.tolist()
