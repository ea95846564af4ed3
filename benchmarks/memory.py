"""Peak memory of a call, and how much there is."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STATUS = Path("/proc/self/status")


def status_bytes(field: str) -> int:
    """A size that the kernel tells of this process."""
    match = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"{STATUS} has no {field}: peak memory is measured on Linux alone")
    return 1024 * int(match[1])


def peak_of_call(call: Callable[[], Any], device: str) -> tuple[Any, int]:
    """The call's result, and the bytes that it needed at most beyond what was held before.

    On the CPU: the process' resident set, whose high-water mark the kernel keeps and resets on
    request. On CUDA: what torch's allocator handed out.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        result = call()
        torch.cuda.synchronize()
        return result, torch.cuda.max_memory_allocated() - held
    return_free_memory()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    held = status_bytes("VmRSS")
    result = call()
    return result, max(0, status_bytes("VmHWM") - held)


def return_free_memory() -> None:
    """Give what was freed back to the system, so that using it again is seen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def total_bytes(device: str) -> int:
    """Memory of the device; on the CPU, of the machine or of the control group if that is less."""
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    match = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    if match is None:
        raise RuntimeError("/proc/meminfo has no MemTotal")
    limit = Path("/sys/fs/cgroup/memory.max")
    limited = limit.read_text().strip() if limit.exists() else "max"
    total = 1024 * int(match[1])
    return min(total, int(limited)) if limited.isdigit() else total
