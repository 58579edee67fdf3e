"""EasyMocap's pair of files, intri.yml and extri.yml, written by OpenCV's FileStorage. Rotations are camera_from_world."""

from pathlib import Path
from typing import Any

from pipeline.calibration.description import Description
from pipeline.calibration.entries import parse_camera
from pipeline.files import untrusted

_SUFFIXES = (".yml", ".yaml")


def is_here(folder: Path) -> bool:
    """Return whether a folder has EasyMocap's files."""
    return any((folder / f"intri{suffix}").is_file() for suffix in _SUFFIXES)


def is_part(path: Path) -> bool:
    """Return whether a file is one of the two, by its name."""
    return path.name.lower() in [f"{stem}{suffix}" for stem in ("intri", "extri") for suffix in _SUFFIXES]


def read(folder: Path) -> Description:
    """Return the description of a folder's pair of files.

    Keys are K_<name>, dist_<name> (and H_, W_ in newer files); R_<name> (Rodrigues), Rot_<name>, T_<name>.

    Raises:
        ValueError: a file is missing or is not EasyMocap's.
    """
    parts: dict[str, Any] = {}
    for stem in ("intri", "extri"):
        paths = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES]
        path = next((path for path in paths if path.is_file()), paths[0])
        loaded = untrusted.read_yaml(path)
        if not isinstance(loaded, dict):
            raise ValueError(f"{path}: expected EasyMocap's K_<name>, R_<name> and so on, got {type(loaded).__name__}")
        parts |= loaded
    names = [key.removeprefix("K_") for key in parts if key.startswith("K_")]
    cameras = []
    for name in names:
        what = f"{folder}: camera {name}"
        table = {"K": parts[f"K_{name}"]}
        for key in ("dist", "D"):
            if f"{key}_{name}" in parts:
                table["dist"] = parts[f"{key}_{name}"]
        rotation = parts.get(f"Rot_{name}", parts.get(f"R_{name}"))
        if rotation is None or f"T_{name}" not in parts:
            raise ValueError(f"{what}: expected Rot_{name} (or R_{name}) and T_{name} in extri.yml")
        table |= {"R": rotation, "T": parts[f"T_{name}"]}
        if f"H_{name}" in parts and f"W_{name}" in parts:
            table["size"] = [parts[f"W_{name}"], parts[f"H_{name}"]]
        cameras.append(parse_camera(table, name, folder))
    return Description(layout="EasyMocap's intri.yml and extri.yml", cameras=tuple(cameras), world_from_camera=False)
