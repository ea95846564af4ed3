"""The cache of rendered samples: same bytes whatever happens to it."""

import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from pyhandpose.data import synthetic
from pyhandpose.data.synthetic import SyntheticDataset, render
from pyhandpose.data.synthetic_cache import SHARD_LENGTH, cache_directory

SIZE = 16


def make(cache, count=SHARD_LENGTH + 5, **options):
    return SyntheticDataset(count, SIZE, cache=cache, progress=False, **options)


def shards(cache):
    return sorted(cache.rglob("*.npy"))


def test_reading_returns_the_rendered_samples(tmp_path):
    data = make(tmp_path, look="wild", seed=4)
    assert len(data) == SHARD_LENGTH + 5
    indices = [SHARD_LENGTH + 4, 0, SHARD_LENGTH - 1, 0]  # across shards, out of order, repeated
    read, rendered = data.read(indices), render(4, indices, SIZE, "wild", geometry=False)
    for field in ("image", "joints_img", "joints_cam", "intrinsics", "visibility", "occluded"):
        assert torch.equal(getattr(read, field), getattr(rendered, field)), field
    assert read.joint_valid.all()
    assert read.mask is None


def test_geometry_is_kept_on_demand(tmp_path):
    read = make(tmp_path, 3, geometry=True).read(torch.tensor([2, 1]))
    rendered = render(0, [2, 1], SIZE)
    assert torch.equal(read.mask, rendered.mask)
    assert torch.equal(read.depth, rendered.depth)


def test_a_larger_dataset_renders_only_what_is_missing(tmp_path, monkeypatch):
    make(tmp_path, SHARD_LENGTH)
    rendered = []
    original = SyntheticDataset._render_shard
    monkeypatch.setattr(
        SyntheticDataset,
        "_render_shard",
        lambda self, first: rendered.append(first) or original(self, first),
    )
    make(tmp_path, 2 * SHARD_LENGTH + 1)
    assert rendered == [SHARD_LENGTH, 2 * SHARD_LENGTH]


def test_an_interrupted_generation_is_taken_up_again(tmp_path, monkeypatch):
    original = SyntheticDataset._render_shard

    def interrupt(self, first):
        if first >= SHARD_LENGTH:
            raise KeyboardInterrupt
        return original(self, first)

    monkeypatch.setattr(SyntheticDataset, "_render_shard", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path)
    assert len(shards(tmp_path)) == 1
    assert not list(tmp_path.rglob("*.tmp"))
    kept = shards(tmp_path)[0].stat().st_mtime_ns
    monkeypatch.setattr(SyntheticDataset, "_render_shard", original)
    data = make(tmp_path)
    assert shards(tmp_path)[0].stat().st_mtime_ns == kept
    assert torch.equal(data.read([SHARD_LENGTH]).image, render(0, [SHARD_LENGTH], SIZE).image)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def cut_the_checksum(path):
    os.truncate(path, path.stat().st_size - 1)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def delete(path):
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, cut_the_checksum, flip_a_byte, empty, delete])
@pytest.mark.parametrize("when", ["before opening", "before reading"])
def test_a_damaged_shard_is_made_again(tmp_path, damage, when):
    data = make(tmp_path)
    whole = shards(tmp_path)[0].read_bytes()
    fresh = make(tmp_path) if when == "before reading" else None
    if fresh is not None:
        fresh = pickle.loads(pickle.dumps(fresh))  # nothing open yet, as in another process
    damage(shards(tmp_path)[0])
    data = make(tmp_path) if fresh is None else fresh
    assert torch.equal(data.read([3]).image, render(0, [3], SIZE).image)
    assert shards(tmp_path)[0].read_bytes() == whole


def test_two_processes_at_once_end_with_the_same_cache(tmp_path):
    code = (
        "import sys; from pyhandpose.data.synthetic import SyntheticDataset as D;"
        f"d = D({6 * SHARD_LENGTH}, {SIZE}, cache=sys.argv[1], progress=False, num_threads=1);"
        "print(d.read(range(len(d))).image.long().sum().item())"
    )
    both, alone = tmp_path / "both", tmp_path / "alone"
    running = [
        subprocess.Popen([sys.executable, "-c", code, both], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    make(alone, 6 * SHARD_LENGTH)
    assert (
        outputs[0]
        == outputs[1]
        == f"{make(alone, 6 * SHARD_LENGTH).read(range(6 * SHARD_LENGTH)).image.long().sum()}\n"
    )
    assert [p.read_bytes() for p in shards(both)] == [p.read_bytes() for p in shards(alone)]
    assert not list(both.rglob("*.tmp"))


def test_a_killed_process_leaves_files_that_are_cleared_later(tmp_path):
    make(tmp_path, 1)
    directory = shards(tmp_path)[0].parent
    old, recent = directory / "000001-a.tmp", directory / "000001-b.tmp"
    old.touch()
    recent.touch()
    os.utime(old, (time.time() - 1e5,) * 2)
    make(tmp_path)
    assert not old.exists()
    assert recent.exists()  # it may belong to a process that is at work


def test_worlds_do_not_share_a_cache(tmp_path, monkeypatch):
    worlds = [
        make(tmp_path, 1),
        make(tmp_path, 1, seed=1),
        make(tmp_path, 1, look="wild"),
        make(tmp_path, 1, geometry=True),
        SyntheticDataset(1, SIZE + 1, cache=tmp_path, progress=False),
    ]
    monkeypatch.setattr(synthetic._renderer, "version", -1)  # a renderer of another version
    worlds.append(make(tmp_path, 1))
    assert len({world.fingerprint() for world in worlds}) == len(worlds)
    assert len(shards(tmp_path)) == len(worlds)


def test_workers_can_be_given_the_dataset(tmp_path):
    data = make(tmp_path, 2)
    data.read([0])
    assert torch.equal(pickle.loads(pickle.dumps(data)).read([1]).image, data.read([1]).image)


def test_the_cache_goes_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path / "own"))
    assert cache_directory() == tmp_path / "own"
    monkeypatch.delenv("PYHANDPOSE_CACHE")
    assert cache_directory() == tmp_path / "xdg" / "pyhandpose"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "pyhandpose"
    monkeypatch.setenv("PYHANDPOSE_CACHE", "~/hands")
    assert cache_directory() == tmp_path / "hands"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="set PYHANDPOSE_CACHE"):
        make(tmp_path / "file")


@pytest.mark.parametrize("indices", [[-1], [5], torch.tensor([7])])
def test_indices_beyond_the_dataset_are_refused(tmp_path, indices):
    with pytest.raises(IndexError, match="0 <= index < 5"):
        make(tmp_path, 5).read(indices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": -3}, "count must be 1"),
        ({"count": 0}, "count must be 1"),
        ({"look": "cartoon"}, "look must be one of"),
        ({"size": 8}, "size must be 16"),
        ({"seed": -1}, "seed"),
        ({"num_threads": 0}, "num_threads must be at least 1"),
    ],
)
def test_bad_arguments_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        SyntheticDataset(**({"count": 1, "cache": tmp_path} | options))
    assert not list(tmp_path.iterdir())


def test_samples_are_arrays_of_their_own(tmp_path):
    """Writing into a batch must not reach the file."""
    data = make(tmp_path, 1)
    data.read([0]).image.zero_()
    assert data.read([0]).image.any()
    assert np.load(shards(tmp_path)[0], mmap_mode="r")["image"][0].any()
