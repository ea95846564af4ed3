"""Rendered samples on disk, in shards of fixed length that each exist whole or not at all.

A shard is a ``.npy`` file of a structured array, followed by the CRC-32 of the array's bytes, and
is read through a memory map. It is written under a name of its own and then renamed, which is
atomic: an interrupted run leaves whole shards only, and two processes that make the same shard at
once both end with the same bytes. A shard of the wrong length or checksum is made again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

SHARD_LENGTH = 64
"""Samples in a shard: 3 MB of images at 128 px, about a second of rendering."""

_CHECKSUM_BYTES = 4
_ABANDONED_S = 3600.0

RenderShard = Callable[[int], dict[str, NDArray[np.generic]]]
"""From the index of a shard's first sample to its fields, each (SHARD_LENGTH, ...)."""


def cache_directory() -> Path:
    """``$PYHANDPOSE_CACHE``, else ``$XDG_CACHE_HOME/pyhandpose``, else ``~/.cache/pyhandpose``."""
    if own := os.environ.get("PYHANDPOSE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pyhandpose"


class ShardCache:
    """The shards of one world in one directory."""

    def __init__(self, directory: Path, dtype: np.dtype[np.void]) -> None:
        self.directory = directory
        self.dtype = dtype
        self._open: dict[int, NDArray[np.void]] = {}

    def path(self, shard: int) -> Path:
        """Where a shard is kept."""
        return self.directory / f"{shard:06d}.npy"

    def fill(self, count: int, render: RenderShard, *, label: str, progress: bool) -> None:
        """Make every missing or damaged shard of the first ``count`` samples."""
        shards = range(-(-count // SHARD_LENGTH))
        missing = [s for s in shards if not self._is_whole(s)]
        if not missing:
            return
        self._make_directory()
        with tqdm(
            total=len(missing) * SHARD_LENGTH,
            desc=label,
            unit="img",
            disable=None if progress else True,  # None: only on a terminal
        ) as bar:
            for shard in missing:
                if not self._is_whole(shard):  # another process may have made it meanwhile
                    self._write(shard, render)
                bar.update(SHARD_LENGTH)

    def read(
        self, indices: NDArray[np.int64], render: RenderShard
    ) -> dict[str, NDArray[np.generic]]:
        """The fields of the chosen samples; a shard found damaged or gone is made again."""
        out = np.empty(len(indices), dtype=self.dtype)
        shard_of = indices // SHARD_LENGTH
        for shard in np.unique(shard_of):
            chosen = shard_of == shard
            out[chosen] = self._map(int(shard), render)[indices[chosen] % SHARD_LENGTH]
        assert self.dtype.names is not None
        return {name: out[name].copy() for name in self.dtype.names}

    def __getstate__(self) -> dict[str, object]:
        return {"directory": self.directory, "dtype": self.dtype, "_open": {}}

    def _map(self, shard: int, render: RenderShard) -> NDArray[np.void]:
        if shard not in self._open:
            samples = self._load(shard)
            if samples is None:
                self._make_directory()
                self._write(shard, render)
                samples = self._load(shard)
            if samples is None:
                raise OSError(
                    f"synthetic cache: {self.path(shard)} is damaged again just after it was "
                    f"written; is the disk full or failing?"
                )
            self._open[shard] = samples
        return self._open[shard]

    def _load(self, shard: int) -> NDArray[np.void] | None:
        """The shard's samples, None if there is no such whole shard."""
        try:
            samples = np.load(self.path(shard), mmap_mode="r", allow_pickle=False)
            if samples.dtype != self.dtype or samples.shape != (SHARD_LENGTH,):
                return None
            with open(self.path(shard), "rb") as file:
                file.seek(samples.offset + samples.nbytes)
                stored = file.read()
        except (OSError, ValueError, EOFError):  # not there, or not an array
            return None
        return samples if stored == _checksum(samples) else None

    def _is_whole(self, shard: int) -> bool:
        return shard in self._open or self._load(shard) is not None

    def _write(self, shard: int, render: RenderShard) -> None:
        samples = np.empty(SHARD_LENGTH, dtype=self.dtype)
        for name, values in render(shard * SHARD_LENGTH).items():
            samples[name] = values
        temporary = self.directory / f"{shard:06d}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
        try:
            with open(temporary, "xb") as file:
                _save(file, samples)
            os.replace(temporary, self.path(shard))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"synthetic cache: cannot write to {self.directory} ({error.strerror}); set "
                f"PYHANDPOSE_CACHE to a directory that can be written"
            ) from error
        for left in self.directory.glob("*.tmp"):  # of processes that were killed
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED_S:
                    left.unlink()


def _save(file: IO[bytes], samples: NDArray[np.void]) -> None:
    np.lib.format.write_array(file, samples, allow_pickle=False)
    file.write(_checksum(samples))


def _checksum(samples: NDArray[np.void]) -> bytes:
    return zlib.crc32(samples.view(np.uint8).data).to_bytes(_CHECKSUM_BYTES, "little")
