import json

import pytest

from pyhandpose.data.boxes_file import BoxesFile, BoxesFileError, HandBox


def test_csv(tmp_path):
    lines = ["\ufefffile,x,y,w,h,hand", "a/1.jpg,1,2,30,40,left"]  # Excel begins like this
    lines += ["a/1.jpg,0,0,5,5,", "2.jpg,-3,0.5,9,9,right"]
    (tmp_path / "b.csv").write_text("\n".join(lines))
    boxes = BoxesFile(tmp_path / "b.csv")
    assert len(boxes) == 3
    assert boxes.of("a/1.jpg") == [HandBox((1, 2, 31, 42), "left"), HandBox((0, 0, 5, 5), None)]
    assert boxes.of("somewhere/2.jpg") == [HandBox((-3, 0.5, 6, 9.5), "right")]
    assert boxes.of("else/1.jpg") == []  # written with its folder: another folder is another file


def test_a_csv_file_without_hands(tmp_path):
    (tmp_path / "b.csv").write_text("file,x,y,w,h\n1.jpg,1,2,3,4\n")
    assert BoxesFile(tmp_path / "b.csv").of("1.jpg") == [HandBox((1, 2, 4, 6), None)]


def test_coco(tmp_path):
    record = {
        "images": [{"id": 7, "file_name": "1.jpg"}, {"id": 8, "file_name": "2.jpg"}],
        "annotations": [
            {"image_id": 8, "bbox": [1, 2, 3, 4], "hand_type": "left"},
            {"image_id": 7, "bbox": [5, 6, 7, 8]},
            {"image_id": 7, "bbox": [0, 0, 9, 9], "hand_type": "interacting"},
        ],
    }
    (tmp_path / "b.json").write_text(json.dumps(record))
    boxes = BoxesFile(tmp_path / "b.json")
    assert boxes.of("2.jpg") == [HandBox((1, 2, 4, 6), "left")]
    assert boxes.of("x/1.jpg") == [HandBox((5, 6, 12, 14), None), HandBox((0, 0, 9, 9), None)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.csv", "file,x,y,w\n1.jpg,1,2,3\n", "no column h"),
        ("b.csv", "", "no column file"),
        ("b.csv", "file,x,y,w,h\n1.jpg,1,2,3,4\n2.jpg,1,2,0,4\n", "line 3.*w and h positive"),
        ("b.csv", "file,x,y,w,h\n1.jpg,1,2,nan,4\n", "line 2"),
        ("b.csv", "file,x,y,w,h\n1.jpg,1,2\n", "line 2"),
        ("b.csv", "file,x,y,w,h,hand\n1.jpg,1,2,3,4,middle\n", "right or left, got 'middle'"),
        ("b.json", "{", "expected a CSV file"),
        ("b.json", '{"images": []}', "annotations"),
        ("b.json", '[{"image_id": 1}]', "COCO"),
        (
            "b.json",
            '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 2}]}',
            r"KeyError\(2\)",
        ),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(BoxesFileError, match=message) as error:
        BoxesFile(tmp_path / name)
    assert name in str(error.value)
