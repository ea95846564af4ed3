"""Streaming gives what json.load gives, however the file is cut into chunks."""

import json
import tracemalloc

import numpy as np
import pytest

from pyhandpose.data import annotation_json
from pyhandpose.data.annotation_json import load_rows, stream_json
from pyhandpose.data.faults import DatasetError, Faults

RECORD = {
    "info": {"year": 2020, "note": 'a, ] and } and \\" in a string'},
    "images": [{"id": 1, "name": "ä.png"}, {"id": 2, "name": "b]"}],
    "empty": [],
    "numbers": [1, 23.5, -4e-3, 567890],
    "last": "x",
}


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("indent", [None, 2])
def test_elements_are_those_of_json_load(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(annotation_json, "CHUNK_CHARACTERS", chunk)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(RECORD, indent=indent) + "\n", encoding="utf-8")
    expected = [(k, e) for k, v in RECORD.items() if isinstance(v, list) for e in v]
    assert list(stream_json(path)) == expected
    path.write_text(json.dumps(RECORD["numbers"]))
    assert [e for _, e in stream_json(path)] == RECORD["numbers"]


@pytest.mark.parametrize("chunk", [5, 10_000])
def test_every_truncation_is_noticed(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(annotation_json, "CHUNK_CHARACTERS", chunk)
    text = json.dumps({"images": [{"id": 1}, {"id": 22}], "n": [1, 2]})
    path = tmp_path / "a.json"
    for length in range(len(text)):
        path.write_text(text[:length])
        with pytest.raises(DatasetError, match="copy it again"):
            list(stream_json(path))
    path.write_text(text + "]")
    with pytest.raises(DatasetError, match="expected the end of the file"):
        list(stream_json(path))


def test_a_broken_element_does_not_take_the_file_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(annotation_json, "CHUNK_CHARACTERS", 100)
    monkeypatch.setattr(annotation_json, "MAX_ELEMENT_CHARACTERS", 1000)
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, {"b": "' + "x" * 100_000)
    stream = stream_json(path)
    assert next(stream) == ("", {"a": 1})
    with pytest.raises(DatasetError, match="at character 11"):
        next(stream)


def test_a_large_file_is_read_with_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(annotation_json, "CHUNK_CHARACTERS", 20_000)
    path = tmp_path / "a.json"
    element = [[0.5, -1.25, 3e4]] * 100
    path.write_text(json.dumps({"annotations": [element] * 1000}))
    assert path.stat().st_size > 1_500_000
    tracemalloc.start()
    assert sum(len(e) for _, e in stream_json(path)) == 100_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


def test_rows_of_the_wrong_shape_become_nan_by_name(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([[1, 2], [3], [5, "x"], [7, 8]]))
    faults = Faults("skip")
    rows = load_rows(path, (2,), faults)
    np.testing.assert_array_equal(rows, [[1, 2], [np.nan] * 2, [np.nan] * 2, [7, 8]])
    assert [fault.entry for fault in faults.named] == ["1", "2"]
    path.write_text('{"a": 1}')
    assert load_rows(path, (2,), faults) is None
    assert "expected a list, got dict" in str(faults.named[-1])
