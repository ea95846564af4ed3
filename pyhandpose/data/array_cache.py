"""Arrays that were parsed from large annotation files, kept to be memory-mapped the next time.

A cache is a folder of ``.npy`` files. Its name holds the version of the arrays' layout and the
path, size and modification time of every source, so that other sources, or another version, have
another cache. It is written under a name of its own and renamed, which is atomic; of two processes
that build it at once, one leaves its own to the other's.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.synthetic_cache import cache_directory

Arrays = Mapping[str, NDArray[Any]]


def cached_arrays(
    kind: str, sources: Sequence[Path], version: int, build: Callable[[], Arrays]
) -> dict[str, NDArray[Any]]:
    """The arrays that ``build`` makes of the sources, memory-mapped from the cache.

    ``build`` is called if there is no whole cache of these sources. Caches of the sources' former
    states are removed.

    Args:
        kind: a folder in ``cache_directory()``.
        sources: the files that the arrays are made of.
        version: of the arrays' layout.
        build: makes the arrays; none may be of objects.

    Raises:
        OSError: the cache cannot be written, or is damaged just after it was written.
    """
    where = hashlib.sha256("\0".join(str(path.resolve()) for path in sources).encode())
    states = [path.stat() for path in sources]
    state = hashlib.sha256(repr([(s.st_size, s.st_mtime_ns) for s in states]).encode())
    prefix = f"{sources[0].stem}-{where.hexdigest()[:12]}"
    folder = cache_directory() / kind / f"{prefix}-{state.hexdigest()[:12]}-v{version}"
    arrays = _open(folder)
    if arrays is None:
        _write(folder, build())
        arrays = _open(folder)
        for old in folder.parent.glob(f"{prefix}-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
    if arrays is None:
        raise OSError(
            f"{kind} cache: {folder} is damaged just after it was written; is the disk full or "
            "failing?"
        )
    return arrays


def _open(folder: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of a cache; None if it is not there or not whole."""
    try:
        arrays: dict[str, NDArray[Any]] = {
            path.stem: np.load(path, mmap_mode="r", allow_pickle=False)
            for path in sorted(folder.glob("*.npy"))
        }
    except (OSError, ValueError, EOFError):
        return None
    return arrays or None


def _write(folder: Path, arrays: Arrays) -> None:
    scratch = folder.with_name(f".{folder.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise OSError(
            f"cache: cannot write to {folder.parent} ({error.strerror}); set PYHANDPOSE_CACHE to a "
            "directory that can be written"
        ) from error
    try:
        for name, array in arrays.items():
            np.save(scratch / f"{name}.npy", array, allow_pickle=False)
        if _open(folder) is None:  # not there, or damaged
            shutil.rmtree(folder, ignore_errors=True)
            try:
                os.rename(scratch, folder)
            except OSError:  # another process was quicker
                if _open(folder) is None:
                    raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
