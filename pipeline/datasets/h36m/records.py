"""Human3.6M as the records of the multiview code: `h36m_train.pkl`, `h36m_validation.pkl` and a folder or zip of images.

A record is one image: ids, `joints_2d` px, `joints_3d_camera` mm in the camera's axes, the camera, the image's name. Some files
have `joints_3d` only, and in some that is a pose of one skeleton for all subjects, which does not fit the image. `settle`
decides by reprojection.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import archives, images
from pipeline.datasets.h36m import images as h36m_images
from pipeline.datasets.h36m.cameras import (
    RawCamera,
    lens,
    max_error_px,
    one_pose,
    reprojection_error_px,
    settle,
    world_from_cameras,
)
from pipeline.datasets.h36m.takes import (
    CAMERAS,
    IMAGE_NAME,
    SIZE,
    SKELETON,
    ImageFiles,
    Labels,
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


@dataclass(frozen=True, eq=False, kw_only=True)
class _Records:
    """The records of all files, one row each; `ids` are subject, action, subaction, view, frame."""

    image_name: list[str]
    ids: np.ndarray
    keypoints: np.ndarray  # (records, 17, 2) px
    poses: dict[str, np.ndarray]  # by field, (records, 17, 3) mm
    cameras: dict[tuple[int, int], dict[str, Any]]  # by subject and view


def find(annotations: Path) -> list[Path]:
    """Return the record files of a folder, or the named one."""
    if annotations.is_file():
        return [annotations] if annotations.suffix == ".pkl" else []
    return [
        path for folder in (annotations, annotations / "annot") for name in FILES if (path := folder / name).is_file()
    ]


def read(annotations: Path, place: Path | None, subjects: Collection[int]) -> tuple[list[Take], list[str]]:
    """Return the takes of the record files, and sentences on corrections and omissions.

    Args:
        annotations: the folder of the record files, or one of them.
        place: the folder or zip of the images; None if only labels are read.
        subjects: their numbers.

    Raises:
        ValueError: a file is damaged or inconsistent, or no reading of it fits; the sentence names file and record.
    """
    notes: list[str] = []
    records = _records(find(annotations), notes)
    images = None
    if place is not None:
        images = archives.Images({"": h36m_images.open_store(place, records.image_name[0])})
    takes = []
    for subject in sorted(set(np.unique(records.ids[:, 0]).tolist()) & set(subjects)):
        rows = np.flatnonzero(records.ids[:, 0] == subject)
        takes += _subject(subject, rows, records, images, what=f"{annotations}: S{subject}", notes=notes)
    if not takes:
        names = ", ".join(f"S{subject}" for subject in sorted(subjects))
        raise ValueError(f"{annotations}: no frame group of {names} is there in all views")
    return takes, notes


def _subject(
    subject: int,
    rows: np.ndarray,
    records: _Records,
    images: archives.Images | None,
    *,
    what: str,
    notes: list[str],
) -> list[Take]:
    """Return the takes of one subject: its frame groups that all views have, and its cameras."""
    views = sorted({view for owner, view in records.cameras if owner == subject})
    if len(views) < 2:
        notes.append(f"{what}: only camera {CAMERAS[views[0]]} has records; one view determines no depth, left out")
        return []
    groups: dict[tuple[int, int, int], dict[int, int]] = {}
    for row, (_, action, subaction, view, frame) in zip(rows.tolist(), records.ids[rows].tolist(), strict=True):
        slots = groups.setdefault((action, subaction, frame), {})
        if view in slots:
            raise ValueError(
                f"{what}: two records of {records.image_name[row]} (frame {frame}, camera {CAMERAS[view]})"
            )
        slots[view] = row
    complete = sorted(key for key, slots in groups.items() if len(slots) == len(views))
    incomplete: dict[str, int] = {}
    for action, subaction, _ in sorted(groups.keys() - set(complete)):
        name = take_name(subject, action, subaction)
        incomplete[name] = incomplete.get(name, 0) + 1
    notes += [f"{name}: {count} frame groups lack a view and are left out" for name, count in incomplete.items()]
    if not complete:
        return []
    table = np.array([[groups[key][view] for view in views] for key in complete])  # (frame groups, views) rows
    keys = np.array(complete)
    named = [
        dict(zip(complete, [records.image_name[row] for row in table[:, i]], strict=True)) for i in range(len(views))
    ]
    raws = []
    for i, view in enumerate(views):
        size = SIZE if images is None else h36m_images.image_size(ImageFiles(images, {0: named[i][complete[0]]}), 0)
        raws.append(_raw(records.cameras[subject, view], CAMERAS[view], size, f"{what}: camera {CAMERAS[view]}", notes))
    cameras, joints = _poses(
        raws, records.keypoints[table], {k: v[table] for k, v in records.poses.items()}, what, notes
    )
    takes = []
    for action, subaction in np.unique(keys[:, :2], axis=0).tolist():
        here = np.flatnonzero((keys[:, :2] == [action, subaction]).all(axis=1))
        groups_here = [complete[i] for i in here.tolist()]
        footage = () if images is None else tuple(ImageFiles(images, {m[2]: n[m] for m in groups_here}) for n in named)
        labels = Labels(records.keypoints[table[here]], joints[here])
        takes.append(
            Take(
                key=(subject, action, subaction),
                cameras=cameras,
                numbers=keys[here, 2],
                footage=footage,
                labels=partial(_same, labels),
            )
        )
    return takes


def _same(labels: Labels) -> Labels:
    return labels


def _poses(
    raws: Sequence[RawCamera], keypoints: np.ndarray, poses: dict[str, np.ndarray], what: str, notes: list[str]
) -> tuple[tuple[Any, ...], np.ndarray]:
    """Return the cameras, and (frames, joints, 3) world mm of the 3D field that fits the images."""
    field = "joints_3d_camera" if "joints_3d_camera" in poses else "joints_3d"
    try:
        cameras, mended = settle(raws, keypoints, poses[field], False, what)
        world = world_from_cameras(cameras, poses[field])
    except ValueError:
        error_px = _error_px(raws, poses[field], keypoints)
        if field == "joints_3d_camera" or error_px <= max_error_px(raws[0]):
            raise
        try:
            cameras, mended = settle(raws, keypoints, poses[field], True, what)
        except ValueError:
            raise ValueError(
                f"{what}: joints_3d is {error_px:.0f} px off the 2D labels, so it is of the universal skeleton (or the lens "
                "is not that of the images); records with joints_3d_camera are needed"
            ) from None
        notes.append(f"{what}: joints_3d is in the world's axes, not in the cameras'; read as such")
        world = poses[field]
    notes += mended
    if field == "joints_3d_camera" and "joints_3d" in poses:
        error_px = _error_px(raws, poses["joints_3d"], keypoints)
        if error_px > max_error_px(raws[0]):
            notes.append(f"{what}: joints_3d is {error_px:.0f} px off the 2D labels: not the person's; not used")
    joints, differing = one_pose(world)
    if differing:
        notes.append(f"{what}: {differing} frame groups have another pose in every view; their joints are unknown")
    return cameras, joints


def _error_px(raws: Sequence[RawCamera], joints: np.ndarray, keypoints: np.ndarray) -> float:
    """Return the largest view's reprojection error, px, of (frames, views, joints, 3) mm in the cameras' axes."""
    return max(
        reprojection_error_px(lens(raw, "h36m"), joints[:, view], keypoints[:, view]) for view, raw in enumerate(raws)
    )


def _records(paths: Sequence[Path], notes: list[str]) -> _Records:
    image_names: list[str] = []
    ids, keypoints = [], []
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
            loaded[row] = None  # its numbers are copied; a set of 1.5 million must not be in memory twice
            if not isinstance(record, dict):
                raise ValueError(f"{what}: expected a mapping, got {_kind(record)}")
            missing = [field for field in _NEEDED if field not in record]
            if missing or not fields:
                raise ValueError(f"{what}: '{missing[0] if missing else 'joints_3d_camera'}' is missing")
            each = [numbers(_get(record, f, what), (_JOINTS, 3), f"{what}: {f}") for f in fields]
            flat = numbers(record["joints_2d"], (_JOINTS, 2), f"{what}: joints_2d")
            if not flat.any() or not each[0].any():
                zero += 1
                continue
            text |= isinstance(record["subject"], (str, bytes))
            key = _ids(record, what)
            _same_camera(record["camera"], key, cameras, compared, what)
            image_names.append(_image_name(record["image"], key, what))
            ids.append(key)
            keypoints.append(flat)
            for field, pose in zip(fields, each, strict=True):
                poses.setdefault(field, []).append(pose)
        if zero:
            notes.append(f"{path}: {zero} of {len(loaded)} records are all zero and left out")
        if text:
            notes.append(f"{path}: subjects are text such as {subject!r}; read as numbers")
        del loaded
    if not ids:
        raise ValueError(f"{paths[0]}: every record is all zero")
    stacked = {field: np.stack(each) for field, each in poses.items()}
    return _Records(
        image_name=image_names, ids=np.array(ids), keypoints=np.stack(keypoints), poses=stacked, cameras=cameras
    )


def _ids(record: dict[str, Any], what: str) -> tuple[int, int, int, int, int]:
    return (
        subject_number(record["subject"], f"{what}: subject"),
        whole(record["action"], f"{what}: action", 2, 16),
        whole(record["subaction"], f"{what}: subaction", 1, 2),
        whole(record["camera_id"], f"{what}: camera_id", 0, 3),
        whole(record["image_id"], f"{what}: image_id", 0, 999_999),
    )


def _image_name(name: Any, ids: tuple[int, ...], what: str) -> str:
    """Return the image's name with plain slashes; a name in the field's form must agree with the record."""
    if isinstance(name, bytes):
        name = name.decode("latin1")
    if not isinstance(name, str):
        raise ValueError(f"{what}: image: expected an image's name, got {name!r:.80}")
    images.inside(Path("images"), name, what)
    name = name.replace("\\", "/")
    matched = IMAGE_NAME.fullmatch(name.rsplit("/", 1)[-1])
    if matched and matched[5]:
        subject, action, subaction, view, frame = ids
        stated = tuple(int(part) for part in matched.groups())
        if stated != (subject, action, subaction, view + 1, frame):
            raise ValueError(
                f"{what}: the image's name {name} disagrees with the record (subject {subject}, action {action}, subaction "
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
    """Require one camera per subject and view; records of a take share one mapping, which is compared once."""
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
            notes.append(f"{what}: {field} is 0; read as a lens without distortion")
            return np.zeros(shape)
        if np.shape(value) not in (shape, (*shape, 1)) and shape != (1,):
            notes.append(f"{what}: {field} has the shape {np.shape(value)}; read as {shape}")
        return numbers(value, shape, f"{what}: {field}")

    focal = np.concatenate([get("fx", (1,)), get("fy", (1,))])
    if (focal <= 0).any():
        raise ValueError(f"{what}: fx and fy: expected positive px, got {focal.tolist()}")
    centre_px = np.concatenate([get("cx", (1,)), get("cy", (1,))])
    return RawCamera(
        name=name,
        size=size,
        focal=focal,
        centre_px=centre_px,
        radial=get("k", (3,)),
        tangential=get("p", (2,)),
        rotation=get("R", (3, 3)),
        position=get("T", (3,)),
    )


def _get(values: dict[str, Any], field: str, what: str) -> Any:
    if field not in values:
        raise ValueError(f"{what}: '{field}' is missing")
    return values[field]


def _kind(value: Any) -> str:
    return "an empty list" if value == [] else type(value).__name__
