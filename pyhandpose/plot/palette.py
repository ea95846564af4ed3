"""Colours that stay apart for colour-blind readers and in print (after Okabe and Ito, 2008)."""

from __future__ import annotations

from pyhandpose.hand.skeleton import FINGERS, NUM_JOINTS

FINGER_COLOURS = dict(
    zip(FINGERS, ("#D55E00", "#F2C80F", "#009E73", "#56B4E9", "#CC79A7"), strict=True)
)

WRIST_COLOUR = "#F0F0F0"

SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SERIES_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# (21,): a bone has the colour of its child joint, so that each finger is one colour to the wrist.
JOINT_COLOURS = (
    WRIST_COLOUR,
    *(FINGER_COLOURS[FINGERS[(joint - 1) // 4]] for joint in range(1, NUM_JOINTS)),
)


def rgb(colour: str) -> tuple[int, int, int]:
    """``"#RRGGBB"`` as three values of 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
