"""Splits are seeded, whole, disjoint, and come back from their file."""

import pytest

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.splits import (
    PAPER_SPLITS,
    Split,
    dexter_object_split,
    random_split,
    stb_split,
)


def test_a_tenth_of_freihand_s_hands_is_held_out_and_nothing_is_lost():
    split = PAPER_SPLITS["freihand"](range(32560), 0)
    assert len(split.parts["val"]) == 3256
    assert split.part("train") | split.part("val") == set(range(32560))
    assert not split.part("train") & split.part("val")


def test_splits_are_functions_of_the_seed():
    def chosen(seed):
        return random_split("freihand", range(100), seed).parts["val"]

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)
    assert len(random_split("x", ["a", "b"], held_out=0.01).parts["val"]) == 1


def test_stb_s_first_background_is_the_test_set():
    names = [f"B{b}{kind}" for b in range(1, 7) for kind in ("Counting", "Random")]
    split = stb_split(names)
    assert split.parts["test"] == ["B1Counting", "B1Random"]
    assert len(split.parts["train"]) == 10


def test_dexter_object_s_sequences_are_parts_of_their_own():
    split = dexter_object_split(["Grasp1", "Rigid"])
    assert split.parts == {"Grasp1": ["Grasp1"], "Rigid": ["Rigid"]}


def test_a_file_gives_the_split_back(tmp_path):
    split = random_split("freihand", range(40), seed=3)
    split.write(tmp_path / "s.json")
    assert Split.read(tmp_path / "s.json") == split


def test_other_files_parts_and_overlaps_are_refused(tmp_path):
    (tmp_path / "s.json").write_text('{"a": 1}')
    with pytest.raises(DatasetError, match=r"s\.json: not a file of `pyhandpose data split`"):
        Split.read(tmp_path / "s.json")
    split = random_split("freihand", range(4))
    with pytest.raises(ValueError, match="part to be one of train, val, got 'test'"):
        split.part("test")
    with pytest.raises(ValueError, match="in two parts"):
        Split("x", "", 0, {"a": [1], "b": [1]})
    with pytest.raises(ValueError, match="expected a share"):
        random_split("x", range(10), held_out=1.5)
