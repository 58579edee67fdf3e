"""CMU Panoptic Studio's `calibration_*.json`: cm, camera_from_world, y down."""

from pathlib import Path
from typing import Any

from pipeline.calibration import plain
from pipeline.calibration.description import Description
from pipeline.calibration.entries import parse_camera


def is_here(loaded: Any) -> bool:
    """Return whether a JSON file's content is Panoptic Studio's."""
    entries = loaded.get("cameras") if isinstance(loaded, dict) else None
    if not isinstance(entries, list) or not entries:
        return False
    return all(isinstance(entry, dict) and {"distCoef", "K", "R", "t"} <= set(entry) for entry in entries)


def parse(path: Path, loaded: Any) -> Description:
    """Return the description of the file's content; `path` is for messages."""
    cameras = tuple(
        parse_camera(entry, plain.entry_name(entry, index, path), path) for index, entry in enumerate(loaded["cameras"])
    )
    return Description(
        layout="Panoptic Studio's JSON",
        cameras=cameras,
        units="cm",
        units_source="as Panoptic Studio writes",
        world_from_camera=False,
    )
