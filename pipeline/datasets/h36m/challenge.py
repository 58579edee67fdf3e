"""Human3.6M's ECCV 2018 challenge: `{Train,Val,Test}/IMG/00001.jpg` and `{Train,Val}/POSE/00001.csv`.

A pose is 17 lines of x, y, z mm from the pelvis, in the camera's axes. There are no cameras and no 2D labels. As published
systems do, the 2D joints are the pose's x and y, turned, scaled and shifted onto what a 2D network saw: a COCO
results file beside Train, whose `image_id` is `Train/00001`, `keypoints` 17 times x, y, score in Human3.6M's order. Depth comes
at the same scale: every picture is taken to be seen from far away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import archives, images
from pipeline.datasets.h36m.takes import SKELETON, numbers
from pipeline.datasets.records import Records, load_json
from pipeline.files.space import Space
from pipeline.geometry.camera import Camera

PUBLISHED = {"Train": 35832, "Val": 19312, "Test": 24416}
_SPLITS = {"Train": "train", "Val": "valid"}
_BOX = 1.25  # times the aligned joints' bounds
_LEAST = 3  # joints that an alignment needs
_FAR_MM = 1e7


@dataclass(frozen=True, eq=False)
class Poses:
    """The challenge's pictures and poses.

    Attributes:
        image: (pictures,) text, "Train/IMG/00001.jpg".
        part: (pictures,) text, "Train", "Val" or "Test".
        joints: (pictures, 17, 3) mm from the pelvis, x right, y down, z away; NaN for Test.
    """

    image: np.ndarray
    part: np.ndarray
    joints: np.ndarray


def is_here(folder: Path) -> bool:
    return folder.is_dir() and any((folder / part / "IMG").is_dir() for part in PUBLISHED)


def read_poses(folder: Path) -> Poses:
    """All pictures with their poses, in the order of their numbers.

    Raises:
        ValueError: a picture without a pose, or a pose that is none; the sentence names the file.
    """
    image, part, joints = [], [], []
    for name in PUBLISHED:
        files = sorted((folder / name / "IMG").glob("*.jpg")) if (folder / name / "IMG").is_dir() else []
        for file in files:
            image.append(f"{name}/IMG/{file.name}")
            part.append(name)
            labelled = name != "Test"
            joints.append(
                _pose(folder / name / "POSE" / f"{file.stem}.csv") if labelled else np.full((len(SKELETON), 3), np.nan)
            )
    if not image:
        raise ValueError(f"{folder}: expected Train/IMG/00001.jpg and so on, found no picture")
    return Poses(np.array(image), np.array(part), np.stack(joints))


def read(folder: Path, detections: str = "detections.json") -> Records:
    """The challenge as labelled persons: 2D joints are the poses, laid onto what a 2D network saw.

    Args:
        folder: with Train, Val and Test.
        detections: the name of the file in it that says what the network saw.

    Raises:
        ValueError: see `read_poses`; no such file, or nobody detected.
    """
    poses = read_poses(folder)
    path = images.inside(folder, detections, "detections")
    if not path.is_file():
        raise ValueError(
            f"{folder}: the challenge has no cameras and no 2D labels; expected {path.name} there, what a 2D network saw (COCO "
            "results, image_id 'Train/00001', keypoints in Human3.6M's order)"
        )
    seen = _detections(path)
    rows: list[int] = []
    joints, boxes, spaces = [], [], []
    labelled = np.flatnonzero(poses.part != "Test")
    for row in labelled.tolist():
        found = seen.get(f"{poses.part[row]}/{Path(str(poses.image[row])).stem}")
        fit = None if found is None else fitted(poses.joints[row, :, :2], found)
        if fit is not None:
            shown = fit.shown(poses.joints[row, :, :2])
            spaces.append(_from_far(poses.joints[row], fit, len(rows)))
            low, high = shown.min(axis=0), shown.max(axis=0)
            half = np.full(2, (high - low).max() * _BOX / 2)
            rows.append(row)
            joints.append(shown)
            boxes.append(np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half]))
    if not rows:
        raise ValueError(f"{path}: fits none of the {len(labelled)} labelled pictures")
    box = np.stack(boxes)
    left = len(labelled) - len(rows)
    notes = (f"{path}: {left} of {len(labelled)} pictures have no detection and are left out",) if left else ()
    return Records(
        skeleton=SKELETON,
        image=poses.image[rows],
        key=np.array([f"{name}#0" for name in poses.image[rows]]),
        split=np.array([_SPLITS[part] for part in poses.part[rows].tolist()]),
        joints=np.stack(joints),
        box=box,
        head=(box[:, 2] - box[:, 0]) / _BOX / 10,
        score=np.ones(len(rows)),
        pictures=archives.Pictures({"": archives.Folder(folder)}),
        files=(path,),
        notes=notes,
        space=Space.joined(spaces),
    )


@dataclass(frozen=True, eq=False)
class Similarity:
    """px of a picture from mm of a pose: `scale * points @ turn + offset`."""

    scale: float
    turn: np.ndarray
    offset: np.ndarray

    def shown(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) mm -> (..., 2) px."""
        found: np.ndarray = self.scale * points @ self.turn + self.offset
        return found


def fitted(pose: np.ndarray, seen: np.ndarray) -> Similarity | None:
    """Lay a pose onto detections, by the similarity that brings it nearest to them (Procrustes).

    Args:
        pose: (joints, 2) mm.
        seen: (joints, 3) px and score; a joint with score 0 has no say.

    Returns:
        None where there is too little to go by.
    """
    say = seen[:, 2] > 0
    if say.sum() < _LEAST:
        return None
    source, target = pose[say], seen[say, :2]
    from_middle, to_middle = source - source.mean(axis=0), target - target.mean(axis=0)
    U, stretch, Vt = np.linalg.svd(from_middle.T @ to_middle)
    sign = np.array([1.0, np.sign(np.linalg.det(U @ Vt))])
    spread = (from_middle**2).sum()
    if spread == 0 or not stretch.any():
        return None
    turn = U @ np.diag(sign) @ Vt
    scale = float((stretch * sign).sum() / spread)
    return Similarity(scale, turn, target.mean(axis=0) - scale * source.mean(axis=0) @ turn)


def _from_far(pose: np.ndarray, fit: Similarity, number: int) -> Space:
    """A pose, (17, 3) mm, before a camera so far away that it shows it as the similarity does; turned as that turns it."""
    focal, middle = _FAR_MM * fit.scale, fit.shown(pose[SKELETON.root, :2])
    pose = pose - pose[SKELETON.root]
    turned = np.concatenate([pose[:, :2] @ fit.turn, pose[:, 2:]], axis=-1)
    K = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    camera = Camera("far", (0, 0), K, np.eye(3), np.array([0, 0, -_FAR_MM]), np.zeros(5))
    return Space.of(turned[None], camera, np.array([number]), 0)


def _pose(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
        values: Sequence[Sequence[float]] = [[float(cell) for cell in line.split(",")] for line in lines]
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; expected the picture's pose") from None
    except ValueError:
        raise ValueError(f"{path}: expected 17 lines of x,y,z in mm") from None
    if len(values) != len(SKELETON) or any(len(line) != 3 for line in values):
        raise ValueError(f"{path}: expected 17 lines of x,y,z in mm, got {len(values)} lines")
    return numbers(values, (len(SKELETON), 3), str(path))


def _detections(path: Path) -> dict[str, np.ndarray]:
    """image_id -> (17, 3) px and score, of the best-scored person."""
    loaded = load_json(path, "COCO results")
    if not isinstance(loaded, list):
        raise ValueError(f"{path}: expected a list of detections, got {type(loaded).__name__}")
    best: dict[str, tuple[float, np.ndarray]] = {}
    for at, entry in enumerate(loaded):
        what = f"{path}: entry {at}"
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), str):
            raise ValueError(f"{what}: expected a mapping with the image_id 'Train/00001'")
        points = numbers(entry.get("keypoints"), (3 * len(SKELETON),), f"{what}: keypoints").reshape(-1, 3)
        score: Any = numbers(entry.get("score", 1.0), (), f"{what}: score")
        if entry["image_id"] not in best or float(score) > best[entry["image_id"]][0]:
            best[entry["image_id"]] = (float(score), points)
    return {name: points for name, (_, points) in best.items()}
