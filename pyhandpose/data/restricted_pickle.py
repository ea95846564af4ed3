"""Reading pickles that strangers made: numpy arrays and plain containers, and nothing else.

A pickle is a program: it may name any function of any module and have it called. Here the names it
may use are the few that numpy writes for arrays, dtypes and scalars, each answered by a function of
this file that checks its arguments; numpy's own reconstruction, which trusts the pickle's shapes
and buffers, is never called. Any other name is refused and reported before anything is called.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pyhandpose.data.faults import DatasetError, Fault

_TYPE = re.compile(r"[?biufcSU]\d*|O\d*")
_BYTE_ORDERS = ("<", ">", "|", "=")


class UnsafePickleError(DatasetError):
    """A pickle asked for something that is neither an array nor a plain container."""


class _Refused(Exception):  # noqa: N818 - never leaves this file
    """What a pickle asked for and does not get."""


def load_pickle(path: Path) -> Any:
    """The content of a pickle, read without running anything it says.

    Of Python 2 and 3 alike (a Python 2 ``str`` is decoded as latin-1, as numpy's buffers need).
    Gives None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, numpy
    scalars, and numpy arrays of numbers, booleans, text or of these things.

    Raises:
        UnsafePickleError: the pickle asks for anything else; the message names it.
        DatasetError: not a whole pickle, or an array in it contradicts itself.
        OSError: the file cannot be read.

    """
    return loads_pickle(path.read_bytes(), str(path))


def loads_pickle(content: bytes, name: str) -> Any:
    """As ``load_pickle``, from bytes; ``name`` is used in messages."""
    try:
        loaded = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        return _Finisher().finish(loaded)
    except _Refused as error:
        raise UnsafePickleError(
            Fault(
                "unsafe pickle",
                name,
                f"asks for {error}; only numpy arrays and plain containers are read, and nothing "
                "was run. Do not open this file with pickle.load",
            )
        ) from None
    except DatasetError:
        raise
    except RecursionError:
        raise _corrupt(name, "nested too deeply") from None
    # a damaged pickle can fail in any of the unpickler's instructions
    except Exception as error:
        raise _corrupt(name, f"{type(error).__name__}: {error}") from error


def _corrupt(name: str, reason: str) -> DatasetError:
    return DatasetError(
        Fault("corrupt pickle", name, f"not a whole pickle ({reason}); copy the file again")
    )


class _Maker:
    """A function that a pickle may call, without anything that it could change."""

    __slots__ = ("_make", "_name")

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        self._name, self._make = name, make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise _Refused(f"a change of {self._name}")


class _Dtype:
    """A dtype in the making: the pickle gives its type, then its byte order."""

    __slots__ = ("dtype",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, code: str) -> None:
        if not isinstance(code, str) or not _TYPE.fullmatch(code):
            raise _Refused(f"numpy.dtype {code!r}")
        # the width of a pointer depends on the machine: O4, O8
        self.dtype: np.dtype[Any] = np.dtype(object if code[0] == "O" else code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in _BYTE_ORDERS:
            raise ValueError("a dtype's state is not (version, byte order, ...)")
        if any(part is not None for part in state[2:5]):
            raise _Refused("a structured numpy.dtype")
        if state[1] in "<>" and self.dtype.kind != "O":
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array in the making: the pickle gives its shape, dtype and buffer afterwards."""

    __slots__ = ("fortran", "shape", "values")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.values: NDArray[Any] | list[Any] = np.empty(0)
        self.shape: tuple[int, ...] = (0,)
        self.fortran = False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, dtype, fortran, buffer = state
        self.fortran = bool(fortran)
        if not isinstance(dtype, _Dtype):
            raise ValueError("an array without a dtype")
        if dtype.dtype.kind == "O":
            if not isinstance(buffer, list):
                raise _Refused("an object array without a list of its objects")
            self.values = buffer
        else:
            self.values = _numbers(buffer, dtype)
        self._check_shape()

    @classmethod
    def of(cls, buffer: Any, dtype: _Dtype, shape: Any, order: str) -> _Array:
        """As numpy writes it with protocol 5."""
        made = cls()
        made.__setstate__((1, shape, dtype, order == "F", buffer))
        return made

    def _check_shape(self) -> None:
        shape = self.shape
        whole = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
        if not whole or math.prod(shape) != len(self.values):
            raise ValueError(f"an array of shape {shape} with {len(self.values)} values")


def _numbers(buffer: Any, dtype: _Dtype) -> NDArray[Any]:
    """(N,) from a buffer; Python 2 wrote it as ``str``."""
    raw = buffer.encode("latin1") if isinstance(buffer, str) else bytes(memoryview(buffer))
    if dtype.dtype.itemsize == 0:  # empty text: numpy cannot tell how many
        raise _Refused("an array of empty text")
    return np.frombuffer(raw, dtype=dtype.dtype)


def _reconstruct(subtype: object, shape: object, code: object) -> _Array:
    if subtype is not _NDARRAY:
        raise _Refused(f"an array of type {subtype!r}")
    return _Array()


def _scalar(dtype: _Dtype, buffer: Any) -> Any:
    if not isinstance(dtype, _Dtype) or dtype.dtype.kind == "O":
        raise _Refused("a numpy scalar that is an object")
    (value,) = _numbers(buffer, dtype)
    return value


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Bytes as Python 3 writes them with protocol 2; other encodings could unpack archives."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused(f"_codecs.encode to {encoding!r}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _no_call(*_: object) -> NoReturn:
    raise _Refused("a call of numpy.ndarray")


_NDARRAY = _Maker("numpy.ndarray", _no_call)

_MAKERS = {
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": _Maker("numpy.dtype", lambda code, *_: _Dtype(code)),
    "_codecs.encode": _Maker("_codecs.encode", _encode),
    **{f"{m}.bytes": _Maker("bytes", _empty_bytes) for m in ("builtins", "__builtin__")},
    **{f"{m}.set": _Maker("set", set) for m in ("builtins", "__builtin__")},
    **{f"{m}.frozenset": _Maker("frozenset", frozenset) for m in ("builtins", "__builtin__")},
    **{f"{m}.complex": _Maker("complex", complex) for m in ("builtins", "__builtin__")},
}
for _package in ("numpy.core", "numpy._core"):  # of numpy 1 and 2
    for _name, _make in (
        ("multiarray._reconstruct", _reconstruct),
        ("multiarray.scalar", _scalar),
        ("numeric._frombuffer", _Array.of),
    ):
        _MAKERS[f"{_package}.{_name}"] = _Maker(f"{_package}.{_name}", _make)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in _MAKERS:
            raise _Refused(wanted)
        return _MAKERS[wanted]

    def persistent_load(self, identifier: object) -> NoReturn:
        raise _Refused(f"a persistent object {identifier!r}")


class _Finisher:
    """Puts the finished arrays in the place of those in the making."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()

    def finish(self, value: Any) -> Any:
        """``value`` with arrays in it, shared ones still shared."""
        if isinstance(value, _Dtype):
            return value.dtype
        if isinstance(value, _Maker):
            raise _Refused("a function as a value")
        if not isinstance(value, (_Array, dict, list, tuple, set, frozenset)):
            return value
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            raise _Refused("a container that holds itself")
        self._open.add(key)
        self._done[key] = self._inside(value)
        self._open.discard(key)
        return self._done[key]

    def _inside(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.finish(k): self.finish(v) for k, v in value.items()}
        if isinstance(value, _Array):
            return self._array(value)
        return type(value)(self.finish(item) for item in value)

    def _array(self, made: _Array) -> NDArray[Any]:
        order = "F" if made.fortran else "C"
        if isinstance(made.values, list):
            values = np.empty(len(made.values), dtype=object)
            for i, item in enumerate(made.values):
                values[i] = self.finish(item)
            return values.reshape(made.shape, order=order)  # type: ignore[call-overload]
        return made.values.reshape(made.shape, order=order).copy(order=order)  # type: ignore
