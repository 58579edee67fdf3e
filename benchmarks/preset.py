"""A preset, a few lines in the form of params.yaml: print it as DVC's overrides, or write it into a params file.

dvc exp run $(python -m benchmarks.preset presets/small.yaml)
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline import params

_OPEN = ("sources.", "mix.weights.", "rounds.")  # sections whose keys are the user's own


def overrides(preset: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`section.key=value` for each leaf, as `dvc exp run -S` takes them."""
    for key, value in preset.items():
        if isinstance(value, Mapping):
            yield from overrides(value, f"{prefix}{key}.")
        else:
            add = "++" if prefix.startswith(_OPEN) else ""
            yield f"{add}{prefix}{key}={_text(value)}"


def apply(preset: Mapping[str, Any], values: Any, name: str = "") -> None:
    """Set a preset's values in those of a params file, in place.

    Raises:
        ValueError: a key that the params file does not have, but for a set, a weight or a round more.
    """
    for key, value in preset.items():
        if key not in values and not name.startswith(_OPEN):
            raise ValueError(f"{name}{key}: no such parameter; known ones are {', '.join(values)}")
        if isinstance(value, Mapping) and isinstance(values.get(key), Mapping):
            apply(value, values[key], f"{name}{key}.")
        else:
            values[key] = value


def write(preset: Path, params_file: Path) -> None:
    """Write a preset into a params file, whose comments stay."""
    yaml = YAML()
    values = yaml.load(params_file)
    apply(params.read(preset), values)
    yaml.dump(values, params_file)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path)
    parser.add_argument("--write", type=Path, metavar="PARAMS", help="instead of printing, change this params file")
    given = parser.parse_args()
    try:
        if given.write:
            write(given.preset, given.write)
        else:
            print(*(f"-S {each}" for each in overrides(params.read(given.preset))))
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
