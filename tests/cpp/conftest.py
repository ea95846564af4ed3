"""CUDA kernels' own source, compiled for the host (``cuda_on_host``) and called from Python."""

import ctypes
import functools
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent
FLAGS = ["-std=c++20", "-O1", "-fno-math-errno", "-DPYHANDPOSE_WITH_CUDA"]
# Threads jump between stacks of their own: no fault, as the C library's check takes it for.
FLAGS += ["-U_FORTIFY_SOURCE", "-I", FOLDER / "cuda_on_host"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-sign-compare"]


def convert(argument):
    """What C is given for None, a flag, a count or a tensor."""
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, torch.Tensor):
        assert argument.is_contiguous()
        return ctypes.c_void_p(argument.data_ptr())
    return ctypes.c_bool(argument) if isinstance(argument, bool) else ctypes.c_int64(argument)


@pytest.fixture(scope="session")
def compile_on_host(tmp_path_factory):
    """A function: the program, or with "-shared" the library, of a source in this folder."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler on PATH")
    folder = tmp_path_factory.mktemp("on_host")

    def build(name, *flags):
        target = folder / name
        source = FOLDER / f"{name}.cpp"
        subprocess.run([compiler, *FLAGS, *WARNINGS, *flags, source, "-o", target], check=True)
        return target

    return build


@pytest.fixture(scope="session")
def kernels_on_host(compile_on_host):
    """Of an op: a function that calls a kernel's launch by name and with its dtype."""

    @functools.cache
    def load(op):
        target = compile_on_host(f"{op}_cuda", "-shared", "-fPIC")
        library = ctypes.CDLL(target)

        def call(name, dtype, *arguments):
            launch = library[f"{op}_{name}_{str(dtype).removeprefix('torch.')}"]
            launch.restype = None
            launch(*map(convert, arguments))

        return call

    return load


@pytest.fixture(params=[0, 1], ids=["aligned", "unaligned"])
def place(request):
    """Functions that copy a tensor, or make one of NaN, at a multiple of 16 bytes or beyond one."""

    def unwritten(*shape, dtype):
        count = torch.Size(shape).numel()
        unlikely = torch.nan if dtype.is_floating_point else -1
        memory = torch.full((count + 17,), unlikely, dtype=dtype)
        first = -(memory.data_ptr() // memory.element_size()) % (16 // memory.element_size())
        return memory[first + request.param :][:count].view(shape)

    def copy(tensor):
        return unwritten(*tensor.shape, dtype=tensor.dtype).copy_(tensor)

    return copy, unwritten
