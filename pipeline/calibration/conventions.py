"""Settle the conventions that a calibration file leaves open: the direction of its rotations, its units, and the upward axis.

Geometry decides: a rig's cameras stand some metres apart, look at a common position, and hold their images upright. Where
geometry is ambiguous nothing is guessed: a sentence asks for the param.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.calibration.description import CameraEntry, Description
from pipeline.geometry.camera import Camera
from pipeline.geometry.viewing import convergence_point, transposed

Units = Literal["auto", "m", "cm", "mm"]
Extrinsics = Literal["auto", "camera_from_world", "world_from_camera"]
Up = Literal["auto", "x", "y", "z", "-x", "-y", "-z"]
LensKind = Literal["auto", "pinhole", "fisheye"]

MM = {"m": 1000.0, "cm": 10.0, "mm": 1.0}
# A rig's typical distance between two cameras, in its file's own numbers: the two ranges do not overlap.
_METRES, _MILLIMETRES = (0.3, 30.0), (300.0, 30000.0)
# The height of the world in an image, at the convergence point, if a whole person fits in.
_VISIBLE_HEIGHT_MM = (2000.0, 20000.0)
# The baselines that explicit units may lead to: from a rig on a desk to one around a pitch.
_BASELINE_MM = (100.0, 300000.0)
_AXES = {
    sign + name: np.where(np.arange(3) == "xyz".index(name), -1.0 if sign else 1.0, 0.0)
    for name in "xyz"
    for sign in ("", "-")
}
_DIRECTIONS = {False: "camera_from_world", True: "world_from_camera"}


@dataclass(frozen=True)
class Settings:
    """The conventions that the user states; `auto`: as the file states, or else by geometry."""

    units: Units = "auto"  # of translations and centres
    extrinsics: Extrinsics = "auto"  # the direction of rotations and translations
    up: Up = "auto"  # the axis of the file's world that points up
    lens: LensKind = "auto"  # which formula the distortion coefficients belong to


def camera_in_file_units(entry: CameraEntry, world_from_camera: bool) -> Camera:
    """Return a camera in the file's own units and axes, without a fisheye's coefficients or those beyond the fifth."""
    R = entry.R.T if world_from_camera else entry.R
    centre = entry.t if world_from_camera or entry.t_is_centre else -entry.R.T @ entry.t
    simple = entry.coefficients if len(entry.coefficients) <= 5 and not entry.fisheye else np.zeros(0)
    return Camera(
        name=entry.name,
        size=entry.size or (1, 1),
        K=entry.K,
        R=R,
        centre=centre,
        distortion=np.pad(simple, (0, 5 - len(simple))),
        convention="h36m" if entry.convention == "h36m" else "opencv",
    )


def is_fisheye(path: Path, entry: CameraEntry, setting: LensKind) -> bool:
    """Return whether a camera's coefficients are a fisheye's; ValueError where that is ambiguous or impossible."""
    if setting != "auto":
        fisheye = setting == "fisheye"
    elif entry.fisheye is not None:
        fisheye = entry.fisheye
    else:
        fisheye = False
        k = entry.coefficients
        if len(k) == 4 and (np.abs(k[2:]) > 0.02).any():
            raise ValueError(
                f"{path}: camera {entry.name}: {k.tolist()} may be a fisheye's k1 to k4 or k1 k2 p1 p2 "
                "(the last two are large for that); set target.rig.lens"
            )
    if fisheye and len(entry.coefficients) not in (0, 4) and entry.coefficients[4:].any():
        raise ValueError(f"{path}: camera {entry.name}: a fisheye has 4 distortions, got {entry.coefficients.tolist()}")
    return fisheye


def settle_direction(
    path: Path, description: Description, entries: Sequence[CameraEntry], setting: Extrinsics
) -> tuple[bool, str]:
    """Return whether the file's R and t are world_from_camera, and a sentence about it.

    Args:
        path: the file, for messages.
        description: its content.
        entries: the cameras to decide with.
        setting: the user's.

    Returns:
        The direction; the sentence is empty where the file states it.

    Raises:
        ValueError: geometry contradicts the file, or both directions are possible, or none.
    """
    plausible = {way: _is_plausible([camera_in_file_units(entry, way) for entry in entries]) for way in (False, True)}
    if setting != "auto":
        sentence = f"{path}: rotations and translations are {setting} (target.rig.extrinsics)"
        return setting == "world_from_camera", sentence
    stated = description.world_from_camera
    if stated is not None:
        if plausible[not stated] and not plausible[stated]:
            raise ValueError(
                f"{path}: {description.layout} should hold {_DIRECTIONS[stated]}, but only as "
                f"{_DIRECTIONS[not stated]} do the cameras stand upright around a common place; set target.rig.extrinsics"
            )
        return stated, ""
    if plausible[False] == plausible[True]:
        why = "both ways" if plausible[False] else "in neither way"
        raise ValueError(
            f"{path}: the file does not state whether its rotations and translations are camera_from_world or "
            f"world_from_camera, and the cameras stand upright around a common place {why}; set target.rig.extrinsics"
        )
    direction = plausible[True]
    return direction, (
        f"{path}: taken to be {_DIRECTIONS[direction]}, because only then do the cameras stand upright around a common place"
    )


def _is_plausible(cameras: Sequence[Camera]) -> bool:
    """Return whether cameras stand apart and upright in one direction, most with a common position in the image.

    With the wrong direction, the cameras of a rig stand close together and are rolled by their compass directions.
    """
    centres = np.stack([camera.centre for camera in cameras])
    if np.linalg.norm(centres - centres.mean(axis=0), axis=-1).max() == 0:
        return False
    position, visible = convergence_point(cameras)
    if not np.isfinite(position).all() or visible.mean() < 0.5:
        return False
    baseline = np.median([np.linalg.norm(a - b) for a, b in combinations(centres, 2)])
    if baseline < 0.02 * np.median(np.linalg.norm(centres - position, axis=-1)):
        return False
    return bool(np.linalg.norm(np.mean([camera.R[1] for camera in cameras], axis=0)) > 0.6)


def settle_units(path: Path, description: Description, cameras: Sequence[Camera], setting: Units) -> tuple[str, str]:
    """Return the file's units, m, cm or mm, and a sentence about them.

    Args:
        path: the file, for messages.
        description: its content.
        cameras: in the file's own units, to decide with.
        setting: the user's.

    Raises:
        ValueError: stated units lead to an impossible rig, or the units are ambiguous.
    """
    baseline = float(np.median([np.linalg.norm(a.centre - b.centre) for a, b in combinations(cameras, 2)]))
    unit = setting if setting != "auto" else description.units
    if unit:
        source = "target.rig.units" if setting != "auto" else description.units_source
        if not _BASELINE_MM[0] <= baseline * MM[unit] <= _BASELINE_MM[1]:
            other = "m" if unit != "m" else "mm"
            raise ValueError(
                f"{path}: {source} says {unit}, but then the cameras stand {baseline * MM[unit] / 1000:.4g} m apart; "
                f"is it {other}?"
            )
        return unit, f"{path}: units are {unit} ({source}); cameras stand {baseline * MM[unit] / 1000:.2f} m apart"
    position, visible = convergence_point(cameras)
    height = np.nan
    if visible.any():
        depths = [camera.camera_from_world(position)[2] for camera in cameras]
        height = float(np.median([d / c.K[1, 1] * c.size[1] for d, c in zip(depths, cameras, strict=True) if d > 0]))
    low, high = _VISIBLE_HEIGHT_MM
    if _METRES[0] <= baseline <= _METRES[1]:
        unit = "m"
    elif low <= height * MM["cm"] <= high and height < low:
        if baseline >= _MILLIMETRES[0]:
            raise ValueError(
                f"{path}: the units may be cm or mm: its cameras stand {baseline * 10 / 1000:.3g} or "
                f"{baseline / 1000:.3g} m apart and show {height * 10 / 1000:.3g} or {height / 1000:.3g} m of the world; "
                "set target.rig.units"
            )
        unit = "cm"
    elif _MILLIMETRES[0] <= baseline <= _MILLIMETRES[1]:
        unit = "mm"
    else:
        raise ValueError(
            f"{path}: the distance between cameras, {baseline:.4g}, is neither that of a rig in m ({_METRES[0]:g} to "
            f"{_METRES[1]:g}) nor in mm ({_MILLIMETRES[0]:g} to {_MILLIMETRES[1]:g}); set target.rig.units"
        )
    return unit, (
        f"{path}: taken to be in {unit}, because the cameras then stand {baseline * MM[unit] / 1000:.2f} m apart"
    )


def settle_up(path: Path, cameras: Sequence[Camera], setting: Up, stated: str | None) -> tuple[str, str]:
    """Return the axis of the file's world that points up, and a sentence that asks for it where it is ambiguous.

    A level camera's rows are horizontal, and up in its image is up. For cameras that look straight down only their optical
    axes count.
    """
    if setting != "auto" or stated:
        return (setting if setting != "auto" else str(stated)), ""
    up = _upward_axis(cameras)
    if up and up != "z" and _upward_axis([transposed(camera) for camera in cameras]) == "z":
        up = ""  # the rotations are more likely inverted, which rig/plausibility.py refuses
    if up:
        return up, ""
    return "z", f"{path}: it is ambiguous which axis of the calibration's world points up; set target.rig.up"


def _upward_axis(cameras: Sequence[Camera]) -> str:
    """Return the axis that points up by the cameras; "" where it is ambiguous."""
    rows, up, ahead = (np.stack([camera.R[i] for camera in cameras]) * sign for i, sign in ((0, 1), (1, -1), (2, 1)))
    roll = {name: float(np.sqrt(np.mean((rows @ axis) ** 2))) for name, axis in _AXES.items()}  # sine
    level = {name: float((up @ axis).mean()) if roll[name] < 0.35 else -1.0 for name, axis in _AXES.items()}
    best, second = sorted(level, key=lambda name: -level[name])[:2]
    if level[best] >= 0.5 and (level[second] < 0.7 * level[best] or best == "z"):
        return best
    above = {name: float((-ahead @ axis).mean()) for name, axis in _AXES.items()}
    highest = max(above, key=lambda name: above[name])
    return highest if above[highest] > 0.8 and level["z"] < 0.5 else ""


def z_up_from(up: str) -> np.ndarray:
    """Return the (3, 3) rotation that brings an axis to z: a permutation of the axes where there is one."""
    rotations = {
        "z": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "-z": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
        "y": [[0, 0, 1], [1, 0, 0], [0, 1, 0]],  # as TRC files of such a world are read with truth.axes: zxy
        "-y": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
        "x": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],  # yzx
        "-x": [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
    }
    return np.array(rotations[up], dtype=np.float64)
