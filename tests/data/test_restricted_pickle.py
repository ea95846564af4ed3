"""What a pickle may say, and that nothing else is run."""

import pickle

import numpy as np
import pytest

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.restricted_pickle import UnsafePickleError, load_pickle, loads_pickle

RECORD = {
    "K": np.arange(9, dtype=np.float32).reshape(3, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.array([1, 2], dtype=">i4"),
    "bools": np.array([True, False]),
    "names": np.array(["one", "three"]),
    "nothing": None,
    "empty": np.zeros((0, 3)),
    "list": [1, 2.5, "text", (True, {3})],
    "scalar": np.float64(0.25),
    "bytes": b"\x00\xff",
    "no_bytes": b"",
    "objects": np.array([None, "a", [1]], dtype=object),
    "dtype": np.dtype("<f4"),
    "point": np.array(7.0),
}


def assert_same(got, expected):
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for key in expected:
            assert_same(got[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        assert got.tolist() == expected.tolist()
    else:
        assert got == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_come_back_as_pickle_itself_reads_them(protocol, tmp_path):
    path = tmp_path / "record.pickle"
    path.write_bytes(pickle.dumps(RECORD, protocol=protocol))
    assert_same(load_pickle(path), RECORD)


def test_arrays_that_are_shared_stay_shared_and_can_be_written():
    array = np.ones(3)
    first, second = loads_pickle(pickle.dumps([array, array]), "shared")
    assert first is second
    first[0] = 5.0
    assert second[0] == 5.0


def python2_pickle(array):
    """An array as Python 2 wrote it with protocol 2: numpy.core, buffers as 8-bit strings."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def small(value):
        return b"K" + bytes([value])

    kind = array.dtype.str[1:].encode()
    return b"".join(
        [
            b"\x80\x02}q\x00" + text(b"joints"),
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"cnumpy\nndarray\n" + small(0) + b"\x85" + text(b"b") + b"\x87R",
            b"(" + small(1) + b"(" + b"".join(map(small, array.shape)) + b"t",
            b"cnumpy\ndtype\n" + text(kind) + small(0) + small(1) + b"\x87R",
            b"(" + small(3) + text(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + small(0),
            b"tb\x89" + text(array.tobytes()) + b"tbs.",
        ]
    )


def test_python_2_pickles_are_read():
    array = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
    content = python2_pickle(array)
    record = loads_pickle(content, "python2.pickle")
    np.testing.assert_array_equal(record["joints"], array)
    np.testing.assert_array_equal(pickle.loads(content, encoding="latin1")["joints"], array)


class Runs:
    """Asks for a call when it is read."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def malicious():
    import builtins
    import os
    import shutil

    marker = "must_not_exist"
    yield "posix.system", Runs(os.system, f"touch {marker}")
    yield "builtins.eval", Runs(eval, f"open({marker!r}, 'w')")
    yield "builtins.getattr", Runs(getattr, "", "join")
    yield "shutil.rmtree", Runs(shutil.rmtree, marker)
    yield "builtins.open", Runs(builtins.open, marker, "w")
    yield "numpy.fromfile", Runs(np.fromfile, marker)
    yield "pickle.loads", Runs(pickle.loads, b"N.")


@pytest.mark.parametrize(("named", "content"), list(malicious()), ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_anything_else_is_refused_by_name_and_not_run(
    named, content, protocol, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "anno_training.pickle"
    bait = {"K": np.eye(3), "xyz": [content]}
    path.write_bytes(pickle.dumps(bait, protocol=protocol))
    with pytest.raises(UnsafePickleError) as caught:
        load_pickle(path)
    module = named.partition(".")[0]
    message = str(caught.value)
    assert named.rpartition(".")[2] in message
    assert str(path) in message
    assert module in message or module in ("posix", "builtins", "pickle")
    assert not (tmp_path / "must_not_exist").exists()


OPCODES = {
    "a class is not instantiated": b"\x80\x02cos\nsystem\n)\x81.",
    "INST calls nothing": b"(S'ls'\nios\nsystem\n.",
    "a persistent object": b"\x80\x02K\x07Q.",
    "a function's attributes are not set": (
        b"\x80\x02cnumpy\ndtype\nN}X\x05\x00\x00\x00_makeNs\x86b."
    ),
    "a function is no value": b"\x80\x02cnumpy\ndtype\n.",
    "ndarray is not called": b"\x80\x02cnumpy\nndarray\nK\x02\x85R.",
    "another array type": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85U\x01b\x87R."
    ),
    "a record dtype": b"\x80\x02cnumpy\ndtype\nX\x03\x00\x00\x00V16\x85R.",
    "another encoding": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R.",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "an extension": b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("name", OPCODES)
def test_instructions_that_pickles_of_data_do_not_use_are_refused(name):
    with pytest.raises(DatasetError):
        loads_pickle(OPCODES[name], "crafted.pickle")
    assert_same(loads_pickle(pickle.dumps(RECORD, protocol=2), "after"), RECORD)


def test_an_array_larger_than_its_buffer_is_corrupt():
    content = python2_pickle(np.zeros((2, 2)))
    larger = content.replace(b"(K\x02K\x02t", b"(K\x02K\xfft")
    with pytest.raises(DatasetError, match=r"big.pickle.*shape \(2, 255\) with 4 values"):
        loads_pickle(larger, "big.pickle")


def test_truncated_and_foreign_files_are_named(tmp_path):
    whole = pickle.dumps(RECORD, protocol=2)
    path = tmp_path / "0001.pkl"
    for content in (whole[: len(whole) // 2], b"", b"<!DOCTYPE html>", b"\x80\x09."):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"0001\.pkl: not a whole pickle") as caught:
            load_pickle(path)
        assert caught.value.fault.kind == "corrupt pickle"


def test_every_truncation_is_a_clear_error():
    whole = pickle.dumps({"K": np.eye(3), "xyz": np.ones((21, 3))}, protocol=2)
    for length in range(len(whole)):
        with pytest.raises(DatasetError):
            loads_pickle(whole[:length], "cut.pickle")
