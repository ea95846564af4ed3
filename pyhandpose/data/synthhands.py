"""SynthHands: rendered left hands before a green screen, seen from the wearer's head.

``{male,female}_{object,noobject}/seq0{1..7}/cam0{1..5}/{01,02,03}/%08d_{color,depth}.png`` and
``_joint_pos.txt``: 63 numbers, mm, in the axes of the depth camera; 640x480. The colour camera is
beside it: X_colour = X_depth + (24.7, -0.0471401, 3.72045) mm. Mueller et al., ICCV 2017.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.background import Backgrounds, foreground, replace_background
from pyhandpose.data.depth import Registration, intrinsics, millimetres
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.layout import names_in, require_folders, stems_in
from pyhandpose.data.number_text import read_numbers
from pyhandpose.data.photo import UnreadableImageError, read_photo
from pyhandpose.hand.skeleton import NUM_JOINTS

SIZE = (640, 480)
INVALID_LEVEL = 32001

CAMERA = Registration(
    depth_intrinsics=intrinsics(475.62, 475.62, 311.125, 245.965),
    colour_intrinsics=intrinsics(617.173, 617.173, 315.453, 242.259),
    rotation=np.eye(3),
    translation=np.array([24.7, -0.0471401, 3.72045]) / 1000,
)

_KINDS = {
    "all": ("female_noobject", "female_object", "male_noobject", "male_object"),
    "with": ("female_object", "male_object"),
    "without": ("female_noobject", "male_noobject"),
}


class SynthHands:
    """The frames below a folder.

    ``backgrounds`` None keeps the green screen. With ``fresh`` an entry has another background each
    time it is read.
    """

    kind = "synthhands"

    def __init__(
        self, root: Path, kinds: tuple[str, ...], backgrounds: Backgrounds | None, fresh: bool
    ) -> None:
        self.files: Sequence[Path] = []
        self._root, self._backgrounds, self._fresh = root, backgrounds, fresh
        self._stems = [
            stem for f in require_folders("SynthHands", root, kinds) for stem in _stems(f)
        ]
        self._times_read = np.zeros(len(self._stems), np.int64)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._stems)

    @property
    def signature(self) -> str:
        """The backgrounds, and the frames that were found."""
        names = (str(stem.relative_to(self._root)) for stem in self._stems)
        return "\n".join([f"{self._backgrounds} {self._fresh}", *names])

    def group(self, index: int) -> str:
        """The folder: its frames follow one another."""
        return str(self._stems[index].parent.relative_to(self._root))

    def image_file(self, index: int) -> str:
        """The colour image."""
        return f"{self._stems[index]}_color.png"

    def entry(self, index: int) -> Entry:
        """A frame's hand in the axes of the colour camera."""
        stem = self._stems[index]
        joints = read_numbers(Path(f"{stem}_joint_pos.txt"), (NUM_JOINTS, 3)) / 1000
        draw = self._next_draw(index) if self._fresh else 0
        return Entry(
            str(stem.relative_to(self._root)),
            joints_cam=CAMERA.to_colour(joints),
            intrinsics=CAMERA.colour_intrinsics,
            is_left=True,
            image_size=SIZE,
            edit=None
            if self._backgrounds is None
            else lambda image: self._edit(image, index, draw),
            mask=lambda: foreground(np.asarray(read_photo(self.image_file(index)).image)),
            depth=lambda: CAMERA.move(millimetres(Path(f"{stem}_depth.png"), INVALID_LEVEL), SIZE),
        )

    def _next_draw(self, index: int) -> int:
        with self._lock:  # one entry may be read by two threads at once
            self._times_read[index] += 1
            return int(self._times_read[index])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _edit(self, image: NDArray[np.uint8], index: int, draw: int) -> NDArray[np.uint8]:
        assert self._backgrounds is not None
        height, width = image.shape[:2]
        try:
            background = self._backgrounds.draw((width, height), index, draw)
        except UnreadableImageError as error:
            raise DatasetError(
                Fault("unreadable background", self.image_file(index), str(error))
            ) from error
        return replace_background(image, foreground(image), background)


def _stems(kind: Path) -> Iterator[Path]:
    """Each frame's path without its ending, from one listing of each folder."""
    for sequence in names_in(kind):
        for camera in names_in(kind / sequence):
            for part in names_in(kind / sequence / camera):
                folder = kind / sequence / camera / part
                yield from (folder / s for s in stems_in(folder, ("_color.png", "_joint_pos.txt")))


def open_synthhands(
    path: Path,
    read: ReadOptions,
    *,
    objects: Literal["all", "with", "without"] = "all",
    background: str = "generated",
    background_seed: int = 0,
    fresh: bool = False,
) -> AnnotatedDataset:
    """SynthHands_Release at ``path``.

    Args:
        path: the folder with ``male_object`` and its like.
        read: how samples are read.
        objects: frames in which the hand holds an object, or does not.
        background: "generated", "keep" (the green screen), or a folder of photos.
        background_seed: of the choice of the backgrounds.
        fresh: another background each time that an entry is read, as in thesis 004; otherwise an
            entry always has the same one.
    """
    chosen = None
    if background != "keep":
        folder = None if background == "generated" else Path(background).expanduser()
        chosen = Backgrounds(folder, background_seed)
    annotations = SynthHands(path, _KINDS[objects], chosen, fresh)
    name = f"synthhands:{path}?objects={objects}&background={background}"
    return AnnotatedDataset(annotations, read, name, Faults(read.on_error))
