"""Looking at a dataset's folders: what must be there, and what is."""

from __future__ import annotations

import os
from pathlib import Path


def require_file(dataset: str, root: Path, name: str) -> Path:
    """``root / name``.

    Raises:
        FileNotFoundError: it is not a file; the message says what is in the folder instead.
    """
    path = root / name
    if not path.is_file():
        found = ", ".join(names_in(root)[:8]) or "nothing"
        raise FileNotFoundError(
            f"{dataset}: expected the file {name} in {root}, found {found}; give the folder that "
            "the dataset was unpacked to"
        )
    return path


def require_folders(dataset: str, root: Path, names: tuple[str, ...]) -> list[Path]:
    """Those of the folders ``root / name`` that are there.

    Raises:
        FileNotFoundError: none of them is.
    """
    present = [root / name for name in names if (root / name).is_dir()]
    if not present:
        found = ", ".join(names_in(root)[:8]) or "nothing"
        raise FileNotFoundError(
            f"{dataset}: expected a folder {' or '.join(names)} in {root}, found {found}; give the "
            "folder that the dataset was unpacked to"
        )
    return present


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where there is no such folder."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def stems_in(folder: Path, endings: tuple[str, ...]) -> list[str]:
    """What stands before one of the endings in the folder's names, sorted, each once.

    A frame of which one file is missing is found by the others.
    """
    found = {
        name.removesuffix(ending)
        for name in names_in(folder)
        for ending in endings
        if name.endswith(ending)
    }
    return sorted(found)
