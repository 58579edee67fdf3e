"""cameras.toml: a rig's calibration in the table layout of Anipose and Pose2Sim, which the field's tools read.

One table per camera: name, size, matrix, distortions, rotation (Rodrigues vector), translation, where
`x_camera = R x_world + translation`. `[metadata]` holds the units, mm, and notes about the file that it was made from.
Where sequences have rigs of their own, such as a rig that was calibrated again, a table names its `sequence`.
"""

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files.atomic import replacing
from pipeline.files.keys import FrameKeys
from pipeline.geometry.camera import Camera


@dataclass(frozen=True)
class Rigs:
    """The cameras of every sequence.

    Attributes:
        by_sequence: cameras by sequence; those of "" are every sequence's.
    """

    by_sequence: Mapping[str, tuple[Camera, ...]]

    def of(self, sequence: str, views: tuple[str, ...], what: str) -> tuple[Camera, ...]:
        """Return a sequence's cameras in the order of an artefact's views; ValueError if one is missing."""
        found = self.by_sequence.get("", self.by_sequence.get(sequence))
        if found is None:
            raise ValueError(f"{what}: there is no calibration of the sequence '{sequence}'")
        return select_views(found, views, what)

    def groups(self, keys: FrameKeys, views: tuple[str, ...], what: str) -> list[tuple[np.ndarray, tuple[Camera, ...]]]:
        """Return (rows, cameras) of each rig; a single pair if all sequences share one rig."""
        if "" in self.by_sequence:
            return [(np.arange(len(keys)), select_views(self.by_sequence[""], views, what))]
        rows: dict[int, list[np.ndarray]] = {}
        rigs: dict[int, tuple[Camera, ...]] = {}
        for sequence in np.unique(keys.sequence).tolist():
            self.of(sequence, views, what)
            found = self.by_sequence[sequence]
            rows.setdefault(id(found), []).append(np.flatnonzero(keys.sequence == sequence))
            rigs[id(found)] = found
        return [(np.sort(np.concatenate(some)), select_views(rigs[key], views, what)) for key, some in rows.items()]

    def map_by_rig(
        self,
        keys: FrameKeys,
        views: tuple[str, ...],
        what: str,
        function: Callable[..., tuple[np.ndarray, ...]],
        *arrays: np.ndarray,
    ) -> tuple[np.ndarray, ...]:
        """Return a function's values for all frames, computed per rig with its own cameras.

        Args:
            keys, views, what: as for `groups`.
            function: takes the cameras and the arrays, and returns arrays with one row per frame.
            arrays: (frames, ...).
        """
        groups = self.groups(keys, views, what)
        if len(groups) == 1:
            return function(groups[0][1], *arrays)
        order = np.argsort(np.concatenate([rows for rows, _ in groups]), kind="stable")
        parts = [function(cameras, *(array[rows] for array in arrays)) for rows, cameras in groups]
        return tuple(np.concatenate(column)[order] for column in zip(*parts, strict=True))


def write_cameras(path: Path, cameras: tuple[Camera, ...], notes: Sequence[str] = ()) -> None:
    write_rigs(path, {"": cameras}, notes)


def write_rigs(path: Path, rigs: Mapping[str, tuple[Camera, ...]], notes: Sequence[str] = ()) -> None:
    """Write the cameras of every sequence, those of "" for all; `notes` are sentences about them."""
    lines = []
    for sequence, cameras in sorted(rigs.items()):
        for camera in cameras:
            rotation = rotation_vector(camera.R)
            lines += [
                f"[{_text(f'{sequence}/{camera.name}' if sequence else camera.name)}]",
                f"name = {_text(camera.name)}",
                *([f"sequence = {_text(sequence)}"] if sequence else []),
                f"size = {[int(side) for side in camera.size]}",
                f"matrix = {_numbers(camera.K)}",
                f"distortions = {_numbers(camera.distortion)}",
                f"rotation = {_numbers(rotation)}",
                f"translation = {_numbers(camera.translation)}",
                f'convention = "{camera.convention}"',
                "fisheye = false",
                "",
            ]
    lines += ["[metadata]", 'units = "mm"', *(["notes = ["] if notes else [])]
    lines += [*(f"  {_text(note)}," for note in notes), *(["]"] if notes else []), ""]
    with replacing(path) as scratch:
        scratch.write_text("\n".join(lines), encoding="utf-8", newline="\n")


def read_cameras(path: Path) -> tuple[Camera, ...]:
    """Read the cameras of a file whose sequences all have the same; foreign files go through calibration/reading.py."""
    by_sequence = read_rigs(path).by_sequence
    rigs = {id(cameras): cameras for cameras in by_sequence.values()}
    if len(rigs) > 1:
        raise ValueError(f"{path}: holds {len(rigs)} rigs, of {', '.join(by_sequence)}; expected one")
    return next(iter(rigs.values()), ())


def read_rigs(path: Path) -> Rigs:
    """Read the cameras of every sequence; sequences whose cameras are the same share them."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected a calibration")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as TOML ({error})") from None
    if tables.pop("metadata", {}).get("units") != "mm":
        raise ValueError(f"{path}: expected metadata.units = 'mm'; foreign calibrations go through prepare_target")
    by_sequence: dict[str, list[dict[str, Any]]] = {}
    for table in tables.values():
        by_sequence.setdefault(table.pop("sequence", ""), []).append(table)
    rigs: dict[str, tuple[Camera, ...]] = {}
    for each in by_sequence.values():
        rigs.setdefault(json.dumps(each), tuple(_camera(table) for table in each))
    return Rigs({sequence: rigs[json.dumps(each)] for sequence, each in by_sequence.items()} or {"": ()})


def select_views(cameras: tuple[Camera, ...], views: tuple[str, ...], what: str) -> tuple[Camera, ...]:
    """Return the cameras in the order of an artefact's views, matched by name; ValueError if one is missing."""
    by_name = {camera.name: camera for camera in cameras}
    for view in views:
        if view not in by_name:
            raise ValueError(f"{what}: no camera is called '{view}'; the calibration has {', '.join(by_name)}")
    return tuple(by_name[view] for view in views)


def _camera(table: dict[str, Any]) -> Camera:
    rotation = rotation_matrix(np.array(table["rotation"], dtype=np.float64))
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


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Return the (3, 3) rotation of an axis times its angle in radians (Rodrigues). SciPy takes half a second to import."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Return the (3,) axis times the angle in radians, at most pi, of a (3, 3) rotation."""
    from scipy.spatial.transform import Rotation  # see above; only stages that prepare a rig write one

    return Rotation.from_matrix(matrix).as_rotvec()


def _text(name: str) -> str:
    """Return a quoted key or value; JSON quotes printable text as TOML does."""
    return json.dumps(name, ensure_ascii=False)


def _numbers(values: np.ndarray) -> str:
    # repr of a float is exact; the rounding removes the noise that a rotation matrix picks up on its way.
    return repr(np.round(np.asarray(values, dtype=np.float64), 12).tolist())
