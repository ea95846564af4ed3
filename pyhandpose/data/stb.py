"""The Stereo Tracking Benchmark: a left hand before two cameras, a stereo pair and RGB-D.

``images/B{1..6}{Counting,Random}/{BB_left,BB_right,SK_color,SK_depth}_N.png``, N from 0 to 1499,
and ``labels/SEQUENCE_{BB,SK}.mat`` with ``handPara`` (3,21,1500) mm; 640x480. The labels are in the
axes of the stereo pair's left camera and of the RGB-D camera's DEPTH sensor. Joint 0 is the CENTRE
OF THE PALM. Zhang et al., ICIP 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.depth import Registration, intrinsics, two_byte_levels
from pyhandpose.data.entry import Entry
from pyhandpose.data.faults import DatasetError, Fault, Faults
from pyhandpose.data.layout import require_file, require_folders
from pyhandpose.hand.skeleton import NUM_JOINTS

SIZE = (640, 480)
NUM_FRAMES = 1500
"""Of each sequence."""

TEST_SEQUENCES = ("B1Counting", "B1Random")
TRAIN_SEQUENCES = tuple(f"B{i}{what}" for i in range(2, 7) for what in ("Counting", "Random"))

BB_INTRINSICS = intrinsics(822.79041, 822.79041, 318.47345, 250.31296)
BB_BASELINE = 0.120054
"""m, from the left camera of the pair to the right one along x."""

SK_ROTATION_VECTOR = (0.00531, -0.01196, 0.00301)
SK_TRANSLATION = np.array([-24.0381, -0.4563, -1.2326]) / 1000
"""X_depth = R X_colour + t, m, as the dataset's readme gives it."""

PALM, MIDDLE_MCP = 0, 9
"""In STB's own order."""

Camera = Literal["sk", "bb_left", "bb_right"]
Wrist = Literal["extrapolated", "palm", "none"]


def rotation_matrix(vector: tuple[float, float, float]) -> NDArray[np.float64]:
    """(3,3) of a rotation vector, by Rodrigues' formula.

    R = I + sin(a) W + (1 - cos(a)) W^2, with a the vector's length and W the cross product with its
    direction.
    """
    angle = float(np.linalg.norm(vector))
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: NDArray[np.float64] = (
        np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    )
    return rotation


_SK_ROTATION = rotation_matrix(SK_ROTATION_VECTOR)

SK_CAMERA = Registration(
    depth_intrinsics=intrinsics(475.62768, 474.77709, 336.41179, 238.77962),
    colour_intrinsics=intrinsics(607.92271, 607.88192, 314.78337, 236.42484),
    rotation=_SK_ROTATION.T,
    translation=-_SK_ROTATION.T @ SK_TRANSLATION,
)
"""X_colour = R^T (X_depth - t)."""

_IMAGE = {"sk": "SK_color", "bb_left": "BB_left", "bb_right": "BB_right"}


class Stb:
    """The annotations of some sequences, seen by one of the cameras."""

    kind = "stb"

    def __init__(
        self,
        root: Path,
        sequences: tuple[str, ...],
        camera: Camera,
        wrist: Wrist,
        factor: float,
        faults: Faults,
    ) -> None:
        self._root, self._camera = root, camera
        self.published = NUM_FRAMES * len(sequences)
        self._wrist, self._factor = wrist, factor
        rig = "SK" if camera == "sk" else "BB"
        require_folders("STB", root, ("images",))
        self.files: Sequence[Path] = [
            path for s in sequences if (path := root / "labels" / f"{s}_{rig}.mat").is_file()
        ]
        if not self.files:
            require_file("STB", root / "labels", f"{sequences[0]}_{rig}.mat")
        self._labels: dict[str, NDArray[np.float64]] = {}
        for path in self.files:
            try:
                self._labels[path.stem[:-3]] = read_labels(path)
            except DatasetError as error:
                faults.add(error.fault)  # raises, or goes on with the other sequences
        self._frames = [(s, n) for s, points in self._labels.items() for n in range(len(points))]

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def signature(self) -> str:
        """What the label files do not tell."""
        return f"{self._camera} {self._wrist} {self._factor}"

    def group(self, index: int) -> str:
        """The sequence: its frames belong together."""
        return self._frames[index][0]

    def image_file(self, index: int) -> str:
        """The image of the chosen camera."""
        sequence, number = self._frames[index]
        return str(self._root / "images" / sequence / f"{_IMAGE[self._camera]}_{number}.png")

    def entry(self, index: int) -> Entry:
        """A frame's hand in the axes of the chosen camera."""
        sequence, number = self._frames[index]
        joints = to_camera(self._labels[sequence][number], self._camera)
        labelled = np.ones(NUM_JOINTS, bool)
        if self._wrist == "extrapolated":
            joints[PALM] = wrist_from_palm(joints, self._factor)
        labelled[PALM] = self._wrist != "none"
        depth_file = self._root / "images" / sequence / f"SK_depth_{number}.png"
        return Entry(
            f"{sequence}[{number}]",
            joints_cam=joints,
            intrinsics=SK_CAMERA.colour_intrinsics if self._camera == "sk" else BB_INTRINSICS,
            order="stb",
            labelled=labelled,
            is_left=True,
            image_size=SIZE,
            depth=(
                (lambda: SK_CAMERA.move(read_depth(depth_file), SIZE))
                if self._camera == "sk"
                else None
            ),
        )


def read_labels(path: Path) -> NDArray[np.float64]:
    """(N,21,3) m of a label file's ``handPara``.

    Raises:
        DatasetError: not a MATLAB file, or without that variable of shape (3,21,N).
    """
    from scipy.io import loadmat

    try:
        variables: dict[str, Any] = loadmat(path, variable_names=["handPara"])
    # scipy raises what its parser stumbles over: struct.error, TypeError, its own classes, ...
    except Exception as error:
        problem = f"not a readable MATLAB file ({type(error).__name__}: {error})"
        raise DatasetError(Fault("annotation", str(path), problem)) from error
    values = variables.get("handPara")
    if values is None or values.shape[:2] != (3, NUM_JOINTS) or values.ndim != 3:
        got = "no such variable" if values is None else f"shape {values.shape}"
        problem = f"handPara: expected (3,21,N), got {got}"
        raise DatasetError(Fault("annotation", str(path), problem))
    return np.moveaxis(values.astype(np.float64), 2, 0).transpose(0, 2, 1) / 1000


def to_camera(joints: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Labels (21,3) m in the axes of one of the colour cameras."""
    if camera == "sk":
        return SK_CAMERA.to_colour(joints)
    return joints - ([BB_BASELINE, 0.0, 0.0] if camera == "bb_right" else 0.0)


def wrist_from_palm(joints: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """(3,) the wrist on the line from the middle MCP through the palm centre.

    wrist = MCP + factor (palm - MCP): with factor 2 the palm centre is half way.

    Args:
        joints: (21,3) in STB's order.
        factor: distance of the wrist from the middle MCP, in distances of the palm from it.
    """
    knuckle, palm = joints[MIDDLE_MCP], joints[PALM]
    wrist: NDArray[np.float64] = knuckle + factor * (palm - knuckle)
    return wrist


def read_depth(path: Path) -> NDArray[np.float32]:
    """(H,W) m in the depth sensor's pixels: (R + 256 G) mm."""
    return (two_byte_levels(path, high=1, low=0) / 1000).astype(np.float32)


def open_stb(
    path: Path,
    read: ReadOptions,
    *,
    split: Literal["train", "test", "all"] = "train",
    camera: Camera = "sk",
    wrist: Wrist = "extrapolated",
    wrist_factor: float = 2.0,
) -> AnnotatedDataset:
    """STB at ``path``; the test sequences are B1Counting and B1Random.

    Args:
        path: the folder with ``images`` and ``labels``.
        read: how samples are read.
        split: which sequences.
        camera: the RGB-D camera's colour image, or one of the stereo pair.
        wrist: what joint 0 is: the wrist by ``wrist_from_palm``, the palm centre as it is
            labelled, or not labelled.
        wrist_factor: of ``wrist_from_palm``.
    """
    sequences = {
        "train": TRAIN_SEQUENCES,
        "test": TEST_SEQUENCES,
        "all": TEST_SEQUENCES + TRAIN_SEQUENCES,
    }[split]
    name = f"stb:{path}?split={split}&camera={camera}&wrist={wrist}"
    faults = Faults(read.on_error)
    annotations = Stb(path, sequences, camera, wrist, wrist_factor, faults)
    return AnnotatedDataset(annotations, read, name, faults)
