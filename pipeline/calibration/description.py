"""The content of a calibration file in one form, whatever its layout: cameras as written, and the conventions that it states."""

import re
from dataclasses import dataclass

import numpy as np

UP_AXES = ("x", "y", "z", "-x", "-y", "-z")


@dataclass(frozen=True, eq=False, kw_only=True)
class CameraEntry:
    """One camera as its file describes it.

    Attributes:
        name: with a letter or digit in it.
        size: (width, height) px; None where the file does not state it.
        K: (3, 3) px.
        coefficients: 0, 4, 5, 8, 12 or 14 distortion coefficients in OpenCV's order.
        fisheye: whether they are a fisheye's; None where the file does not state it.
        R: (3, 3), and t: (3,) in the file's own units, `x_camera = R x_world + t` or the inverse.
        t_is_centre: t is the camera's position.
        convention: of the distortion's tangential term, see geometry/camera.py.
    """

    name: str
    size: tuple[int, int] | None
    K: np.ndarray
    coefficients: np.ndarray
    fisheye: bool | None
    R: np.ndarray
    t: np.ndarray
    t_is_centre: bool = False
    convention: str = "opencv"


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of a rig's file.

    Attributes:
        layout: the format's name, for messages.
        cameras: one entry per camera.
        units: m, cm or mm; None where the file does not state them.
        units_source: where the units are stated, for messages.
        world_from_camera: R and t are world_from_camera, not camera_from_world; None where the file does not state it.
        up: the axis of the file's world that points up; None where the file does not state it.
    """

    layout: str
    cameras: tuple[CameraEntry, ...]
    units: str | None = None
    units_source: str = "metadata.units"
    world_from_camera: bool | None = None
    up: str | None = None


def simplified(name: str) -> str:
    """Return a camera's name as it is compared: letters and digits in lower case (`cam_01` equals `Cam01`)."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
