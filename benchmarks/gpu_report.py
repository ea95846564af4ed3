"""``make gpu-report``: build, CUDA tests, compute-sanitizer and the benchmark, on one GPU.

One command for a plain checkout without internet. Needs torch, a CUDA toolkit, cmake, ninja, pytest
and pytest-benchmark; tests and rivals whose packages are missing are named and left out. Exit
status 1 without a GPU, or when the build, a test or the sanitizer failed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from pyhandpose.testing.errors import REMEDY, errors_that_do_not_arrive

ROOT = Path(__file__).resolve().parent.parent
TOTAL_SECONDS = 520.0
"""For everything; the benchmark has what the other steps leave."""
TESTS = ROOT / "build" / "gpu-tests.xml"
SYSTEM_COMPILER = Path("/usr/bin/g++")
SANITIZER_TOOLS = ("memcheck", "racecheck", "synccheck")


class Report:
    """Lines of the report, and whether a step failed."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.lines: list[str] = []
        self.failed = False

    @property
    def left(self) -> float:
        """Seconds until the whole must be done."""
        return max(5.0, TOTAL_SECONDS - (time.monotonic() - self.started))

    def say(self, text: str, *, failed: bool = False) -> None:
        """Add a line, and print it now."""
        self.failed |= failed
        self.lines.append(text)
        print(f"[{time.monotonic() - self.started:.0f} s] {text}", flush=True)

    def run(
        self, command: list[str], seconds: float, environment: dict[str, str]
    ) -> tuple[int, str]:
        """Exit status (124 when the time was up) and the last lines of what was printed."""
        log = ROOT / "build" / "gpu-report.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("w") as out:
            try:
                status = subprocess.run(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    timeout=min(seconds, self.left),
                ).returncode
            except subprocess.TimeoutExpired:
                status = 124
        text = log.read_text(errors="replace")
        return status, "\n".join(text.splitlines()[-30:])


def require_gpu() -> str:
    """The GPU's name and capability, or an exit that says what is missing."""
    try:
        import torch
    except ImportError:
        sys.exit(f"gpu-report: torch is not installed for {sys.executable} (choose PYTHON=)")
    if not torch.cuda.is_available():
        sys.exit(
            f"gpu-report: torch {torch.__version__} sees no GPU. Nothing was built or measured; "
            "GPU figures stay 'not measured'."
        )
    major, minor = torch.cuda.get_device_capability(0)
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", f"{major}.{minor}")
    return f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, sm_{major}{minor}"


def build(report: Report, environment: dict[str, str]) -> None:
    """Compile the extension for this GPU; nothing else makes sense without it.

    Once more with the system's compiler, if what another one made cannot raise errors.
    """
    compile_extension(report, environment)
    fault = None if report.failed else errors_that_do_not_arrive(environment)
    if fault and SYSTEM_COMPILER.exists() and environment.get("CXX") != str(SYSTEM_COMPILER):
        report.say(f"build: {fault}; building again with {SYSTEM_COMPILER}")
        for folder in (ROOT / "build").glob("cuda-*"):
            shutil.rmtree(folder)  # CMake keeps the compiler of its first run
        environment |= {"CXX": str(SYSTEM_COMPILER), "CUDAHOSTCXX": str(SYSTEM_COMPILER)}
        compile_extension(report, environment)
        fault = None if report.failed else errors_that_do_not_arrive(environment)
    if fault:
        report.say(f"build: {fault}; {REMEDY}", failed=True)


def compile_extension(report: Report, environment: dict[str, str]) -> None:
    """Build in place, and see that the module has its CUDA kernels."""
    status, tail = report.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"], 240, environment
    )
    if status:
        print(tail)
        report.say("build: FAILED", failed=True)
        return
    check = "from pyhandpose import _extension as e; assert e.with_cuda, e.BUILD['cuda_left_out']"
    status, tail = report.run([sys.executable, "-c", check], 60, environment)
    if status:
        print(tail)
        report.say("build: without CUDA kernels, FAILED", failed=True)
    else:
        report.say("build: done")


def test(report: Report, environment: dict[str, str]) -> None:
    """Every test whose name has `cuda` in it."""
    TESTS.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "tests", "-k", "cuda", "-q", "-o", "addopts="]
    command += ["-W", "ignore::pytest.PytestConfigWarning"]
    command += ["-W", "ignore::pytest.PytestUnknownMarkWarning", "--continue-on-collection-errors"]
    status, tail = report.run([*command, f"--junitxml={TESTS}"], 150, environment)
    if not TESTS.exists():
        print(tail)
        report.say(f"tests: FAILED (exit status {status})", failed=True)
        return
    counts, missing, broken = read_tests(TESTS)
    for reason in missing:
        report.say(f"tests: not run: {reason}")
    for name in broken:
        report.say(f"tests: FAILED: {name}", failed=True)
    report.say(f"tests: {counts}")
    if broken:
        print(tail)


def read_tests(path: Path) -> tuple[str, list[str], list[str]]:
    """Counts, files whose imports are missing, and what failed, of a JUnit report."""
    passed = skipped = 0
    missing, broken = [], []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname') or ''}.{case.get('name')}".strip(".")
        fault = case.find("failure") if case.find("failure") is not None else case.find("error")
        if fault is not None:
            text = f"{fault.get('message')} {fault.text}"
            module = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", text)
            if module and "collection failure" in text:
                missing.append(f"{name} needs {module[1]}")
            else:
                broken.append(name)
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return f"{passed} passed, {len(broken)} failed, {skipped} skipped", missing, broken


def find_sanitizer() -> str | None:
    """compute-sanitizer of the toolkit."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [str(Path(home, "bin")) for home in homes if home]
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(folders)
    )


def sanitize(report: Report, environment: dict[str, str]) -> None:
    """Each op once under each tool."""
    sanitizer = find_sanitizer()
    if sanitizer is None:
        report.say("compute-sanitizer: not installed, not run")
        return
    # Freed blocks go back to CUDA, so that a read of them is seen.
    environment = {**environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    for tool in SANITIZER_TOOLS:
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9"]
        command += [sys.executable, "-m", "benchmarks.sanitized_ops"]
        status, tail = report.run(command, 30, environment)
        if status == 124:
            report.say(f"compute-sanitizer {tool}: not finished in its time")
        else:
            clean = status == 0
            report.say(
                f"compute-sanitizer {tool}: {'clean' if clean else 'FAILED'}", failed=not clean
            )
            if not clean:
                print(tail)


def measure(report: Report, environment: dict[str, str]) -> None:
    """The benchmark in the time that is left; the table goes to docs/benchmarks.md."""
    if shutil.which("git") is None:
        report.say("git: not installed, the commit is not recorded")
    budget = report.left - 40
    command = [sys.executable, "-m", "pytest", "benchmarks/compare_rivals.py", "-q"]
    command += ["-W", "ignore::pytest.PytestConfigWarning", "-o", "addopts=", "--benchmark-quiet"]
    command += ["--device", "cuda", "--budget", f"{budget:.0f}", "--called-as", "make gpu-report"]
    status, tail = report.run(command, report.left, environment)
    print(tail)
    report.say(f"benchmark: {'done' if status == 0 else 'FAILED'}", failed=status != 0)


def main() -> int:
    """Run every step and write the report."""
    device = require_gpu()
    report = Report()
    report.say(f"gpu-report on {device}, Python {sys.version.split()[0]}")
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    build(report, environment)
    if not report.failed:
        test(report, environment)
        sanitize(report, environment)
        measure(report, environment)
    slug = re.sub(r"[^a-z0-9]+", "-", device.split(",")[0].lower()).strip("-")
    path = ROOT / "benchmarks" / "results" / f"gpu_report--{slug}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"- {line}\n" for line in report.lines))
    print(f"written: {path.relative_to(ROOT)}, benchmarks/results/*.json, docs/benchmarks.md")
    return int(report.failed)


if __name__ == "__main__":
    sys.exit(main())
