"""Calibration files as the field's tools write them, recognised by their content, and read into one form.

| from | file | module |
| --- | --- | --- |
| Pose2Sim, Anipose, FreeMoCap, Caliscope | TOML: a table per camera | toml |
| EasyMocap | a folder with `intri.yml` and `extri.yml`, or either of the two | easymocap |
| OpenCV | FileStorage as YAML, XML or JSON: all cameras in one file, or a folder with a file per camera | opencv, plain |
| Qualisys | `.qca.txt`, `.xml`: XML with `<camera serial=...>` | qualisys |
| Panoptic Studio | `calibration_*.json` | panoptic |
| ours | JSON: `{"units", "up", "cameras": [...]}` | plain |

A convention that a file does not state, such as the direction of its rotations, is None here; conventions.py settles it.
"""

from dataclasses import replace
from pathlib import Path

from pipeline.calibration import easymocap, panoptic, plain, qualisys, toml
from pipeline.calibration.description import Description, simplified
from pipeline.files import untrusted

_SUFFIXES = (".toml", ".yml", ".yaml", ".json", ".xml", ".txt")


def read(path: Path) -> Description:
    """Return the description of one rig's file or folder.

    Raises:
        ValueError: there is no such file, its format is unknown, or something is missing in it or has another shape.
    """
    if path.is_dir():
        description = _read_folder(path)
    elif easymocap.is_part(path):
        description = easymocap.read(path.parent)
    else:
        description = _read_file(path)
    if len(description.cameras) < 2:
        raise ValueError(
            f"{path}: expected at least two cameras (tables with a 'matrix'), got {len(description.cameras)}"
        )
    names = [simplified(camera.name) for camera in description.cameras]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: the camera '{twice[0]}' is there twice")
    return description


def is_rig_per_sequence(path: Path) -> bool:
    """Return whether a folder holds several rigs, one per sequence, rather than one rig with a file per camera."""
    if not path.is_dir() or easymocap.is_here(path):
        return False
    entries = _entries(path)
    if not entries:
        return False
    first = entries[0]
    return first.is_dir() or len(_read_file(first).cameras) > 1


def rig_paths(path: Path) -> dict[str, Path]:
    """Return the files of a folder of rigs by the name of their sequence."""
    paths: dict[str, Path] = {}
    for entry in _entries(path):
        name = entry.name if entry.is_dir() else entry.name.split(".")[0]
        if name in paths:
            raise ValueError(f"{path}: two calibrations of the sequence {name}: {paths[name].name} and {entry.name}")
        paths[name] = entry
    return paths


def _entries(path: Path) -> list[Path]:
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    return [entry for entry in entries if entry.is_dir() or entry.suffix.lower() in _SUFFIXES]


def _read_folder(path: Path) -> Description:
    if easymocap.is_here(path):
        return easymocap.read(path)
    files = [entry for entry in _entries(path) if entry.is_file()]
    if not files:
        raise ValueError(f"{path}: expected a calibration (intri.yml and extri.yml, or a file per camera), found none")
    descriptions = [_read_file(file) for file in files]
    for file, description in zip(files, descriptions, strict=True):
        if len(description.cameras) != 1:
            raise ValueError(f"{path}: expected a file per camera; {file.name} holds {len(description.cameras)}")
    first = descriptions[0]
    for file, other in zip(files, descriptions, strict=True):
        stated = (other.units, other.world_from_camera, other.up)
        if stated != (first.units, first.world_from_camera, first.up):
            raise ValueError(
                f"{file}: units, up or the direction of rotations are stated otherwise than in {files[0].name}"
            )
    cameras = tuple(camera for description in descriptions for camera in description.cameras)
    return replace(first, cameras=cameras, units_source="units")


def _read_file(path: Path) -> Description:
    """Return the description of one file by its content; the suffix only tells the syntax."""
    source = untrusted.text(path).lstrip()
    suffix = path.suffix.lower()
    if source.startswith("<"):
        if "<opencv_storage" in source[:400]:
            return plain.parse(path, untrusted.read_storage_xml(path), "OpenCV's XML")
        return qualisys.parse(path, untrusted.read_xml(path))
    if suffix == ".toml":
        return toml.parse(path, untrusted.read_toml(path))
    if suffix == ".json" or (source.startswith("{") and suffix not in (".yml", ".yaml")):
        loaded = untrusted.read_json(path)
        return panoptic.parse(path, loaded) if panoptic.is_here(loaded) else plain.parse(path, loaded, "JSON")
    if suffix in (".yml", ".yaml") or source.startswith("%YAML"):
        return plain.parse(path, untrusted.read_yaml(path), "YAML")
    raise ValueError(f"{path}: expected a calibration as TOML, YAML, JSON or XML, by the file's suffix")
