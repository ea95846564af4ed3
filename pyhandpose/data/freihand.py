"""FreiHAND v2 (Zimmermann et al., 2019): 32,560 right hands in four versions, 3,960 to evaluate on.

Layout, under ``FreiHAND_pub_v2``: ``training/rgb/%08d.jpg`` (130,240; the file's number is the
hand's plus 32,560 times the version), ``training/mask/%08d.jpg`` (32,560), ``evaluation/rgb``
(3,960), all 224 x 224; ``training_{K,xyz,scale}.json``, ``evaluation_{K,scale}.json`` and, from the
public evaluation annotations, ``evaluation_xyz.json``. xyz in m and OpenCV axes, canonical order;
scale is the length from the middle MCP to the PIP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.annotation_json import load_rows
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import Faults
from pyhandpose.data.photo import read_photo
from pyhandpose.hand.skeleton import MIDDLE_MCP, MIDDLE_PIP

SIDE = 224
VERSIONS = ("gs", "hom", "sample", "auto")
"""The four versions of an image: green screen, homogenised colours, and two recolourings."""

NUM_HANDS = {"training": 32560, "evaluation": 3960}

SCALE_TOLERANCE_M = 1e-4
"""Rounding of the published numbers is below 1e-6; more means that the files do not belong
together."""


class FreiHand:
    """The annotations of one split; an entry is a version of a hand, hands first."""

    kind = "freihand"

    def __init__(
        self,
        root: Path,
        split: Literal["training", "evaluation"],
        versions: tuple[int, ...],
        crop: str,
        faults: Faults,
    ) -> None:
        """Read the JSON files; what does not fit is reported to ``faults``."""
        self.root, self.split, self.versions, self.crop = root, split, versions, crop
        names = {name: root / f"{split}_{name}.json" for name in ("K", "scale", "xyz")}
        if split == "evaluation" and not names["xyz"].exists():
            del names["xyz"]  # the truth is published apart from the images
        self.files = tuple(names.values())
        shapes: dict[str, tuple[int, ...]] = {"K": (3, 3), "scale": (), "xyz": (21, 3)}
        rows = {name: load_rows(path, shapes[name], faults) for name, path in names.items()}
        for name, values in rows.items():
            if values is None and name != "scale":
                faults.stop("missing file", names[name], f"{split} cannot be read without it")
        camera = rows["K"]
        assert camera is not None  # stopped above
        self.camera: NDArray[np.float64] = camera
        self.joints: NDArray[np.float64] | None = rows.get("xyz")
        lengths = {name: len(values) for name, values in rows.items() if values is not None}
        self.num_hands, self._stride = min(lengths.values()), max(lengths.values())
        for name, length in lengths.items():
            if length != self._stride:
                faults.report(
                    "length",
                    names[name],
                    f"expected {self._stride} entries as in the longest file, got {length}",
                )
        self._check_scale(rows["scale"], names["scale"], faults)

    @property
    def published(self) -> int:
        """Number of entries of the published dataset."""
        return NUM_HANDS[self.split] * len(self.versions)

    def __len__(self) -> int:
        return self.num_hands * len(self.versions)

    def hand(self, index: int) -> int:
        """The hand that an entry shows: the same for all of its versions."""
        return index % self.num_hands

    group = hand

    def image_file(self, index: int) -> str:
        """``training/rgb/%08d.jpg``; versions are counted in hands of the whole dataset."""
        version = self.versions[index // self.num_hands]
        number = self.hand(index) + version * self._stride
        return f"{self.root}/{self.split}/rgb/{number:08d}.jpg"

    def entry(self, index: int) -> Entry:
        """K and, where they are known, joints of a hand."""
        hand = self.hand(index)
        mask = self.root / "training" / "mask" / f"{hand:08d}.jpg"
        return Entry(
            name=str(hand),
            joints_cam=None if self.joints is None else self.joints[hand],
            intrinsics=self.camera[hand],
            crop=self.crop if self.joints is not None else "whole",
            image_size=(SIDE, SIDE),
            mask=(lambda: _read_mask(mask)) if self.split == "training" else None,
        )

    def _check_scale(self, scale: NDArray[np.float64] | None, path: Path, faults: Faults) -> None:
        if scale is None or self.joints is None:
            return
        hands = self.joints[: self.num_hands]
        bone = np.linalg.norm(hands[:, MIDDLE_MCP] - hands[:, MIDDLE_PIP], axis=1)
        wrong = np.abs(bone - scale[: self.num_hands]) > SCALE_TOLERANCE_M
        for hand in np.flatnonzero(wrong):
            faults.report(
                "scale",
                path,
                f"expected the middle finger's first bone, {bone[hand]:.5f} m, got "
                f"{scale[hand]:.5f}",
                hand,
            )


def _read_mask(path: Path) -> NDArray[np.bool_]:
    return np.asarray(read_photo(path).image)[..., 0] > 127


def open_freihand(
    path: Path,
    read: ReadOptions,
    *,
    split: Literal["training", "evaluation"] = "training",
    version: Literal["all", "gs", "hom", "sample", "auto"] = "all",
    crop: Literal["whole", "joints"] = "whole",
) -> AnnotatedDataset:
    """``freihand:PATH``, PATH being the folder ``FreiHAND_pub_v2``.

    Args:
        path: the folder.
        read: see ``ReadOptions``.
        split: "evaluation" has joints only with ``evaluation_xyz.json``.
        version: of the training images; evaluation has one.
        crop: "whole" shows the published crop, "joints" a tighter square about the joints.
    """
    faults = Faults(read.on_error)
    chosen = (0,) if split == "evaluation" else tuple(range(4))
    if version != "all" and split == "training":
        chosen = (VERSIONS.index(version),)
    annotations = FreiHand(path, split, chosen, crop, faults)
    return AnnotatedDataset(annotations, read, f"freihand:{path} ({split})", faults)
