"""Preset: print a preset, which has the form of params.yaml, as DVC's overrides, or write it into a params file.

dvc exp run $(python -m tools.preset presets/small.yaml)

A preset may have named variants: python -m tools.preset presets/baseline_coco.yaml resnet101 384x288

`dvc exp run --temp` and `--queue` work in a folder without data/raw, models/ and ../shared. With --temp the paths of such
data are printed as well, absolute, for that run alone; a preset need not be named:

dvc exp run --queue $(python -m tools.preset --temp presets/multiview_mixed.yaml)
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline import outside, params

# Sections whose keys are the user's own, or of which `training` holds some.
_OPEN = ("sources.", "mix.weights.", "rounds.", "pretrain.", "retrain.")


def read(path: Path, variants: Sequence[str] = ()) -> dict[str, Any]:
    """Return a preset's values, changed by some of its `variants` in their order.

    Raises:
        ValueError: not readable, or there is no such variant.
    """
    values = params.read(path)
    known = values.pop("variants", {})
    for name in variants:
        if name not in known:
            raise ValueError(f"{path}: no variant '{name}'; there are {', '.join(known) or 'none'}")
        values = _merged(values, known[name])
    return values


def _merged(values: Any, change: Any) -> Any:
    if not (isinstance(values, Mapping) and isinstance(change, Mapping)):
        return change
    return {**values, **{key: _merged(values.get(key), each) for key, each in change.items()}}


def overrides(preset: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield `section.key=value` for each leaf, as `dvc exp run -S` takes it."""
    for key, value in preset.items():
        if isinstance(value, Mapping):
            yield from overrides(value, f"{prefix}{key}.")
        else:
            add = "++" if prefix.startswith(_OPEN) else ""
            yield f"{add}{prefix}{key}={_text(value)}"


def apply(preset: Mapping[str, Any], values: Any, name: str = "") -> None:
    """Set a preset's values in those of a params file, in place.

    Raises:
        ValueError: a key that the params file does not have, unless it adds a set, a weight or a round.
    """
    for key, value in preset.items():
        if key not in values and not name.startswith(_OPEN):
            raise ValueError(f"{name}{key}: no such parameter; known ones are {', '.join(values)}")
        if isinstance(value, Mapping) and isinstance(values.get(key), Mapping):
            apply(value, values[key], f"{name}{key}.")
        else:
            values[key] = value


def write(preset: Path, params_file: Path, variants: Sequence[str] = ()) -> None:
    """Write a preset into a params file and keep its comments."""
    yaml = YAML()
    values = yaml.load(params_file)
    apply(read(preset, variants), values)
    yaml.dump(values, params_file)


def for_temporary_folder(preset: Mapping[str, Any], checkout: Path) -> dict[str, Any]:
    """Return a preset with the absolute paths of the data that a temporary folder of DVC lacks, see pipeline/outside.py."""
    values = params.read(checkout / "params.yaml")
    apply(preset, values)
    merged: dict[str, Any] = _merged(dict(preset), outside.absolute_paths(values, checkout))
    return merged


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path, nargs="?", help="the preset, a file of presets/")
    parser.add_argument("variants", nargs="*", help="of the preset, applied in this order")
    parser.add_argument("--write", type=Path, metavar="PARAMS", help="instead of printing, change this params file")
    parser.add_argument("--temp", action="store_true", help="print the places of data outside of git, too")
    given = parser.parse_args()
    if not (given.preset or given.temp):
        parser.error("expected a preset, or --temp")
    if given.write and (given.temp or not given.preset):
        parser.error("--write: expected a preset, without --temp: absolute paths belong to one run")
    try:
        if given.write:
            write(given.preset, given.write, given.variants)
        else:
            chosen = read(given.preset, given.variants) if given.preset else {}
            chosen = for_temporary_folder(chosen, Path.cwd()) if given.temp else chosen
            print(*(f"-S {each}" for each in overrides(chosen)))
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
