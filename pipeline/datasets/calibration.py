"""Calibrations from elsewhere, in the TOML of Pose2Sim, Anipose and FreeMoCap: one table a camera.

`x_camera = R x_world + translation` with a Rodrigues vector as `rotation`. The files rarely say their units, and never
whether somebody wrote the inverse rotation; the geometry of the rig tells both.
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera

Units = Literal["auto", "m", "mm"]

_MM = {"m": 1000.0, "mm": 1.0}
_ALIASES = {"m": "m", "metre": "m", "metres": "m", "meter": "m", "meters": "m", "mm": "mm", "millimetre": "mm"}
_ALIASES |= {"millimetres": "mm", "millimeter": "mm", "millimeters": "mm"}
# A rig's typical distance between two cameras, in its file's own numbers: the two ranges do not touch.
_METRES, _MILLIMETRES = (0.3, 30.0), (300.0, 30000.0)
# What an explicit unit may mean: from a rig on a desk to one around a pitch.
_POSSIBLE_MM = (100.0, 300000.0)


@dataclass(frozen=True)
class Calibration:
    """A rig as its file describes it, in mm, and how the units were settled (a sentence for the log)."""

    cameras: tuple[Camera, ...]
    units: str


def simplified(name: str) -> str:
    """A camera's name as it is compared: letters and digits, lower case (`cam_01` is `Cam01`)."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read(path: Path, units: Units = "auto") -> Calibration:
    """Read a calibration and bring it to mm.

    Raises:
        ValueError: not TOML, a key is missing or has another shape, a fisheye lens, a rotation that is none, units that
            cannot be right.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; expected a calibration in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as TOML ({error})") from None
    cameras = tuple(
        _camera(path, name, table) for name, table in tables.items() if isinstance(table, dict) and "matrix" in table
    )
    if len(cameras) < 2:
        raise ValueError(f"{path}: expected at least two cameras (tables with a 'matrix'), got {len(cameras)}")
    names = [simplified(camera.name) for camera in cameras]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: the camera '{twice[0]}' is there twice")
    metadata = tables.get("metadata", {})
    stated = str(metadata.get("units", "")).strip().lower() if isinstance(metadata, dict) else ""
    if stated and stated not in _ALIASES:
        raise ValueError(f"{path}: metadata.units: expected m or mm, got '{stated}'")
    unit, sentence = _unit(path, cameras, units, _ALIASES.get(stated))
    scaled = tuple(replace(camera, centre=camera.centre * _MM[unit]) for camera in cameras)
    return Calibration(scaled, sentence)


def _unit(path: Path, cameras: Sequence[Camera], asked: Units, stated: str | None) -> tuple[str, str]:
    baseline = float(np.median([np.linalg.norm(a.centre - b.centre) for a, b in combinations(cameras, 2)]))
    unit = asked if asked != "auto" else stated
    if unit:
        source = "target.units" if asked != "auto" else "metadata.units"
        if not _POSSIBLE_MM[0] <= baseline * _MM[unit] <= _POSSIBLE_MM[1]:
            other = "m" if unit == "mm" else "mm"
            raise ValueError(
                f"{path}: {source} says {unit}, but then the cameras stand {baseline * _MM[unit] / 1000:.4g} m apart; "
                f"is it {other}?"
            )
        return (unit, f"{path}: units are {unit} ({source}); cameras stand {baseline * _MM[unit] / 1000:.2f} m apart")
    for unit, (low, high) in (("m", _METRES), ("mm", _MILLIMETRES)):
        if low <= baseline <= high and not (unit == "mm" and baseline < _METRES[1]):
            return unit, (
                f"{path}: taken to be in {unit}, because the cameras then stand {baseline * _MM[unit] / 1000:.2f} m apart"
            )
    raise ValueError(
        f"{path}: the distance between cameras, {baseline:.4g}, is neither that of a rig in m ({_METRES[0]:g} to "
        f"{_METRES[1]:g}) nor in mm ({_MILLIMETRES[0]:g} to {_MILLIMETRES[1]:g}); set target.units"
    )


def _camera(path: Path, table_name: str, table: dict[str, Any]) -> Camera:
    name = table.get("name", table_name)
    if not isinstance(name, str) or not simplified(name) or not name.isprintable():
        raise ValueError(f"{path}: [{table_name}] name: expected text with a letter or digit, got {name!r}")
    what = f"{path}: camera {name}"
    if table.get("fisheye", False):
        raise ValueError(f"{what}: fisheye lenses are not supported (fisheye = true)")
    convention = table.get("convention", "opencv")
    if convention not in ("opencv", "h36m"):
        raise ValueError(f"{what}: convention: expected opencv or h36m, got {convention!r}")
    matrix = _numbers(table, "matrix", what)
    if matrix.shape != (3, 3) or matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or not np.allclose(matrix[2], [0, 0, 1]):
        raise ValueError(f"{what}: matrix: expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]], got {matrix.tolist()}")
    size = _numbers(table, "size", what)
    if size.shape != (2,) or (size < 1).any() or (size != np.round(size)).any():
        raise ValueError(f"{what}: size: expected [width, height] in px, got {size.tolist()}")
    distortion = _numbers(table, "distortions", what)
    if distortion.ndim != 1 or len(distortion) < 4 or distortion[5:].any():
        raise ValueError(
            f"{what}: distortions: expected [k1, k2, p1, p2] or [k1, k2, p1, p2, k3], got {distortion.tolist()}"
        )
    R, translation = _rotation(table, what), _numbers(table, "translation", what)
    if translation.shape != (3,):
        raise ValueError(f"{what}: translation: expected 3 numbers, got {translation.tolist()}")
    return Camera(
        name=name,
        size=(int(size[0]), int(size[1])),
        K=matrix,
        R=R,
        centre=-R.T @ translation,
        distortion=np.pad(distortion[:5], (0, max(0, 5 - len(distortion)))),
        convention=convention,
    )


def _rotation(table: dict[str, Any], what: str) -> np.ndarray:
    """(3, 3) from a Rodrigues vector, or from a matrix where somebody wrote one."""
    rotation = _numbers(table, "rotation", what)
    if rotation.shape == (3,):
        return Rotation.from_rotvec(rotation).as_matrix()
    if rotation.shape == (3, 3):
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
            raise ValueError(f"{what}: rotation: not a rotation matrix: {rotation.tolist()}")
        return rotation
    raise ValueError(f"{what}: rotation: expected a Rodrigues vector of 3 numbers, got {rotation.tolist()}")


def _numbers(table: dict[str, Any], key: str, what: str) -> np.ndarray:
    if key not in table:
        raise ValueError(f"{what}: '{key}' is missing")
    try:
        values = np.array(table[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{what}: {key}: expected numbers, got {table[key]!r}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{what}: {key}: expected finite numbers, got {table[key]!r}")
    return values


def common_place(cameras: Sequence[Camera]) -> tuple[np.ndarray, np.ndarray]:
    """Where the cameras look: the point on which most of them agree.

    Candidates are the points nearest to two optical axes, in front of both. The one in most pictures wins, the one nearest
    to the optical axes among equals.

    Returns:
        (3,) world mm, and (views,) bool: who has it in the picture. NaN and all False where no two cameras look at one.
    """
    best, best_seen, best_key = (np.full(3, np.nan), np.zeros(len(cameras), dtype=bool), (1, np.inf))
    for a, b in combinations(cameras, 2):
        point = _nearest_to_axes([a, b])
        seen = np.array([_in_picture(camera, point) for camera in cameras])
        angles = [_off_axis(camera, point) for camera, sees in zip(cameras, seen, strict=True) if sees]
        key = (int(seen.sum()), float(np.mean(angles)) if angles else np.inf)
        if key[0] > best_key[0] or (key[0] == best_key[0] and key[1] < best_key[1]):
            best, best_seen, best_key = point, seen, key
    if best_seen.sum() < 2:
        return np.full(3, np.nan), np.zeros(len(cameras), dtype=bool)
    refined = _nearest_to_axes([camera for camera, sees in zip(cameras, best_seen, strict=True) if sees])
    seen = np.array([_in_picture(camera, refined) for camera in cameras])
    return (refined, seen) if seen.sum() >= best_seen.sum() else (best, best_seen)


_ADVICE = "expected the camera's axes from the world's, x_camera = R x_world + translation"


def check_looks(cameras: Sequence[Camera], path: Path) -> None:
    """Refuse a rig with a camera that shares its view with no other, or that would be upright with other rotations.

    A rotation written the wrong way round (world axes from camera axes) is a proper rotation, and the world's origin stays
    in the picture with it. But the camera then leans by its compass direction.
    """
    turned = [_transposed(camera) for camera in cameras]
    blind = _alone(cameras)
    if blind:
        mends = "; with every rotation transposed, all do" if not _alone(turned) else ""
        raise ValueError(
            f"{path}: camera {cameras[blind[0]].name} sees nothing that another camera sees{mends}; {_ADVICE}; "
            "target.views chooses among cameras"
        )
    suspects = [i for i, camera in enumerate(cameras) if _lean(camera) > 45 and _lean(turned[i]) < 30]
    mended = [turned[i] if i in suspects else camera for i, camera in enumerate(cameras)]
    if suspects and all(_lean(camera) < 45 for camera in mended):
        raise ValueError(_refusal(cameras, suspects, path, "they stand upright with the rotation transposed"))


def check_agreement(cameras: Sequence[Camera], path: Path, agreement: Callable[[Sequence[Camera]], float]) -> None:
    """Refuse a rig that agrees much better with what its views see when some rotations are transposed.

    Args:
        cameras: the rig.
        path: where it is from, for messages.
        agreement: of a rig with the detections, the mean over its pairs of views, 0 to 1 (geometry/association.py).
    """
    turned = [_transposed(camera) for camera in cameras]
    given = agreement(cameras)
    nobody, everybody = frozenset[int](), frozenset(range(len(cameras)))
    best, changed = max(_mended(cameras, turned, start, agreement) for start in (nobody, everybody))
    # What changes is the pairs with a changed camera in them: these must gain, and the cameras not fall over.
    views, kept = len(cameras), len(cameras) - len(changed)
    share = 1 - kept * (kept - 1) / (views * (views - 1))
    standing = all(_lean(turned[i]) <= max(_lean(cameras[i]), 30) for i in changed)
    if changed and standing and best - given > 0.25 * share:
        why = f"what the views see agrees at {best:.0%} then, at {given:.0%} now"
        raise ValueError(_refusal(cameras, changed, path, why))


def _mended(
    cameras: Sequence[Camera],
    turned: Sequence[Camera],
    start: frozenset[int],
    agreement: Callable[[Sequence[Camera]], float],
) -> tuple[float, list[int]]:
    """From some transposed cameras on, turn the one that helps most as long as one helps: agreement, who is turned."""

    def of(which: frozenset[int]) -> float:
        return agreement([turned[i] if i in which else camera for i, camera in enumerate(cameras)])

    which, best = start, of(start)
    while True:
        trials = [(of(which ^ {i}), which ^ {i}) for i in range(len(cameras))]
        score, trial = max(trials, key=lambda pair: pair[0])
        if score <= best:
            return best, sorted(which)
        which, best = trial, score


def _alone(cameras: Sequence[Camera]) -> list[int]:
    """The cameras that have no point between 0.3 and 30 m ahead in common with any other camera."""
    depths = np.geomspace(300.0, 30000.0, 24)
    grid = np.stack(np.meshgrid([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]), axis=-1).reshape(-1, 2)
    alone = []
    for i, camera in enumerate(cameras):
        pixels = np.concatenate([grid * camera.size, np.ones((len(grid), 1))], axis=-1)
        rays = pixels @ np.linalg.inv(camera.K).T
        ahead = (rays[:, None] * depths[:, None]).reshape(-1, 3) @ camera.R + camera.centre  # world mm
        if not any(_in_picture(other, ahead).any() for k, other in enumerate(cameras) if k != i):
            alone.append(i)
    return alone


def _refusal(cameras: Sequence[Camera], indices: Sequence[int], path: Path, why: str) -> str:
    names = ", ".join(cameras[i].name for i in indices)
    which = f"the rotation of camera {names} seems" if len(indices) == 1 else f"the rotations of cameras {names} seem"
    return f"{path}: {which} to be transposed ({why}); {_ADVICE}"


def _lean(camera: Camera) -> float:
    """Degrees between the picture's up and the world's, seen along the optical axis: 0 for a level camera."""
    return float(np.degrees(np.abs(np.arctan2(camera.R[0, 2], -camera.R[1, 2]))))


def _transposed(camera: Camera) -> Camera:
    """The camera if its file meant the inverse rotation, with the same translation."""
    return replace(camera, R=camera.R.T, centre=-camera.R @ camera.translation)


def _nearest_to_axes(cameras: Sequence[Camera]) -> np.ndarray:
    """(3,) the point with the least sum of squared distances to the optical axes; NaN for parallel ones."""
    axes = np.stack([camera.R[2] for camera in cameras])
    off = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # (views, 3, 3) projectors across the axes
    total = off.sum(axis=0)
    if np.linalg.cond(total) > 1e6:
        return np.full(3, np.nan)
    return np.linalg.solve(total, (off @ np.stack([camera.centre for camera in cameras])[..., None]).sum(axis=0))[:, 0]


def _in_picture(camera: Camera, points: np.ndarray) -> np.ndarray:
    """(..., 3) world mm -> (...) bool. Without distortion: far outside, the lens polynomial folds back into the picture."""
    shown = camera.project(points, distorted=False)
    with np.errstate(invalid="ignore"):
        return np.asarray(((shown >= -0.5) & (shown <= np.array(camera.size) - 0.5)).all(axis=-1))


def _off_axis(camera: Camera, point: np.ndarray) -> float:
    x, y, z = camera.camera_from_world(point)
    return float(np.arctan2(np.hypot(x, y), z))
