import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyhandpose import _extension

ROOT = Path(__file__).resolve().parent.parent
SELECTION = "equals_the_twin or no_worse_than_eager or nan or degenerate"


def load_setup_functions(monkeypatch):
    """The functions of setup.py, without running setup()."""
    import setuptools

    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    spec = importlib.util.spec_from_file_location("pyhandpose_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_another_torch_is_refused_by_name_with_the_remedy():
    with pytest.raises(ImportError, match=r"built against torch 9\.9\.9, but torch 2\.1") as error:
        _extension.check_torch("9.9.9", "2.1.0")
    assert "pip install --no-build-isolation" in str(error.value)
    _extension.check_torch("2.1.0", "2.1.0")


def test_an_import_with_another_torch_fails_before_any_symbol_is_looked_up(tmp_path):
    """The real import, in a copy of the package whose note names another torch."""
    copy = tmp_path / "pyhandpose"
    shutil.copytree(ROOT / "pyhandpose", copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    note = json.loads((copy / "_build.json").read_text())
    (copy / "_build.json").write_text(json.dumps(note | {"torch": "2.99.0"}))
    run = subprocess.run(
        [sys.executable, "-c", "import pyhandpose.ops"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    assert "built against torch 2.99.0" in run.stderr


def test_ops_need_torch_alone():
    code = (
        "import sys, pyhandpose.ops;"
        "unwanted = {'torchvision', 'timm', 'scipy', 'matplotlib', 'tyro'} & set(sys.modules);"
        "assert not unwanted, unwanted"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def isa(request):
    flags = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    needed = {"baseline": "", "avx2": " avx2 ", "avx512": " avx512vl "}[request.param]
    if needed not in flags:
        pytest.skip(f"this CPU has no {request.param}")
    return request.param


def test_the_instruction_set_can_be_forced(isa):
    code = "from pyhandpose import _extension; print(_extension.active_isa)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYHANDPOSE_ISA": isa},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == isa


def test_every_op_equals_its_twin_under_every_instruction_set(isa):
    """A selection of the ops' own tests; with the widest set all of them run as they are."""
    if isa == _extension.active_isa:
        pytest.skip(f"the tests run under {isa}")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/ops", "-k", f"({SELECTION}) and not cuda"],
        cwd=ROOT,
        env=os.environ | {"PYHANDPOSE_ISA": isa, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_an_unknown_instruction_set_is_an_error_that_lists_the_known():
    code = "from pyhandpose import _extension"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYHANDPOSE_ISA": "mmx"},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    assert "expected avx512, avx2 or baseline, got 'mmx'" in run.stderr


@pytest.mark.parametrize(
    ("arch_list", "architectures"),
    [
        ("8.0;9.0+PTX", "80-real;90-real;90-virtual"),
        ("7.5 8.6", "75-real;86-real"),
        ("9.0a", "90a-real"),
        ("12.0+PTX", "120-real;120-virtual"),
    ],
)
def test_architectures_are_written_as_torch_writes_them(monkeypatch, arch_list, architectures):
    assert load_setup_functions(monkeypatch).cmake_architectures(arch_list) == architectures


def test_an_architecture_that_is_none_is_refused(monkeypatch):
    with pytest.raises(SystemExit, match=r"expected entries like 8\.0 or 9\.0\+PTX, got 'hopper'"):
        load_setup_functions(monkeypatch).cmake_architectures("hopper")


class Torch:
    """What setup.py reads of torch."""

    def __init__(self, cuda):
        self.__version__ = "2.14.1"
        self.version = type("version", (), {"cuda": cuda})


@pytest.mark.parametrize(
    ("cuda", "nvcc", "force", "reason"),
    [
        ("13.0", (13, 2), "1", "FORCE_CPU is set"),
        (None, (13, 0), "", "torch 2.14.1 is a CPU-only build"),
        ("13.0", None, "", "nvcc was not found"),
        ("12.8", (13, 0), "", r"nvcc is CUDA 13.0 but torch was built with CUDA 12.8"),
        ("13.0", (13, 2), "0", ""),
    ],
)
def test_cuda_is_built_when_nvcc_and_torch_agree(monkeypatch, cuda, nvcc, force, reason):
    setup = load_setup_functions(monkeypatch)
    monkeypatch.setenv("FORCE_CPU", force)
    monkeypatch.setattr(setup, "find_nvcc", lambda: ("nvcc" if nvcc else None, nvcc))
    chosen, why = setup.cuda_choice(Torch(cuda))
    assert (chosen is None) == bool(reason)
    assert reason in why


SHARE_OF_OTHER_THREADS = """
import os, torch
from pyhandpose import ops

def seconds():
    tasks = [(int(task), open(f"/proc/self/task/{task}/stat").read().rsplit(")", 1)[1].split())
             for task in os.listdir("/proc/self/task")]
    return {task: int(fields[11]) for task, fields in tasks}

torch.set_num_threads(2)
z = torch.randn(4096, 64)
ops.nt_xent(z)
before = seconds()
for _ in range(20):
    ops.nt_xent(z)
spent = {task: ticks - before.get(task, 0) for task, ticks in seconds().items()}
print(max(ticks for task, ticks in spent.items() if task != os.getpid()) / sum(spent.values()))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads' times are Linux's")
def test_a_second_thread_does_its_share():
    """Compiled without OpenMP, torch's parallel_for is a serial loop, and nothing says so."""
    done = subprocess.run(
        [sys.executable, "-c", SHARE_OF_OTHER_THREADS], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 0.3
