"""Calibrations from elsewhere as cameras in mm, z up: what their files leave open is settled by geometry, and said.

Files rarely say their units, which way their rotations go, or what is up. A rig tells: its cameras stand so far apart, look at
a common place, and hold their pictures upright. Where it does not tell, nothing is guessed: a sentence asks for the param.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.datasets import calibration_formats
from pipeline.datasets.calibration_formats import Description, Written, simplified
from pipeline.datasets.lenses import Lens, Straightening, straighten
from pipeline.geometry.camera import Camera
from pipeline.geometry.viewing import inside_image, transposed

__all__ = ["Calibration", "Settings", "simplified"]

Units = Literal["auto", "m", "cm", "mm"]
Extrinsics = Literal["auto", "camera_from_world", "world_from_camera"]
Up = Literal["auto", "x", "y", "z", "-x", "-y", "-z"]
LensKind = Literal["auto", "pinhole", "fisheye"]

_MM = {"m": 1000.0, "cm": 10.0, "mm": 1.0}
# A rig's typical distance between two cameras, in its file's own numbers: the two ranges do not touch.
_METRES, _MILLIMETRES = (0.3, 30.0), (300.0, 30000.0)
# How much of the world a picture shows, top to bottom, at the place that the cameras look at, where a whole person is in it.
_SHOWN_MM = (2000.0, 20000.0)
# What an explicit unit may mean: from a rig on a desk to one around a pitch.
_POSSIBLE_MM = (100.0, 300000.0)
_AXES = {
    sign + name: np.where(np.arange(3) == "xyz".index(name), -1.0 if sign else 1.0, 0.0)
    for name in "xyz"
    for sign in ("", "-")
}
_LOOKED_AT = 24  # cameras of a rig, spread over it, that its conventions are settled with


@dataclass(frozen=True)
class Settings:
    """What the reader of a calibration is told; `auto` is: by what the file says, or else by geometry."""

    units: Units = "auto"
    extrinsics: Extrinsics = "auto"  # which way rotations and translations go
    up: Up = "auto"  # the axis of the file's world that points up
    lens: LensKind = "auto"


@dataclass(frozen=True)
class Calibration:
    """A rig in mm, z up.

    Attributes:
        cameras: those of fisheyes and rational lenses are without distortion, and see straightened pictures.
        straightenings: by camera name, how pictures and detections get there; most rigs have none.
        notes: sentences about what was concluded, and from what.
        doubts: sentences that ask for a param; to be raised unless something more telling is wrong.
    """

    cameras: tuple[Camera, ...]
    straightenings: dict[str, Straightening]
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def _no_pictures(_: str) -> tuple[int, int] | None:
    return None


def read(
    path: Path,
    settings: Settings = Settings(),
    picture_size: Callable[[str], tuple[int, int] | None] = _no_pictures,
) -> Calibration:
    """Read a rig and bring it to mm, z up.

    Args:
        path: a file or folder, see datasets/calibration_formats.py.
        settings: what is known about it.
        picture_size: (width, height) px of a camera's pictures, for files that do not say it; None for no pictures.

    Raises:
        ValueError: not a calibration, something is missing or has another shape, a rotation that is none, units or
            directions that cannot be right or that nobody can tell.
    """
    described = calibration_formats.read(path)
    notes = [f"{path}: {described.layout}, {len(described.cameras)} cameras"]
    written = _sized(described.cameras, picture_size, notes)
    some = [written[i] for i in np.unique(np.linspace(0, len(written) - 1, _LOOKED_AT).astype(int))]
    inverse = _direction(path, described, some, settings, notes)
    placed = [_placed(camera, inverse) for camera in some]
    unit, sentence = _unit(path, placed, settings.units, described)
    notes.append(sentence)
    up, doubt = _up(path, placed, settings.up, described.up)
    turn = _z_up_from(up)
    if up != "z":
        notes.append(f"{path}: {up} points up in the file's world; turned so that z does")
    cameras, straightenings = [], {}
    for camera in written:
        placed_camera = _placed(camera, inverse)
        placed_camera = replace(
            placed_camera, R=placed_camera.R @ turn.T, centre=turn @ placed_camera.centre * _MM[unit]
        )
        fisheye = _is_fisheye(path, camera, settings.lens)
        if fisheye or len(camera.coefficients) > 5:
            lens = Lens(camera.K, camera.coefficients, fisheye, placed_camera.size)
            made = straighten(lens, placed_camera)
            straightenings[camera.name] = made
            placed_camera = made.camera
            kind = "a fisheye" if fisheye else f"a lens of {len(camera.coefficients)} coefficients"
            notes.append(
                f"{path}: camera {camera.name} has {kind}: its pictures are straightened, "
                f"{lens.size[0]}x{lens.size[1]} px to {made.camera.size[0]}x{made.camera.size[1]}"
            )
        cameras.append(placed_camera)
    return Calibration(tuple(cameras), straightenings, tuple(notes), (doubt,) if doubt else ())


def _sized(
    cameras: Sequence[Written], picture_size: Callable[[str], tuple[int, int] | None], notes: list[str]
) -> list[Written]:
    found, from_pictures = [], []
    for camera in cameras:
        if camera.size is None:
            size = picture_size(camera.name)
            if size is not None:
                from_pictures.append(f"{camera.name} {size[0]}x{size[1]}")
            else:  # it has no pictures, so nothing will be seen through it
                size = (max(round(2 * camera.K[0, 2]), 1), max(round(2 * camera.K[1, 2]), 1))
            camera = replace(camera, size=size)
        found.append(camera)
    if from_pictures:
        notes.append(f"the calibration does not say the size of its pictures; they have {', '.join(from_pictures)}")
    return found


def _placed(camera: Written, inverse: bool) -> Camera:
    """In the file's own units and axes. Coefficients beyond the fifth, and a fisheye's, are not in it."""
    R = camera.R.T if inverse else camera.R
    centre = camera.t if inverse or camera.t_is_centre else -camera.R.T @ camera.t
    simple = camera.coefficients if len(camera.coefficients) <= 5 and not camera.fisheye else np.zeros(0)
    return Camera(
        name=camera.name,
        size=camera.size or (1, 1),
        K=camera.K,
        R=R,
        centre=centre,
        distortion=np.pad(simple, (0, 5 - len(simple))),
        convention="h36m" if camera.convention == "h36m" else "opencv",
    )


def _is_fisheye(path: Path, camera: Written, asked: LensKind) -> bool:
    if asked != "auto":
        fisheye = asked == "fisheye"
    elif camera.fisheye is not None:
        fisheye = camera.fisheye
    else:
        fisheye = False
        k = camera.coefficients
        if len(k) == 4 and (np.abs(k[2:]) > 0.02).any():
            raise ValueError(
                f"{path}: camera {camera.name}: nobody can tell whether {k.tolist()} are a fisheye's k1 to k4 or k1 k2 p1 p2 "
                "(the last two are large for that); set target.lens"
            )
    if fisheye and len(camera.coefficients) not in (0, 4) and camera.coefficients[4:].any():
        raise ValueError(
            f"{path}: camera {camera.name}: a fisheye has 4 distortions, got {camera.coefficients.tolist()}"
        )
    return fisheye


_WAYS = {False: "camera_from_world", True: "world_from_camera"}


def _direction(
    path: Path, described: Description, some: Sequence[Written], settings: Settings, notes: list[str]
) -> bool:
    """Whether the file's R and t are world_from_camera."""
    stands = {way: _stands([_placed(camera, way) for camera in some]) for way in (False, True)}
    if settings.extrinsics != "auto":
        inverse = settings.extrinsics == "world_from_camera"
        notes.append(f"{path}: rotations and translations are {settings.extrinsics} (target.extrinsics)")
        return inverse
    if described.inverse is not None:
        if stands[not described.inverse] and not stands[described.inverse]:
            raise ValueError(
                f"{path}: {described.layout} should hold {_WAYS[described.inverse]}, but only as "
                f"{_WAYS[not described.inverse]} do the cameras stand upright around a common place; set target.extrinsics"
            )
        return described.inverse
    if stands[False] == stands[True]:
        why = "both ways" if stands[False] else "in neither way"
        raise ValueError(
            f"{path}: the file does not say whether its rotations and translations are camera_from_world or "
            f"world_from_camera, and the cameras stand upright around a common place {why}; set target.extrinsics"
        )
    inverse = stands[True]
    notes.append(
        f"{path}: taken to be {_WAYS[inverse]}, because only then do the cameras stand upright around a common place"
    )
    return inverse


def _stands(cameras: Sequence[Camera]) -> bool:
    """Whether cameras may stand so: apart, most with a common place in the picture, and upright, whatever is up.

    Read the wrong way round, the cameras of a rig stand close together and are rolled by their compass directions.
    """
    centres = np.stack([camera.centre for camera in cameras])
    if np.linalg.norm(centres - centres.mean(axis=0), axis=-1).max() == 0:
        return False
    place, seen = common_place(cameras)
    if not np.isfinite(place).all() or seen.mean() < 0.5:
        return False
    apart = np.median([np.linalg.norm(a - b) for a, b in combinations(centres, 2)])
    if apart < 0.02 * np.median(np.linalg.norm(centres - place, axis=-1)):
        return False
    return bool(np.linalg.norm(np.mean([camera.R[1] for camera in cameras], axis=0)) > 0.6)


def _unit(path: Path, cameras: Sequence[Camera], asked: Units, described: Description) -> tuple[str, str]:
    baseline = float(np.median([np.linalg.norm(a.centre - b.centre) for a, b in combinations(cameras, 2)]))
    unit = asked if asked != "auto" else described.units
    if unit:
        source = "target.units" if asked != "auto" else described.units_by
        if not _POSSIBLE_MM[0] <= baseline * _MM[unit] <= _POSSIBLE_MM[1]:
            other = "m" if unit != "m" else "mm"
            raise ValueError(
                f"{path}: {source} says {unit}, but then the cameras stand {baseline * _MM[unit] / 1000:.4g} m apart; "
                f"is it {other}?"
            )
        return (unit, f"{path}: units are {unit} ({source}); cameras stand {baseline * _MM[unit] / 1000:.2f} m apart")
    place, seen = common_place(cameras)
    shown = np.nan
    if seen.any():
        depth = [camera.camera_from_world(place)[2] for camera in cameras]
        shown = float(np.median([d / c.K[1, 1] * c.size[1] for d, c in zip(depth, cameras, strict=True) if d > 0]))
    low, high = _SHOWN_MM
    if _METRES[0] <= baseline <= _METRES[1]:
        unit = "m"
    elif low <= shown * _MM["cm"] <= high and shown < low:
        if baseline >= _MILLIMETRES[0]:
            raise ValueError(
                f"{path}: nobody can tell whether it is in cm or mm: its cameras stand {baseline * 10 / 1000:.3g} or "
                f"{baseline / 1000:.3g} m apart and show {shown * 10 / 1000:.3g} or {shown / 1000:.3g} m of the world; "
                "set target.units"
            )
        unit = "cm"
    elif _MILLIMETRES[0] <= baseline <= _MILLIMETRES[1]:
        unit = "mm"
    else:
        raise ValueError(
            f"{path}: the distance between cameras, {baseline:.4g}, is neither that of a rig in m ({_METRES[0]:g} to "
            f"{_METRES[1]:g}) nor in mm ({_MILLIMETRES[0]:g} to {_MILLIMETRES[1]:g}); set target.units"
        )
    return unit, (
        f"{path}: taken to be in {unit}, because the cameras then stand {baseline * _MM[unit] / 1000:.2f} m apart"
    )


def _up(path: Path, cameras: Sequence[Camera], asked: Up, stated: str | None) -> tuple[str, str]:
    """Which axis of the file's world points up, and a sentence where that is not clear.

    A level camera's rows are horizontal, and up in its picture is up. Cameras that look straight down say nothing by that,
    but by looking down.
    """
    if asked != "auto" or stated:
        return (asked if asked != "auto" else str(stated)), ""
    found = _clearly_up(cameras)
    if found and found != "z" and _clearly_up([transposed(camera) for camera in cameras]) == "z":
        found = ""  # more likely the rotations are the wrong way round, which rig/plausibility.py says
    if found:
        return found, ""
    return "z", f"{path}: nobody can tell which axis of the calibration's world points up; set target.up"


def _clearly_up(cameras: Sequence[Camera]) -> str:
    """The axis that is up by the cameras; "" for none."""
    rows, up, ahead = (np.stack([camera.R[i] for camera in cameras]) * sign for i, sign in ((0, 1), (1, -1), (2, 1)))
    rolled = {name: float(np.sqrt(np.mean((rows @ axis) ** 2))) for name, axis in _AXES.items()}  # sine
    level = {name: float((up @ axis).mean()) if rolled[name] < 0.35 else -1.0 for name, axis in _AXES.items()}
    best, second = sorted(level, key=lambda name: -level[name])[:2]
    if level[best] >= 0.5 and (level[second] < 0.7 * level[best] or best == "z"):
        return best
    above = {name: float((-ahead @ axis).mean()) for name, axis in _AXES.items()}
    highest = max(above, key=lambda name: above[name])
    return highest if above[highest] > 0.8 and level["z"] < 0.5 else ""


def _z_up_from(up: str) -> np.ndarray:
    """(3, 3) the rotation that brings an axis up: one that only renames axes, where there is one."""
    turns = {
        "z": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "-z": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
        "y": [[0, 0, 1], [1, 0, 0], [0, 1, 0]],  # as TRC files of such a world are read with truth.axes: zxy
        "-y": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
        "x": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],  # yzx
        "-x": [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
    }
    return np.array(turns[up], dtype=np.float64)


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
        seen = np.array([inside_image(camera, point) for camera in cameras])
        angles = [_off_axis(camera, point) for camera, sees in zip(cameras, seen, strict=True) if sees]
        key = (int(seen.sum()), float(np.mean(angles)) if angles else np.inf)
        if key[0] > best_key[0] or (key[0] == best_key[0] and key[1] < best_key[1]):
            best, best_seen, best_key = point, seen, key
    if best_seen.sum() < 2:
        return np.full(3, np.nan), np.zeros(len(cameras), dtype=bool)
    refined = _nearest_to_axes([camera for camera, sees in zip(cameras, best_seen, strict=True) if sees])
    seen = np.array([inside_image(camera, refined) for camera in cameras])
    return (refined, seen) if seen.sum() >= best_seen.sum() else (best, best_seen)


def chosen(cameras: Sequence[Camera], names: Sequence[str], path: Path) -> tuple[Camera, ...]:
    """The cameras of some names, in their order."""
    by_name = {simplified(camera.name): camera for camera in cameras}
    absent = [name for name in names if simplified(name) not in by_name]
    if absent:
        raise ValueError(f"{path}: there is no camera {absent[0]}; there are {', '.join(c.name for c in cameras)}")
    return tuple(by_name[simplified(name)] for name in names)


def _nearest_to_axes(cameras: Sequence[Camera]) -> np.ndarray:
    """(3,) the point with the least sum of squared distances to the optical axes; NaN for parallel ones."""
    axes = np.stack([camera.R[2] for camera in cameras])
    off = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # (views, 3, 3) projectors across the axes
    total = off.sum(axis=0)
    if np.linalg.cond(total) > 1e6:
        return np.full(3, np.nan)
    return np.linalg.solve(total, (off @ np.stack([camera.centre for camera in cameras])[..., None]).sum(axis=0))[:, 0]


def _off_axis(camera: Camera, point: np.ndarray) -> float:
    x, y, z = camera.camera_from_world(point)
    return float(np.arctan2(np.hypot(x, y), z))
