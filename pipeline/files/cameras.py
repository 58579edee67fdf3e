"""cameras.toml: a rig's calibration in the table layout of Anipose and Pose2Sim, which the field's tools read.

One table a camera: name, size, matrix, distortions, rotation (Rodrigues vector), translation, where
`x_camera = R x_world + translation`. Ours says its units in `[metadata]`: mm.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.files.atomic import replacing
from pipeline.geometry.camera import Camera


def write_cameras(path: Path, cameras: tuple[Camera, ...]) -> None:
    lines = []
    for camera in cameras:
        rotation = Rotation.from_matrix(camera.R).as_rotvec()
        lines += [
            f"[{_text(camera.name)}]",
            f"name = {_text(camera.name)}",
            f"size = {[int(side) for side in camera.size]}",
            f"matrix = {_numbers(camera.K)}",
            f"distortions = {_numbers(camera.distortion)}",
            f"rotation = {_numbers(rotation)}",
            f"translation = {_numbers(camera.translation)}",
            f'convention = "{camera.convention}"',
            "fisheye = false",
            "",
        ]
    lines += ["[metadata]", 'units = "mm"', ""]
    with replacing(path) as scratch:
        scratch.write_text("\n".join(lines), encoding="utf-8", newline="\n")


def read_cameras(path: Path) -> tuple[Camera, ...]:
    """Read a file that `write_cameras` made. The cautious reader of foreign files is datasets/rig.py."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected a calibration")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as TOML ({error})") from None
    if tables.get("metadata", {}).get("units") != "mm":
        raise ValueError(f"{path}: expected metadata.units = 'mm'; foreign calibrations go through prepare_target")
    return tuple(_camera(table) for name, table in tables.items() if name != "metadata")


def of_views(cameras: tuple[Camera, ...], views: tuple[str, ...], what: str) -> tuple[Camera, ...]:
    """The cameras in the order of an artefact's views, found by name; ValueError names the one that is missing."""
    by_name = {camera.name: camera for camera in cameras}
    for view in views:
        if view not in by_name:
            raise ValueError(f"{what}: no camera is called '{view}'; the calibration has {', '.join(by_name)}")
    return tuple(by_name[view] for view in views)


def _camera(table: dict[str, Any]) -> Camera:
    rotation = Rotation.from_rotvec(table["rotation"]).as_matrix()
    translation = np.array(table["translation"], dtype=np.float64)
    return Camera(
        name=table["name"],
        size=(int(table["size"][0]), int(table["size"][1])),
        K=np.array(table["matrix"], dtype=np.float64),
        R=rotation,
        centre=-rotation.T @ translation,
        distortion=np.array(table["distortions"], dtype=np.float64),
        convention=table["convention"],
    )


def _text(name: str) -> str:
    """A quoted key or value; JSON's quoting is TOML's for printable text."""
    return json.dumps(name, ensure_ascii=False)


def _numbers(values: np.ndarray) -> str:
    # repr of a float is exact; the rounding removes the noise that a rotation matrix picks up on its way.
    return repr(np.round(np.asarray(values, dtype=np.float64), 12).tolist())
