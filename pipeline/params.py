"""A section of params.yaml -> a stage's frozen dataclass. Keys are strict, and every mistake gets one sentence."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

Section = TypeVar("Section")


def read(path: Path = Path("params.yaml")) -> dict[str, Any]:
    """The whole file as plain dicts, lists and numbers.

    Read as YAML 1.2: `-S retrain.learning_rate=1e-5` writes `1e-05`, which is a float there and a string in YAML 1.1.
    """
    try:
        loaded = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; params are read from params.yaml") from None
    except YAMLError as error:
        raise ValueError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected sections (a mapping), got {type(loaded).__name__}")
    return loaded


def load(section: type[Section], path: Path = Path("params.yaml"), name: str | None = None) -> Section:
    """Read one section of a params file into its dataclass.

    Args:
        section: a frozen dataclass; its fields are the section's keys, nested dataclasses nested sections.
        path: the params file.
        name: the section's name, dotted for a nested one; by default the class's name in snake case.

    Raises:
        ValueError: a sentence that names the key, what was expected and what came.
    """
    name = name or _snake(section.__name__)
    values: Any = read(path)
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            raise ValueError(f"{path}: the section '{name}' is missing")
        values = values[part]
    return build(section, values, name)


def build(section: type[Section], values: Any, name: str) -> Section:
    """Make a dataclass from plain values: no unknown key, no missing key, no silent conversion but int to float."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: expected a section with keys, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in values if key not in fields)
    if unknown:
        raise ValueError(f"{name}.{unknown[0]}: no such parameter; known ones are {', '.join(sorted(fields))}")
    has_default = {
        key
        for key, field in fields.items()
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    missing = sorted(key for key in fields if key not in values and key not in has_default)
    if missing:
        raise ValueError(f"{name}.{missing[0]}: missing; the section needs {', '.join(sorted(fields))}")
    hints = typing.get_type_hints(section)
    return section(**{key: _convert(value, hints[key], f"{name}.{key}") for key, value in values.items()})


def _convert(value: Any, hint: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [choice for choice in arguments if choice is not type(None)]
        for choice in choices[:-1]:
            try:
                return _convert(value, choice, name)
            except ValueError:
                continue
        return _convert(value, choices[-1], name)
    if origin is typing.Literal:
        # Compare types too: True == 1, and 1 is not a truth value.
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise ValueError(f"{name}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{name}: expected a list, got {value!r}")
        items = arguments[:1] * len(value) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        if len(items) != len(value):
            raise ValueError(f"{name}: expected {len(items)} values, got {len(value)}")
        return tuple(_convert(v, item, f"{name}[{i}]") for i, (v, item) in enumerate(zip(value, items, strict=True)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name}: expected a section with keys, got {value!r}")
        return {str(k): _convert(v, arguments[1], f"{name}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, name)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"{name}: expected a finite number, got {value}")
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (bool, str) and isinstance(value, hint):
        return value
    expected = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}.get(hint, str(hint))
    raise ValueError(f"{name}: expected {expected}, got {value!r}")


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")
