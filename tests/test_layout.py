"""The architecture's rules (docs/architecture.md), executed."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pyhandpose"
OPS = sorted(p.name for p in (ROOT / "csrc" / "ops").iterdir() if p.is_dir())


def import_table():
    """{package: what it may import}, as docs/architecture.md has it."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split("| package | may import |\n|---|---|\n")[1].split("\n\n")[0]
    rows = [re.sub(r"\(.*?\)", "", line).strip("| ").split("|") for line in table.splitlines()]
    return {
        package: {name.strip() for name in names.split(",")} - {"torch only", "torch"}
        for packages, names in rows
        if names.strip() != "everything above"
        for package in packages.replace(" ", "").split(",")
    }


ALLOWED = import_table()
ABOVE_ALL = {"cli", "experiments", "predict", "__main__", "__init__", "_extension"}
SAY_NOTHING = re.compile(r"(^|_)(utils?|helpers?|misc|base|common|stuff)$")
MAXIMUM_LINES = 400


def source_files(*suffixes):
    folders = ["pyhandpose", "csrc", "tests", "benchmarks", "examples"]
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and "__pycache__" not in path.parts:
                yield path


def imported_packages(path):
    """The parts of pyhandpose that a file imports, at any depth of its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "pyhandpose":
            names = [f"pyhandpose.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "pyhandpose" and len(parts) > 1:
                yield parts[1]


def test_every_package_has_its_rule():
    packages = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    modules = {p.stem for p in PACKAGE.glob("*.py")}
    assert packages | modules <= set(ALLOWED) | ABOVE_ALL


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_follow_the_table(package):
    allowed = ALLOWED[package] | {package}
    for path in (PACKAGE / package).rglob("*.py"):
        for imported in imported_packages(path):
            version = imported == "__version__"
            assert version or imported in allowed, f"{path.relative_to(ROOT)} imports {imported}"


@pytest.mark.parametrize("op", OPS)
def test_an_op_is_five_files_and_five_more_of_one_stem(op):
    sources = {p.name for p in (ROOT / "csrc" / "ops" / op).iterdir()}
    suffixes = (".h", ".cpp", "_math.h", "_cpu.cpp", "_cuda.cu")
    assert sources >= {op + suffix for suffix in suffixes}
    assert all(re.fullmatch(op + r"(_\w+)?\.(h|cuh|cpp|cu)", name) for name in sources)
    assert (PACKAGE / "ops" / f"{op}.py").is_file()
    assert (PACKAGE / "reference" / f"{op}.py").is_file()
    assert (ROOT / "tests" / "ops" / f"test_{op}.py").is_file()
    assert (ROOT / "benchmarks" / "ops" / f"bench_{op}.py").is_file()
    assert (ROOT / "docs" / "maths" / f"{op}.md").is_file()
    assert f" {op}" in re.search(r"set\(OPS([^)]*)\)", (ROOT / "CMakeLists.txt").read_text())[1]


def test_kernels_do_not_see_torch():
    for path in source_files(".h", ".cuh", ".cu", ".cpp"):
        boundary = path.suffix == ".cpp" and not path.stem.endswith("_cpu")
        if "ops" not in path.relative_to(ROOT).parts or boundary:
            continue
        for header in re.findall(r"#include [<\"]([^>\"]+)", path.read_text()):
            torch = header.startswith(("ATen", "c10", "torch")) or header.endswith(
                ("checks.h", "dispatch.h")
            )
            assert not torch, f"{path.relative_to(ROOT)} includes {header}"


def test_common_headers_know_no_op():
    for path in (ROOT / "csrc" / "common").iterdir():
        assert "ops/" not in path.read_text(), path


def test_kernels_hold_no_symbol_that_another_instruction_set_could_take():
    """A weak symbol outside the file's own namespace could be merged into older CPUs' code."""
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    objects = list(ROOT.glob("build/*/CMakeFiles/kernels_avx*/**/*.o"))
    if not objects:
        pytest.skip("the extension was not built in this checkout")
    for path in objects:
        isa = re.search(r"kernels_(\w+)\.dir", str(path))[1]
        symbols = subprocess.run(["nm", "-C", path], capture_output=True, text=True).stdout
        for line in symbols.splitlines():
            kind, name = line[17:18], line[19:]
            if kind in "WVu":
                assert f"pyhandpose::{isa}::" in name, f"{path.name}: {name}"


def test_names_say_something_and_files_stay_small():
    for path in source_files(".py", ".h", ".cuh", ".cu", ".cpp"):
        name = path.relative_to(ROOT)
        assert not SAY_NOTHING.search(path.stem), f"{name}: a name that says nothing"
        assert len(path.read_text().splitlines()) <= MAXIMUM_LINES, f"{name} is too long"


def test_commands_are_the_files_of_cli():
    from pyhandpose.__main__ import COMMANDS

    files = {p.stem for p in (PACKAGE / "cli").glob("*.py")} - {"__init__"}
    assert files == set(COMMANDS)
