"""Bringing together what several processes have measured."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import torch.distributed as dist


class Mergeable(Protocol):
    """``PoseErrors``, ``MeshErrors``: collects, and takes in what another has collected."""

    def merge(self, other: Any) -> None:
        """Append what ``other`` has collected."""
        ...


Errors = TypeVar("Errors", bound=Mergeable)


def merged_over_processes(errors: Errors) -> Errors:
    """The errors of all processes of the default group, in the order of ranks, on each of them.

    Without a process group these are the errors given. Every process must call it, and each
    sample must have been added in one process only: a sampler that repeats samples to make the
    parts equal would count these twice.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return errors
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, errors)
    merged, *others = parts
    for other in others:
        merged.merge(other)
    return merged
