"""Compiles every CUDA source for every architecture and fails on a register spill below float64.

Prints registers, shared memory and spills of each kernel. The commands are those of the build.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What ptxas -v says of one kernel.
REPORT = re.compile(
    r"Compiling entry function '(\w+)' for '(\w+)'.*?"
    r"(\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r"Used (\d+) registers([^\n]*)",
    re.DOTALL,
)


def compile_commands():
    """The build's own nvcc commands, one for each CUDA source."""
    databases = sorted(ROOT.glob("build/cuda-*/compile_commands.json"))
    if not databases:
        sys.exit("no CUDA build found: run `make build` where nvcc is")
    newest = max(databases, key=lambda path: path.stat().st_mtime)
    return [c for c in json.loads(newest.read_text()) if c["file"].endswith(".cu")]


def demangle(name):
    """The C++ name of a kernel with its template arguments, without its parameters."""
    text = subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.strip()
    name = re.sub(r"pyhandpose::|\(anonymous namespace\)::|^void ", "", text)
    return name.split(">(")[0] + ">" if ">(" in name else name.split("(")[0]


def kernels(report):
    """(architecture, kernel, registers, shared bytes, spilled bytes) from ptxas' report."""
    for name, arch, stores, loads, registers, rest in REPORT.findall(report):
        shared = re.search(r"(\d+) bytes smem", rest)
        spill = int(stores) + int(loads)
        yield arch, demangle(name), int(registers), int(shared[1]) if shared else 0, spill


def main():
    """Exit status 1 when a kernel below float64 spills."""
    if shutil.which("c++filt") is None:
        sys.exit("c++filt was not found: install binutils")
    spilled, seen = [], 0
    for command in compile_commands():
        print(Path(command["file"]).name, flush=True)
        run = subprocess.run(
            re.sub(r" -o \S+", " -o /dev/null", command["command"]),
            shell=True,
            cwd=command["directory"],
            capture_output=True,
            text=True,
        )
        report = run.stdout + run.stderr
        if run.returncode != 0:
            sys.exit(report)
        for arch, kernel, registers, shared, spill in kernels(report):
            seen += 1
            numbers = f"{registers:>4} registers {shared:>6} B shared {spill:>5} B spilled"
            print(f"  {arch} {numbers}  {kernel}")
            if spill and "double" not in kernel:
                spilled.append(f"{kernel} ({arch}): {spill} B")
    if spilled:
        sys.exit("kernels that spill registers:\n  " + "\n  ".join(spilled))
    if seen == 0:
        sys.exit("no kernel was reported: ptxas -v is missing from the build's flags")
    print(f"{seen} kernels, no spill below float64")


main()
