"""Calibrations from elsewhere as cameras in mm, z up, with sentences about every convention that geometry settled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.calibration import conventions, formats
from pipeline.calibration.conventions import MM, Settings, camera_in_file_units
from pipeline.calibration.description import CameraEntry, simplified
from pipeline.calibration.lenses import Lens, Undistortion, undistortion
from pipeline.geometry.camera import Camera

_AUTO = Settings()
_SAMPLE = 24  # cameras of a rig, spread over it, that decide its conventions


@dataclass(frozen=True)
class Calibration:
    """A rig in mm, z up.

    Attributes:
        cameras: those of fisheyes and rational lenses have no distortion, and are for undistorted images.
        undistortions: of these cameras' images and detections, by camera name; most rigs have none.
        notes: sentences about the conclusions and their reasons.
        doubts: sentences that ask for a param; to be raised unless a more telling error comes first.
    """

    cameras: tuple[Camera, ...]
    undistortions: dict[str, Undistortion]
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def _no_images(_: str) -> tuple[int, int] | None:
    return None


def read_calibration(
    path: Path,
    settings: Settings = _AUTO,
    image_size: Callable[[str], tuple[int, int] | None] = _no_images,
) -> Calibration:
    """Return a rig in mm, z up.

    Args:
        path: a file or folder, see formats.py.
        settings: the conventions that the user states.
        image_size: (width, height) px of a camera's images, for files that do not state it; None if there are no images.

    Raises:
        ValueError: the file is no calibration, something is missing or has another shape, a matrix is no rotation, or units
            or directions are impossible or ambiguous.
    """
    description = formats.read(path)
    notes = [f"{path}: {description.layout}, {len(description.cameras)} cameras"]
    entries, sentence = _with_sizes(description.cameras, image_size)
    notes += [sentence] if sentence else []
    sample = [entries[i] for i in np.unique(np.linspace(0, len(entries) - 1, _SAMPLE).astype(int))]
    inverse, sentence = conventions.settle_direction(path, description, sample, settings.extrinsics)
    notes += [sentence] if sentence else []
    cameras_in_file_units = [camera_in_file_units(entry, inverse) for entry in sample]
    unit, sentence = conventions.settle_units(path, description, cameras_in_file_units, settings.units)
    notes.append(sentence)
    up, doubt = conventions.settle_up(path, cameras_in_file_units, settings.up, description.up)
    if up != "z":
        notes.append(f"{path}: {up} points up in the file's world; turned so that z does")
    z_up_from_file = conventions.z_up_from(up)
    cameras, undistortions = [], {}
    for entry in entries:
        camera = camera_in_file_units(entry, inverse)
        camera = replace(camera, R=camera.R @ z_up_from_file.T, centre=z_up_from_file @ camera.centre * MM[unit])
        fisheye = conventions.is_fisheye(path, entry, settings.lens)
        if fisheye or len(entry.coefficients) > 5:
            lens = Lens(entry.K, entry.coefficients, fisheye, camera.size)
            undistortions[entry.name] = undistortion(lens, camera)
            camera = undistortions[entry.name].camera
            kind = "a fisheye" if fisheye else f"a lens of {len(entry.coefficients)} coefficients"
            notes.append(
                f"{path}: camera {entry.name} has {kind}: its images are undistorted, "
                f"{lens.size[0]}x{lens.size[1]} px to {camera.size[0]}x{camera.size[1]}"
            )
        cameras.append(camera)
    return Calibration(tuple(cameras), undistortions, tuple(notes), (doubt,) if doubt else ())


def select_cameras(cameras: Sequence[Camera], names: Sequence[str], path: Path) -> tuple[Camera, ...]:
    """Return the cameras with these names, in the order of the names; ValueError names a missing one."""
    by_name = {simplified(camera.name): camera for camera in cameras}
    missing = [name for name in names if simplified(name) not in by_name]
    if missing:
        raise ValueError(f"{path}: there is no camera {missing[0]}; there are {', '.join(c.name for c in cameras)}")
    return tuple(by_name[simplified(name)] for name in names)


def _with_sizes(
    entries: Sequence[CameraEntry], image_size: Callable[[str], tuple[int, int] | None]
) -> tuple[list[CameraEntry], str]:
    """Return the entries with the sizes that the file does not state, and a sentence about these; empty for none."""
    complete, measured = [], []
    for entry in entries:
        if entry.size is None:
            size = image_size(entry.name)
            if size is not None:
                measured.append(f"{entry.name} {size[0]}x{size[1]}")
            else:  # without images, the size does not matter
                size = (max(round(2 * entry.K[0, 2]), 1), max(round(2 * entry.K[1, 2]), 1))
            entry = replace(entry, size=size)
        complete.append(entry)
    if not measured:
        return complete, ""
    return complete, f"the calibration does not state the size of its images; they have {', '.join(measured)}"
