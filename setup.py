"""Builds the extension module ``pyhandpose._C`` with CMake against the torch of this environment.

Environment variables:
    FORCE_CPU=1             build without CUDA kernels
    TORCH_CUDA_ARCH_LIST    CUDA architectures, as torch writes them; default "8.0;9.0+PTX"
    CUDA_HOME               where nvcc is; default: nvcc on PATH, then /usr/local/cuda
    MAX_JOBS                parallel compilations; default: the number of cores
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
DEFAULT_ARCHITECTURES = "8.0;9.0+PTX"
MINIMUM_TORCH = (2, 11)
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")  # names the Python that the module is for


def import_torch():
    """The torch to build against, or an exit that says how to get one."""
    try:
        import torch
    except ImportError:
        sys.exit(
            "pyhandpose: torch is not installed in this environment. Install it first, then build "
            "against it: pip install 'torch>=2.11' && pip install --no-build-isolation ."
        )
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < MINIMUM_TORCH:
        sys.exit(f"pyhandpose: expected torch >= 2.11, got {torch.__version__}: upgrade torch")
    return torch


def find_tool(name):
    """Path of a build tool: of this environment first, then on PATH; or None."""
    environment = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join([environment, os.environ.get("PATH", "")]))


def find_nvcc():
    """Path of nvcc and its (major, minor) version, or (None, None)."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    candidates = [Path(home, "bin", "nvcc") for home in homes]
    if on_path := shutil.which("nvcc"):
        # A launcher script on PATH may stand before the toolkit; prefer the toolkit's own.
        candidates += [Path("/usr/local/cuda/bin/nvcc"), Path(on_path)]
    candidates.append(Path("/usr/local/cuda/bin/nvcc"))
    for nvcc in candidates:
        if nvcc.exists():
            text = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
            if match := re.search(r"release (\d+)\.(\d+)", text):
                return nvcc, (int(match[1]), int(match[2]))
    return None, None


def cuda_choice(torch):
    """The nvcc to build CUDA kernels with, or None and the reason why there will be none."""
    if os.environ.get("FORCE_CPU", "0") not in ("", "0"):
        return None, "FORCE_CPU is set"
    if torch.version.cuda is None:
        return None, f"torch {torch.__version__} is a CPU-only build"
    nvcc, version = find_nvcc()
    if nvcc is None:
        return None, "nvcc was not found (set CUDA_HOME)"
    torch_major = int(torch.version.cuda.split(".")[0])
    if version[0] != torch_major:
        return None, (
            f"nvcc is CUDA {version[0]}.{version[1]} but torch was built with CUDA "
            f"{torch.version.cuda}: the major versions must agree (install CUDA {torch_major} and "
            "set CUDA_HOME, or install a torch for your CUDA)"
        )
    return nvcc, ""


def cmake_architectures(arch_list):
    """torch's "8.0;9.0+PTX" as CMake's "80-real;90-real;90-virtual"."""
    architectures = []
    for entry in re.split(r"[;\s,]+", arch_list.strip()):
        match = re.fullmatch(r"(\d+)\.(\d)([af]?)(\+PTX)?", entry)
        if match is None:
            sys.exit(
                "pyhandpose: TORCH_CUDA_ARCH_LIST expected entries like 8.0 or 9.0+PTX, "
                f"got {entry!r} in {arch_list!r}"
            )
        number = match[1] + match[2] + match[3]
        architectures.append(f"{number}-real")
        if match[4]:
            architectures.append(f"{number}-virtual")
    return ";".join(architectures)


class CMakeBuild(build_ext):
    """Configure and build with CMake, put the module and what is known of it where it belongs."""

    def build_extension(self, ext):
        """Build `ext`, the only extension."""
        torch = import_torch()
        nvcc, reason = cuda_choice(torch)
        if nvcc is None:
            self.warn(f"pyhandpose: building for the CPU only: {reason}")
        cmake = find_tool("cmake")
        if cmake is None:
            sys.exit("pyhandpose: cmake was not found: pip install 'cmake>=3.25' ninja")
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        # Not build_temp, which pip makes anew each time: here a rebuild compiles what changed.
        build_dir = ROOT / "build" / f"{'cuda' if nvcc else 'cpu'}-{torch.__version__}-{SUFFIX}"
        build_dir.mkdir(parents=True, exist_ok=True)
        arch_list = os.environ.get("TORCH_CUDA_ARCH_LIST") or DEFAULT_ARCHITECTURES
        torch_dir = Path(torch.__file__).resolve().parent
        configure = [
            cmake,
            str(ROOT),
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            f"-DPYHANDPOSE_TORCH_DIR={torch_dir}",
            f"-DPYHANDPOSE_PYTHON_INCLUDE={sysconfig.get_path('include')}",
            f"-DPYHANDPOSE_MODULE_SUFFIX={SUFFIX}",
            f"-DPYHANDPOSE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
            f"-DPYHANDPOSE_WITH_CUDA={'ON' if nvcc else 'OFF'}",
        ]
        if nvcc:
            configure += [
                f"-DCMAKE_CUDA_COMPILER={nvcc}",
                f"-DCMAKE_CUDA_ARCHITECTURES={cmake_architectures(arch_list)}",
            ]
        if ninja := find_tool("ninja"):
            configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        if launcher := shutil.which("ccache"):
            configure += [f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}"]
        jobs = os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)
        subprocess.run(configure, cwd=build_dir, check=True)
        subprocess.run([cmake, "--build", ".", "--parallel", jobs], cwd=build_dir, check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(build_dir / f"_C{SUFFIX}", target)
        build = {
            "torch": torch.__version__,
            "cuda": torch.version.cuda if nvcc else None,
            "cuda_architectures": arch_list if nvcc else None,
            "cuda_left_out": reason or None,
            "python": sysconfig.get_python_version(),
            "compiler": compiler_version(build_dir),
        }
        (target.parent / "_build.json").write_text(json.dumps(build, indent=2) + "\n")

    def copy_extensions_to_source(self):
        """For --inplace: the module and the note of its build go beside the Python files."""
        super().copy_extensions_to_source()
        note = Path(self.build_lib, "pyhandpose", "_build.json")
        shutil.copy2(note, ROOT / "pyhandpose" / "_build.json")


def compiler_version(build_dir):
    """The C++ compiler that CMake chose, as it names itself."""
    cache = (build_dir / "CMakeCache.txt").read_text()
    compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.+)$", cache, re.MULTILINE)
    if compiler is None:
        return "unknown"
    text = subprocess.run([compiler[1], "--version"], capture_output=True, text=True).stdout
    return text.splitlines()[0] if text else "unknown"


setup(
    license="BSD-3-Clause",
    ext_modules=[Extension("pyhandpose._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
