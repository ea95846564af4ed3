"""What is known, or assumed, of the camera that took a photo and of the hand's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pyhandpose.hand.pose25d import REFERENCE_BONE
from pyhandpose.hand.skeleton import MIDDLE_MCP, MIDDLE_PIP

ASSUMED_FOV_DEG = 60.0
"""Field of view across the longer side when no intrinsics are given: between a webcam's and a
telephone's main camera's."""

ASSUMED_HAND_SCALES_MM = {REFERENCE_BONE: 90.0, (MIDDLE_MCP, MIDDLE_PIP): 31.0}
"""Length of a method's reference bone when none is given: about an adult's mean, measured between
the joints of the MANO model, in which FreiHAND is labelled."""


@dataclass(frozen=True)
class Camera:
    """What is known about how the photos were taken, and about the hand's size."""

    intrinsics: Sequence[float] | None = None
    """(fx, fy, cx, cy) px of the photos; None assumes ``fov_deg``."""
    fov_deg: float = ASSUMED_FOV_DEG
    """Field of view across the longer side, when there are no intrinsics."""
    hand_scale_mm: float | None = None
    """Length of the method's reference bone; None takes ``ASSUMED_HAND_SCALES_MM``."""

    def __post_init__(self) -> None:
        given = self.intrinsics
        if given is not None and (
            len(given) != 4 or not all(map(math.isfinite, given)) or min(given[:2]) <= 0
        ):
            raise ValueError(
                f"Predictor: intrinsics must be fx,fy,cx,cy in px with fx and fy positive, got "
                f"{tuple(given)}"
            )
        if not 0 < self.fov_deg < 180:
            raise ValueError(f"Predictor: fov_deg must be between 0 and 180, got {self.fov_deg}")
        if self.hand_scale_mm is not None and not 0 < self.hand_scale_mm < math.inf:
            raise ValueError(f"Predictor: hand_scale_mm must be positive, got {self.hand_scale_mm}")

    def of(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) px of a photo of (width, height)."""
        if self.intrinsics is None:
            focal = max(size) / 2 / math.tan(math.radians(self.fov_deg) / 2)
            return focal, focal, (size[0] - 1) / 2, (size[1] - 1) / 2
        fx, fy, cx, cy = map(float, self.intrinsics)
        return fx, fy, cx, cy
