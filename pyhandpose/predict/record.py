"""What was found out about one hand, and everything that was assumed on the way."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyhandpose.hand.skeleton import JOINT_NAMES

DEPTH_WORDS = {
    "ok": "determined",
    "ambiguous": "ambiguous: a second depth also fits, the larger is reported",
    "clamped": "clamped: no depth fits the reference bone exactly, the nearest is reported",
    "degenerate": "undetermined: no 3D pose for this image",
}

Given = Literal["given", "assumed"]

BOX_SENTENCES = {
    "centred": "Where the hand is was not given: the network looked at the centre of the image.",
    "found": "Where the hand is was not given: the network looked at the centre of the image, then "
    "around the joints that it had found there.",
}


@dataclass(frozen=True, eq=False)
class Prediction:
    """The pose of one hand and everything that was assumed to get it.

    Pixels are those of the photo as displayed (after its EXIF orientation), pixel centres at
    integers; millimetres are in OpenCV camera axes: x right, y down, z away from the camera.
    """

    source: str | None
    """The file, where there was one."""
    image_size_px: tuple[int, int]
    """(width, height) of the photo."""
    hand: str
    """"right" or "left"."""
    hand_from: str
    """"given"; "assumed" (nobody said, so right); "both" (estimated as either, undecided)."""
    joints_img_px: NDArray[np.float32]
    """(21,2)."""
    joints_cam_mm: NDArray[np.float32]
    """(21,3); NaN when the depth is undetermined."""
    depth: str
    """How well the distance to the camera is determined, one of the values of ``DEPTH_WORDS``."""
    intrinsics_px: tuple[float, float, float, float]
    """(fx, fy, cx, cy) of the photo."""
    intrinsics_from: Given
    fov_deg: float | None
    """The field of view across the longer side that was assumed; None with given intrinsics."""
    hand_scale_mm: float
    """Length of the reference bone, to which every 3D coordinate is proportional."""
    hand_scale_from: Given
    reference_bone: tuple[str, str]
    """The two joints of that bone."""
    box_px: tuple[float, float, float, float]
    """(x0, y0, x1, y1) of the square that the network saw; (0, 0, W, H) is the whole photo."""
    box_from: str
    """"given", "centred" or "found" (by a first look at the centre)."""
    checkpoint: str
    confidence: tuple[float, ...] | None = None
    """(21), 0 to 1, where the method has one; None: it has none."""
    notes: tuple[str, ...] = ()
    """What else the method takes for granted, a sentence each."""
    joint_order: str = "canonical"
    """Order of ``pyhandpose.hand.skeleton.JOINT_NAMES``."""

    def assumptions(self) -> list[str]:
        """What was not given and had to be assumed, a sentence each."""
        sentences = []
        if self.box_from != "given":
            sentences.append(BOX_SENTENCES[self.box_from])
        if self.hand_from == "assumed":
            sentences.append("Which hand it is was not given: it is taken to be a right one.")
        if self.hand_from == "both":
            sentences.append(
                f"Which hand it is was not given: this is the estimate if it is a {self.hand} one; "
                "the network itself cannot tell."
            )
        if self.intrinsics_from == "assumed":
            sentences.append(
                f"The camera is assumed to see {self.fov_deg:g} degrees across the longer side, "
                "with square pixels and the principal point in the centre."
            )
        if self.hand_scale_from == "assumed":
            start, end = (
                name.replace("_", " ").replace("mcp", "MCP").replace("pip", "PIP")
                for name in self.reference_bone
            )
            sentences.append(
                f"The bone from {start} to {end} is assumed to be {self.hand_scale_mm:g} mm long; "
                "every 3D coordinate is proportional to it."
            )
        return [*sentences, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; joints by name, NaN as null."""
        record = asdict(self)
        for key in ("joints_img_px", "joints_cam_mm"):
            rows = [
                [round(v, 3) if math.isfinite(v) else None for v in row]
                for row in getattr(self, key).tolist()
            ]
            record[key] = dict(zip(JOINT_NAMES, rows, strict=True))
        return {**record, "assumptions": self.assumptions()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Prediction:
        """The inverse of ``to_json`` (coordinates to its 3 decimals)."""
        known = {f.name: record[f.name] for f in fields(cls)}
        for key in ("joints_img_px", "joints_cam_mm"):
            rows = [[np.nan if v is None else v for v in known[key][name]] for name in JOINT_NAMES]
            known[key] = np.array(rows, np.float32)
        lists = {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
        return cls(**{**known, **lists})
