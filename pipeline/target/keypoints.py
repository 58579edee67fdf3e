"""2D keypoints in the files of other tools' detectors.

A camera's entry in the folder of the detections, or in a folder per sequence below it, is called `cam01` or `cam01_json`:

| from | entry |
| --- | --- |
| OpenPose, Pose2Sim's RTMLib | a folder with a json per frame: `people`, `pose_keypoints_2d` |
| MMPose | a folder with a json per frame, or one `.json`: `instances`, or `instance_info` with them |
| COCO results, AlphaPose | one `.json`: a list with `image_id` (a frame's number or an image's name) and `keypoints` |
| DeepLabCut | `.csv`: scorer, (individuals,) bodyparts, coords |
| SLEAP | `.csv` with `frame_idx` and `<joint>.x`, or `.h5` of its analysis export |

DeepLabCut's and SLEAP's files name their joints, which are mapped by name (`LKnee` is `left_knee`). In the others, keypoints
are in the order of the skeleton that target.detections_format names. DeepLabCut's `.h5` holds pickled Python and is not opened.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from pipeline.calibration.description import simplified
from pipeline.datasets import parallel
from pipeline.files import untrusted
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton
from pipeline.target import openpose
from pipeline.target.recordings import frame_number_in_name

_MAX_BYTES = 2 << 30  # bytes of one camera's file
_SUFFIXES = (".json", ".csv", ".h5", ".hdf5", ".slp")
_ENDINGS = ("", "json", "keypoints", "predictions", "results", "analysis", "alphaposeresults")
_MAX_NUMBERS = 1 << 31  # a day of ten people

People = Iterator[tuple[int, np.ndarray]]  # the view's own frame number, (people, joints, 3) x y px and score


def read(
    folder: Path, keys: FrameKeys, numbers: np.ndarray, views: Sequence[str], skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Return the keypoints of all people in every (frame, view).

    Args:
        folder: see the module's first lines.
        keys: the frames to read.
        numbers: (frames, views) int, the detector's numbers of them.
        views: camera names.
        skeleton: the detector's joints, in its order.

    Returns:
        (frames, views, people, joints, 2) px and (frames, views, people, joints) scores in [0, 1]; NaN and 0 for joints
        that were not detected, for absent people, and for frames without an entry.

    Raises:
        ValueError: a view has no entry, a file has another format than expected, or its numbers are none of the frames'.
    """
    detected: list[tuple[int, int, np.ndarray]] = []
    for sequence in sorted(set(keys.sequence.tolist())):
        rows = np.flatnonzero(keys.sequence == sequence)
        below = folder / sequence if (folder / sequence).is_dir() else folder
        for column, view in enumerate(views):
            entry = _entry(below, view)
            rows_of: dict[int, list[int]] = {}
            for row in rows.tolist():
                rows_of.setdefault(int(numbers[row, column]), []).append(row)
            frames = list(_people(entry, skeleton, set(rows_of)))
            detected += [(row, column, people) for number, people in frames for row in rows_of.get(number, [])]
    num_people = max([len(people) for _, _, people in detected], default=0)
    shape = (len(keys), len(views), max(num_people, 1), len(skeleton))
    keypoints, scores = np.full((*shape, 2), np.nan), np.zeros(shape)
    filled: dict[tuple[int, int], int] = {}
    for row, column, people in detected:
        start = filled.get((row, column), 0)
        if start + len(people) > shape[2]:  # a file with an entry per person rather than per frame
            more = start + len(people) - shape[2]
            keypoints = np.pad(keypoints, [(0, 0), (0, 0), (0, more), (0, 0), (0, 0)], constant_values=np.nan)
            scores = np.pad(scores, [(0, 0), (0, 0), (0, more), (0, 0)])
            shape = (len(keys), len(views), shape[2] + more, len(skeleton))
        place = slice(start, start + len(people))
        keypoints[row, column, place] = np.where(people[..., 2:] > 0, people[..., :2], np.nan)
        scores[row, column, place] = np.where(np.isfinite(people[..., 0]), np.clip(people[..., 2], 0, 1), 0)
        filled[row, column] = start + len(people)
    return keypoints, scores


def _entry(folder: Path, view: str) -> Path:
    """Return the one file or folder that is a camera's."""
    names = {simplified(view) + ending for ending in _ENDINGS}
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    candidates = [
        path
        for path in entries
        if (path.is_dir() and simplified(path.name) in names)
        or (path.suffix.lower() in _SUFFIXES and simplified(path.name[: -len(path.suffix)]) in names)
    ]
    if not candidates:
        raise ValueError(
            f"{folder}: expected a folder {view}_json with OpenPose's files, or {view}.json, .csv or .h5 of another "
            "detector; see target.detections_format"
        )
    if len(candidates) > 1:
        raise ValueError(
            f"{folder}: expected one entry of the camera {view}, got {candidates[0].name} and {candidates[1].name}"
        )
    return candidates[0]


def _people(entry: Path, skeleton: Skeleton, numbers: set[int]) -> Iterable[tuple[int, np.ndarray]]:
    """Return an entry's people in the frames with these numbers, and maybe in others."""
    if entry.is_dir():
        files = [(frame_number_in_name(path), path) for path in sorted(entry.glob("*.json"))]
        _check_numbers(entry, {number for number, _ in files}, numbers)
        jobs = [job for job in files if job[0] in numbers]
        frames = parallel.in_order(lambda job: (job[0], _of_frame(job[1], skeleton)), jobs)
        return tqdm(frames, total=len(jobs), unit="file", disable=None)
    readers = {".json": _of_json, ".csv": _of_csv, ".h5": _of_sleap, ".hdf5": _of_sleap}
    if entry.suffix.lower() not in readers:
        raise ValueError(f"{entry}: export SLEAP's predictions as analysis .h5 or .csv")
    people = list(readers[entry.suffix.lower()](entry, skeleton))
    _check_numbers(entry, {number for number, _ in people}, numbers)
    return people


def _check_numbers(entry: Path, theirs: set[int], ours: set[int]) -> None:
    """Refuse a detector's frame numbers that have none of the view's, or seem to count from 1."""
    if theirs and not theirs & ours:
        raise ValueError(
            f"{entry}: is about the frames {min(theirs)} to {max(theirs)}, the view's are {min(ours)} to {max(ours)}; see "
            "target.detections_offset"
        )
    if theirs and min(ours) == 0 and min(theirs) == 1 and max(theirs) == max(ours) + 1 and len(theirs) > 1:
        raise ValueError(
            f"{entry}: counts its frames from 1 to {max(theirs)}, the view's are 0 to {max(ours)}; set "
            "target.detections_offset: -1 (or 0 if the numbers are right)"
        )


# --- a file per frame -------------------------------------------------------------------------------------------------


def _of_frame(path: Path, skeleton: Skeleton) -> np.ndarray:
    loaded = untrusted.read_json(path)
    if isinstance(loaded, dict) and "people" in loaded:
        return openpose.people(loaded, path, skeleton)
    instances = loaded.get("instances", loaded.get("predictions")) if isinstance(loaded, dict) else loaded
    return _instances(instances, path, skeleton)


# --- one json per camera ----------------------------------------------------------------------------------------------


def _of_json(path: Path, skeleton: Skeleton) -> People:
    loaded = untrusted.read_json(path, _MAX_BYTES)
    frames = loaded.get("instance_info") if isinstance(loaded, dict) else loaded
    if not isinstance(frames, list):
        raise ValueError(
            f"{path}: expected MMPose's instance_info, or a list of detections, got {type(loaded).__name__}"
        )
    for index, entry in enumerate(frames):
        what = f"{path}: entry {index}"
        if not isinstance(entry, dict):
            raise ValueError(f"{what}: expected a mapping, got {type(entry).__name__}")
        if "instances" in entry:
            yield _number(entry.get("frame_id"), what), _instances(entry["instances"], what, skeleton)
        elif "keypoints" in entry:
            values = _array(entry["keypoints"], what)
            if values.ndim == 1 and values.size % 3 == 0:
                values = values.reshape(-1, 3)
            if values.ndim != 2 or values.shape[1] != 3:
                raise ValueError(f"{what}: expected keypoints as x, y, score, got {values.shape}")
            yield _number(entry.get("image_id"), what), _in_order(values[None], skeleton, what)
        else:
            raise ValueError(
                f"{what}: expected 'keypoints' and 'image_id' (COCO), or 'instances' and 'frame_id' (MMPose)"
            )


def _instances(instances: Any, what: Path | str, skeleton: Skeleton) -> np.ndarray:
    """Return the (people, joints, 3) px and score of MMPose's instances."""
    if not isinstance(instances, list) or not all(isinstance(instance, dict) for instance in instances):
        raise ValueError(f"{what}: expected OpenPose's 'people' or MMPose's 'instances', lists of mappings")
    people = []
    for instance in instances:
        keypoints = _array(instance.get("keypoints"), what)
        scores = _array(instance.get("keypoint_scores"), what)
        if keypoints.ndim != 2 or keypoints.shape[1] != 2 or scores.shape != keypoints.shape[:1]:
            raise ValueError(
                f"{what}: expected keypoints [[x, y], ...] and as many keypoint_scores, got {keypoints.shape}"
            )
        people.append(np.concatenate([keypoints, scores[:, None]], axis=1))
    if len({len(person) for person in people}) > 1:
        raise ValueError(f"{what}: people with different numbers of joints")
    return _in_order(np.array(people), skeleton, what)


def _in_order(values: np.ndarray, skeleton: Skeleton, what: Path | str) -> np.ndarray:
    """Return (people, joints, 3) of the skeleton; of whole-body detections the skeleton's part."""
    if len(values) == 0:
        return np.zeros((0, len(skeleton), 3))
    if values.shape[1] != len(skeleton) and not (skeleton.name == "wholebody_23" and values.shape[1] == 133):
        raise ValueError(
            f"{what}: expected {len(skeleton)} joints ({skeleton.name}) as x, y, score, got {values.shape[1]}; see "
            "target.detections_format"
        )
    return values[:, : len(skeleton)]


def _number(value: Any, what: str) -> int:
    """Return a frame's number, which is given, or is the last in an image's name."""
    if isinstance(value, str):
        try:
            return frame_number_in_name(Path(value))
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**31 - 1:
        return value
    raise ValueError(f"{what}: expected a frame's number or an image's name, got {value!r}")


def _array(values: Any, what: Path | str) -> np.ndarray:
    try:
        array = np.array(values)
    except (TypeError, ValueError, OverflowError):
        array = np.array("ragged")
    if array.dtype.kind not in "iuf" or array.ndim > 2:
        raise ValueError(f"{what}: expected numbers, got {repr(values)[:100]}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: a joint is NaN or infinite")
    return array.astype(np.float64)


# --- joints with names ----------------------------------------------------------------------------------------------


def _columns(names: Sequence[str], skeleton: Skeleton, path: Path) -> np.ndarray:
    """Return (joints,) int: the index in the file of each of the skeleton's joints; -1 for none."""
    theirs = [_canonical(name) for name in names]
    index = np.array(
        [theirs.index(_canonical(joint)) if _canonical(joint) in theirs else -1 for joint in skeleton.joint_names]
    )
    if (index >= 0).sum() < 3:
        raise ValueError(
            f"{path}: fewer than 3 of its joints ({', '.join(names[:12])}) have a name of {skeleton.name}'s; see "
            "target.detections_format"
        )
    return index


def _canonical(name: str) -> str:
    """Return a joint's name in letters, its side first: `LKnee`, `left_knee`, `knee_L` and `Knee1 left` become equal."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\b[LR])(?=[A-Z][a-z])", " ", name).lower())
    sides = {"l": "left", "left": "left", "r": "right", "right": "right"}
    side = [sides[word] for word in words if word in sides]
    return "".join(side[:1] + [word for word in words if word not in sides])


def _of_csv(path: Path, skeleton: Skeleton) -> People:
    rows = csv.reader(untrusted.text(path, _MAX_BYTES).splitlines())
    try:
        first = next(rows)
    except StopIteration:
        raise ValueError(f"{path}: the file is empty") from None
    except csv.Error as error:
        raise ValueError(f"{path}: not readable as CSV ({error})") from None
    if first and first[0] == "scorer":
        yield from _of_deeplabcut(path, rows, skeleton)
    elif "frame_idx" in first:
        yield from _of_sleap_csv(path, first, rows, skeleton)
    else:
        raise ValueError(f"{path}: expected DeepLabCut's csv (scorer, bodyparts, coords) or SLEAP's (frame_idx)")


def _of_deeplabcut(path: Path, rows: Iterator[list[str]], skeleton: Skeleton) -> People:
    header: dict[str, list[str]] = {}
    for row in rows:
        header[row[0] if row else ""] = row
        if row and row[0] == "coords":
            break
        if len(header) > 3:
            raise ValueError(f"{path}: expected DeepLabCut's rows scorer, bodyparts and coords")
    if not {"bodyparts", "coords"} <= set(header) or len({len(row) for row in header.values()}) != 1:
        raise ValueError(f"{path}: expected DeepLabCut's rows bodyparts and coords, equally long")
    parts, coords = header["bodyparts"], header["coords"]
    individuals = header.get("individuals", ["single"] * len(parts))
    names = list(dict.fromkeys(part for part, kind in zip(parts, coords, strict=True) if kind == "x"))
    source_index = _columns(names, skeleton, path)
    column = {key: index for index, key in enumerate(zip(individuals, parts, coords, strict=True))}
    start = next((index for index, kind in enumerate(coords) if kind == "x"), 0)
    people = list(dict.fromkeys(individuals[start:]))
    for row_number, row in enumerate(rows, start=1):
        what = f"{path}: row {row_number} after the header"
        if not row:
            continue
        if len(row) != len(parts):
            raise ValueError(f"{what}: expected {len(parts)} columns, got {len(row)}")
        number = _number(row[0], what)
        values = np.full((len(people), len(skeleton), 3), np.nan)
        for person, individual in enumerate(people):
            for joint, source in enumerate(source_index.tolist()):
                cells = [column.get((individual, names[source], kind)) for kind in ("x", "y", "likelihood")]
                if source >= 0 and None not in cells:
                    values[person, joint] = [_cell(row[cell], what) for cell in cells]  # type: ignore[index]
        yield number, _detected(values)


def _of_sleap_csv(path: Path, first: list[str], rows: Iterator[list[str]], skeleton: Skeleton) -> People:
    column = {name: index for index, name in enumerate(first)}
    names = [name.removesuffix(".x") for name in first if name.endswith(".x")]
    source_index = _columns(names, skeleton, path)
    for row_number, row in enumerate(rows, start=2):
        what = f"{path}: row {row_number}"
        if len(row) != len(first):
            raise ValueError(f"{what}: expected {len(first)} columns, got {len(row)}")
        number = row[column["frame_idx"]]
        if not number.isdecimal() or len(number) > 9:
            raise ValueError(f"{what}: frame_idx: expected a whole number, got '{number}'")
        values = np.full((1, len(skeleton), 3), np.nan)
        for joint, source in enumerate(source_index.tolist()):
            cells = [column.get(f"{names[source]}.{kind}") for kind in ("x", "y", "score")]
            if source >= 0 and None not in cells:
                values[0, joint] = [_cell(row[cell], what) for cell in cells]  # type: ignore[index]
        yield int(number), _detected(values)


def _cell(text: str, what: str) -> float:
    try:
        value = float(text) if text.strip() else np.nan
    except ValueError:
        raise ValueError(f"{what}: a cell is no number: '{text[:40]}'") from None
    if np.isinf(value):
        raise ValueError(f"{what}: a cell is infinite")
    return value


def _of_sleap(path: Path, skeleton: Skeleton) -> People:
    """Yield a SLEAP analysis file's frames: tracks (tracks, 2, nodes, frames), point_scores (tracks, nodes, frames)."""
    try:
        with h5py.File(path, "r") as file:
            yield from _of_analysis(path, file, skeleton)
    except (OSError, KeyError, RuntimeError, TypeError, UnicodeError) as error:
        raise ValueError(f"{path}: not a readable HDF5 file ({' '.join(str(error).split())[:200]})") from None


def _of_analysis(path: Path, file: h5py.File, skeleton: Skeleton) -> People:
    if "df_with_missing" in file:
        raise ValueError(f"{path}: DeepLabCut's .h5 holds pickled Python and is not opened; use its .csv")
    parts = {name: file.get(name) for name in ("tracks", "node_names", "point_scores")}
    if not all(isinstance(part, h5py.Dataset) for part in parts.values()):
        raise ValueError(f"{path}: expected SLEAP's analysis export with tracks, node_names and point_scores")
    tracks, scores, named = parts["tracks"], parts["point_scores"], parts["node_names"]
    if tracks.ndim != 4 or tracks.shape[1] != 2 or scores.shape != (tracks.shape[0], *tracks.shape[2:]):
        raise ValueError(f"{path}: expected tracks (tracks, 2, nodes, frames) and their scores, got {tracks.shape}")
    if tracks.dtype.kind != "f" or scores.dtype.kind != "f" or tracks.size > _MAX_NUMBERS:
        raise ValueError(f"{path}: expected tracks and point_scores of at most {_MAX_NUMBERS} floating-point numbers")
    if (h5py.check_string_dtype(named.dtype) is None and named.dtype.kind != "S") or named.shape != (tracks.shape[2],):
        raise ValueError(f"{path}: expected node_names as text, one for each of {tracks.shape[2]} nodes")
    names = [name.decode("utf-8", "replace") for name in named[...].tolist()]
    source_index = _columns(names, skeleton, path)
    for start in range(0, tracks.shape[3], 1024):
        block = slice(start, start + 1024)
        values = np.concatenate([tracks[..., block], scores[..., block][:, np.newaxis]], axis=1)
        for frame in range(values.shape[-1]):  # (tracks, 3, nodes, frames)
            people = np.swapaxes(values[..., frame], 1, 2)[:, source_index].astype(np.float64)
            people[:, source_index < 0] = np.nan
            yield start + frame, _detected(people)


def _detected(values: np.ndarray) -> np.ndarray:
    """Return the people with at least one joint; a joint without all three numbers becomes NaN."""
    values = values.copy()
    values[~np.isfinite(values).all(axis=-1)] = np.nan
    return values[np.isfinite(values).any(axis=(1, 2))]
