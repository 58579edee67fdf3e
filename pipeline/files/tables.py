"""Small tables as CSV, for `dvc plots` and the report: the same values give the same bytes.

`write_table` and `read_table` use the csv module: pandas takes 0.6 s to import, which would more than double the start
of `evaluate`, and its reader accepts rows with too few cells. Figures are drawn from data frames, see `read_frame`.
"""

import csv
import math
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files.atomic import replacing

if typing.TYPE_CHECKING:
    import pandas as pd


def write_table(path: Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """Write columns of equal lengths; numbers are rounded to 4 digits, and an unknown number is an empty cell."""
    with replacing(path) as scratch:
        with scratch.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))


def read_table(path: Path) -> dict[str, list[str]]:
    """Return the columns of a table as text, an empty cell as "".

    Raises:
        ValueError: the file is absent, not UTF-8, or a row has another number of cells than the header.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected a table")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as a table ({error})") from None
    if not rows:
        raise ValueError(f"{path}: expected a header, got an empty file")
    header, *body = rows
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise ValueError(f"{path}: line {number} has {len(row)} cells, the header has {len(header)}")
    return {name: [row[column] for row in body] for column, name in enumerate(header)}


def read_frame(path: Path) -> "pd.DataFrame":
    """Return a table as a data frame, an empty cell as NaN, the columns `round`, `joint` and `view` as text."""
    import pandas as pd

    text = dict.fromkeys(("round", "joint", "view"), str)
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])


def _cell(value: Any) -> Any:
    if hasattr(value, "item"):  # numpy scalars
        value = value.item()
    if isinstance(value, float):
        return round(value, 4) + 0.0 if math.isfinite(value) else ""
    return value
