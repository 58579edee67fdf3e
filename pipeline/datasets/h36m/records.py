"""Human3.6M as the records of the multiview code: `h36m_train.pkl`, `h36m_validation.pkl` and a folder or zip of pictures.

A record is one picture: ids, `joints_2d` px, `joints_3d_camera` mm in the camera's axes, the camera, the picture's name.
Some files have `joints_3d` only, and in some that is a pose of one skeleton for all subjects, which is not what the picture
shows. `settle` tells by what the cameras show.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import archives, images
from pipeline.datasets.h36m import images as h36m_images
from pipeline.datasets.h36m.cameras import RawCamera, lens, one_pose, settle, shown_off, tolerated, world_from_cameras
from pipeline.datasets.h36m.takes import (
    CAMERAS,
    PICTURE_NAME,
    SIZE,
    SKELETON,
    Labels,
    Stills,
    Take,
    numbers,
    subject_number,
    take_name,
    whole,
)
from pipeline.files import unpickle

FILES = ("h36m_train.pkl", "h36m_validation.pkl")
_NEEDED = ("image", "joints_2d", "subject", "action", "subaction", "camera_id", "image_id", "camera")
_JOINTS = len(SKELETON)


@dataclass(frozen=True, eq=False)
class _Records:
    """The records of all files, one row each; `ids` are subject, action, subaction, view, frame."""

    image: list[str]
    ids: np.ndarray
    points: np.ndarray  # (records, 17, 2) px
    poses: dict[str, np.ndarray]  # by field, (records, 17, 3) mm
    cameras: dict[tuple[int, int], dict[str, Any]]  # by subject and view


def find(annotations: Path) -> list[Path]:
    """The record files of a folder, or the one that is named."""
    if annotations.is_file():
        return [annotations] if annotations.suffix == ".pkl" else []
    return [
        path for folder in (annotations, annotations / "annot") for name in FILES if (path := folder / name).is_file()
    ]


def read(annotations: Path, place: Path | None, subjects: Collection[int]) -> tuple[list[Take], list[str]]:
    """The takes of the record files, and sentences on what was mended or left out.

    Args:
        annotations: the folder of the record files, or one of them.
        place: the folder or zip of the pictures; None where only labels are asked for.
        subjects: whose takes.

    Raises:
        ValueError: a file is not what it should be, or no reading of it fits; the sentence names file and record.
    """
    notes: list[str] = []
    records = _records(find(annotations), notes)
    pictures = None
    if place is not None:
        pictures = archives.Pictures({"": h36m_images.store(place, records.image[0])})
    takes = []
    for subject in sorted(set(np.unique(records.ids[:, 0]).tolist()) & set(subjects)):
        rows = np.flatnonzero(records.ids[:, 0] == subject)
        takes += _subject(subject, rows, records, pictures, f"{annotations}: S{subject}", notes)
    if not takes:
        names = ", ".join(f"S{subject}" for subject in sorted(subjects))
        raise ValueError(f"{annotations}: no moment of {names} is there in all views")
    return takes, notes


def _subject(
    subject: int,
    rows: np.ndarray,
    records: _Records,
    pictures: archives.Pictures | None,
    what: str,
    notes: list[str],
) -> list[Take]:
    """The takes of one subject: its moments that all views have, and its cameras."""
    views = sorted({view for owner, view in records.cameras if owner == subject})
    if len(views) < 2:
        notes.append(f"{what}: only camera {CAMERAS[views[0]]} has records; one ray makes no point, left out")
        return []
    moments: dict[tuple[int, int, int], dict[int, int]] = {}
    for row, (_, action, subaction, view, frame) in zip(rows.tolist(), records.ids[rows].tolist(), strict=True):
        slots = moments.setdefault((action, subaction, frame), {})
        if view in slots:
            raise ValueError(f"{what}: two records of {records.image[row]} (frame {frame}, camera {CAMERAS[view]})")
        slots[view] = row
    whole_ones = sorted(key for key, slots in moments.items() if len(slots) == len(views))
    gone: dict[str, int] = {}
    for action, subaction, _ in sorted(moments.keys() - set(whole_ones)):
        name = take_name(subject, action, subaction)
        gone[name] = gone.get(name, 0) + 1
    notes += [f"{name}: {count} moments lack a view and are left out" for name, count in gone.items()]
    if not whole_ones:
        return []
    table = np.array([[moments[key][view] for view in views] for key in whole_ones])  # (moments, views) rows
    keys = np.array(whole_ones)
    named = [dict(zip(whole_ones, [records.image[row] for row in table[:, i]], strict=True)) for i in range(len(views))]
    raws = []
    for i, view in enumerate(views):
        size = SIZE if pictures is None else h36m_images.size(Stills(pictures, {0: named[i][whole_ones[0]]}), 0)
        raws.append(_raw(records.cameras[subject, view], CAMERAS[view], size, f"{what}: camera {CAMERAS[view]}", notes))
    cameras, joints = _poses(raws, records.points[table], {k: v[table] for k, v in records.poses.items()}, what, notes)
    found = []
    for action, subaction in np.unique(keys[:, :2], axis=0).tolist():
        here = np.flatnonzero((keys[:, :2] == [action, subaction]).all(axis=1))
        moments_here = [whole_ones[i] for i in here.tolist()]
        footage = () if pictures is None else tuple(Stills(pictures, {m[2]: n[m] for m in moments_here}) for n in named)
        labels = Labels(records.points[table[here]], joints[here])
        found.append(Take(subject, action, subaction, cameras, keys[here, 2], footage, partial(_same, labels)))
    return found


def _same(labels: Labels) -> Labels:
    return labels


def _poses(
    raws: Sequence[RawCamera], points: np.ndarray, poses: dict[str, np.ndarray], what: str, notes: list[str]
) -> tuple[tuple[Any, ...], np.ndarray]:
    """Which of the 3D fields is what the pictures show: the cameras, and (frames, joints, 3) world mm."""
    field = "joints_3d_camera" if "joints_3d_camera" in poses else "joints_3d"
    try:
        cameras, mended = settle(raws, points, poses[field], False, what)
        world = world_from_cameras(cameras, poses[field])
    except ValueError:
        off = _off(raws, poses[field], points)
        if field == "joints_3d_camera" or off <= tolerated(raws[0]):
            raise
        try:
            cameras, mended = settle(raws, points, poses[field], True, what)
        except ValueError:
            raise ValueError(
                f"{what}: joints_3d is shown {off:.0f} px off the 2D labels, so it is of the universal skeleton (or the lens is "
                "not the pictures'); records with joints_3d_camera are needed"
            ) from None
        notes.append(f"{what}: joints_3d is in the world's axes, not in the cameras'; taken so")
        world = poses[field]
    notes += mended
    if field == "joints_3d_camera" and "joints_3d" in poses:
        off = _off(raws, poses["joints_3d"], points)
        if off > tolerated(raws[0]):
            notes.append(f"{what}: joints_3d is shown {off:.0f} px off the 2D labels: not the person's; not used")
    joints, apart = one_pose(world)
    if apart:
        notes.append(f"{what}: {apart} moments have another pose in every view; their truth is not known")
    return cameras, joints


def _off(raws: Sequence[RawCamera], joints: np.ndarray, points: np.ndarray) -> float:
    """px that (frames, views, joints, 3) mm in the cameras' axes are shown off (frames, views, joints, 2) px."""
    return max(shown_off(lens(raw, "h36m"), joints[:, view], points[:, view]) for view, raw in enumerate(raws))


def _records(paths: Sequence[Path], notes: list[str]) -> _Records:
    image: list[str] = []
    ids, points = [], []
    poses: dict[str, list[np.ndarray]] = {}
    cameras: dict[tuple[int, int], dict[str, Any]] = {}
    compared: dict[int, dict[str, Any]] = {}
    for path in paths:
        loaded = unpickle.load(path)
        if not isinstance(loaded, list) or not loaded:
            raise ValueError(f"{path}: expected a list of records, got {_kind(loaded)}")
        subject = loaded[0].get("subject") if isinstance(loaded[0], dict) else None
        fields = [f for f in ("joints_3d_camera", "joints_3d") if isinstance(loaded[0], dict) and f in loaded[0]]
        if poses and set(poses) != set(fields):
            fields = [field for field in fields if field in poses]
            poses = {field: poses[field] for field in fields}
        zero, text = 0, False
        for row, record in enumerate(loaded):
            what = f"{path}: record {row}"
            loaded[row] = None  # its numbers are copied; a set of 1.5 million must not be there twice
            if not isinstance(record, dict):
                raise ValueError(f"{what}: expected a mapping, got {_kind(record)}")
            missing = [field for field in _NEEDED if field not in record]
            if missing or not fields:
                raise ValueError(f"{what}: '{missing[0] if missing else 'joints_3d_camera'}' is missing")
            each = [numbers(_get(record, f, what), (_JOINTS, 3), f"{what}: {f}") for f in fields]
            shown = numbers(record["joints_2d"], (_JOINTS, 2), f"{what}: joints_2d")
            if not shown.any() or not each[0].any():
                zero += 1
                continue
            text |= isinstance(record["subject"], (str, bytes))
            key = _ids(record, what)
            _same_camera(record["camera"], key, cameras, compared, what)
            image.append(_picture_name(record["image"], key, what))
            ids.append(key)
            points.append(shown)
            for field, pose in zip(fields, each, strict=True):
                poses.setdefault(field, []).append(pose)
        if zero:
            notes.append(f"{path}: {zero} of {len(loaded)} records are all zero and left out")
        if text:
            notes.append(f"{path}: subjects are text such as {subject!r}; taken as numbers")
        del loaded
    if not ids:
        raise ValueError(f"{paths[0]}: every record is all zero")
    stacked = {field: np.stack(each) for field, each in poses.items()}
    return _Records(image, np.array(ids), np.stack(points), stacked, cameras)


def _ids(record: dict[str, Any], what: str) -> tuple[int, int, int, int, int]:
    return (
        subject_number(record["subject"], f"{what}: subject"),
        whole(record["action"], f"{what}: action", 2, 16),
        whole(record["subaction"], f"{what}: subaction", 1, 2),
        whole(record["camera_id"], f"{what}: camera_id", 0, 3),
        whole(record["image_id"], f"{what}: image_id", 0, 999_999),
    )


def _picture_name(name: Any, ids: tuple[int, ...], what: str) -> str:
    """The picture's name with plain slashes; one in the field's form must say what the record says."""
    if isinstance(name, bytes):
        name = name.decode("latin1")
    if not isinstance(name, str):
        raise ValueError(f"{what}: image: expected a picture's name, got {name!r:.80}")
    images.inside(Path("images"), name, what)
    name = name.replace("\\", "/")
    matched = PICTURE_NAME.fullmatch(name.rsplit("/", 1)[-1])
    if matched and matched[5]:
        subject, action, subaction, view, frame = ids
        told = tuple(int(part) for part in matched.groups())
        if told != (subject, action, subaction, view + 1, frame):
            raise ValueError(
                f"{what}: the picture {name} is not what the record says (subject {subject}, action {action}, subaction "
                f"{subaction}, camera {view + 1}, frame {frame})"
            )
    return name


def _same_camera(
    camera: Any,
    ids: tuple[int, ...],
    cameras: dict[tuple[int, int], dict[str, Any]],
    compared: dict[int, dict[str, Any]],
    what: str,
) -> None:
    """One camera a subject and view; records of a take share one mapping, which is compared once."""
    if not isinstance(camera, dict):
        raise ValueError(f"{what}: camera: expected a mapping, got {_kind(camera)}")
    if compared.get(id(camera)) is camera:
        return
    first = cameras.setdefault((ids[0], ids[3]), camera)
    same = first is camera or (
        first.keys() == camera.keys() and all(np.array_equal(first[k], camera[k]) for k in first if k != "name")
    )
    if not same:
        raise ValueError(f"{what}: the camera {CAMERAS[ids[3]]} of S{ids[0]} differs from the one of earlier records")
    compared[id(camera)] = camera  # kept, so that no other mapping gets its id


def _raw(camera: dict[str, Any], name: str, size: tuple[int, int], what: str, notes: list[str]) -> RawCamera:
    def get(field: str, shape: tuple[int, ...]) -> np.ndarray:
        value = _get(camera, field, what)
        if field in ("k", "p") and np.size(value) == 1 and not np.any(value):
            notes.append(f"{what}: {field} is 0; taken as a lens without distortion")
            return np.zeros(shape)
        if np.shape(value) not in (shape, (*shape, 1)) and shape != (1,):
            notes.append(f"{what}: {field} has the shape {np.shape(value)}; taken as {shape}")
        return numbers(value, shape, f"{what}: {field}")

    focal = np.concatenate([get("fx", (1,)), get("fy", (1,))])
    if (focal <= 0).any():
        raise ValueError(f"{what}: fx and fy: expected positive px, got {focal.tolist()}")
    middle = np.concatenate([get("cx", (1,)), get("cy", (1,))])
    return RawCamera(name, size, focal, middle, get("k", (3,)), get("p", (2,)), get("R", (3, 3)), get("T", (3,)))


def _get(values: dict[str, Any], field: str, what: str) -> Any:
    if field not in values:
        raise ValueError(f"{what}: '{field}' is missing")
    return values[field]


def _kind(value: Any) -> str:
    return "an empty list" if value == [] else type(value).__name__
