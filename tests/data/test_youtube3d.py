"""YouTube3DHands: its cache, left hands, joints by a regressor, and frames that are missing."""

import json
import pickle

import numpy as np
import pytest
import torch

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.registry import open_dataset
from pyhandpose.data.vertex_cache import VertexCache
from tests.data.fixtures.mesh import regressor
from tests.data.fixtures.youtube3d import write_youtube3d


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "yt3d"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "YT").mkdir()
    return tmp_path / "YT"


def edit(root, change):
    path = root / "youtube_train.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_without_a_regressor_it_gives_crops_of_right_hands_without_labels(root):
    hands = write_youtube3d(root)
    data = open_dataset(f"yt3d:{root}?size=96")
    assert len(data) == 6
    batch = data.read(torch.arange(6))
    assert batch.joints_img is batch.joints_cam is batch.intrinsics is batch.joint_valid is None
    # the file lists annotations backwards; frames 2 and 5 show left hands
    assert [s.entry for s in batch.source] == [str(7005 - i) for i in range(6)]
    assert batch.mirrored.tolist() == [True, False, False, True, False, False]
    # undo the crop: the middle of the crop must be the middle of the hand, mirrored or not
    middle = batch.source_points(torch.full((6, 1, 2), 47.5))[:, 0]
    low, high = hands.joints_img.amin(1), hands.joints_img.amax(1)
    expected = ((low + high) / 2 + torch.tensor([90, 20])).flip(0)
    expected[batch.mirrored, 0] = 319 - expected[batch.mirrored, 0]
    torch.testing.assert_close(middle, expected, atol=0.02, rtol=0)


def test_with_a_regressor_image_points_lie_on_the_mirrored_hand(root, tmp_path):
    hands = write_youtube3d(root)
    np.save(tmp_path / "w.npy", regressor())
    data = open_dataset(f"yt3d:{root}?regressor={tmp_path / 'w.npy'}&size=320&margin=2")
    batch = data.read(torch.arange(6))
    assert batch.joint_valid.all()
    assert batch.joints_cam is None  # pixels without a camera are no metres
    # mirrored or not, it is the rendered right hand up to the crop's zoom and shift
    zoom = batch.crop[:, 1, 1, None, None]
    shape = (batch.joints_img - batch.joints_img[:, :1]) / zoom
    expected = (hands.joints_img - hands.joints_img[:, :1]).flip(0)
    torch.testing.assert_close(shape, expected, atol=0.02, rtol=0)


def test_missing_frames_are_counted_once_and_left_out(root, caplog):
    write_youtube3d(root)
    for name in ("0", "4"):
        (root / f"youtube/video0/video/frames/{name}.png").unlink()
    with pytest.raises(DatasetError, match=r"frames/4\.png\[7004\]: no such file"):
        open_dataset(f"yt3d:{root}").read(torch.arange(6))
    data = open_dataset(f"yt3d:{root}?on_error=skip")
    assert len(data) == 4
    assert len(data.read(torch.arange(4))) == 4
    assert data.faults.counts == {"missing image": 2}
    assert "2 of 6 images are missing" in caplog.text


def test_frames_of_another_size_are_faults(root):
    write_youtube3d(root)
    edit(root, lambda record: record["images"][0].update(width=640, height=400))
    with pytest.raises(DatasetError, match="expected 640 x 400 px, got 320 x 200 px"):
        open_dataset(f"yt3d:{root}").read(torch.arange(6))


def test_the_cache_is_built_once_and_again_when_the_source_changes(root, cache, monkeypatch):
    write_youtube3d(root)
    open_dataset(f"yt3d:{root}")
    (built,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(
            "pyhandpose.data.vertex_cache.stream_json", lambda *a, **k: pytest.fail("parsed again")
        )
        assert len(open_dataset(f"yt3d:{root}")) == 6
    edit(root, lambda record: record["annotations"].pop())
    assert len(open_dataset(f"yt3d:{root}")) == 5
    (again,) = cache.iterdir()  # the old one is gone
    assert again != built


def test_a_damaged_cache_is_built_again(root, cache):
    write_youtube3d(root)
    data = open_dataset(f"yt3d:{root}")
    (built,) = cache.iterdir()
    path = built / "levels.npy"
    whole = path.read_bytes()
    for damage in (whole[:-1], whole[: len(whole) // 2], b""):
        path.unlink()  # the open dataset still maps the former file
        path.write_bytes(damage)
        again = open_dataset(f"yt3d:{root}")
        assert path.read_bytes() == whole
        assert torch.equal(again.read(torch.arange(2)).image, data.read(torch.arange(2)).image)


def test_an_interrupted_build_leaves_nothing(root, cache, monkeypatch):
    write_youtube3d(root)
    monkeypatch.setattr("os.rename", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        VertexCache(root / "youtube_train.json")
    assert not list(cache.iterdir())


def test_vertices_are_kept_to_a_hundredth_of_a_pixel_and_survive_pickling(root):
    write_youtube3d(root)
    cache = VertexCache(root / "youtube_train.json")
    record = json.loads((root / "youtube_train.json").read_text())
    for number, annotation in enumerate(record["annotations"]):
        np.testing.assert_allclose(cache.vertices(number), annotation["vertices"], atol=0.01)
    copy = pickle.loads(pickle.dumps(cache))
    np.testing.assert_array_equal(copy.vertices(3), cache.vertices(3))
    assert isinstance(copy._levels, np.memmap)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(vertices=a["vertices"][:777]), r"expected 778 x 3 vertices"),
        (lambda a: a["vertices"][5].__setitem__(0, float("nan")), "a vertex is not finite"),
        (lambda a: a["vertices"][5].pop(), "not all triples"),
        (lambda a: a.pop("is_left"), "no is_left"),
        (lambda a: a.update(image_id=5), "no image with id 5"),
    ],
)
def test_a_broken_annotation_is_named_and_the_others_are_read(root, change, message):
    write_youtube3d(root)
    edit(root, lambda record: change(record["annotations"][1]))
    with pytest.raises(DatasetError, match=rf"youtube_train\.json\[7004\]: .*{message}"):
        open_dataset(f"yt3d:{root}").read(torch.arange(6))
    data = open_dataset(f"yt3d:{root}?on_error=skip")
    batch = data.read(torch.arange(len(data)))
    assert [s.entry for s in batch.source] == ["7005", "7003", "7002", "7001", "7000"]


@pytest.mark.parametrize("cut", [10, 3000, -1])
def test_truncated_json_says_where(root, cut, cache):
    write_youtube3d(root)
    path = root / "youtube_train.json"
    path.write_text(path.read_text()[:cut])
    with pytest.raises(DatasetError, match=r"youtube_train\.json: cut off .* at character [\d,]+"):
        open_dataset(f"yt3d:{root}")
    assert not cache.exists() or not list(cache.iterdir())


def test_a_missing_file_is_named(root):
    with pytest.raises(DatasetError, match=r"youtube_val\.json: no such file"):
        open_dataset(f"yt3d:{root}?split=val")
