import numpy as np
import pytest

from pyhandpose.data.faults import DatasetError, Faults
from pyhandpose.data.number_text import read_numbers, read_point_rows


def test_numbers_may_be_separated_by_commas_and_white_space(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("1, 2.5,-3\n4e1 5\t6\n")
    np.testing.assert_array_equal(read_numbers(path, (2, 3)), [[1, 2.5, -3], [40, 5, 6]])


def test_rows_of_points_end_with_or_without_a_semicolon(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("1, 2; 3,4;\n5,6;7,8\n\n")
    expected = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    np.testing.assert_array_equal(read_point_rows(path, 2, 2, Faults()), expected)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "", "1,2,x,4"])
def test_other_counts_and_words_are_refused(tmp_path, text):
    path = tmp_path / "numbers.txt"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"numbers\.txt: (expected 4 numbers|could not convert)"):
        read_numbers(path, (2, 2))


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.txt: no such file"):
        read_numbers(tmp_path / "none.txt", (3,))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"binary\.txt: not readable as text"):
        read_point_rows(tmp_path / "binary.txt", 5, 3, Faults())


def test_a_broken_row_is_counted_and_not_a_number(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("1,2; 3,4;\n5,6; 7;\n9,x; 1,2\n1,1; 2,2\n")
    faults = Faults("skip")
    rows = read_point_rows(path, 2, 2, faults)
    assert np.isnan(rows[[1, 2]]).all()
    np.testing.assert_array_equal(rows[[0, 3]], [[[1, 2], [3, 4]], [[1, 1], [2, 2]]])
    assert [fault.entry for fault in faults.named] == ["line 2", "line 3"]
