"""Structured text from elsewhere as plain dicts, lists, numbers and text: nothing is executed, expanded or constructed, and size
and depth have limits. A file of another format than its name states gives one sentence.
"""

import json
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

_MAX_BYTES = 16 << 20  # of a calibration; a hundred cameras take 100 kB
_MAX_DEPTH = 40
# What OpenCV's FileStorage calls its element types; a matrix of several channels has a digit before the letter.
_ELEMENTS = set("ucwsifdhIULbB")


def text(path: Path, limit: int = _MAX_BYTES) -> str:
    """Return a file's text.

    Raises:
        ValueError: there is no such file, it is larger than `limit` bytes, or not UTF-8.
    """
    try:
        if path.stat().st_size > limit:
            raise ValueError(
                f"{path}: expected at most {limit / 2**20:g} MiB, got {path.stat().st_size / 2**20:.1f} MiB"
            )
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: expected a file, got a folder") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as text ({error})") from None


def read_json(path: Path, limit: int = _MAX_BYTES) -> Any:
    """Return the content of a JSON file; a matrix that OpenCV wrote is an array."""
    return _load(path, limit, "json", json.loads)


def read_toml(path: Path, limit: int = _MAX_BYTES) -> Any:
    """Return the content of a TOML file."""
    return _load(path, limit, "TOML", tomllib.loads)


def read_yaml(path: Path, limit: int = _MAX_BYTES) -> Any:
    """Return the content of a YAML file, without constructing objects; a matrix that OpenCV wrote is an array."""

    def load(source: str) -> Any:
        # `%YAML:1.0` of OpenCV before 5 is no directive of YAML's.
        loader = YAML(typ="safe", pure=True)
        loader.Constructor = _Plain
        return loader.load(re.sub(r"\A\s*%YAML[: ][^\n]*\n", "", source))

    return _load(path, limit, "YAML", load)


def read_xml(path: Path, limit: int = _MAX_BYTES) -> ElementTree.Element:
    """Return the root element of an XML file; a document type is refused, because its entities could expand without end."""
    source = text(path, limit)
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", source, re.IGNORECASE):
        raise ValueError(f"{path}: a document type (<!DOCTYPE>) is not accepted in XML")
    try:
        return ElementTree.fromstring(source)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path}: not readable as XML ({error})") from None


def read_storage_xml(path: Path, limit: int = _MAX_BYTES) -> Any:
    """Return the content of OpenCV's FileStorage as XML: dicts, lists, numbers, text, and matrices as arrays."""
    root = read_xml(path, limit)
    if root.tag != "opencv_storage":
        raise ValueError(f"{path}: expected <opencv_storage>, OpenCV's XML, got <{root.tag}>")
    return _plain(_element(root, path, 0), path)


class _Plain(SafeConstructor):
    """The safe constructor, and OpenCV's matrices as the mappings that they are."""


def _matrix_node(constructor: SafeConstructor, node: Any) -> Any:
    return {**constructor.construct_mapping(node, deep=True), "type_id": "opencv-matrix"}


for _tag in ("opencv-matrix", "opencv-nd-matrix"):
    _Plain.add_constructor(f"tag:yaml.org,2002:{_tag}", _matrix_node)


def _load(path: Path, limit: int, what: str, load: Callable[[str], Any]) -> Any:
    source = text(path, limit)
    try:
        loaded = load(source)
    except (ValueError, YAMLError, KeyError, TypeError, AttributeError, IndexError) as error:
        first = " ".join(str(error).split())
        raise ValueError(f"{path}: not readable as {what} ({first[:200]})") from None
    except RecursionError:
        raise ValueError(f"{path}: not readable as {what} (nested too deep)") from None
    return _plain(loaded, path)


def _plain(loaded: Any, path: Path) -> Any:
    """Return the content with matrices as arrays; ValueError where it is too deep or, by aliases, larger than its text."""
    count, most = 0, max(path.stat().st_size, 1000)

    def walk(value: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if depth > _MAX_DEPTH or count > most:
            raise ValueError(f"{path}: nested deeper than {_MAX_DEPTH} levels, or more than {most} values")
        if isinstance(value, dict):
            if value.get("type_id") in ("opencv-matrix", "opencv-nd-matrix"):
                return _matrix(value, path)
            return {str(key): walk(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, depth + 1) for item in value]
        return value

    return walk(loaded, 0)


def _matrix(node: dict[str, Any], path: Path) -> np.ndarray:
    """Return the (rows, columns) float64 of a matrix as OpenCV writes it."""

    def refuse(why: str) -> NoReturn:
        raise ValueError(f"{path}: a matrix of OpenCV's {why}")

    rows, columns, kind, data = (node.get(key) for key in ("rows", "cols", "dt", "data"))
    if not isinstance(rows, int) or not isinstance(columns, int) or rows < 0 or columns < 0:
        refuse("has no rows and cols")
    if not isinstance(kind, str) or len(kind) != 1 or kind not in _ELEMENTS:
        refuse(f"has the type dt: {kind!r}; expected numbers with one channel")
    if not isinstance(data, list) or len(data) != rows * columns:
        refuse(f"should have {rows} x {columns} numbers as text" + (", not base64" if isinstance(data, str) else ""))
    try:
        return np.array(data, dtype=np.float64).reshape(rows, columns)
    except (TypeError, ValueError, OverflowError):
        refuse("holds a value that is no number")


def _element(element: ElementTree.Element, path: Path, depth: int) -> Any:
    """Return an element of OpenCV's XML: a mapping of its children, a list of `<_>`, or the values of its text."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path}: nested deeper than {_MAX_DEPTH} levels")
    children = list(element)
    if not children:
        return _words(element.text or "")
    if all(child.tag == "_" for child in children):
        return [_element(child, path, depth + 1) for child in children]
    mapping: dict[str, Any] = {child.tag: _element(child, path, depth + 1) for child in children}
    if "type_id" in element.attrib:
        mapping["type_id"] = element.attrib["type_id"]
        data = mapping.get("data")
        mapping["data"] = data if isinstance(data, list) else [] if data is None else [data]
    return mapping


def _words(source: str) -> Any:
    """Return the values of a text: `1. 2.` is a list of numbers, `"a" "b"` one of texts, a single word itself."""
    words = [quoted if quoted else plain for quoted, plain in re.findall(r'"([^"]*)"|([^\s"]+)', source)]
    values = [_number(word) if f'"{word}"' not in source else word for word in words]
    return None if not values else values[0] if len(values) == 1 else values


def _number(word: str) -> Any:
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return {".nan": math.nan, ".inf": math.inf, "-.inf": -math.inf}.get(word.lower()) or float(word)
    except ValueError:
        return word
