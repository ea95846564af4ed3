"""The synthetic world: procedural right hands, rendered in C++, as labelled batches.

Sample i of seed s in a look and size is the same to the bit whatever else is rendered with it and
on however many threads. How the world is made: ``docs/synthetic.md``.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyhandpose._extension import synthetic as _renderer
from pyhandpose.data.sample import HandBatch
from pyhandpose.data.synthetic_cache import SHARD_LENGTH, ShardCache, cache_directory

LOOKS = ("studio", "wild")
MIN_SIZE, MAX_SIZE = 16, 1024
MAX_COUNT = 2**40


def render(
    seed: int,
    indices: Iterable[int] | Tensor | NDArray[np.integer],
    size: int = 128,
    look: str = "studio",
    num_threads: int | None = None,
    *,
    geometry: bool = True,
) -> HandBatch:
    """Render samples of the synthetic world.

    Args:
        seed: of the world, 0 <= seed < 2**64.
        indices: (B,) which samples, each 0 <= index < 2**40.
        size: px, side of the square images, 16 to 1024.
        look: ``"studio"`` (steady soft light, plain backdrops) or ``"wild"`` (any light, cluttered
            backgrounds, sleeves, blur, noise). Hand, pose and camera of a sample are the same in
            both.
        num_threads: None means as many as torch uses.
        geometry: also return ``mask`` and ``depth``, which take more memory than the images.

    Returns:
        A batch with every label set; ``mask`` and ``depth`` are None without ``geometry``.
        ``mask`` is the hand with its forearm (sleeve included) where no object hides it, and
        ``depth`` (m along z) is positive there and 0 elsewhere.

    Raises:
        ValueError: an argument out of its range.

    """
    check_world("render", seed, size, look)
    wanted = torch.as_tensor(list(indices) if not isinstance(indices, Tensor) else indices)
    wanted = wanted.to(torch.int64)
    if wanted.ndim != 1 or (wanted.numel() and not 0 <= wanted.min() <= wanted.max() < MAX_COUNT):
        raise ValueError(
            f"render: indices must be (B,) with 0 <= index < 2**40, got shape "
            f"{tuple(wanted.shape)}" + (f", lowest {wanted.min()}" if wanted.numel() else "")
        )
    threads = thread_count("render", num_threads)
    return to_batch(_renderer.render(seed, wanted.numpy(), look, size, threads, geometry))


def check_world(caller: str, seed: int, size: int, look: str) -> None:
    """ValueError unless seed, size and look name a world."""
    if look not in LOOKS:
        raise ValueError(f"{caller}: look must be one of {', '.join(LOOKS)}, got {look!r}")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"{caller}: size must be {MIN_SIZE} to {MAX_SIZE} px, got {size}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"{caller}: seed must be 0 <= seed < 2**64, got {seed}")


def thread_count(caller: str, num_threads: int | None) -> int:
    """The renderer's number of threads; None is as many as torch uses."""
    threads = torch.get_num_threads() if num_threads is None else operator.index(num_threads)
    if threads < 1:
        raise ValueError(f"{caller}: num_threads must be at least 1, got {num_threads}")
    return threads


def to_batch(arrays: dict[str, NDArray[np.generic]]) -> HandBatch:
    """The renderer's arrays as a batch; every joint has a label."""
    tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return HandBatch(
        joint_valid=torch.ones(tensors["joints_img"].shape[:2], dtype=torch.bool), **tensors
    )


class SyntheticDataset:
    """The first ``count`` samples of a world, rendered once and kept on disk.

    Missing samples are rendered when the dataset is made, with a progress bar. The cache is shared
    by all datasets of the same world whatever their ``count``, may be used by several processes at
    once, and takes up where an interrupted generation stopped.

    Args:
        count: number of samples.
        size: px, side of the square images.
        look: ``"studio"`` or ``"wild"``.
        seed: of the world.
        geometry: keep ``mask`` and ``depth`` as well, which takes 2.6 times the space (0.13 MB a
            sample at 128 px, where images and joints take 0.05 MB).
        cache: directory; None is ``$PYHANDPOSE_CACHE``, or else ``$XDG_CACHE_HOME/pyhandpose``, or
            else ``~/.cache/pyhandpose``.
        num_threads: of the renderer; None means as many as torch uses.
        progress: show the progress bar.

    """

    def __init__(
        self,
        count: int,
        size: int = 128,
        look: str = "studio",
        seed: int = 0,
        *,
        geometry: bool = False,
        cache: str | Path | None = None,
        num_threads: int | None = None,
        progress: bool = True,
    ) -> None:
        if not 1 <= count <= MAX_COUNT:
            raise ValueError(f"SyntheticDataset: count must be 1 to 2**40, got {count}")
        check_world("SyntheticDataset", seed, size, look)
        thread_count("SyntheticDataset", num_threads)
        self.count, self.size, self.look, self.seed = count, size, look, seed
        self.geometry = geometry
        world = f"v{_renderer.version}-{look}-{size}px-seed{seed}" + ("-geometry" * geometry)
        root = cache_directory() if cache is None else Path(cache)
        self._world = world
        self._shards = ShardCache(root / "synthetic" / world, sample_dtype(size, geometry))
        self._num_threads = num_threads
        self._shards.fill(count, self._render_shard, label=f"synthetic {look}", progress=progress)

    def __len__(self) -> int:
        return self.count

    def _render_shard(self, first: int) -> dict[str, NDArray[np.generic]]:
        indices = np.arange(first, first + SHARD_LENGTH, dtype=np.int64)
        threads = thread_count("SyntheticDataset", self._num_threads)
        arrays: dict[str, NDArray[np.generic]] = _renderer.render(
            self.seed, indices, self.look, self.size, threads, self.geometry
        )
        return arrays

    @property
    def name(self) -> str:
        """For tables and logs."""
        return f"synthetic-{self.look}"

    @property
    def directory(self) -> Path:
        """Where the samples are kept."""
        return self._shards.directory

    def fingerprint(self) -> str:
        """A digest of the world, the renderer's version and the number of samples."""
        text = f"synthetic-{self._world}-n{self.count}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read(self, indices: Iterable[int] | Tensor) -> HandBatch:
        """The chosen samples, in the order of ``indices``.

        Raises:
            IndexError: an index that is not in 0 <= index < len(self).

        """
        wanted = np.asarray(
            indices.tolist() if isinstance(indices, Tensor) else list(indices), dtype=np.int64
        )
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < self.count:
            raise IndexError(
                f"SyntheticDataset.read: indices must be 0 <= index < {self.count}, got "
                f"{wanted.min()} to {wanted.max()}"
            )
        return to_batch(self._shards.read(wanted, self._render_shard))


def sample_dtype(size: int, geometry: bool) -> np.dtype[np.void]:
    """One sample as it lies in the cache."""
    pixels = (size, size)
    fields = [
        ("image", np.uint8, (*pixels, 3)),
        ("joints_img", np.float32, (21, 2)),
        ("joints_cam", np.float32, (21, 3)),
        ("intrinsics", np.float32, (3, 3)),
        ("visibility", np.bool_, (21,)),
        ("occluded", np.bool_, ()),
    ]
    if geometry:
        fields += [("mask", np.bool_, pixels), ("depth", np.float32, pixels)]
    return np.dtype(fields)


def open_synthetic(
    count: int, *, look: Literal["studio", "wild"] = "studio", size: int = 128, seed: int = 0
) -> SyntheticDataset:
    """``synthetic:N``, see ``SyntheticDataset``."""
    return SyntheticDataset(count, size, look, seed)
