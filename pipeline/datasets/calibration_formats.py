"""Calibration files as the field's tools write them, told apart by what is in them, and put into one form.

| from | file |
| --- | --- |
| Pose2Sim, Anipose, FreeMoCap, Caliscope | TOML: a table a camera |
| EasyMocap | a folder with `intri.yml` and `extri.yml`, or either of the two |
| OpenCV | FileStorage as YAML, XML or JSON: all cameras in one file, or a folder with a file a camera |
| Qualisys | `.qca.txt`, `.xml`: XML with `<camera serial=...>` |
| Panoptic Studio | `calibration_*.json` |
| ours | JSON: `{"units": "mm", "up": "z", "cameras": [{"name", "size", "matrix", "distortions", "rotation", "translation"}]}` |

Ours has the TOML's keys; `rotation` is a matrix or a Rodrigues vector, and `x_camera = rotation x_world + translation`.
`fisheye`, `units` (m, cm, mm) and `up` (x, y, z, -x, -y, -z) may be left out. What a file does not say, such as which way its
rotations go, is None here and is settled by geometry (datasets/calibration.py).
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.datasets import untrusted

_UNITS = {"m": "m", "metre": "m", "metres": "m", "meter": "m", "meters": "m"}
_UNITS |= {"cm": "cm", "centimetre": "cm", "centimetres": "cm", "centimeter": "cm", "centimeters": "cm"}
_UNITS |= {"mm": "mm", "millimetre": "mm", "millimetres": "mm", "millimeter": "mm", "millimeters": "mm"}
_UP = ("x", "y", "z", "-x", "-y", "-z")
_COEFFICIENTS = (0, 4, 5, 8, 12, 14)  # how many OpenCV knows
_SUFFIXES = (".toml", ".yml", ".yaml", ".json", ".xml", ".txt")

# One camera's entries, by their names in letters and digits. The first that is there counts.
_MATRIX = ("matrix", "k", "cameramatrix", "intrinsicmatrix", "intrinsics", "intrinsic", "mtx", "m")
_DISTORTION = (
    *("distortions", "distortion", "d", "dist", "distcoef", "distcoeff", "distcoeffs"),
    *("distortioncoefficients", "distortioncoeffs", "distortionvector"),
)
_ROTATION = ("rotation", "r", "rot", "rotationmatrix", "rvec", "rotationvector")
_TRANSLATION = ("translation", "t", "tvec", "translationvector")
_CENTRE = ("centre", "center", "position", "cameracentre", "cameracenter")
_SIZE = ("size", "imagesize", "imgsize", "imsize", "resolution")
_FROM_WORLD = ("camerafromworld", "worldtocamera", "w2c")
_FROM_CAMERA = ("worldfromcamera", "cameratoworld", "c2w")
_OURS = {"matrix", "rotation", "translation"}
_EITHER_WAY = ("extrinsics", "extrinsic", "extrinsicmatrix", "rt", "pose", "transform")


@dataclass(frozen=True, eq=False)
class Written:
    """One camera as its file has it.

    Attributes:
        name: with a letter or digit in it.
        size: (width, height) px; None where the file does not say.
        K: (3, 3) px.
        coefficients: 0, 4, 5, 8, 12 or 14 of the lens, as OpenCV orders them.
        fisheye: whether they are a fisheye's; None where the file does not say.
        R: (3, 3), and t: (3,) in the file's own units, `x_camera = R x_world + t` or the other way round.
        t_is_centre: t is where the camera stands.
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


@dataclass(frozen=True)
class Description:
    """A rig's file: whose layout it has, its cameras, and what it says of units, of rotations and of what is up."""

    layout: str
    cameras: tuple[Written, ...]
    units: str | None = None
    units_by: str = "metadata.units"  # who says so
    inverse: bool | None = None  # R and t are world_from_camera; None: it does not say
    up: str | None = None


def simplified(name: str) -> str:
    """A camera's name as it is compared: letters and digits, lower case (`cam_01` is `Cam01`)."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read(path: Path) -> Description:
    """Read one rig.

    Raises:
        ValueError: there is no such file, it is none of the layouts, or something is missing in it or has another shape.
    """
    if path.is_dir():
        found = _folder(path)
    elif path.name.lower() in ("intri.yml", "extri.yml", "intri.yaml", "extri.yaml"):
        found = _easymocap(path.parent)
    else:
        found = _file(path)
    if len(found.cameras) < 2:
        raise ValueError(f"{path}: expected at least two cameras (tables with a 'matrix'), got {len(found.cameras)}")
    names = [simplified(camera.name) for camera in found.cameras]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: the camera '{twice[0]}' is there twice")
    return found


def is_rig_per_sequence(path: Path) -> bool:
    """Whether a folder holds several rigs, one a sequence, rather than one rig with a file a camera."""
    if not path.is_dir() or _is_easymocap(path):
        return False
    entries = _entries(path)
    if not entries:
        return False
    first = entries[0]
    return first.is_dir() or len(_file(first).cameras) > 1


def rigs(path: Path) -> dict[str, Path]:
    """The files of a folder of rigs by the name of their sequence."""
    found: dict[str, Path] = {}
    for entry in _entries(path):
        name = entry.name if entry.is_dir() else entry.name.split(".")[0]
        if name in found:
            raise ValueError(f"{path}: two calibrations of the sequence {name}: {found[name].name} and {entry.name}")
        found[name] = entry
    return found


def _entries(path: Path) -> list[Path]:
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    return [entry for entry in entries if entry.is_dir() or entry.suffix.lower() in _SUFFIXES]


def _folder(path: Path) -> Description:
    if _is_easymocap(path):
        return _easymocap(path)
    files = [entry for entry in _entries(path) if entry.is_file()]
    if not files:
        raise ValueError(f"{path}: expected a calibration (intri.yml and extri.yml, or a file a camera), found none")
    found = [(file, _file(file)) for file in files]
    many = [file.name for file, description in found if len(description.cameras) != 1]
    if many:
        raise ValueError(
            f"{path}: expected a file a camera; {many[0]} holds {len(dict(found)[path / many[0]].cameras)}"
        )
    cameras = tuple(
        camera if camera.name else Written(**{**vars(camera), "name": file.name.split(".")[0]})
        for file, description in found
        for camera in description.cameras
    )
    first = found[0][1]
    for file, other in found:
        if (other.units, other.inverse, other.up) != (first.units, first.inverse, first.up):
            raise ValueError(
                f"{file}: units, up or the direction of rotations are stated otherwise than in {files[0].name}"
            )
    return Description(first.layout, cameras, first.units, "units", first.inverse, first.up)


def _file(path: Path) -> Description:
    """By content; the suffix only tells the syntax."""
    source = untrusted.text(path).lstrip()
    suffix = path.suffix.lower()
    if source.startswith("<"):
        if "<opencv_storage" in source[:400]:
            return _mapping(path, untrusted.read_storage_xml(path), "OpenCV's XML")
        return _qualisys(path, untrusted.read_xml(path))
    if suffix == ".toml":
        return _toml(path, untrusted.read_toml(path))
    if suffix == ".json" or (source.startswith("{") and suffix not in (".yml", ".yaml")):
        loaded = untrusted.read_json(path)
        return _panoptic(path, loaded) or _mapping(path, loaded, "JSON")
    if suffix in (".yml", ".yaml") or source.startswith("%YAML"):
        return _mapping(path, untrusted.read_yaml(path), "YAML")
    raise ValueError(f"{path}: expected a calibration as TOML, YAML, JSON or XML, by the file's suffix")


def _toml(path: Path, loaded: dict[str, Any]) -> Description:
    metadata = loaded.get("metadata", {})
    metadata = metadata if isinstance(metadata, dict) else {}
    tables = loaded.get("cameras") if isinstance(loaded.get("cameras"), dict) else loaded
    cameras = tuple(
        _camera(table, _table_name(name, table, path), path)
        for name, table in tables.items()  # type: ignore[union-attr]
        if isinstance(table, dict) and "matrix" in table and table.get("ignore") is not True
    )
    return Description("TOML", cameras, _unit(metadata, path), inverse=False, up=_up_axis(metadata, path))


def _table_name(name: str, table: dict[str, Any], path: Path) -> str:
    """Caliscope counts its cameras; its videos are cam_0.mp4 and so on."""
    given = table.get("name", f"cam_{name}" if name.isdecimal() else name)
    if not isinstance(given, str) or not simplified(given) or not given.isprintable():
        raise ValueError(f"{path}: [{name}] name: expected text with a letter or digit, got {given!r}")
    return given


def _is_easymocap(path: Path) -> bool:
    return any((path / f"intri{suffix}").is_file() for suffix in (".yml", ".yaml"))


def _easymocap(folder: Path) -> Description:
    """K_<name>, dist_<name> (and H_, W_ in newer files); R_<name> (Rodrigues), Rot_<name>, T_<name>. World to camera."""
    parts: dict[str, Any] = {}
    for stem in ("intri", "extri"):
        paths = [folder / f"{stem}{suffix}" for suffix in (".yml", ".yaml")]
        path = next((path for path in paths if path.is_file()), paths[0])
        loaded = untrusted.read_yaml(path)
        if not isinstance(loaded, dict):
            raise ValueError(f"{path}: expected EasyMocap's K_<name>, R_<name> and so on, got {type(loaded).__name__}")
        parts |= loaded
    names = [key.removeprefix("K_") for key in parts if key.startswith("K_")]
    cameras = []
    for name in names:
        what = f"{folder}: camera {name}"
        table = {"K": parts[f"K_{name}"]}
        for key in ("dist", "D"):
            if f"{key}_{name}" in parts:
                table["dist"] = parts[f"{key}_{name}"]
        rotation = parts.get(f"Rot_{name}", parts.get(f"R_{name}"))
        if rotation is None or f"T_{name}" not in parts:
            raise ValueError(f"{what}: expected Rot_{name} (or R_{name}) and T_{name} in extri.yml")
        table |= {"R": rotation, "T": parts[f"T_{name}"]}
        if f"H_{name}" in parts and f"W_{name}" in parts:
            table["size"] = [parts[f"W_{name}"], parts[f"H_{name}"]]
        cameras.append(_camera(table, name, folder))
    return Description("EasyMocap's intri.yml and extri.yml", tuple(cameras), inverse=False)


def _qualisys(path: Path, root: ElementTree.Element) -> Description:
    """Lengths of the intrinsics in 1/64 px; the rows of `transform` are the camera's axes: right, up, backwards.

    The distortion is on the normalised plane and has no such factor; tools that divide it by 64 as well lose it.
    """
    cameras = []
    for element in root.iter("camera"):
        intrinsic, transform = element.find("intrinsic"), element.find("transform")
        if intrinsic is None or transform is None:
            continue
        name = element.get("serial", "")
        what = f"{path}: camera {name or '?'}"
        if not simplified(name):
            raise ValueError(f"{path}: a camera without a serial")
        if element.get("viewrotation", "0") not in ("0", ""):
            raise ValueError(f"{what}: viewrotation {element.get('viewrotation')}: export the calibration unrotated")

        def number(node: ElementTree.Element, *keys: str, default: float | None = None, what: str = what) -> float:
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

        field = next(
            (f for f in map(element.find, ("fov_video", "fov_video_max", "fov_marker")) if f is not None), None
        )
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
        cameras.append(
            Written(
                name,
                _size(size, what),
                _matrix(K, what),
                np.array([k1, k2, p1, p2, k3]),
                False,
                _rotation(np.diag([1.0, -1.0, -1.0]) @ axes, what),
                np.array([number(transform, axis) for axis in "xyz"]),
                t_is_centre=True,
            )
        )
    if not cameras:
        raise ValueError(f"{path}: expected Qualisys' <camera> with <intrinsic> and <transform>, found none")
    return Description("Qualisys", tuple(cameras), "mm", "as Qualisys writes", inverse=False)


def _panoptic(path: Path, loaded: Any) -> Description | None:
    """CMU Panoptic Studio: cm, world to camera, y down."""
    entries = loaded.get("cameras") if isinstance(loaded, dict) else None
    if not isinstance(entries, list) or not entries:
        return None
    if not all(isinstance(entry, dict) and {"distCoef", "K", "R", "t"} <= set(entry) for entry in entries):
        return None
    cameras = tuple(_camera(entry, _entry_name(entry, at, path), path) for at, entry in enumerate(entries))
    return Description("Panoptic Studio's JSON", cameras, "cm", "as Panoptic Studio writes", inverse=False)


def _mapping(path: Path, loaded: Any, layout: str) -> Description:
    """Ours, and what people write with OpenCV: a list or mapping of cameras, arrays with a row a camera, or one camera."""
    if not isinstance(loaded, dict | list):
        raise ValueError(f"{path}: expected a calibration, got {type(loaded).__name__}")
    top = loaded if isinstance(loaded, dict) else {}
    body = top.get("cameras", loaded)
    if isinstance(body, dict) and any(key.startswith("K_") for key in body):
        raise ValueError(f"{path}: expected EasyMocap's files to be called intri.yml and extri.yml")
    if isinstance(body, list):
        cameras = [_camera(_as_table(entry, path), _entry_name(entry, at, path), path) for at, entry in enumerate(body)]
    elif isinstance(body, dict) and any(key in body for key in ("Ks", "Rs")):
        cameras = list(_columns(body, path))
    elif isinstance(body, dict) and _first(_keys(body), _MATRIX) is not None and not _has_cameras(body):
        # the file of one camera; its name may stand in it, or is the file's
        cameras = [_camera(body, str(body.get("name") or body.get("camera_name") or path.name.split(".")[0]), path)]
    else:
        tables = {key: value for key, value in body.items() if isinstance(value, dict) and _looks_like_camera(value)}
        cameras = [_camera(value, str(value.get("name", key)), path) for key, value in tables.items()]
    if not cameras:
        raise ValueError(f"{path}: expected cameras with a matrix, a rotation and a translation, found none")
    entries = [
        entry for entry in (body if isinstance(body, list) else [*body.values(), body]) if isinstance(entry, dict)
    ]
    ours = layout == "JSON" and isinstance(body, list) and all(set(entry) >= _OURS for entry in entries)
    inverse = _direction(top, entries, path)
    return Description(
        "our JSON" if ours else layout,
        tuple(cameras),
        _unit(top, path),
        "units",
        False if ours and inverse is None else inverse,
        _up_axis(top, path),
    )


def _direction(top: dict[str, Any], entries: Sequence[dict[str, Any]], path: Path) -> bool | None:
    """Whether the file says that its rotations are world_from_camera."""
    said = top.get("extrinsics")
    if isinstance(said, str):
        if said not in ("camera_from_world", "world_from_camera"):
            raise ValueError(f"{path}: extrinsics: expected camera_from_world or world_from_camera, got '{said}'")
        return said == "world_from_camera"
    ways = {_states_inverse(entry) for entry in entries} - {None}
    if len(ways) == 2:
        raise ValueError(f"{path}: some cameras are given from the world and others to it; expected one way for all")
    return next(iter(ways)) if ways else None


def _states_inverse(entry: Any) -> bool | None:
    keys = _keys(entry) if isinstance(entry, dict) else {}
    if _first(keys, _FROM_CAMERA) is not None:
        return True
    return False if _first(keys, _FROM_WORLD) is not None else None


def _columns(body: dict[str, Any], path: Path) -> Iterator[Written]:
    """OpenCV's calibrateMultiview: Ks, distortions, Rs, Ts, image_sizes, is_fisheye with an entry a camera."""
    keys = _keys(body)
    listed = {
        name: keys.get(_first(keys, aliases) or "")
        for name, aliases in (
            ("matrix", ("ks",)),
            ("distortions", ("distortions", "ds")),
            ("rotation", ("rs", "rvecs")),
            ("translation", ("ts", "tvecs")),
            ("size", ("imagesizes", "sizes")),
            ("fisheye", ("isfisheye", "fisheye")),
            ("name", ("names", "cameranames", "camids")),
        )
    }
    for needed in ("matrix", "rotation", "translation"):
        if not isinstance(listed[needed], list | np.ndarray):
            raise ValueError(f"{path}: expected lists Ks, Rs and Ts with an entry a camera")
    count = len(listed["matrix"])  # type: ignore[arg-type]
    wrong = [name for name, values in listed.items() if values is not None and _length(values) != count]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]}: expected {count} entries, one a camera")
    for at in range(count):
        table = {name: values[at] for name, values in listed.items() if values is not None}
        name = str(table.pop("name", f"cam_{at}"))
        if isinstance(table.get("fisheye"), int | float):
            table["fisheye"] = bool(table["fisheye"])
        yield _camera(table, name, path)


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list | np.ndarray) else -1


def _has_cameras(body: dict[str, Any]) -> bool:
    return any(isinstance(value, dict) and _looks_like_camera(value) for value in body.values())


def _looks_like_camera(value: dict[str, Any]) -> bool:
    keys = _keys(value)
    return _first(keys, _MATRIX) is not None or {"fx", "fy"} <= set(keys)


def _as_table(entry: Any, path: Path) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: expected a mapping a camera, got {type(entry).__name__}")
    return entry


def _entry_name(entry: Any, at: int, path: Path) -> str:
    keys = _keys(_as_table(entry, path))
    name = next((keys[key] for key in ("name", "cameraname", "id", "camid", "serial", "port") if key in keys), None)
    if isinstance(name, int) and not isinstance(name, bool):
        name = f"cam_{name}"
    if not isinstance(name, str) or not simplified(name) or not name.isprintable():
        raise ValueError(f"{path}: camera {at}: name: expected text with a letter or digit, got {name!r}")
    return name


def _camera(table: dict[str, Any], name: str, path: Path) -> Written:
    """One camera from a mapping whose keys have one of the usual names."""
    if not simplified(name) or not name.isprintable():
        raise ValueError(f"{path}: expected a camera's name with a letter or digit, got {name!r}")
    what = f"{path}: camera {name}"
    keys = _keys(table)
    matrix = _first(keys, _MATRIX)
    if matrix is None and {"fx", "fy", "cx", "cy"} <= set(keys):
        fx, fy, cx, cy = (_numbers(keys[key], key, what).reshape(-1) for key in ("fx", "fy", "cx", "cy"))
        if {len(value) for value in (fx, fy, cx, cy)} != {1}:
            raise ValueError(f"{what}: fx, fy, cx, cy: expected a number each")
        K = np.array([[fx[0], 0, cx[0]], [0, fy[0], cy[0]], [0, 0, 1]])
    else:
        K = _numbers(_needed(keys, matrix, "matrix", what), "matrix", what)
    R, t, t_is_centre = _pose(keys, what)
    return Written(
        name,
        _size(_stated_size(keys), what),
        _matrix(K, what),
        _coefficients(keys, what),
        _fisheye(keys, what),
        _rotation(R, what),
        t,
        t_is_centre,
        _convention(keys, what),
    )


def _pose(keys: dict[str, Any], what: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """(3,) or (3, 3) rotation, (3,) translation or centre, and which of the two it is."""
    whole = _first(keys, (*_FROM_WORLD, *_FROM_CAMERA, *_EITHER_WAY))
    rotation, translation, centre = (_first(keys, names) for names in (_ROTATION, _TRANSLATION, _CENTRE))
    if whole is not None and (rotation is None or (translation is None and centre is None)):
        given = keys[whole]
        if isinstance(given, dict):
            return _pose(_keys(given), what)
        values = _numbers(given, whole, what)
        if values.shape not in ((3, 4), (4, 4)):
            raise ValueError(f"{what}: {whole}: expected a 3x4 or 4x4 matrix, got {values.shape}")
        return values[:3, :3], values[:3, 3], False
    R = _numbers(_needed(keys, rotation, "rotation", what), "rotation", what)
    R = R.reshape(-1) if R.size == 3 else R
    t_is_centre = translation is None and centre is not None
    t = _numbers(_needed(keys, centre if t_is_centre else translation, "translation", what), "translation", what)
    if t.size != 3:
        raise ValueError(f"{what}: translation: expected 3 numbers, got {t.tolist()}")
    return R, t.reshape(3), t_is_centre


def _stated_size(keys: dict[str, Any]) -> Any:
    for width, height in (("imagewidth", "imageheight"), ("width", "height"), ("w", "h")):
        if width in keys and height in keys:
            return [keys[width], keys[height]]
    name = _first(keys, _SIZE)
    return None if name is None else keys[name]


def _size(value: Any, what: str) -> tuple[int, int] | None:
    if value is None:
        return None
    size = _numbers(value, "size", what).reshape(-1)
    if size.shape != (2,) or (size < 1).any() or (size > 1e5).any() or (size != np.round(size)).any():
        raise ValueError(f"{what}: size: expected [width, height] in px, got {size.tolist()}")
    return int(size[0]), int(size[1])


def _matrix(K: np.ndarray, what: str) -> np.ndarray:
    if K.shape != (3, 3) or K[0, 0] <= 0 or K[1, 1] <= 0 or not np.allclose(K[2], [0, 0, 1]) or K[1, 0] != 0:
        raise ValueError(f"{what}: matrix: expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]], got {K.tolist()}")
    return K


def _coefficients(keys: dict[str, Any], what: str) -> np.ndarray:
    name = _first(keys, _DISTORTION)
    values = np.zeros(0) if name is None else _numbers(keys[name], "distortions", what).reshape(-1)
    if len(values) not in _COEFFICIENTS and not (len(values) > 5 and not values[5:].any()):
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
        said = keys.get(key)
        if isinstance(said, str):
            if re.search("fisheye|kannala|equidistant", said.lower()):
                return True
            if re.search("pinhole|opencv|plumb|radtan|rational|brown|perspective|standard", said.lower()):
                return False
            raise ValueError(f"{what}: {key}: expected pinhole or fisheye, got '{said}'")
    return None


def _convention(keys: dict[str, Any], what: str) -> str:
    convention = keys.get("convention", "opencv")
    if convention not in ("opencv", "h36m"):
        raise ValueError(f"{what}: convention: expected opencv or h36m, got {convention!r}")
    return str(convention)


def _rotation(rotation: np.ndarray, what: str) -> np.ndarray:
    """(3, 3) from a Rodrigues vector, or from a matrix where somebody wrote one."""
    if rotation.shape == (3,):
        return Rotation.from_rotvec(rotation).as_matrix()
    if rotation.shape == (3, 3):
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
            raise ValueError(f"{what}: rotation: not a rotation matrix: {rotation.tolist()}")
        return rotation
    raise ValueError(f"{what}: rotation: expected a Rodrigues vector of 3 numbers or a matrix, got {rotation.tolist()}")


def _unit(table: dict[str, Any], path: Path) -> str | None:
    stated = table.get("units", table.get("unit"))
    if stated is None or stated == "":
        return None
    unit = _UNITS.get(stated.strip().lower()) if isinstance(stated, str) else None
    if unit is None:
        raise ValueError(f"{path}: units: expected m, cm or mm, got {stated!r}")
    return unit


def _up_axis(table: dict[str, Any], path: Path) -> str | None:
    up = table.get("up")
    if up is not None and up not in _UP:
        raise ValueError(f"{path}: up: expected one of {', '.join(_UP)}, got {up!r}")
    return up


def _keys(table: dict[str, Any]) -> dict[str, Any]:
    """By simplified names; of two that are then alike (`T` and `t`), the first."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found.setdefault(simplified(key), value)
    return found


def _first(keys: dict[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in keys), None)


def _needed(keys: dict[str, Any], name: str | None, said: str, what: str) -> Any:
    if name is None:
        raise ValueError(f"{what}: '{said}' is missing")
    return keys[name]


def _numbers(values: Any, key: str, what: str) -> np.ndarray:
    try:
        found = np.array(values)
    except (TypeError, ValueError, OverflowError):
        found = np.array("ragged")
    if found.dtype.kind not in "iuf" or found.ndim > 2:
        raise ValueError(f"{what}: {key}: expected numbers, got {repr(values)[:200]}")
    if not np.isfinite(found).all():
        raise ValueError(f"{what}: {key}: expected finite numbers, got {repr(values)[:200]}")
    return found.astype(np.float64)
