"""TOML with a table per camera: Pose2Sim, Anipose, FreeMoCap and Caliscope."""

from pathlib import Path
from typing import Any

from pipeline.calibration.description import Description
from pipeline.calibration.entries import is_name, parse_camera, stated_units, stated_up


def parse(path: Path, loaded: dict[str, Any]) -> Description:
    """Return the description of the file's content; `path` is for messages."""
    metadata = loaded.get("metadata", {})
    metadata = metadata if isinstance(metadata, dict) else {}
    tables = loaded.get("cameras") if isinstance(loaded.get("cameras"), dict) else loaded
    cameras = tuple(
        parse_camera(table, _name(name, table, path), path)
        for name, table in tables.items()  # type: ignore[union-attr]
        if isinstance(table, dict) and "matrix" in table and table.get("ignore") is not True
    )
    return Description(
        layout="TOML",
        cameras=cameras,
        units=stated_units(metadata, path),
        world_from_camera=False,
        up=stated_up(metadata, path),
    )


def _name(title: str, table: dict[str, Any], path: Path) -> str:
    """Return a camera's name. Caliscope numbers its cameras; its videos are cam_0.mp4 and so on."""
    name = table.get("name", f"cam_{title}" if title.isdecimal() else title)
    if not is_name(name):
        raise ValueError(f"{path}: [{title}] name: expected text with a letter or digit, got {name!r}")
    return str(name)
