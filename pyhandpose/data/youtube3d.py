"""YouTube3DHands (Kulon et al., 2020): MANO meshes fitted to frames of videos.

Layout: ``youtube_{train,val,test}.json`` with ``images`` (name "youtube/VID/video/frames/N.png",
width, height, id) and ``annotations`` (vertices 778 x 3, is_left, image_id, id), and the frames
below the same folder. x and y are image pixels; z is in pixels too and relative, and there is no
camera: the dataset has image points and no metric 3D. Frames must be taken from the videos by the
user, so that some are usually missing: ``on_error=skip`` leaves them out and counts them.

The vertices serve to place the crop. Joints need a regressor from vertices (``regressor=FILE``, see
``data/joint_regressor``); without it the dataset has no labels and serves pre-training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.crop import square_around
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.joint_regressor import load_regressor, regress_joints
from pyhandpose.data.vertex_cache import VertexCache

NUM_ANNOTATIONS = {"train": 47125, "val": 1525, "test": 1525}


class YouTube3D:
    """The annotations of one split, from their cache."""

    kind = "yt3d"

    def __init__(
        self, root: Path, split: str, images: Path, regressor: Path | None, margin: float
    ) -> None:
        self.root, self.images, self.margin = root, images, margin
        source = root / f"youtube_{split}.json"
        self.files = [source]
        self.regressor: NDArray[np.float64] | None = None
        if regressor is not None:
            self.files.append(regressor)
            self.regressor = load_regressor(regressor)
        self.published = NUM_ANNOTATIONS[split]
        self._cache = VertexCache(source)
        self._table = self._cache.table
        self._names = [name.decode() for name in self._table["image"].tolist()]

    def __len__(self) -> int:
        return len(self._table)

    def image_file(self, index: int) -> str:
        """The frame: names in the file are relative to the dataset's folder."""
        return f"{self.images}/{self._names[index]}"

    def group(self, index: int) -> str:
        """The video: frames of one must not be in two parts."""
        return self._names[index].split("/")[1]

    def entry(self, index: int) -> Entry:
        """The crop about the vertices and, with a regressor, image points."""
        row = self._table[index]
        name = str(row["annotation"])
        if row["problem"]:
            raise DatasetError(
                Fault("annotation", str(self.files[0]), row["problem"].decode(), name)
            )
        vertices = self._cache.vertices(index)  # (778,3)
        joints: NDArray[Any] | None = None
        if self.regressor is not None:
            joints = regress_joints(self.regressor, vertices)[:, :2]
        return Entry(
            name=name,
            joints_img=joints,
            is_left=bool(row["is_left"]),
            box=square_around(vertices[:, :2], self.margin),
            image_size=(int(row["width"]), int(row["height"])),
        )


def open_youtube3d(
    path: Path,
    read: ReadOptions,
    *,
    split: Literal["train", "val", "test"] = "train",
    images: Path | None = None,
    regressor: Path | None = None,
) -> AnnotatedDataset:
    """``yt3d:PATH``, PATH being the folder with ``youtube_train.json``.

    Args:
        path: the folder.
        read: see ``ReadOptions``; the crop is placed by the vertices.
        split: which file.
        images: the folder with ``youtube/VID/video/frames``, if it is another one.
        regressor: ``.npy`` file with the joint regressor; without it there are no joints.
    """
    faults = Faults(read.on_error)
    annotations = YouTube3D(path, split, images or path, regressor, read.margin)
    return AnnotatedDataset(annotations, read, f"yt3d:{path} ({split})", faults)
