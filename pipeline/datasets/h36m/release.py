"""Human3.6M as it is downloaded: metadata.xml, pose files (CDF) and videos (mp4), unpacked or in their archives.

A file's content follows from the folders above it (`S1/MyPoseFeatures/D2_Positions`, `S1/Poses_D2_Positions`, `S1/Videos`) or
its archive's name (`Poses_D2_Positions_S1.tgz`), and from its own name: `Directions 1.54138969.cdf`. metadata.xml maps these
names to actions and cameras, and holds the cameras of all subjects in one row of 300 numbers.
"""

import math
import os
import re
import shutil
import tarfile
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from pipeline.datasets import videos
from pipeline.datasets.h36m import images as h36m_images
from pipeline.datasets.h36m.cameras import RawCamera, one_pose, settle, world_from_cameras
from pipeline.datasets.h36m.takes import (
    ACTIONS,
    CAMERAS,
    DAMAGED,
    JOINTS_OF_32,
    NO_VIDEO,
    RECORDED_JOINTS,
    SIZE,
    Labels,
    Take,
    VideoFile,
    take_name,
)
from pipeline.geometry.camera import Camera

POSES = ("D2_Positions", "D3_Positions", "D3_Positions_mono", "D3_Positions_mono_universal")
VIDEOS = "Videos"
ARCHIVES = (".tgz", ".tar.gz", ".tar", ".zip")
_LARGEST_XML, _LARGEST_CDF, _LARGEST_VIDEO = 1 << 24, 1 << 26, 1 << 33  # bytes
_LONGEST = 50_000  # frames
_SILENT_FRAMES, _MAX_FRAMES = 1, 50  # a video and its poses may differ by these without and with a note
_SUBJECTS_OF_XML = 11


@dataclass(frozen=True)
class Metadata:
    """metadata.xml.

    Attributes:
        trials: (subject, action, subaction) -> the name of its files, "Directions 1".
        actions: names by number.
        cameras: names in their order.
        numbers: (300,) per camera six of each of the 11 subjects' placements, then nine per camera of its lens.
    """

    trials: dict[tuple[int, int, int], str]
    actions: dict[int, str]
    cameras: tuple[str, ...]
    numbers: np.ndarray

    def raw_camera(self, subject: int, view: int, size: tuple[int, int]) -> RawCamera:
        place = self.numbers[6 * (view * _SUBJECTS_OF_XML + subject - 1) :][:6]
        optics = self.numbers[6 * 4 * _SUBJECTS_OF_XML + 9 * view :][:9]
        return RawCamera(
            name=self.cameras[view],
            size=size,
            focal=optics[:2],
            centre_px=optics[2:4],
            radial=optics[4:7],
            tangential=optics[7:9],
            rotation=_rotation(place[:3]),
            position=place[3:6],
        )


File = tuple[str, int, str, str]  # kind, subject, trial, camera ("" for none)


def find(place: Path) -> Path | None:
    """Return metadata.xml: the path itself, in the folder, or in one of its folders; None without one."""
    if place.is_file():
        return place if place.suffix.lower() == ".xml" else None
    return next((path for pattern in ("metadata.xml", "*/metadata.xml") for path in sorted(place.glob(pattern))), None)


def read(
    metadata: Path, root: Path, subjects: Collection[int], scratch: Path, with_images: bool
) -> tuple[list[Take], list[str]]:
    """Return the takes of a download, and sentences on corrections and omissions.

    Args:
        metadata: metadata.xml.
        root: the folder of the files and archives, at any depth.
        subjects: their numbers.
        scratch: an empty folder; archives are unpacked there, and it is needed as long as the takes are.
        with_images: videos are needed.

    Raises:
        ValueError: a file is missing, damaged or too large, or the cameras do not fit the poses.
    """
    facts = read_metadata(metadata)
    notes = [
        f"{metadata}: action {number} is called {name}, expected {ACTIONS[number]}"
        for number, name in facts.actions.items()
        if number in ACTIONS and name.replace(" ", "").lower() != ACTIONS[number].lower()
    ]
    files = _files(root, subjects, scratch, with_images)
    takes: list[Take] = []
    for subject in sorted(subjects):
        takes += _subject(subject, facts, files, with_images, what=f"{root}: S{subject}", notes=notes)
    if not takes:
        names = ", ".join(f"S{subject}" for subject in sorted(subjects))
        raise ValueError(f"{root}: no take of {names} is there with poses or videos of all {len(CAMERAS)} cameras")
    return takes, notes


def read_metadata(path: Path) -> Metadata:
    if path.stat().st_size > _LARGEST_XML:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; expected Human3.6M's metadata.xml")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError(f"{path}: declares a document type; expected Human3.6M's metadata.xml, which does not")
    try:
        root = ET.fromstring(text)  # no entities, see above
    except ET.ParseError as error:
        raise ValueError(f"{path}: not readable as XML ({error})") from None
    mapping, names, places = root.find("mapping"), root.find("actionnames"), root.find("dbcameras/index2id")
    values = root.find("w0")
    for element, name in ((mapping, "mapping"), (names, "actionnames"), (places, "dbcameras/index2id"), (values, "w0")):
        if element is None:
            raise ValueError(f"{path}: '{name}' is missing; expected Human3.6M's metadata.xml")
    assert mapping is not None and names is not None and places is not None and values is not None
    rows = [[(cell.text or "").strip() for cell in row] for row in mapping]
    header = [name.upper().removeprefix("S") for name in (rows[0][2:] if rows else [])]
    trials = {
        (int(subject), int(row[0]), int(row[1])): trial
        for row in rows[1:33]  # two per recorded action
        if len(row) > 2 and row[0].isdecimal() and row[1].isdecimal()
        for subject, trial in zip(header, row[2:], strict=False)
        if subject.isdecimal() and trial
    }
    cameras = tuple((each.text or "").strip() for each in places)[:4]
    try:
        numbers = np.array((values.text or "").strip().strip("[]").replace(",", " ").split(), dtype=np.float64)
    except ValueError:
        raise ValueError(f"{path}: w0: expected numbers") from None
    expected = 4 * (6 * _SUBJECTS_OF_XML + 9)
    if len(numbers) != expected or not np.isfinite(numbers).all():
        raise ValueError(f"{path}: w0: expected {expected} finite numbers, the cameras, got {len(numbers)}")
    if len(cameras) != 4 or len(set(cameras)) != 4 or not trials:
        raise ValueError(f"{path}: expected four cameras and a table of takes, got {len(cameras)} and {len(trials)}")
    return Metadata(trials, {i + 1: (each.text or "").strip() for i, each in enumerate(names)}, cameras, numbers)


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Return (3, 3) from radians about x, y and z, in this order from the left."""
    (a, b, c), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, a, -sa], [0, sa, a]])
    about_y = np.array([[b, 0, sb], [0, 1, 0], [-sb, 0, b]])
    about_z = np.array([[c, -sc, 0], [sc, c, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _subject(
    subject: int, facts: Metadata, files: dict[File, Path], with_images: bool, *, what: str, notes: list[str]
) -> list[Take]:
    takes: list[Take] = []
    cameras: tuple[Camera, ...] | None = None
    for key, trial in sorted(facts.trials.items()):
        if key[0] != subject or key[1] not in ACTIONS:
            continue
        video_paths = [files.get((VIDEOS, subject, trial, camera)) for camera in facts.cameras]
        poses = _Poses(what, trial, subject, facts.cameras, files)
        if not any(video_paths) and not poses.any:
            continue
        lengths = poses.lengths()
        footage: list[VideoFile] = []
        if with_images:
            absent = [camera for camera, path in zip(facts.cameras, video_paths, strict=True) if path is None]
            if absent:
                notes.append(f"{take_name(*key)}: no video of camera {absent[0]}, left out")
                continue
            try:
                for path in video_paths:
                    assert path is not None
                    lengths[path.name] = videos.announced(path)
                    footage.append(VideoFile(path))
            except ValueError as error:
                if key not in NO_VIDEO:
                    raise ValueError(f"{error}; without that file, {take_name(*key)} is left out") from None
                notes.append(f"{take_name(*key)}: {error}; left out")
                continue
        count = _count(key, trial, lengths, what, notes)
        if count is None:
            continue
        if cameras is None:
            sizes = [h36m_images.image_size(each, 1) for each in footage] or [SIZE] * len(CAMERAS)
            raws = [facts.raw_camera(subject, view, size) for view, size in enumerate(sizes)]
            cameras = _settled(raws, poses, count, what, notes)
        numbers, labels = np.arange(1, count + 1), _reader(poses, cameras, count)
        takes.append(Take(key=key, cameras=cameras, numbers=numbers, footage=tuple(footage), labels=labels))
    return takes


def _reader(poses: "_Poses", cameras: tuple[Camera, ...], count: int) -> Any:
    return lambda: poses.labels(cameras, count)


def _count(key: tuple[int, int, int], trial: str, lengths: dict[str, int], what: str, notes: list[str]) -> int | None:
    """Return the number of frames that all files of a take have; None if one has none."""
    shortest, longest = min(lengths.values()), max(lengths.values())
    if shortest == 0:
        notes.append(f"{take_name(*key)}: no frame in {min(lengths, key=lambda name: lengths[name])}, left out")
        return None
    listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
    if longest - shortest > _MAX_FRAMES and key not in DAMAGED:
        raise ValueError(
            f"{what}: {trial}: the files differ by {longest - shortest} frames ({listed}), so that no frame can be assigned to "
            f"its pose; without one of its videos, {take_name(*key)} is left out"
        )
    if longest - shortest > _SILENT_FRAMES:
        notes.append(
            f"{take_name(*key)}: the files differ by {longest - shortest} frames ({listed}); the first {shortest} are used"
        )
    return shortest


def _settled(raws: list[RawCamera], poses: "_Poses", count: int, what: str, notes: list[str]) -> tuple[Camera, ...]:
    keypoints = poses.keypoints(count)
    if poses.world:
        joints = np.repeat(poses.world_joints(count)[:, None], len(raws), axis=1)
    elif poses.mono:
        joints = poses.mono_joints(count)
    else:
        notes.append(f"{what}: there are no 3D poses, so its cameras are those of metadata.xml, unchecked")
        return tuple(_unchecked(raw) for raw in raws)
    cameras, mended = settle(raws, keypoints, joints, bool(poses.world), what)
    notes += mended
    return cameras


def _unchecked(raw: RawCamera) -> Camera:
    K = np.array([[raw.focal[0], 0, raw.centre_px[0]], [0, raw.focal[1], raw.centre_px[1]], [0, 0, 1.0]])
    distortion = np.array([*raw.radial[:2], *raw.tangential, raw.radial[2]])
    return Camera(
        name=raw.name, size=raw.size, K=K, R=raw.rotation, centre=raw.position, distortion=distortion, convention="h36m"
    )


class _Poses:
    """The pose files of one take, read on request."""

    def __init__(self, what: str, trial: str, subject: int, cameras: tuple[str, ...], files: dict[File, Path]) -> None:
        def of_views(kind: str) -> list[Path]:
            paths = [files.get((kind, subject, trial, camera)) for camera in cameras]
            return [path for path in paths if path is not None] if all(paths) else []

        self.what = f"{what}: {trial}"
        self.flat = of_views("D2_Positions")
        self.mono = of_views("D3_Positions_mono")
        self.universal = of_views("D3_Positions_mono_universal")
        alone = files.get(("D3_Positions", subject, trial, ""))
        self.world = [alone] if alone is not None else []

    @property
    def any(self) -> bool:
        return bool(self.flat or self.mono or self.world or self.universal)

    def lengths(self) -> dict[str, int]:
        return {
            f"{path.parent.name}/{path.name}": cdf_frames(path, 2 if path in self.flat else 3)
            for path in [*self.flat, *self.mono, *self.world, *self.universal]
        }

    def keypoints(self, count: int) -> np.ndarray | None:
        """Return (frames, views, 17, 2) px; None without the files."""
        return np.stack([read_cdf(path, 2)[:count] for path in self.flat], axis=1) if self.flat else None

    def world_joints(self, count: int) -> np.ndarray:
        """Return (frames, 17, 3) world mm."""
        return read_cdf(self.world[0], 3)[:count]

    def mono_joints(self, count: int) -> np.ndarray:
        """Return (frames, views, 17, 3) mm in the cameras' axes."""
        return np.stack([read_cdf(path, 3)[:count] for path in self.mono], axis=1)

    def labels(self, cameras: tuple[Camera, ...], count: int) -> Labels:
        if self.world:
            joints = self.world_joints(count)
        elif self.mono:
            joints, differing = one_pose(world_from_cameras(cameras, self.mono_joints(count)))
            if differing:
                print(
                    f"{self.what}: {differing} frame groups have another pose in every view; their joints are unknown"
                )
        elif self.universal:
            raise ValueError(
                f"{self.what}: only D3_Positions_mono_universal is there, one skeleton for all subjects, which does not "
                "fit the images; D3_Positions or D3_Positions_mono is needed"
            )
        else:
            raise ValueError(f"{self.what}: there are no 3D poses; D3_Positions or D3_Positions_mono is needed")
        keypoints = self.keypoints(count)
        if keypoints is None:
            keypoints = np.stack([camera.project(joints) for camera in cameras], axis=1)
        return Labels(keypoints, joints)


def cdf_frames(path: Path, coordinates: int) -> int:
    """Return the number of poses of a CDF file."""
    return _cdf(path, coordinates)[1]


def read_cdf(path: Path, coordinates: int) -> np.ndarray:
    """Return the poses of a CDF file: (frames, 17, coordinates), the 17 commonly used joints of the 32 recorded ones.

    Raises:
        ValueError: not a CDF, no variable `Pose`, or one of another shape; also where it would unpack to something huge.
    """
    file, frames = _cdf(path, coordinates)
    with _sentence(path):
        poses = np.asarray(file.varget("Pose"), dtype=np.float64) if frames else np.zeros(0)
    if poses.size != frames * RECORDED_JOINTS * coordinates or not np.isfinite(poses).all():
        raise ValueError(f"{path}: expected {frames} finite poses, got numbers of the shape {poses.shape}")
    return poses.reshape(-1, RECORDED_JOINTS, coordinates)[:, list(JOINTS_OF_32)]


def _cdf(path: Path, coordinates: int) -> tuple[Any, int]:
    """Return an open pose file and its number of frames; one record holds all of them, (1, frames, 32 * coordinates)."""
    import cdflib  # only this layout needs it

    _require_small(path)
    with _sentence(path):
        file = cdflib.CDF(path)
        variable = file.varinq("Pose")
        shape = [variable.Last_Rec + 1, *variable.Dim_Sizes]
    frames = math.prod(shape[:-1])
    if shape[-1] != RECORDED_JOINTS * coordinates or not 0 <= frames <= _LONGEST:
        raise ValueError(
            f"{path}: expected the variable Pose of (1, frames, {RECORDED_JOINTS * coordinates}), got {tuple(shape)}"
        )
    return file, frames


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  cdflib raises a dozen kinds for files that are damaged
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{path}: not readable as a pose file, a CDF with a variable Pose ({what:.120})") from None


def _require_small(path: Path) -> None:
    """Refuse a file that is large, or whose compressed parts unpack to a large one: cdflib unpacks without a limit."""
    size = path.stat().st_size
    if size > _LARGEST_CDF:
        raise ValueError(f"{path}: {size} bytes, expected a pose file of at most {_LARGEST_CDF}")
    parts = [path.read_bytes()]
    for _ in range(2):  # the whole file may be compressed, and each variable in it
        unpacked = [_unpacked(data[at.start() :]) for data in parts for at in re.finditer(b"\x1f\x8b\x08", data)]
        if sum(map(len, unpacked)) >= _LARGEST_CDF:
            raise ValueError(f"{path}: unpacks to more than {_LARGEST_CDF} bytes; expected a pose file")
        parts = unpacked


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(data, _LARGEST_CDF)
    except zlib.error:
        return b""  # the three bytes are no gzip header


def _files(root: Path, subjects: Collection[int], scratch: Path, with_images: bool) -> dict[File, Path]:
    """Return the files of these subjects, those in archives unpacked; a file outside of archives takes precedence."""
    if not root.is_dir():
        raise ValueError(f"{root}: expected a folder with Human3.6M's files")
    kinds = (*POSES, VIDEOS) if with_images else POSES
    paths: dict[File, Path] = {}
    archives = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        inner = PurePosixPath(path.relative_to(root).as_posix())
        if inner.name.lower().endswith(ARCHIVES):
            archives.append((path, inner))
        else:
            file = _classified(inner, None)
            if file is not None and file[0] in kinds and file[1] in subjects:
                paths.setdefault(file, path)
    for path, inner in archives:
        owner = _owner(inner)
        if owner is not None and owner not in subjects:
            continue
        for name, changed, stream in _members(path):
            file = _classified(PurePosixPath(name), inner)
            if file is None or file[0] not in kinds or file[1] not in subjects or file in paths:
                continue
            # a folder and a name of our own: no name in an archive becomes a path
            target = scratch / f"S{file[1]}" / file[0] / f"{len(paths)}.{'mp4' if file[0] == VIDEOS else 'cdf'}"
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
            os.utime(target, (changed, changed))  # a resumed stage recognises its inputs by it
            paths[file] = target
    return paths


def _members(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield an archive's files: name, a number that changes with it, content; no links, and none too large."""

    def check(name: str, size: int) -> None:
        limit = _LARGEST_VIDEO if name.lower().endswith(".mp4") else _LARGEST_CDF
        if size > limit:
            raise ValueError(f"{path}: {name} unpacks to {size} bytes, expected at most {limit}")

    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as zipped:
                for info in zipped.infolist():
                    if not info.is_dir() and info.filename.lower().endswith((".cdf", ".mp4")):
                        check(info.filename, info.file_size)
                        with zipped.open(info) as stream:
                            yield info.filename, info.CRC, stream
        else:
            with tarfile.open(path, "r|*") as archive:
                for member in archive:
                    if member.isreg() and member.name.lower().endswith((".cdf", ".mp4")):
                        check(member.name, member.size)
                        content = archive.extractfile(member)
                        assert content is not None
                        yield member.name, min(max(int(member.mtime), 0), 1 << 32), content
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError, NotImplementedError) as error:
        raise ValueError(f"{path}: not readable as an archive ({' '.join(str(error).split())})") from None


def _classified(name: PurePosixPath, archive: PurePosixPath | None) -> File | None:
    """Return a file's kind, subject, trial and camera by its name, folders and archive; None for other files."""
    suffix = name.suffix.lower()
    if suffix not in (".cdf", ".mp4"):
        return None
    above = [*name.parts[:-1]]
    subject = _owner(name) or (_owner(archive) if archive else None)
    kinds = [each.removeprefix("Poses_") for each in above] + ([_kind(archive)] if archive else [])
    kind = next((each for each in reversed(kinds) if each in (*POSES, VIDEOS)), None)
    if kind is None and archive:
        kind = kinds[-1]
    if subject is None or kind is None or (kind == VIDEOS) != (suffix == ".mp4"):
        return None
    if kind == "D3_Positions":
        return kind, subject, name.stem, ""
    trial, _, camera = name.stem.rpartition(".")
    return (kind, subject, trial, camera) if trial else None


def _kind(archive: PurePosixPath) -> str | None:
    """Return the kind of an archive's files: `Poses_D2_Positions_S1.tgz`, `D2_Positions.tgz`, `Videos_S1.tgz`."""
    stem = re.sub(r"(_S\d+)?(\.tgz|\.tar\.gz|\.tar|\.zip)$", "", archive.name, flags=re.IGNORECASE)
    return stem.removeprefix("Poses_")


def _owner(name: PurePosixPath) -> int | None:
    """Return the subject of a file: a folder S1 (or s1) above it, or `_S1` at the end of an archive's name."""
    folders = [part for part in name.parts[:-1] if re.fullmatch(r"[sS]\d{1,2}", part)]
    if folders:
        return int(folders[-1][1:])
    at_end = re.search(r"_S(\d{1,2})(\.tgz|\.tar\.gz|\.tar|\.zip)$", name.name, flags=re.IGNORECASE)
    return int(at_end[1]) if at_end else None
