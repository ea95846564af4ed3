from pathlib import Path

from pyhandpose.data.inputs import expand_inputs


def names(paths):
    return [Path(path).name for path in paths]


def test_files_folders_patterns_and_a_webcam(tmp_path):
    for name in ("a/1.jpg", "a/b/2.PNG", "a/clip.MP4", "a/notes.txt", "3.jpg", "x[1].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    words = ["missing.jpg", tmp_path / "a", tmp_path / "*.jpg", tmp_path / "x[1].jpg", "webcam:1"]
    found = expand_inputs([str(word) for word in words])
    assert names(found.photos) == ["missing.jpg", "1.jpg", "2.PNG", "3.jpg", "x[1].jpg"]
    assert names(found.videos) == ["clip.MP4", "webcam:1"]
    assert found.nothing == ()


def test_each_file_once_and_none_of_the_results(tmp_path):
    for name in ("1.jpg", "out/1.overlay.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    words = [str(tmp_path), str(tmp_path / "**" / "*.*"), str(tmp_path / "1.jpg")]
    assert names(expand_inputs(words, tmp_path / "out").photos) == ["1.jpg"]
    assert names(expand_inputs(words).photos) == ["1.jpg", "1.overlay.png"]
    named = str(tmp_path / "out" / "1.overlay.png")  # who names it means it
    assert names(expand_inputs([named], tmp_path / "out").photos) == ["1.overlay.png"]


def test_what_stands_for_nothing_is_said(tmp_path):
    words = [str(tmp_path), str(tmp_path / "*.jpg")]
    assert expand_inputs(words).nothing == tuple(words)
