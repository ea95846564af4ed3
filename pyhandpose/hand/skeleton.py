"""The 21 joints of a hand, its bones, and the order in which they are stored.

Canonical order (FreiHAND, OpenPose): 0 wrist; thumb 1-4, index 5-8, middle 9-12, ring 13-16,
little 17-20, each finger from the palm to the tip.
"""

FINGERS = ("thumb", "index", "middle", "ring", "little")

JOINT_NAMES = (
    "wrist",
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    *(f"{f}_{j}" for f in FINGERS[1:] for j in ("mcp", "pip", "dip", "tip")),
)

NUM_JOINTS = len(JOINT_NAMES)  # 21

WRIST = 0
INDEX_MCP = 5
MIDDLE_MCP = 9
MIDDLE_PIP = 10

# parent of each joint in the kinematic tree; the wrist is its own root.
PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)

# the 20 bones as (parent, child).
BONES = tuple((PARENTS[j], j) for j in range(1, NUM_JOINTS))

FINGER_JOINTS = {f: tuple(range(1 + 4 * i, 5 + 4 * i)) for i, f in enumerate(FINGERS)}
