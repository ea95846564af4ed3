"""What stands after the question mark, and what is said when it is wrong."""

from pathlib import Path
from typing import Literal

import pytest

from pyhandpose.data import registry
from pyhandpose.data.annotated import ReadOptions
from pyhandpose.data.registry import Form, describe_forms, open_dataset


def open_probe(
    path: Path,
    read: ReadOptions,
    *,
    split: Literal["train", "test"] = "train",
    version: Literal[0, 1] | None = None,
    boxes: Path | None = None,
    share: float = 0.5,
    both: bool = False,
):
    return path, read, split, version, boxes, share, both


@pytest.fixture(autouse=True)
def probe(monkeypatch):
    monkeypatch.setitem(registry.FORMS, "probe", Form(f"{__name__}:open_probe", "PATH", "a probe"))


def test_options_arrive_with_their_types_and_defaults():
    assert open_dataset("probe:a/b") == (
        *(Path("a/b"), ReadOptions(), "train", None, None, 0.5, False),
    )
    spec = "probe:x?split=test&version=1&boxes=b.csv&share=0.25&both=true&size=64&on_error=skip"
    path, read, *rest = open_dataset(spec)
    assert path == Path("x")
    assert read == ReadOptions(size=64, on_error="skip")
    assert rest == ["test", 1, Path("b.csv"), 0.25, True]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("split=val", "split in .*: expected train or test, got 'val'"),
        ("version=4", "expected 0 or 1, got '4'"),
        ("both=yes", "expected true or false"),
        ("share=much", "expected a positive number"),
        ("size=-3", "expected a whole number from 1"),
        ("on_error=ignore", "expected raise or skip"),
        ("colour=red", "unknown option colour; known: both, boxes, geometry, margin, on_error"),
    ],
)
def test_wrong_options_are_refused_with_what_is_right(query, message):
    with pytest.raises(ValueError, match=message):
        open_dataset(f"probe:x?{query}")


def test_unknown_names_are_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"expected folder:PATH .*, or probe:PATH \(a probe\)"):
        open_dataset("prob:x")


def test_every_name_describes_itself():
    text = describe_forms()
    for name in registry.FORMS:
        assert f"{name}:" in text
    assert "split=train&version=none&boxes=none&share=0.5&both=false" in text
