"""One camera from a mapping whose keys have one of the usual names, as TOML, YAML, XML and JSON files of many tools have it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.calibration.description import UP_AXES, CameraEntry, simplified

_UNITS = {"m": "m", "metre": "m", "metres": "m", "meter": "m", "meters": "m"}
_UNITS |= {"cm": "cm", "centimetre": "cm", "centimetres": "cm", "centimeter": "cm", "centimeters": "cm"}
_UNITS |= {"mm": "mm", "millimetre": "mm", "millimetres": "mm", "millimeter": "mm", "millimeters": "mm"}
_COEFFICIENT_COUNTS = (0, 4, 5, 8, 12, 14)  # that OpenCV accepts

# A camera's keys in letters and digits. The first one present counts.
MATRIX = ("matrix", "k", "cameramatrix", "intrinsicmatrix", "intrinsics", "intrinsic", "mtx", "m")
_DISTORTION = (
    *("distortions", "distortion", "d", "dist", "distcoef", "distcoeff", "distcoeffs"),
    *("distortioncoefficients", "distortioncoeffs", "distortionvector"),
)
_ROTATION = ("rotation", "r", "rot", "rotationmatrix", "rvec", "rotationvector")
_TRANSLATION = ("translation", "t", "tvec", "translationvector")
_CENTRE = ("centre", "center", "position", "cameracentre", "cameracenter")
_SIZE = ("size", "imagesize", "imgsize", "imsize", "resolution")
CAMERA_FROM_WORLD = ("camerafromworld", "worldtocamera", "w2c")
WORLD_FROM_CAMERA = ("worldfromcamera", "cameratoworld", "c2w")
_EITHER_DIRECTION = ("extrinsics", "extrinsic", "extrinsicmatrix", "rt", "pose", "transform")


def parse_camera(table: dict[str, Any], name: str, path: Path) -> CameraEntry:
    """Return one camera's entry.

    Args:
        table: the camera's mapping.
        name: the camera's.
        path: the file, for messages.

    Raises:
        ValueError: a key is missing, or its value has another shape or range than expected.
    """
    if not is_name(name):
        raise ValueError(f"{path}: expected a camera's name with a letter or digit, got {name!r}")
    what = f"{path}: camera {name}"
    keys = simplified_keys(table)
    matrix = first_of(keys, MATRIX)
    if matrix is None and {"fx", "fy", "cx", "cy"} <= set(keys):
        fx, fy, cx, cy = (_numbers(keys[key], key, what).reshape(-1) for key in ("fx", "fy", "cx", "cy"))
        if {len(value) for value in (fx, fy, cx, cy)} != {1}:
            raise ValueError(f"{what}: fx, fy, cx, cy: expected a number each")
        K = np.array([[fx[0], 0, cx[0]], [0, fy[0], cy[0]], [0, 0, 1]])
    else:
        K = _numbers(_required(keys, matrix, "matrix", what), "matrix", what)
    R, t, t_is_centre = _pose(keys, what)
    return CameraEntry(
        name=name,
        size=check_size(_stated_size(keys), what),
        K=check_matrix(K, what),
        coefficients=_coefficients(keys, what),
        fisheye=_fisheye(keys, what),
        R=check_rotation(R, what),
        t=t,
        t_is_centre=t_is_centre,
        convention=_convention(keys, what),
    )


def is_name(name: Any) -> bool:
    """Return whether a value is a camera's name: printable text with a letter or digit."""
    return isinstance(name, str) and bool(simplified(name)) and name.isprintable()


def simplified_keys(table: dict[str, Any]) -> dict[str, Any]:
    """Return the values by simplified keys; of two keys that are then equal (`T` and `t`), the first."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        values.setdefault(simplified(key), value)
    return values


def first_of(keys: dict[str, Any], names: Sequence[str]) -> str | None:
    """Return the first of the names that is a key; None if there is none."""
    return next((name for name in names if name in keys), None)


def check_size(value: Any, what: str) -> tuple[int, int] | None:
    """Return (width, height) px of a stated size; None for None."""
    if value is None:
        return None
    size = _numbers(value, "size", what).reshape(-1)
    if size.shape != (2,) or (size < 1).any() or (size > 1e5).any() or (size != np.round(size)).any():
        raise ValueError(f"{what}: size: expected [width, height] in px, got {size.tolist()}")
    return int(size[0]), int(size[1])


def check_matrix(K: np.ndarray, what: str) -> np.ndarray:
    """Return the intrinsic matrix; ValueError where it is none."""
    if K.shape != (3, 3) or K[0, 0] <= 0 or K[1, 1] <= 0 or not np.allclose(K[2], [0, 0, 1]) or K[1, 0] != 0:
        raise ValueError(f"{what}: matrix: expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]], got {K.tolist()}")
    return K


def check_rotation(rotation: np.ndarray, what: str) -> np.ndarray:
    """Return a (3, 3) rotation from a Rodrigues vector, or from a matrix where the file has one."""
    if rotation.shape == (3,):
        return Rotation.from_rotvec(rotation).as_matrix()
    if rotation.shape == (3, 3):
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
            raise ValueError(f"{what}: rotation: not a rotation matrix: {rotation.tolist()}")
        return rotation
    raise ValueError(f"{what}: rotation: expected a Rodrigues vector of 3 numbers or a matrix, got {rotation.tolist()}")


def stated_units(table: dict[str, Any], path: Path) -> str | None:
    """Return the units that a file states: m, cm or mm; None where it states none."""
    stated = table.get("units", table.get("unit"))
    if stated is None or stated == "":
        return None
    unit = _UNITS.get(stated.strip().lower()) if isinstance(stated, str) else None
    if unit is None:
        raise ValueError(f"{path}: units: expected m, cm or mm, got {stated!r}")
    return unit


def stated_up(table: dict[str, Any], path: Path) -> str | None:
    """Return the axis that a file says points up; None where it states none."""
    up = table.get("up")
    if up is not None and up not in UP_AXES:
        raise ValueError(f"{path}: up: expected one of {', '.join(UP_AXES)}, got {up!r}")
    return up


def _pose(keys: dict[str, Any], what: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return a (3,) or (3, 3) rotation, the (3,) translation or centre, and whether it is the centre."""
    whole = first_of(keys, (*CAMERA_FROM_WORLD, *WORLD_FROM_CAMERA, *_EITHER_DIRECTION))
    rotation, translation, centre = (first_of(keys, names) for names in (_ROTATION, _TRANSLATION, _CENTRE))
    if whole is not None and (rotation is None or (translation is None and centre is None)):
        pose = keys[whole]
        if isinstance(pose, dict):
            return _pose(simplified_keys(pose), what)
        values = _numbers(pose, whole, what)
        if values.shape not in ((3, 4), (4, 4)):
            raise ValueError(f"{what}: {whole}: expected a 3x4 or 4x4 matrix, got {values.shape}")
        return values[:3, :3], values[:3, 3], False
    R = _numbers(_required(keys, rotation, "rotation", what), "rotation", what)
    R = R.reshape(-1) if R.size == 3 else R
    t_is_centre = translation is None and centre is not None
    t = _numbers(_required(keys, centre if t_is_centre else translation, "translation", what), "translation", what)
    if t.size != 3:
        raise ValueError(f"{what}: translation: expected 3 numbers, got {t.tolist()}")
    return R, t.reshape(3), t_is_centre


def _stated_size(keys: dict[str, Any]) -> Any:
    for width, height in (("imagewidth", "imageheight"), ("width", "height"), ("w", "h")):
        if width in keys and height in keys:
            return [keys[width], keys[height]]
    name = first_of(keys, _SIZE)
    return None if name is None else keys[name]


def _coefficients(keys: dict[str, Any], what: str) -> np.ndarray:
    name = first_of(keys, _DISTORTION)
    values = np.zeros(0) if name is None else _numbers(keys[name], "distortions", what).reshape(-1)
    if len(values) not in _COEFFICIENT_COUNTS and not (len(values) > 5 and not values[5:].any()):
        raise ValueError(
            f"{what}: distortions: expected [k1, k2, p1, p2], [k1, k2, p1, p2, k3] or OpenCV's 8, 12 or 14, "
            f"got {values.tolist()}"
        )
    if len(values) > 5 and not values[5:].any():
        values = values[:5]
    return values


def _fisheye(keys: dict[str, Any], what: str) -> bool | None:
    for key in ("fisheye", "isfisheye"):
        if key in keys:
            if not isinstance(keys[key], bool | int) or keys[key] not in (0, 1):
                raise ValueError(f"{what}: fisheye: expected true or false, got {keys[key]!r}")
            return bool(keys[key])
    for key in ("model", "cameramodel", "distortionmodel", "lens"):
        model = keys.get(key)
        if isinstance(model, str):
            if re.search("fisheye|kannala|equidistant", model.lower()):
                return True
            if re.search("pinhole|opencv|plumb|radtan|rational|brown|perspective|standard", model.lower()):
                return False
            raise ValueError(f"{what}: {key}: expected pinhole or fisheye, got '{model}'")
    return None


def _convention(keys: dict[str, Any], what: str) -> str:
    convention = keys.get("convention", "opencv")
    if convention not in ("opencv", "h36m"):
        raise ValueError(f"{what}: convention: expected opencv or h36m, got {convention!r}")
    return str(convention)


def _required(keys: dict[str, Any], name: str | None, label: str, what: str) -> Any:
    if name is None:
        raise ValueError(f"{what}: '{label}' is missing")
    return keys[name]


def _numbers(values: Any, key: str, what: str) -> np.ndarray:
    try:
        array = np.array(values)
    except (TypeError, ValueError, OverflowError):
        array = np.array("ragged")
    if array.dtype.kind not in "iuf" or array.ndim > 2:
        raise ValueError(f"{what}: {key}: expected numbers, got {repr(values)[:200]}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: {key}: expected finite numbers, got {repr(values)[:200]}")
    return array.astype(np.float64)
