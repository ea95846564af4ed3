"""Writing files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, then ``os.replace``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 would hide results from colleagues
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_json(path: Path, record: Any) -> None:
    """``record`` as strict JSON (no NaN), indented, lists of numbers on one line, atomically."""
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False)
    # a line break inside brackets without quotes: JSON escapes those of its strings
    text = re.sub(r"\[\n([^][{}\"]*)\n *\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    write_text(path, text + "\n")


def write_text(path: Path, content: str) -> None:
    """As ``write_bytes``, for text in UTF-8."""
    write_bytes(path, content.encode())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
