"""csrc/common/svd3.h on its own, compiled for this test: numbers and lanes of numbers."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SOURCE = Path(__file__).with_name("svd3.cpp")
DTYPES = {"float": np.float32, "double": np.float64}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler on PATH")
    target = tmp_path_factory.mktemp("svd3") / "svd3"
    flags = ["-std=c++20", "-O2", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(target)], check=True)
    return target


def decompose(program, matrices, precision, kind="scalar"):
    """(n,3,3) -> U (n,3,3), s (n,3), V (n,3,3) in float64."""
    matrices = np.ascontiguousarray(matrices, DTYPES[precision])
    result = subprocess.run(
        [program, precision, kind], input=matrices.tobytes(), stdout=subprocess.PIPE, check=True
    )
    out = np.frombuffer(result.stdout, DTYPES[precision]).reshape(-1, 21).astype(np.float64)
    assert len(out) == len(matrices)
    return out[:, :9].reshape(-1, 3, 3), out[:, 9:12], out[:, 12:].reshape(-1, 3, 3)


def assert_is_signed_svd(program, matrices, precision):
    """The laws of the header's first lines, relative to the largest singular value."""
    matrices = np.asarray(matrices, DTYPES[precision])
    U, s, V = decompose(program, matrices, precision)
    accuracy = 32 * np.finfo(DTYPES[precision]).eps
    size = np.abs(matrices).max((1, 2)).astype(np.float64)
    size = np.where(size == 0, 1, size)[:, None, None]
    exact = matrices.astype(np.float64) / size
    s = s / size[:, 0]
    for frame in (U, V):
        np.testing.assert_allclose(frame.mT @ frame, np.eye(3)[None] + 0 * frame, atol=accuracy)
        np.testing.assert_allclose(np.linalg.det(frame), 1, atol=accuracy)
    np.testing.assert_allclose((U * s[:, None]) @ V.mT, exact, atol=accuracy)
    assert (s[:, 0] >= s[:, 1] - accuracy).all()
    assert (s[:, 1] >= np.abs(s[:, 2]) - accuracy).all()
    np.testing.assert_allclose(
        np.abs(s), np.linalg.svd(exact, compute_uv=False), rtol=0, atol=accuracy
    )


def orthogonal(random, count):
    return np.linalg.qr(random.standard_normal((count, 3, 3)))[0]


def with_singular_values(random, values, count=200):
    return (orthogonal(random, count) * np.asarray(values)) @ orthogonal(random, count).mT


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(
    "values",
    [
        (3, 2, 1),
        (1, 1, 1),
        (1, 1, 0.5),
        (1, 0.5, 0.5),
        (1, 1 + 1e-6, 1 - 1e-6),
        (1, 1e-3, 1e-6),
        (1, 1, 0),
        (1, 1e-4, 0),
        (1, 0.3, 1e-9),
        (1, 0, 0),
        (1, 1e-12, 0),
    ],
)
def test_singular_values_of_every_kind(program, precision, values):
    assert_is_signed_svd(program, with_singular_values(np.random.default_rng(0), values), precision)


@pytest.mark.parametrize("precision", DTYPES)
def test_random_matrices(program, precision):
    random = np.random.default_rng(1)
    assert_is_signed_svd(program, random.standard_normal((20000, 3, 3)), precision)
    # Columns and rows of very different lengths are the hard case of Jacobi's method.
    lengths = 10.0 ** random.uniform(-5, 0, (20000, 1, 3))
    assert_is_signed_svd(program, lengths * random.standard_normal((20000, 3, 3)), precision)
    assert_is_signed_svd(program, lengths.mT * random.standard_normal((20000, 3, 3)), precision)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_only_ratios_matter(program, precision, scale):
    random = np.random.default_rng(2)
    assert_is_signed_svd(program, scale * random.standard_normal((500, 3, 3)), precision)
    assert_is_signed_svd(program, scale * with_singular_values(random, (1, 1, 1)), precision)


@pytest.mark.parametrize("precision", DTYPES)
def test_matrices_of_few_values(program, precision):
    # All 3x3 matrices of -1, 0 and 1: every pattern of zeros, ties and rank.
    entries = np.stack(np.meshgrid(*[[-1, 0, 1]] * 9, indexing="ij"), -1).reshape(-1, 3, 3)
    assert_is_signed_svd(program, entries, precision)


@pytest.mark.parametrize("precision", DTYPES)
def test_zero_is_decomposed_by_the_identity(program, precision):
    U, s, V = decompose(program, np.zeros((1, 3, 3)), precision)
    np.testing.assert_array_equal(U[0], np.eye(3))
    np.testing.assert_array_equal(V[0], np.eye(3))
    np.testing.assert_array_equal(s, 0)


@pytest.mark.parametrize("precision", DTYPES)
def test_lanes_are_the_same_numbers(program, precision):
    random = np.random.default_rng(3)
    matrices = random.standard_normal((101, 3, 3))
    matrices[7] = 0
    matrices[8, :, 1:] = 0  # rank one
    alone, together = (decompose(program, matrices, precision, k) for k in ("scalar", "lanes"))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=64 * np.finfo(DTYPES[precision]).eps)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=9, max_size=9))
def test_any_matrix(program, entries):
    for precision in DTYPES:
        assert_is_signed_svd(program, np.reshape(entries, (1, 3, 3)), precision)
