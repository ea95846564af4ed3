import os

import numpy as np
import pytest

from pyhandpose.data.array_cache import cached_arrays


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "annotations.json"
    path.write_text("first")
    return path


class Builder:
    def __init__(self, source):
        self.source, self.times = source, 0

    def __call__(self):
        self.times += 1
        text = self.source.read_bytes()
        return {"letters": np.frombuffer(text, np.uint8), "length": np.array([len(text)])}

    def arrays(self, version=1):
        return cached_arrays("test", [self.source], version, self)


def folders(tmp_path):
    return sorted(p.name for p in (tmp_path / "cache" / "test").iterdir())


def test_arrays_are_built_once_and_then_mapped(source):
    builder = Builder(source)
    for _ in range(3):
        arrays = builder.arrays()
        assert bytes(arrays["letters"]) == b"first"
        assert isinstance(arrays["letters"], np.memmap)
    assert builder.times == 1


def test_another_source_and_another_version_are_built_and_replace_the_old(source, tmp_path):
    builder = Builder(source)
    builder.arrays()
    source.write_text("second")
    assert bytes(builder.arrays()["letters"]) == b"second"
    assert builder.times == 2
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    builder.arrays()
    assert builder.times == 3
    builder.arrays(version=2)
    assert builder.times == 4
    assert len(folders(tmp_path)) == 1
    assert folders(tmp_path)[0].endswith("-v2")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_a_damaged_cache_is_built_again(source, tmp_path, content):
    builder = Builder(source)
    builder.arrays()
    (path,) = (tmp_path / "cache" / "test").glob("*/letters.npy")
    path.write_bytes(path.read_bytes()[:-2] if content is None else content)
    assert bytes(builder.arrays()["letters"]) == b"first"
    assert builder.times == 2


def test_a_build_that_fails_leaves_nothing(source, tmp_path):
    def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached_arrays("test", [source], 1, fails)
    assert not (tmp_path / "cache" / "test").exists()
    with pytest.raises(ValueError, match="Object arrays"):
        cached_arrays("test", [source], 1, lambda: {"x": np.array([None, {}])})
    assert folders(tmp_path) == []


def test_a_cache_that_cannot_be_written_says_what_to_do(source, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match="set PYHANDPOSE_CACHE"):
        Builder(source).arrays()
