"""``pyhandpose doctor``: what was built, what is missing, and the remedy for each fault.

Needs the standard library alone, so that it still answers when torch or the extension does not.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

Level = Literal["ok", "note", "fault"]

PYTHON_LAYER = {
    "numpy": "everything but the ops",
    "PIL": "reading and writing images",
    "torchvision": "timm",
    "timm": "ResNet encoders",
    "safetensors": "checkpoints",
    "tyro": "every command but this one",
    "tqdm": "progress bars",
    "matplotlib": "plots and overlays",
    "scipy": "the labels of STB",
}
EXTRAS = {"cv2": ("videos and webcams in `pyhandpose predict`", "pip install 'pyhandpose[opencv]'")}
"""Packages that a part can do without: what for, and how to get them."""
DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless"}
"""What pip calls a package that is imported under another name."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    level: Level
    text: str
    remedy: str = ""


def python_and_machine() -> list[Finding]:
    """Interpreter, system, cores."""
    from pyhandpose import __version__

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        Finding("pyhandpose", "ok", __version__),
        Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}"),
        Finding("cores", "ok", f"{cores} usable"),
    ]


def torch_and_gpu() -> list[Finding]:
    """The installed torch and the GPUs that it sees."""
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # a broken install raises anything
        return [Finding("torch", "fault", f"cannot be imported: {error}", "pip install torch")]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU-only build"
    findings = [Finding("torch", "ok", f"{torch.__version__} ({build})")]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        findings.append(Finding("gpu", "ok", ", ".join(names)))
    else:
        findings.append(Finding("gpu", "note", "none: everything runs on the CPU"))
    return findings


def extension() -> list[Finding]:
    """The compiled module: for what it was built, and whether it loads and computes."""
    try:
        loaded = importlib.import_module("pyhandpose._extension")
    except Exception as error:
        remedy = "make build (in a checkout), or pip install --no-build-isolation ."
        return [Finding("extension", "fault", str(error), remedy)]
    build = loaded.BUILD
    findings = [
        Finding(
            "extension", "ok", f"built against torch {build['torch']} with {build['compiler']}"
        ),
        Finding("cpu kernels", "ok", f"instruction set {loaded.active_isa}"),
    ]
    if build["cuda"]:
        text = f"CUDA {build['cuda']}, architectures {build['cuda_architectures']}"
        findings.append(Finding("cuda kernels", "ok", text))
    else:
        findings.append(missing_cuda_kernels(str(build["cuda_left_out"])))
    return [*findings, *ops_that_fail()]


def missing_cuda_kernels(reason: str) -> Finding:
    """A fault only where a GPU waits for them."""
    import torch

    if torch.cuda.is_available():
        return Finding(
            "cuda kernels",
            "fault",
            f"none: {reason}",
            "mend that, then: pip install --no-build-isolation --force-reinstall --no-deps .",
        )
    return Finding("cuda kernels", "note", f"none: {reason}")


def ops_that_fail() -> list[Finding]:
    """Run one small op, so that a module that loads but cannot compute is found."""
    try:
        import torch

        from pyhandpose import ops

        identity = torch.eye(2, 3).expand(4, 2, 3)
        latent = torch.arange(16.0).reshape(4, 2, 2)
        if torch.equal(ops.latent_affine(latent, identity), latent):
            works = Finding("ops", "ok", "latent_affine computes what it should")
            return [works, errors_of_ops()]
        text = "latent_affine returned a wrong value"
    except Exception as error:
        text = f"latent_affine failed: {error}"
    return [
        Finding("ops", "fault", text, "rebuild, and report this with `pyhandpose doctor --json`")
    ]


def errors_of_ops() -> Finding:
    """Make a wrong call in another process, which a bad build would end."""
    from pyhandpose.testing.errors import REMEDY, errors_that_do_not_arrive

    fault = errors_that_do_not_arrive()
    if fault is None:
        return Finding("errors", "ok", "a wrong argument raises ValueError")
    return Finding("errors", "fault", fault, REMEDY)


def packages() -> list[Finding]:
    """What the Python layer needs beyond torch, each imported for real."""
    findings = []
    for module, purpose in PYTHON_LAYER.items():
        name = DISTRIBUTIONS.get(module, module)
        try:
            importlib.import_module(module)
            findings.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, "ok", "installed, of unknown version"))
        except ModuleNotFoundError as error:
            if error.name != module:
                findings.append(broken(name, purpose, error))
                continue
            text = f"missing: needed for {purpose}"
            findings.append(Finding(name, "fault", text, f"pip install {name}"))
        except Exception as error:
            findings.append(broken(name, purpose, error))
    for module, (purpose, remedy) in EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            name = DISTRIBUTIONS.get(module, module)
            findings.append(Finding(name, "note", f"not installed: only for {purpose}", remedy))
    return findings


def broken(name: str, purpose: str, error: Exception) -> Finding:
    """A package that is there and cannot be imported; most often torchvision of another torch."""
    remedy = f"pip install --force-reinstall {name}"
    if name == "torchvision":
        remedy = (
            "install the torch and torchvision that belong together from one index: "
            "pip install --force-reinstall torch torchvision, then rebuild pyhandpose"
        )
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    text = f"installed but broken, needed for {purpose}: {first_line}"
    return Finding(name, "fault", text, remedy)


def threads() -> list[Finding]:
    """Settings under which threads wait for each other more than they work."""
    try:
        import torch
    except Exception:
        return []
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = available or 1
    count = torch.get_num_threads()
    findings = []
    if count > cores:
        findings.append(
            Finding(
                "threads",
                "fault",
                f"torch uses {count} threads on {cores} usable cores: 5 to 30 times slower",
                f"export OMP_NUM_THREADS={cores}",
            )
        )
    else:
        findings.append(Finding("threads", "ok", f"torch uses {count} on {cores} usable cores"))
    if os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive" and cores <= 4:
        findings.append(
            Finding(
                "thread waiting",
                "note",
                "OMP_WAIT_POLICY is not 'passive': on a small or shared machine idle threads may "
                "take the cores from working ones",
                "export OMP_WAIT_POLICY=passive",
            )
        )
    return findings


SECTIONS: tuple[Callable[[], list[Finding]], ...] = (
    python_and_machine,
    torch_and_gpu,
    extension,
    packages,
    threads,
)


def report(findings: list[Finding]) -> str:
    """The findings as aligned lines, each remedy under its fault."""
    marks = {"ok": "ok   ", "note": "note ", "fault": "FAULT"}
    width = max(len(f.topic) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{marks[f.level]}  {f.topic:<{width}}  {f.text}")
        if f.remedy:
            lines.append(f"{'':7}{'':<{width}}  remedy: {f.remedy}")
    faults = sum(f.level == "fault" for f in findings)
    lines.append("")
    lines.append("no faults" if faults == 0 else f"{faults} fault(s): see the remedies above")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Exit status 0 without faults, 1 with any."""
    parser = argparse.ArgumentParser(
        prog="pyhandpose doctor",
        description="Say what was built, for what, with which versions, and what to do about "
        "each fault. Exit status 1 if there is one.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, to paste into a bug report")
    options = parser.parse_args(argv)
    findings = [finding for section in SECTIONS for finding in section()]
    if options.json:
        print(json.dumps([asdict(f) for f in findings], indent=2))
    else:
        print(report(findings))
    return int(any(f.level == "fault" for f in findings))
