"""Where the person is in every view: a detector's boxes, repaired in time, or the capture volume's outline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import crops
from pipeline.datasets import untrusted
from pipeline.datasets.calibration import common_place, simplified
from pipeline.files.keys import FrameKeys
from pipeline.geometry.camera import Camera

# Against its neighbours in time, a box may be off by so much of their side, and so much larger or smaller.
_WINDOW, _SHIFT, _GROWTH = 5, 0.6, 1.8
_LOW = 300.0  # mm; half of the cameras are higher above the floor
_LARGEST = 2 << 30  # bytes of a detector's file


def read_coco(
    path: Path, keys: FrameKeys, views: Sequence[str], min_score: float, numbers: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of every (frame, view) in a COCO results file, the best-scored first.

    An entry's `image_id` is `<sequence>/<camera>/<number>`, or `<camera>/<number>` where there is one sequence; its
    `bbox` is x, y, width, height in px. Entries below `min_score` are left out. `numbers`, (frames, views) int, are what the
    file calls the frames, where that is not their own number.

    Returns:
        (frames, views, people, 4) px, x1 y1 x2 y2, NaN after the last, and (frames, views, people) scores.

    Raises:
        ValueError: not json, or an entry that is no box; the sentence names the file and the entry.
    """
    entries = _load(path)
    names = keys.sequence.tolist()
    called = np.repeat(keys.number[:, None], len(views), axis=1) if numbers is None else numbers
    rows: dict[tuple[str, int, int], list[int]] = {}
    for row, name in enumerate(names):
        for at, called_so in enumerate(called[row].tolist()):
            rows.setdefault((name, at, called_so), []).append(row)
    sequences = sorted(set(keys.sequence.tolist()))
    columns = {simplified(view): column for column, view in enumerate(views)}
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for at, entry in enumerate(entries):
        what = f"{path}: entry {at}"
        sequence, camera, number = _image_id(entry, sequences, what)
        column = columns.get(simplified(camera))
        values = _numbers(entry, what)
        if column is not None and values[4] >= min_score:  # others: left out by the target's params
            for row in rows.get((sequence, column, number), []):
                found.setdefault((row, column), []).append(values)
    people = max([len(some) for some in found.values()], default=1)
    box = np.full((len(keys), len(views), people, 4), np.nan)
    score = np.zeros((len(keys), len(views), people))
    for place, some in found.items():
        each = np.stack(some)
        best_first = each[np.argsort(-each[:, 4], kind="stable")]
        box[place][: len(some)] = np.concatenate([best_first[:, :2], best_first[:, :2] + best_first[:, 2:4]], axis=-1)
        score[place][: len(some)] = best_first[:, 4]
    return box, score


def marks(box: np.ndarray) -> np.ndarray:
    """(..., 4) px -> (..., 3, 2) px: top, middle and bottom, which are nearly the same points of a person in every view."""
    x1, y1, x2, y2 = np.moveaxis(box, -1, 0)
    middle = (x1 + x2) / 2
    return np.stack([np.stack([middle, y], axis=-1) for y in (y1, (y1 + y2) / 2, y2)], axis=-2)


def around(points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """(..., joints, 2) px -> (..., 4) the box around what is known, sides times 1 + margin; NaN for fewer than two."""
    known = np.isfinite(points).all(axis=-1, keepdims=True)
    low = np.where(known, points, np.inf).min(axis=-2)
    high = np.where(known, points, -np.inf).max(axis=-2)
    enough = known.sum(axis=(-2, -1)) >= 2
    low, high = (np.where(enough[..., None], value, np.nan) for value in (low, high))
    extra = (high - low) * margin / 2
    return np.concatenate([low - extra, high + extra], axis=-1)


def repair(box: np.ndarray, keys: FrameKeys) -> tuple[np.ndarray, np.ndarray]:
    """Replace boxes that are missing, or far off their neighbours in time, by what lies between their neighbours.

    Args:
        box: (frames, views, 4) px, square; NaN where missing.
        keys: which frames; a sequence is repaired by itself.

    Returns:
        (frames, views, 4) px, NaN only where a view has no box in the whole sequence, and (frames, views) bool, which
        ones are detections (the rest is filled).
    """
    filled, kept = box.copy(), np.isfinite(box).all(axis=-1)
    for sequence in np.unique(keys.sequence):
        rows = np.flatnonzero(keys.sequence == sequence)
        rows = rows[np.argsort(keys.number[rows], kind="stable")]
        for view in range(box.shape[1]):
            filled[rows, view], kept[rows, view] = _repair_track(box[rows, view], keys.number[rows])
    return filled, kept


def shares(box: np.ndarray, kept: np.ndarray, keys: FrameKeys) -> np.ndarray:
    """How wide and how high the person's rectangles are, as shares of their longer side.

    Args:
        box: (frames, views, 4) px, as detected; NaN where missing.
        kept: (frames, views) bool, which detections are believed, as of `repair`.

    Returns:
        (frames, views, 2) in (0, 1]; between their neighbours' in time where a detection is not believed, and 1, a square,
        where a view has none in the whole sequence.
    """
    sides = box[..., 2:] - box[..., :2]
    found = np.ones_like(sides)
    own = sides / sides.max(axis=-1, keepdims=True)
    for sequence in np.unique(keys.sequence):
        rows = np.flatnonzero(keys.sequence == sequence)
        rows = rows[np.argsort(keys.number[rows], kind="stable")]
        for view in range(box.shape[1]):
            good = rows[kept[rows, view]]
            if len(good):
                time = (keys.number[rows], keys.number[good])
                found[rows, view] = np.stack([np.interp(*time, own[good, view, axis]) for axis in (0, 1)], axis=-1)
    return found


def _repair_track(box: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frames, 4) -> (frames, 4), (frames,) bool."""
    known = np.flatnonzero(np.isfinite(box).all(axis=-1))
    if len(known) == 0:
        return box, np.zeros(len(box), dtype=bool)
    track = np.concatenate(
        [(box[:, :2] + box[:, 2:]) / 2, np.log(box[:, 2:3] - box[:, 0:1])], axis=-1
    )  # x, y, log side
    found = track[known]
    usual = np.stack(
        [np.median(found[max(0, i - _WINDOW // 2) : i + _WINDOW // 2 + 1], axis=0) for i in range(len(found))]
    )
    near = np.abs(found[:, :2] - usual[:, :2]).max(axis=-1) <= _SHIFT * np.exp(usual[:, 2])
    alike = np.abs(found[:, 2] - usual[:, 2]) <= np.log(_GROWTH)
    good = known[near & alike]
    if len(good) == 0:
        good = known
    between = np.stack([np.interp(time, time[good], track[good, i]) for i in range(3)], axis=-1)
    half = np.exp(between[:, 2:]) / 2
    filled = np.concatenate([between[:, :2] - half, between[:, :2] + half], axis=-1)
    kept = np.isin(np.arange(len(box)), good)
    return np.where(kept[:, None], box, filled), kept


def volume(cameras: Sequence[Camera]) -> np.ndarray:
    """A capture volume derived from the rig: (6,) world mm, xmin xmax ymin ymax zmin zmax.

    It stands on the floor (z = 0), is 2 m high, and reaches around the place that the cameras look at, as far as all of
    them see a person's middle, 0.5 to 3 m.

    Raises:
        ValueError: the cameras do not look at a common place, or stand too low for z = 0 to be the floor: a calibration
            whose world is the first camera's, or the board's on a table.
    """
    heights = np.array([camera.centre[2] for camera in cameras])
    if heights.min() < 0 or np.median(heights) < _LOW:
        raise ValueError(
            f"the cameras stand {heights.min() / 1000:.2f} to {heights.max() / 1000:.2f} m above z = 0, so that the floor is "
            "elsewhere; give target.volume_mm"
        )
    place, _ = common_place(cameras)
    if not np.isfinite(place).all():
        raise ValueError("the cameras do not look at a common place; give target.volume_mm")
    angles = np.arange(16) * 2 * np.pi / 16
    circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(16)], axis=-1)
    middle = np.array([place[0], place[1], 1000.0])
    radius = 500.0
    while radius < 3000.0 and all(_sees(camera, middle + (radius + 100.0) * circle) for camera in cameras):
        radius += 100.0
    return np.array([place[0] - radius, place[0] + radius, place[1] - radius, place[1] + radius, 0.0, 2000.0])


def outline(camera: Camera, cuboid: np.ndarray, picture: tuple[int, int]) -> np.ndarray:
    """The box of a cuboid in a view.

    Args:
        camera: the view's.
        cuboid: (6,) world mm, xmin xmax ymin ymax zmin zmax.
        picture: (width, height) px.

    Returns:
        (4,) px, the part inside the picture; NaN when nothing of it is.
    """
    axes = [np.linspace(low, high, 9) for low, high in cuboid.reshape(3, 2)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = camera.project(grid, distorted=False)  # the lens polynomial folds back far outside the picture
    seen = seen[np.isfinite(seen).all(axis=-1)]
    if not len(seen):
        return np.full(4, np.nan)
    edge = np.array([picture[0] - 0.5, picture[1] - 0.5])
    low, high = (np.clip(seen.min(axis=0), -0.5, edge), np.clip(seen.max(axis=0), -0.5, edge))
    return np.concatenate([low, high]) if (high - low >= 1).all() else np.full(4, np.nan)


def outlines(cameras: Sequence[Camera], cuboid: np.ndarray) -> np.ndarray:
    """(views, 4) px, square: the volume's outline in every view.

    Raises:
        ValueError: a camera does not see the volume.
    """
    found = np.stack([outline(camera, cuboid, camera.size) for camera in cameras])
    blind = [camera.name for camera, box in zip(cameras, found, strict=True) if not np.isfinite(box).all()]
    if blind:
        raise ValueError(f"the capture volume {cuboid.round().tolist()} mm is not in the picture of {blind[0]}")
    return crops.square(found)


def person_sides(cameras: Sequence[Camera], cuboid: np.ndarray) -> np.ndarray:
    """(views,) px: about the side of a person's box in the middle of the volume, 1.8 m and a quarter more."""
    x, y, floor = (cuboid[:2].mean(), cuboid[2:4].mean(), cuboid[4])
    ends = np.array([[x, y, floor], [x, y, floor + 1800.0]])
    shown = np.stack([camera.project(ends, distorted=False) for camera in cameras])
    return 1.25 * np.linalg.norm(shown[:, 1] - shown[:, 0], axis=-1)


def _sees(camera: Camera, points: np.ndarray) -> bool:
    seen = camera.project(points, distorted=False)
    with np.errstate(invalid="ignore"):
        return bool(((seen >= 0) & (seen <= np.array(camera.size) - 1)).all())


def _load(path: Path) -> list[Any]:
    loaded = untrusted.read_json(path, _LARGEST)
    if not isinstance(loaded, list):
        raise ValueError(f"{path}: expected a list of boxes (COCO results), got {type(loaded).__name__}")
    return loaded


def _image_id(entry: Any, sequences: list[str], what: str) -> tuple[str, str, int]:
    identity = entry.get("image_id") if isinstance(entry, dict) else None
    parts = identity.split("/") if isinstance(identity, str) else []
    if len(parts) == 2 and len(sequences) == 1:
        parts = [sequences[0], *parts]
    if len(parts) != 3 or not parts[2].isdecimal():
        expected = "<sequence>/<camera>/<number>" + (" or <camera>/<number>" if len(sequences) == 1 else "")
        raise ValueError(f"{what}: image_id: expected {expected}, got {identity!r}")
    return parts[0], parts[1], int(parts[2])


def _numbers(entry: dict[str, Any], what: str) -> np.ndarray:
    """(5,) x y width height score."""
    try:
        values = np.array([*entry["bbox"], entry.get("score", 1.0)], dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{what}: expected bbox [x, y, width, height] and a score") from None
    if values.shape != (5,) or not np.isfinite(values).all() or (values[2:4] <= 0).any():
        raise ValueError(f"{what}: expected a bbox of 4 finite numbers with positive sides, got {entry['bbox']}")
    return values
