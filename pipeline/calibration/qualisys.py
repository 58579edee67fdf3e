"""Qualisys' XML, `.qca.txt` and `.xml`.

Lengths of the intrinsics are in 1/64 px; the rows of `transform` are the camera's axes: right, up, backwards. The distortion
is on the normalised plane and has no such factor; tools that divide it by 64 as well lose it.
"""

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from pipeline.calibration.description import CameraEntry, Description, simplified
from pipeline.calibration.entries import check_matrix, check_rotation, check_size


def parse(path: Path, root: ElementTree.Element) -> Description:
    """Return the description of the file's root element; `path` is for messages."""
    cameras = []
    for element in root.iter("camera"):
        intrinsic, transform = element.find("intrinsic"), element.find("transform")
        if intrinsic is not None and transform is not None:
            cameras.append(_camera(path, element, intrinsic, transform))
    if not cameras:
        raise ValueError(f"{path}: expected Qualisys' <camera> with <intrinsic> and <transform>, found none")
    return Description(
        layout="Qualisys",
        cameras=tuple(cameras),
        units="mm",
        units_source="as Qualisys writes",
        world_from_camera=False,
    )


def _camera(
    path: Path, element: ElementTree.Element, intrinsic: ElementTree.Element, transform: ElementTree.Element
) -> CameraEntry:
    name = element.get("serial", "")
    what = f"{path}: camera {name or '?'}"
    if not simplified(name):
        raise ValueError(f"{path}: a camera without a serial")
    if element.get("viewrotation", "0") not in ("0", ""):
        raise ValueError(f"{what}: viewrotation {element.get('viewrotation')}: export the calibration unrotated")

    def number(node: ElementTree.Element, *keys: str, default: float | None = None) -> float:
        for key in keys:
            if key in node.attrib:
                try:
                    value = float(node.attrib[key])
                except ValueError:
                    value = math.nan
                if not math.isfinite(value):
                    raise ValueError(f"{what}: {key}: expected a number, got {node.attrib[key]!r}")
                return value
        if default is None:
            raise ValueError(f"{what}: '{keys[0]}' is missing")
        return default

    field = next((f for f in map(element.find, ("fov_video", "fov_video_max", "fov_marker")) if f is not None), None)
    left, top = (0.0, 0.0) if field is None else (number(field, "left"), number(field, "top"))
    size: tuple[float, ...] | None = None
    if field is not None:
        size = (number(field, "right") - left + 1, number(field, "bottom") - top + 1)
    elif "sensorMaxU" in intrinsic.attrib:
        size = tuple((number(intrinsic, f"sensorMax{axis}") + 1) / 64 for axis in "UV")
    K = np.eye(3)
    K[0, 0], K[1, 1] = number(intrinsic, "focalLengthU") / 64, number(intrinsic, "focalLengthV") / 64
    K[0, 2], K[1, 2] = number(intrinsic, "centerPointU") / 64 - left, number(intrinsic, "centerPointV") / 64 - top
    k1, k2, k3 = (number(intrinsic, f"radialDistortion{i}", default=0.0) for i in (1, 2, 3))
    p1, p2 = (number(intrinsic, f"tangentalDistortion{i}", f"tangentialDistortion{i}", default=0.0) for i in (1, 2))
    axes = np.array([[number(transform, f"r{row}{column}") for column in (1, 2, 3)] for row in (1, 2, 3)])
    return CameraEntry(
        name=name,
        size=check_size(size, what),
        K=check_matrix(K, what),
        coefficients=np.array([k1, k2, p1, p2, k3]),
        fisheye=False,
        R=check_rotation(np.diag([1.0, -1.0, -1.0]) @ axes, what),
        t=np.array([number(transform, axis) for axis in "xyz"]),
        t_is_centre=True,
    )
