import contextlib
import sys

import numpy as np
import pytest

from pyhandpose.data.video import VideoError, VideoSource, VideoWriter


@pytest.fixture
def clip(tmp_path):
    """Four frames, red turning blue."""
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    with VideoWriter(tmp_path / "clip", 12.5, (64, 48)) as writer:
        for step in range(4):
            frame = np.zeros((48, 64, 3), np.uint8)
            frame[..., 0], frame[..., 2] = 255 - 80 * step, 80 * step
            writer.write(frame)
    return writer.path


def test_what_is_written_is_read_in_rgb(clip):
    with VideoSource(str(clip)) as source:
        assert source.timing.fps == pytest.approx(12.5)
        assert source.timing.num_frames == 4
        frames = list(source.frames())
    colours = np.stack([frame.mean((0, 1)) for frame in frames])
    expected = [[255 - 80 * step, 0, 80 * step] for step in range(4)]
    np.testing.assert_allclose(colours, expected, atol=12)  # the codec loses some


def test_no_row_or_column_is_lost_of_an_odd_size(tmp_path):
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    frame = np.zeros((65, 97, 3), np.uint8)
    frame[:, -1] = 255
    with VideoWriter(tmp_path / "odd", 10.0, (97, 65)) as writer:
        writer.write(frame)
    with VideoSource(str(writer.path)) as source:
        (read,) = source.frames()
    assert read.shape == (66, 98, 3)
    assert read[:, 96:].mean() > 200


def test_an_interrupted_video_leaves_nothing(tmp_path):
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    with contextlib.suppress(RuntimeError), VideoWriter(tmp_path / "clip", 10.0, (64, 48)) as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_webcam_is_opened_by_its_number(clip, monkeypatch):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is an extra")
    opened, capture = [], cv2.VideoCapture

    def camera(which):
        opened.append(which)
        return capture(str(clip))

    monkeypatch.setattr(cv2, "VideoCapture", camera)
    with VideoSource("webcam:3") as source:
        assert source.timing.num_frames is None
        assert len(list(source.frames())) == 4
    assert opened == [3]


@pytest.mark.parametrize(
    ("name", "message"),
    [("webcam:first", "camera's number"), ("gone.mp4", "no such file")],
)
def test_what_is_no_source_is_named(name, message):
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    with pytest.raises(VideoError, match=message):
        VideoSource(name)


def test_a_file_that_is_no_video(tmp_path):
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"no\.mp4: not a video"):
        VideoSource(str(tmp_path / "no.mp4"))


def test_without_opencv_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(VideoError, match=r"clip\.mp4.*pip install 'pyhandpose\[opencv\]'"):
        VideoSource("clip.mp4")
