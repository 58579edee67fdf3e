"""OpenCV's calibrateMultiview: Ks, distortions, Rs, Ts, image_sizes, is_fisheye with an entry per camera.

Files with one camera each, or a mapping per camera, as people write them by FileStorage, are in plain.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.calibration.description import CameraEntry
from pipeline.calibration.entries import first_of, parse_camera, simplified_keys


def is_here(body: Any) -> bool:
    """Return whether a mapping has calibrateMultiview's lists."""
    return isinstance(body, dict) and any(key in body for key in ("Ks", "Rs"))


def parse_cameras(path: Path, body: dict[str, Any]) -> Iterator[CameraEntry]:
    """Yield the cameras of the lists; `path` is for messages."""
    keys = simplified_keys(body)
    columns = {
        name: keys.get(first_of(keys, aliases) or "")
        for name, aliases in (
            ("matrix", ("ks",)),
            ("distortions", ("distortions", "ds")),
            ("rotation", ("rs", "rvecs")),
            ("translation", ("ts", "tvecs")),
            ("size", ("imagesizes", "sizes")),
            ("fisheye", ("isfisheye", "fisheye")),
            ("name", ("names", "cameranames", "camids")),
        )
    }
    for required in ("matrix", "rotation", "translation"):
        if not isinstance(columns[required], list | np.ndarray):
            raise ValueError(f"{path}: expected lists Ks, Rs and Ts with an entry per camera")
    count = len(columns["matrix"])  # type: ignore[arg-type]
    wrong = [name for name, values in columns.items() if values is not None and _length(values) != count]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]}: expected {count} entries, one per camera")
    for index in range(count):
        table = {name: values[index] for name, values in columns.items() if values is not None}
        name = str(table.pop("name", f"cam_{index}"))
        if isinstance(table.get("fisheye"), int | float):
            table["fisheye"] = bool(table["fisheye"])
        yield parse_camera(table, name, path)


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list | np.ndarray) else -1
