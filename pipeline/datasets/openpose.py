"""OpenPose's json output: `<camera>_json/*.json`, one file a frame, any number of people in each."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.datasets import parallel
from pipeline.datasets.calibration import simplified
from pipeline.datasets.rig import frame_number
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton


def read(folder: Path, keys: FrameKeys, views: Sequence[str], skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Everybody in every (frame, view).

    Args:
        folder: holds a folder a camera, or a folder a sequence with these in it.
        keys: the frames that are wanted, by sequence and number (the last digits of a file's name).
        views: camera names; `cam01_json` or `cam01` is the folder of the camera `cam_01`.
        skeleton: what the detector's joints are called, in its order.

    Returns:
        (frames, views, people, joints, 2) px and (frames, views, people, joints) scores in [0, 1]; NaN and 0 for joints
        that were not found, for absent people, and for frames without a file.

    Raises:
        ValueError: a view has no folder, or a file is not what it should be.
    """
    jobs = []
    for sequence in sorted(set(keys.sequence.tolist())):
        rows = {int(keys.number[row]): row for row in np.flatnonzero(keys.sequence == sequence).tolist()}
        below = folder / sequence if (folder / sequence).is_dir() else folder
        for column, view in enumerate(views):
            for file in sorted(_folder(below, view).glob("*.json")):
                row = rows.get(frame_number(file))
                if row is not None:
                    jobs.append((row, column, file))
    read_one = parallel.in_order(lambda job: _people(job[2], skeleton), jobs)
    found = list(tqdm(read_one, total=len(jobs), unit="file", disable=None))
    most = max([len(people) for people in found], default=0)
    shape = (len(keys), len(views), max(most, 1), len(skeleton))
    points, scores = np.full((*shape, 2), np.nan), np.zeros(shape)
    for (row, column, _), people in zip(jobs, found, strict=True):
        points[row, column, : len(people)] = np.where(people[..., 2:] > 0, people[..., :2], np.nan)
        scores[row, column, : len(people)] = np.clip(people[..., 2], 0, 1)
    return points, scores


def _folder(folder: Path, view: str) -> Path:
    names = {simplified(view), simplified(view) + "json"}
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    fitting = [path for path in entries if path.is_dir() and simplified(path.name) in names]
    if not fitting:
        raise ValueError(f"{folder}: expected a folder {view}_json with OpenPose's files; see target.detector")
    return fitting[0]


def _people(path: Path, skeleton: Skeleton) -> np.ndarray:
    """(people, joints, 3) x y px and score."""
    try:
        people = json.loads(path.read_text(encoding="utf-8"))["people"]
        found = [np.array(person["pose_keypoints_2d"], dtype=np.float64) for person in people]
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as json ({error})") from None
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: expected OpenPose's 'people' with 'pose_keypoints_2d', a list of numbers") from None
    for values in found:
        if values.shape != (3 * len(skeleton),):
            raise ValueError(
                f"{path}: expected {len(skeleton)} joints ({skeleton.name}) as x, y, score, got {values.size / 3:g}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: a joint is NaN or infinite")
    return np.array(found).reshape(-1, len(skeleton), 3)
