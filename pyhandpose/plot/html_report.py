"""A report of hand poses in one HTML file that needs nothing else, not even a network.

Photos are embedded; the skeletons are drawn over them by the page, and in 3D on a canvas that turns
with the mouse. The page's own script is in ``report.html`` beside this file.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.hand.skeleton import BONES, FINGERS, JOINT_NAMES, NUM_JOINTS
from pyhandpose.plot.palette import FINGER_COLOURS, JOINT_COLOURS

MAXIMUM_CARDS = 500
"""Photos in one report; at about 100 kB each a browser still opens it readily."""

LONGEST_PX = 960
"""Longer side of an embedded photo."""


@dataclass(frozen=True, eq=False)
class HandView:
    """One hand of a photo."""

    label: str
    """Such as "right"."""
    joints_img_px: NDArray[np.floating]
    """(21,2) px of the photo."""
    joints_mm: NDArray[np.floating]
    """(21,3) mm, camera axes; NaN: no depth."""
    facts: tuple[str, ...]
    """Sentences below the picture."""


@dataclass(frozen=True, eq=False)
class Card:
    """One photo with its hands."""

    title: str
    size: tuple[int, int]
    """(width, height) of the photo, px."""
    jpeg: bytes
    """The photo, reduced to ``LONGEST_PX``: many of them are held at a time."""
    hands: tuple[HandView, ...]

    @classmethod
    def of(cls, title: str, image: NDArray[np.uint8], hands: tuple[HandView, ...]) -> Card:
        """The card of an image (H,W,3) uint8 RGB.

        Raises:
            ValueError: joints of another shape.
        """
        for hand in hands:
            shapes = (hand.joints_img_px.shape, hand.joints_mm.shape)
            if shapes != ((NUM_JOINTS, 2), (NUM_JOINTS, 3)):
                raise ValueError(f"Card: joints must be (21,2) and (21,3), got {shapes}")
        return cls(title, (image.shape[1], image.shape[0]), _jpeg(image), hands)


def html_report(cards: Sequence[Card], model: str, left_out: int = 0) -> str:
    """The whole page.

    Args:
        cards: the photos.
        model: what made the predictions, for the heading.
        left_out: photos that were predicted and are not among the cards.
    """
    data = {
        "bones": BONES,
        "joints": JOINT_NAMES,
        "colours": JOINT_COLOURS,
        "fingers": [[finger, FINGER_COLOURS[finger]] for finger in FINGERS],
        "cards": [_card(card) for card in cards],
    }
    more = f", the first {len(cards)} of {len(cards) + left_out}" if left_out else ""
    count = f"{len(cards)} photo{'s' if len(cards) != 1 else ''}{more}"
    template = resources.files("pyhandpose.plot").joinpath("report.html").read_text("utf-8")
    page = template.replace("{{model}}", html.escape(model)).replace("{{count}}", count)
    # "</script>" inside a string would end the script
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return page.replace("{{data}}", text)


def _card(card: Card) -> dict[str, Any]:
    return {
        "title": card.title,
        "size": card.size,
        "image": "data:image/jpeg;base64," + base64.b64encode(card.jpeg).decode(),
        "hands": [
            {
                "label": hand.label,
                "points": _numbers(hand.joints_img_px),
                "mm": _numbers(hand.joints_mm),
                "facts": hand.facts,
            }
            for hand in card.hands
        ],
    }


def _numbers(values: NDArray[np.floating]) -> list[list[float | None]]:
    return [
        [round(v, 2) if math.isfinite(v) else None for v in row]
        for row in values.astype(float).tolist()
    ]


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST_PX, LONGEST_PX))
    buffer = io.BytesIO()
    image.save(buffer, format="jpeg", quality=85)
    return buffer.getvalue()
