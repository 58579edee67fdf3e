"""Pickles from elsewhere: numbers, text, lists, dicts and NumPy arrays come out; nothing that a pickle names is ever run.

A pickle is a program that may call whatever it can name. Here it can name a dozen things, and what it gets for them are
stand-ins that check their arguments: it cannot reach a function of Python or NumPy, nor set an attribute of one.
"""

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_LARGEST = 1 << 28  # bytes of one array


def load(path: Path) -> Any:
    """Return the content of a pickle of any protocol, Python 2's included (its strings are read as latin-1).

    Returns:
        None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, NumPy arrays and scalars of numbers
        and text, in any nesting.

    Raises:
        ValueError: not a whole pickle, or one that wants anything else; the sentence names it.
    """
    try:
        with path.open("rb") as file:
            return _Careful(file, encoding="latin1", path=path).load()
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; expected a pickle") from None
    except _RefusedError as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001  a damaged pickle raises a dozen kinds
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ValueError(f"{path}: not readable as a pickle ({what})") from None


class _RefusedError(Exception):
    pass


class _Careful(pickle.Unpickler):  # noqa: S301 - it finds no class but its own stand-ins
    def __init__(self, file: Any, *, encoding: str, path: Path) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        known = _KNOWN.get((module.replace("__builtin__", "builtins"), name))
        if known is None:
            raise _RefusedError(
                f"the pickle asks for {module}.{name}, and only numbers, text, lists, dicts and NumPy arrays are read from "
                "one: whatever else it names could run code"
            )
        return _StandIn(name, known)

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError(f"the pickle refers to {pid!r} outside of itself")


class _StandIn:
    """What a pickle gets for a name: callable, and without an attribute that it could set."""

    __slots__ = ("_function", "_name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name, self._function = name, function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError(f"the pickle tries to change {self._name}")


class _Type:
    """`numpy.dtype(code)`, whose byte order a pickle sets afterwards."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or not re.fullmatch(
            r"[<>|=]?([biufc]\d{1,2}|[?bBhHiIlLqQefdFD]|[SU]\d{0,5})", code
        ):
            raise _RefusedError(f"an array of the type {code!r}; expected numbers or text")
        self.code, self.order = code, ""

    def __setstate__(self, state: Any) -> None:
        order, fields = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(field is not None for field in fields):
            raise _RefusedError("an array with named fields or parts; expected plain numbers or text")
        self.order = order

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code.lstrip("<>|=") if self.order in ("<", ">") else self.code)


class _Array(np.ndarray):
    """An array whose contents a pickle sets after it was made: checked against its shape."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        super().__setstate__((1, shape, *_checked(data, kind, shape, fortran)))  # type: ignore[arg-type]


def _checked(data: Any, kind: Any, shape: Any, fortran: Any) -> tuple[np.dtype[Any], bool, bytes]:
    """Return the type, whether the order is Fortran's, and the bytes, whose number matches the shape."""
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(kind, _Type) or not isinstance(data, (bytes, bytearray)):
        raise _RefusedError("an array without a type of numbers or text")
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise _RefusedError(f"an array of the shape {shape!r}")
    size = math.prod(shape) * kind.numpy.itemsize
    if size != len(data) or size > _LARGEST:
        raise _RefusedError(f"an array of {size} bytes by its shape and of {len(data)} bytes by its contents")
    return kind.numpy, bool(fortran), bytes(data)


def _filled(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    dtype, fortran, content = _checked(data, kind, shape, order == "F")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if shape != (0,):
        raise _RefusedError(f"an array of the shape {shape!r} before its contents")
    return np.zeros(0).view(_Array)


def _scalar(kind: Any, data: Any = b"") -> Any:
    return _filled(data, kind, (), "C")[()]


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _RefusedError(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


def _bytes(*arguments: Any) -> bytes:
    if len(arguments) == 2:
        return _encoded(*arguments)
    if arguments and not isinstance(arguments[0], (bytes, bytearray, list, tuple)):  # bytes(10**12) is so long
        raise _RefusedError(f"bytes made of {type(arguments[0]).__name__}")
    return bytes(*arguments)


def _nothing(*arguments: Any) -> Any:
    raise _RefusedError("an array that is made rather than filled")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _nothing,  # named as an argument only
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _filled,
    ("_codecs", "encode"): _encoded,  # how protocol 2 writes bytes in Python 3
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "dict"): dict,
    ("builtins", "complex"): complex,
}
