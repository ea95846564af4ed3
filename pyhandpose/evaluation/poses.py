"""A set of hand poses, estimated or labelled, as it is read from a file and scored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from pyhandpose.hand.skeleton import NUM_JOINTS


@dataclass(frozen=True, eq=False)
class Poses:
    """N hands in the canonical joint order; what is None is not known.

    NaN is a joint without a label, or an estimate that failed.
    """

    source: str
    """Where they come from, for messages."""
    joints_cam: Tensor | None = None
    """(N,21,3) m, OpenCV camera axes."""
    joints_img: Tensor | None = None
    """(N,21,2) px."""
    vertices: Tensor | None = None
    """(N,778,3) m, the vertices of MANO's mesh, camera axes."""
    valid: Tensor | None = None
    """(N,21) bool, False for a joint without a label; None when all have one."""
    image_size_px: Tensor | None = None
    """(N,2) width and height."""
    names: tuple[str, ...] | None = None
    """(N) what each pose belongs to, such as an image's name; without them the order counts."""

    def __post_init__(self) -> None:
        """Check the shapes against each other."""
        points = {"joints_cam": (NUM_JOINTS, 3), "joints_img": (NUM_JOINTS, 2)}
        shapes = {**points, "vertices": (778, 3), "valid": (NUM_JOINTS,), "image_size_px": (2,)}
        if self.joints_cam is None and self.joints_img is None:
            raise ValueError(f"{self.source}: expected joints_cam or joints_img, got neither")
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != (len(self), *shape):
                expected = ", ".join(map(str, (len(self), *shape)))
                raise ValueError(
                    f"{self.source}: {name} must be ({expected}), got {tuple(value.shape)}"
                )
        if self.names is not None and len(self.names) != len(self):
            raise ValueError(f"{self.source}: expected {len(self)} names, got {len(self.names)}")

    def __len__(self) -> int:
        joints = self.joints_img if self.joints_cam is None else self.joints_cam
        assert joints is not None
        return len(joints)

    def named(self, names: tuple[str, ...]) -> Poses:
        """The poses of these names, in this order.

        Raises:
            ValueError: names that are missing or not unique, with the first few of them.

        """
        assert self.names is not None
        place = {name: row for row, name in enumerate(self.names)}
        if len(place) != len(self.names):
            twice = [name for name, count in Counter(self.names).items() if count > 1]
            raise ValueError(f"{self.source}: the same name twice: {_some(twice)}")
        if missing := [name for name in names if name not in place]:
            raise ValueError(
                f"{self.source}: no pose for {len(missing)} of {len(names)} names: {_some(missing)}"
            )
        rows = torch.tensor([place[name] for name in names], dtype=torch.int64)
        chosen: dict[str, Any] = {
            field.name: value[rows]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **chosen, names=tuple(names))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
