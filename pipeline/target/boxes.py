"""Person boxes in every view: a detector's, repaired in time, or the capture volume's outline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import crops
from pipeline.calibration.description import simplified
from pipeline.files import untrusted
from pipeline.files.keys import FrameKeys
from pipeline.geometry.camera import Camera
from pipeline.geometry.viewing import convergence_point
from pipeline.rig.plausibility import check_person_height
from pipeline.target.people import of_person, person_of_interest
from pipeline.target.raw import RawTarget

# The limits of a box against its neighbours in time: its shift in units of their side, and its growth.
_WINDOW, _MAX_SHIFT, _MAX_GROWTH = 5, 0.6, 1.8
_MIN_MEDIAN_HEIGHT = 300.0  # mm of the cameras above the floor
_MAX_BYTES = 2 << 30  # of a detector's file
# Distance from the epipolar line of one person's boxes, as a fraction of the person's size: to associate boxes with, of which
# only gross errors are to be refused, and to compare the calibration with.
_SLACK, _AGREEMENT_SLACK = 0.2, 0.08


@dataclass(frozen=True, eq=False)
class PersonBoxes:
    """The person's box in every view.

    Attributes:
        square: (frames, views, 4) px, x1 y1 x2 y2.
        person_size: (frames, views, 2) px, width and height of the person's own box with its margin; None if unknown.
        source: (frames, views) text: detection, filled, volume or truth.
    """

    square: np.ndarray
    person_size: np.ndarray | None
    source: np.ndarray


def detected_boxes(
    folder: Path,
    target: RawTarget,
    frame_numbers: np.ndarray,
    *,
    keypoints: np.ndarray,
    min_score: float,
    calibration: Path,
) -> tuple[np.ndarray, str]:
    """Return the person of interest's boxes, from boxes.json if it is there, else around their keypoints.

    Args:
        folder: of the detector's files.
        target: the frames and cameras.
        frame_numbers: (frames, views) int, the detector's numbers of the frames.
        keypoints: (frames, views, joints, 2) px of the person of interest; NaN where not visible.
        min_score: boxes with a lower score count as missing.
        calibration: the cameras' file, for messages.

    Returns:
        (frames, views, 4) px, NaN where missing, and a sentence about the person's height, empty if unknown.

    Raises:
        ValueError: the file is damaged, there is no box, or the calibration contradicts the boxes.
    """
    if (folder / "boxes.json").is_file():
        people, score = read_coco(folder / "boxes.json", target.keys, target.view_names, min_score, frame_numbers)
        for rows, rig in target.groups:
            for view, name in enumerate(target.view_names):
                if name in rig.undistortions:
                    people[rows, view] = rig.undistortions[name].undistorted_boxes(people[rows, view])
        scores = np.repeat(score[..., None], 3, axis=-1)
        person = person_of_interest(marks(people), scores, target, (_SLACK, _AGREEMENT_SLACK), calibration)
        box = of_person(person, people, np.nan)
    else:
        box = around(keypoints)
    if not np.isfinite(box).any():
        raise ValueError(
            f"{folder}: no box of a person in any frame (looked for boxes.json, and keypoints by "
            "target.detections_format); target.boxes: volume needs none"
        )
    heights = [check_person_height(box[rows], rig.cameras, calibration) / 1000 for rows, rig in target.groups]
    if not np.isfinite(heights).any():
        return box, ""
    low, high = np.nanmin(heights), np.nanmax(heights)
    return box, f"{calibration}: by their boxes the person is {low:.2f} to {high:.2f} m tall (median)"


def complete_boxes(
    box: np.ndarray, margin: float, target: RawTarget, volume_mm: tuple[float, ...] | None
) -> PersonBoxes:
    """Return squares around detected boxes, filled in time where missing, and by the volume in a view without any box.

    Args:
        box: (frames, views, 4) px; NaN where missing.
        margin: around a box, as a fraction of its longer side.
        target: the frames and cameras.
        volume_mm: the capture volume; None: derived from the rig.
    """
    filled, kept = repair(crops.square(box, margin), target.keys)
    source = np.where(kept, "detection", "filled")
    blank = ~np.isfinite(filled).all(axis=-1)
    if blank.any():  # a view without one box in the whole sequence
        filled = np.where(blank[..., None], volume_boxes(target, volume_mm).square, filled)
        source[blank] = "volume"
    return PersonBoxes(filled, shares(box, kept, target.keys) * (filled[..., 2:] - filled[..., :2]), source)


def volume_boxes(target: RawTarget, volume_mm: tuple[float, ...] | None) -> PersonBoxes:
    """Return squares around the outline of the capture volume; None for `volume_mm` derives it from the rig."""
    box = np.zeros((len(target.keys), len(target.view_names), 4))
    for rows, rig in target.groups:
        box[rows] = outlines(rig.cameras, _cuboid(rig.cameras, volume_mm))
    return PersonBoxes(box, None, np.full(box.shape[:2], "volume"))


def given_boxes(box: np.ndarray, target: RawTarget, volume_mm: tuple[float, ...] | None) -> PersonBoxes:
    """Return published (frames, views, 4) px squares, by the volume where they are NaN."""
    known = np.isfinite(box).all(axis=-1)
    filled = box if known.all() else volume_boxes(target, volume_mm).square
    return PersonBoxes(np.where(known[..., None], box, filled), None, np.where(known, "truth", "volume"))


def stored_sides(
    boxes: PersonBoxes, target: RawTarget, volume_mm: tuple[float, ...] | None, cache_size: int
) -> np.ndarray:
    """Return (frames, views) px of a box's side in its stored crop.

    A volume's side is larger, so that a person in it is stored as large as in a box of their own.
    """
    sides = np.full(boxes.source.shape, float(cache_size))
    for rows, rig in target.groups:
        if (boxes.source[rows] == "volume").any():
            person = person_sides(rig.cameras, _cuboid(rig.cameras, volume_mm))
            ratio = (boxes.square[rows, :, 2] - boxes.square[rows, :, 0]) / person
            sides[rows] = np.where(boxes.source[rows] == "volume", sides[rows] * np.fmax(ratio, 1.0), sides[rows])
    return sides


def _cuboid(cameras: Sequence[Camera], volume_mm: tuple[float, ...] | None) -> np.ndarray:
    return volume(cameras) if volume_mm is None else np.array(volume_mm)


def read_coco(
    path: Path, keys: FrameKeys, views: Sequence[str], min_score: float, numbers: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes of every (frame, view) in a COCO results file, the best-scored first.

    An entry's `image_id` is `<sequence>/<camera>/<number>`, or `<camera>/<number>` where there is one sequence; its
    `bbox` is x, y, width, height in px. Entries below `min_score` are left out. `numbers`, (frames, views) int, are the
    file's numbers of the frames, where they differ from the frame groups'.

    Returns:
        (frames, views, people, 4) px, x1 y1 x2 y2, NaN after the last, and (frames, views, people) scores.

    Raises:
        ValueError: not json, or an entry that is no box; the sentence names the file and the entry.
    """
    entries = _load(path)
    if numbers is None:
        numbers = np.repeat(keys.number[:, None], len(views), axis=1)
    rows: dict[tuple[str, int, int], list[int]] = {}
    for row, name in enumerate(keys.sequence.tolist()):
        for column, number in enumerate(numbers[row].tolist()):
            rows.setdefault((name, column, number), []).append(row)
    sequences = sorted(set(keys.sequence.tolist()))
    columns = {simplified(view): column for column, view in enumerate(views)}
    listed: dict[tuple[int, int], list[np.ndarray]] = {}
    for index, entry in enumerate(entries):
        what = f"{path}: entry {index}"
        sequence, camera, number = _image_id(entry, sequences, what)
        view = columns.get(simplified(camera))
        values = _numbers(entry, what)
        if view is not None and values[4] >= min_score:  # others: left out by the target's params
            for row in rows.get((sequence, view, number), []):
                listed.setdefault((row, view), []).append(values)
    people = max([len(entries_here) for entries_here in listed.values()], default=1)
    box = np.full((len(keys), len(views), people, 4), np.nan)
    score = np.zeros((len(keys), len(views), people))
    for frame_and_view, entries_here in listed.items():
        values = np.stack(entries_here)
        values = values[np.argsort(-values[:, 4], kind="stable")]
        box[frame_and_view][: len(values)] = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=-1)
        score[frame_and_view][: len(values)] = values[:, 4]
    return box, score


def marks(box: np.ndarray) -> np.ndarray:
    """Return (..., 3, 2) px of (..., 4) px boxes: top, middle and bottom, nearly the same points of a person in every view."""
    x1, y1, x2, y2 = np.moveaxis(box, -1, 0)
    middle = (x1 + x2) / 2
    return np.stack([np.stack([middle, y], axis=-1) for y in (y1, (y1 + y2) / 2, y2)], axis=-2)


def around(keypoints: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Return (..., 4) px boxes around (..., joints, 2) px, sides times 1 + margin; NaN for fewer than two keypoints."""
    visible = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    low = np.where(visible, keypoints, np.inf).min(axis=-2)
    high = np.where(visible, keypoints, -np.inf).max(axis=-2)
    enough = visible.sum(axis=(-2, -1)) >= 2
    low, high = (np.where(enough[..., None], value, np.nan) for value in (low, high))
    extra = (high - low) * margin / 2
    return np.concatenate([low - extra, high + extra], axis=-1)


def repair(box: np.ndarray, keys: FrameKeys) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes interpolated between their neighbours in time where they are missing or far from their neighbours.

    Args:
        box: (frames, views, 4) px, square; NaN where missing.
        keys: of the frames; each sequence is repaired by itself.

    Returns:
        (frames, views, 4) px, NaN only where a view has no box in the whole sequence, and (frames, views) bool: the box is
        a detection, not filled.
    """
    filled, kept = box.copy(), np.isfinite(box).all(axis=-1)
    for sequence in np.unique(keys.sequence):
        rows = np.flatnonzero(keys.sequence == sequence)
        rows = rows[np.argsort(keys.number[rows], kind="stable")]
        for view in range(box.shape[1]):
            filled[rows, view], kept[rows, view] = _repair_track(box[rows, view], keys.number[rows])
    return filled, kept


def shares(box: np.ndarray, kept: np.ndarray, keys: FrameKeys) -> np.ndarray:
    """Return the width and height of the person boxes as shares of their longer side.

    Args:
        box: (frames, views, 4) px, as detected; NaN where missing.
        kept: (frames, views) bool, see `repair`.

    Returns:
        (frames, views, 2) in (0, 1]; interpolated in time where a detection is not kept, and 1, a square, where a view has
        none in the whole sequence.
    """
    sides = box[..., 2:] - box[..., :2]
    result = np.ones_like(sides)
    own = sides / sides.max(axis=-1, keepdims=True)
    for sequence in np.unique(keys.sequence):
        rows = np.flatnonzero(keys.sequence == sequence)
        rows = rows[np.argsort(keys.number[rows], kind="stable")]
        for view in range(box.shape[1]):
            good = rows[kept[rows, view]]
            if len(good):
                time = (keys.number[rows], keys.number[good])
                result[rows, view] = np.stack([np.interp(*time, own[good, view, axis]) for axis in (0, 1)], axis=-1)
    return result


def _repair_track(box: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one view's (frames, 4) px, filled, and (frames,) bool: kept."""
    known = np.flatnonzero(np.isfinite(box).all(axis=-1))
    if len(known) == 0:
        return box, np.zeros(len(box), dtype=bool)
    track = np.concatenate(
        [(box[:, :2] + box[:, 2:]) / 2, np.log(box[:, 2:3] - box[:, 0:1])], axis=-1
    )  # x, y, log side
    detected = track[known]
    median = np.stack(
        [np.median(detected[max(0, i - _WINDOW // 2) : i + _WINDOW // 2 + 1], axis=0) for i in range(len(detected))]
    )
    near = np.abs(detected[:, :2] - median[:, :2]).max(axis=-1) <= _MAX_SHIFT * np.exp(median[:, 2])
    similar = np.abs(detected[:, 2] - median[:, 2]) <= np.log(_MAX_GROWTH)
    good = known[near & similar]
    if len(good) == 0:
        good = known
    interpolated = np.stack([np.interp(time, time[good], track[good, i]) for i in range(3)], axis=-1)
    half = np.exp(interpolated[:, 2:]) / 2
    filled = np.concatenate([interpolated[:, :2] - half, interpolated[:, :2] + half], axis=-1)
    kept = np.isin(np.arange(len(box)), good)
    return np.where(kept[:, None], box, filled), kept


def volume(cameras: Sequence[Camera]) -> np.ndarray:
    """Return a capture volume derived from the rig: (6,) world mm, xmin xmax ymin ymax zmin zmax.

    It stands on the floor (z = 0), is 2 m high, and reaches 0.5 to 3 m around the cameras' convergence point, as far as all
    cameras show a person's middle.

    Raises:
        ValueError: the cameras have no convergence point, or stand too low for z = 0 to be the floor: the calibration's
            world is the first camera's, or that of a board on a table.
    """
    heights = np.array([camera.centre[2] for camera in cameras])
    if heights.min() < 0 or np.median(heights) < _MIN_MEDIAN_HEIGHT:
        raise ValueError(
            f"the cameras stand {heights.min() / 1000:.2f} to {heights.max() / 1000:.2f} m above z = 0, so that the floor is "
            "elsewhere; give target.volume_mm"
        )
    centre, _ = convergence_point(cameras)
    if not np.isfinite(centre).all():
        raise ValueError("the cameras do not look at a common place; give target.volume_mm")
    angles = np.arange(16) * 2 * np.pi / 16
    circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(16)], axis=-1)
    middle = np.array([centre[0], centre[1], 1000.0])
    radius = 500.0
    while radius < 3000.0 and all(_shows(camera, middle + (radius + 100.0) * circle) for camera in cameras):
        radius += 100.0
    return np.array([centre[0] - radius, centre[0] + radius, centre[1] - radius, centre[1] + radius, 0.0, 2000.0])


def outline(camera: Camera, cuboid: np.ndarray) -> np.ndarray:
    """Return the box of a cuboid in a view.

    Args:
        camera: the view's.
        cuboid: (6,) world mm, xmin xmax ymin ymax zmin zmax.

    Returns:
        (4,) px, the part inside the image; NaN if no part is inside.
    """
    axes = [np.linspace(low, high, 9) for low, high in cuboid.reshape(3, 2)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = camera.project(grid, distorted=False)  # the lens polynomial folds back far outside the image
    corners = corners[np.isfinite(corners).all(axis=-1)]
    if not len(corners):
        return np.full(4, np.nan)
    edge = np.array([camera.size[0] - 0.5, camera.size[1] - 0.5])
    low, high = np.clip(corners.min(axis=0), -0.5, edge), np.clip(corners.max(axis=0), -0.5, edge)
    return np.concatenate([low, high]) if (high - low >= 1).all() else np.full(4, np.nan)


def outlines(cameras: Sequence[Camera], cuboid: np.ndarray) -> np.ndarray:
    """Return (views, 4) px: the square around the volume's outline in every view.

    Raises:
        ValueError: a camera does not show the volume.
    """
    boxes = np.stack([outline(camera, cuboid) for camera in cameras])
    blind = [camera.name for camera, box in zip(cameras, boxes, strict=True) if not np.isfinite(box).all()]
    if blind:
        raise ValueError(f"the capture volume {cuboid.round().tolist()} mm is not inside the image of {blind[0]}")
    return crops.square(boxes)


def person_sides(cameras: Sequence[Camera], cuboid: np.ndarray) -> np.ndarray:
    """Return (views,) px: about the side of a person's box in the middle of the volume, 1.8 m and a quarter more."""
    x, y, floor = (cuboid[:2].mean(), cuboid[2:4].mean(), cuboid[4])
    ends = np.array([[x, y, floor], [x, y, floor + 1800.0]])
    keypoints = np.stack([camera.project(ends, distorted=False) for camera in cameras])
    return 1.25 * np.linalg.norm(keypoints[:, 1] - keypoints[:, 0], axis=-1)


def _shows(camera: Camera, positions: np.ndarray) -> bool:
    """Return whether all (..., 3) world mm are inside a camera's image."""
    keypoints = camera.project(positions, distorted=False)
    with np.errstate(invalid="ignore"):
        return bool(((keypoints >= 0) & (keypoints <= np.array(camera.size) - 1)).all())


def _load(path: Path) -> list[Any]:
    loaded = untrusted.read_json(path, _MAX_BYTES)
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
    """Return (5,) x y width height score of an entry."""
    try:
        values = np.array([*entry["bbox"], entry.get("score", 1.0)], dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{what}: expected bbox [x, y, width, height] and a score") from None
    if values.shape != (5,) or not np.isfinite(values).all() or (values[2:4] <= 0).any():
        raise ValueError(f"{what}: expected a bbox of 4 finite numbers with positive sides, got {entry['bbox']}")
    return values
