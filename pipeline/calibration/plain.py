"""Cameras as a list or a mapping, or one camera's mapping: our JSON, and what people write with OpenCV's FileStorage.

Ours is `{"units": "mm", "up": "z", "cameras": [{"name", "size", "matrix", "distortions", "rotation", "translation"}]}` with the
TOML's keys; `rotation` is a matrix or a Rodrigues vector, and `x_camera = rotation x_world + translation`. `fisheye`, `units`
(m, cm, mm) and `up` (x, y, z, -x, -y, -z) may be left out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.calibration import opencv
from pipeline.calibration.description import Description
from pipeline.calibration.entries import (
    CAMERA_FROM_WORLD,
    MATRIX,
    WORLD_FROM_CAMERA,
    first_of,
    is_name,
    parse_camera,
    simplified_keys,
    stated_units,
    stated_up,
)

_OURS = {"matrix", "rotation", "translation"}


def parse(path: Path, loaded: Any, syntax: str) -> Description:
    """Return the description of a file's content.

    Args:
        path: the file, for messages; the name of its only camera where the file has none.
        loaded: its content.
        syntax: JSON, YAML or OpenCV's XML, for messages.
    """
    if not isinstance(loaded, dict | list):
        raise ValueError(f"{path}: expected a calibration, got {type(loaded).__name__}")
    top = loaded if isinstance(loaded, dict) else {}
    body = top.get("cameras", loaded)
    if isinstance(body, dict) and any(key.startswith("K_") for key in body):
        raise ValueError(f"{path}: expected EasyMocap's files to be called intri.yml and extri.yml")
    if isinstance(body, list):
        cameras = [
            parse_camera(_as_table(entry, path), entry_name(entry, index, path), path)
            for index, entry in enumerate(body)
        ]
    elif opencv.is_here(body):
        cameras = list(opencv.parse_cameras(path, body))
    elif isinstance(body, dict) and first_of(simplified_keys(body), MATRIX) is not None and not _has_cameras(body):
        # the file of one camera; its name may be in it, or is the file's
        cameras = [
            parse_camera(body, str(body.get("name") or body.get("camera_name") or path.name.split(".")[0]), path)
        ]
    else:
        tables = {key: value for key, value in body.items() if isinstance(value, dict) and _looks_like_camera(value)}
        cameras = [parse_camera(value, str(value.get("name", key)), path) for key, value in tables.items()]
    if not cameras:
        raise ValueError(f"{path}: expected cameras with a matrix, a rotation and a translation, found none")
    entries = [
        entry for entry in (body if isinstance(body, list) else [*body.values(), body]) if isinstance(entry, dict)
    ]
    ours = syntax == "JSON" and isinstance(body, list) and all(set(entry) >= _OURS for entry in entries)
    stated = _stated_direction(top, entries, path)
    return Description(
        layout="our JSON" if ours else syntax,
        cameras=tuple(cameras),
        units=stated_units(top, path),
        units_source="units",
        world_from_camera=False if ours and stated is None else stated,
        up=stated_up(top, path),
    )


def entry_name(entry: Any, index: int, path: Path) -> str:
    """Return the name of a camera in a list; ValueError where it has none."""
    keys = simplified_keys(_as_table(entry, path))
    name = next((keys[key] for key in ("name", "cameraname", "id", "camid", "serial", "port") if key in keys), None)
    if isinstance(name, int) and not isinstance(name, bool):
        name = f"cam_{name}"
    if not is_name(name):
        raise ValueError(f"{path}: camera {index}: name: expected text with a letter or digit, got {name!r}")
    return str(name)


def _stated_direction(top: dict[str, Any], entries: Sequence[dict[str, Any]], path: Path) -> bool | None:
    """Return whether the file states that its rotations are world_from_camera; None where it states nothing."""
    stated = top.get("extrinsics")
    if isinstance(stated, str):
        if stated not in ("camera_from_world", "world_from_camera"):
            raise ValueError(f"{path}: extrinsics: expected camera_from_world or world_from_camera, got '{stated}'")
        return stated == "world_from_camera"
    directions = {_stated_in_entry(entry) for entry in entries} - {None}
    if len(directions) == 2:
        raise ValueError(
            f"{path}: some cameras are camera_from_world and others world_from_camera; expected one for all"
        )
    return next(iter(directions)) if directions else None


def _stated_in_entry(entry: Any) -> bool | None:
    keys = simplified_keys(entry) if isinstance(entry, dict) else {}
    if first_of(keys, WORLD_FROM_CAMERA) is not None:
        return True
    return False if first_of(keys, CAMERA_FROM_WORLD) is not None else None


def _has_cameras(body: dict[str, Any]) -> bool:
    return any(isinstance(value, dict) and _looks_like_camera(value) for value in body.values())


def _looks_like_camera(value: dict[str, Any]) -> bool:
    keys = simplified_keys(value)
    return first_of(keys, MATRIX) is not None or {"fx", "fy"} <= set(keys)


def _as_table(entry: Any, path: Path) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: expected a mapping per camera, got {type(entry).__name__}")
    return entry
