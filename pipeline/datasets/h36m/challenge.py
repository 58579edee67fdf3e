"""Human3.6M's ECCV 2018 challenge: `{Train,Val,Test}/IMG/00001.jpg` and `{Train,Val}/POSE/00001.csv`.

A pose is 17 lines of x, y, z mm from the pelvis, in the camera's axes. There are no cameras and no 2D labels. As in published
systems, the keypoints are the pose's x and y, rotated, scaled and shifted onto the keypoints of a 2D network: a COCO results
file beside Train, whose `image_id` is `Train/00001`, `keypoints` 17 times x, y, score in Human3.6M's order. Depth has the same
scale: every camera is assumed to be far away.
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
_BOX = 1.25  # times the aligned keypoints' bounds
_MIN_KEYPOINTS = 3  # of an alignment
_FAR_MM = 1e7


@dataclass(frozen=True, eq=False)
class Poses:
    """The challenge's images and poses.

    Attributes:
        image_name: (images,) text, "Train/IMG/00001.jpg".
        part: (images,) text, "Train", "Val" or "Test".
        joints: (images, 17, 3) mm from the pelvis, x right, y down, z away; NaN for Test.
    """

    image_name: np.ndarray
    part: np.ndarray
    joints: np.ndarray


def is_here(folder: Path) -> bool:
    """Return whether the folder holds the challenge's set, itself or in its folder `hm36_eccv_challenge`."""
    return any((_set_folder(folder) / part / "IMG").is_dir() for part in PUBLISHED)


def _set_folder(folder: Path) -> Path:
    """Return the folder with Train, Val and Test: `hm36_eccv_challenge` in this one, if it is there."""
    inner = folder / "hm36_eccv_challenge"
    return inner if inner.is_dir() else folder


def read_poses(folder: Path) -> Poses:
    """Return all images with their poses, in the order of their numbers.

    Raises:
        ValueError: an image without a pose, or a damaged pose; the sentence names the file.
    """
    folder = _set_folder(folder)
    image_name, part, joints = [], [], []
    for name in PUBLISHED:
        files = sorted((folder / name / "IMG").glob("*.jpg")) if (folder / name / "IMG").is_dir() else []
        for file in files:
            image_name.append(f"{name}/IMG/{file.name}")
            part.append(name)
            labelled = name != "Test"
            joints.append(
                _pose(folder / name / "POSE" / f"{file.stem}.csv") if labelled else np.full((len(SKELETON), 3), np.nan)
            )
    if not image_name:
        raise ValueError(f"{folder}: expected Train/IMG/00001.jpg and so on, there is no image")
    return Poses(np.array(image_name), np.array(part), np.stack(joints))


def read(folder: Path, detections: str = "detections.json") -> Records:
    """Return the challenge as labelled persons; keypoints are the poses, aligned to those of a 2D network.

    Args:
        folder: with Train, Val and Test, or with `hm36_eccv_challenge`, which has them.
        detections: the name of the network's results in the folder.

    Raises:
        ValueError: see `read_poses`; no such file, or it fits no image.
    """
    folder = _set_folder(folder)
    poses = read_poses(folder)
    path = images.inside(folder, detections, "detections")
    if not path.is_file():
        raise ValueError(
            f"{folder}: the challenge has no cameras and no 2D labels; expected {path.name} there, the results of a 2D network "
            "(COCO results, image_id 'Train/00001', keypoints in Human3.6M's order)"
        )
    detected = _detections(path)
    rows: list[int] = []
    keypoints, boxes, spaces = [], [], []
    labelled = np.flatnonzero(poses.part != "Test")
    for row in labelled.tolist():
        person = detected.get(f"{poses.part[row]}/{Path(str(poses.image_name[row])).stem}")
        fit = None if person is None else align(poses.joints[row, :, :2], person)
        if fit is not None:
            aligned = fit.apply(poses.joints[row, :, :2])
            spaces.append(_from_far(poses.joints[row], fit, len(rows)))
            low, high = aligned.min(axis=0), aligned.max(axis=0)
            half = np.full(2, (high - low).max() * _BOX / 2)
            rows.append(row)
            keypoints.append(aligned)
            boxes.append(np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half]))
    if not rows:
        raise ValueError(f"{path}: fits none of the {len(labelled)} labelled images")
    box = np.stack(boxes)
    left = len(labelled) - len(rows)
    notes = (f"{path}: {left} of {len(labelled)} images have no detection and are left out",) if left else ()
    return Records(
        skeleton=SKELETON,
        image_name=poses.image_name[rows],
        key=np.array([f"{name}#0" for name in poses.image_name[rows]]),
        split=np.array([_SPLITS[part] for part in poses.part[rows].tolist()]),
        keypoints=np.stack(keypoints),
        box=box,
        head=(box[:, 2] - box[:, 0]) / _BOX / 10,
        score=np.ones(len(rows)),
        images=archives.Images({"": archives.Folder(folder)}),
        files=(path,),
        notes=notes,
        space=Space.concatenated(spaces),
    )


@dataclass(frozen=True, eq=False)
class Similarity:
    """px of an image from mm of a pose: `scale * points @ rotation + offset`."""

    scale: float
    rotation: np.ndarray
    offset: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Return (..., 2) px from (..., 2) mm."""
        keypoints: np.ndarray = self.scale * points @ self.rotation + self.offset
        return keypoints


def align(pose: np.ndarray, detected: np.ndarray) -> Similarity | None:
    """Return the similarity that brings a pose nearest to detected keypoints (Procrustes); None with too few of them.

    Args:
        pose: (joints, 2) mm.
        detected: (joints, 3) px and score; a keypoint with score 0 is ignored.
    """
    used = detected[:, 2] > 0
    if used.sum() < _MIN_KEYPOINTS:
        return None
    source, target = pose[used], detected[used, :2]
    centred_source, centred_target = source - source.mean(axis=0), target - target.mean(axis=0)
    U, singular, Vt = np.linalg.svd(centred_source.T @ centred_target)
    sign = np.array([1.0, np.sign(np.linalg.det(U @ Vt))])
    spread = (centred_source**2).sum()
    if spread == 0 or not singular.any():
        return None
    rotation = U @ np.diag(sign) @ Vt
    scale = float((singular * sign).sum() / spread)
    return Similarity(scale, rotation, target.mean(axis=0) - scale * source.mean(axis=0) @ rotation)


def _from_far(pose: np.ndarray, fit: Similarity, number: int) -> Space:
    """Return a pose, (17, 3) mm, in front of a camera so far away that it projects as the similarity does."""
    focal, centre_px = _FAR_MM * fit.scale, fit.apply(pose[SKELETON.root, :2])
    pose = pose - pose[SKELETON.root]
    rotated = np.concatenate([pose[:, :2] @ fit.rotation, pose[:, 2:]], axis=-1)
    K = np.array([[focal, 0, centre_px[0]], [0, focal, centre_px[1]], [0, 0, 1]])
    camera = Camera(
        name="far", size=(0, 0), K=K, R=np.eye(3), centre=np.array([0, 0, -_FAR_MM]), distortion=np.zeros(5)
    )
    return Space.of(rotated[None], camera, np.array([number]), view=0, rig=0)


def _pose(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
        values: Sequence[Sequence[float]] = [[float(cell) for cell in line.split(",")] for line in lines]
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; expected the image's pose") from None
    except ValueError:
        raise ValueError(f"{path}: expected 17 lines of x,y,z in mm") from None
    if len(values) != len(SKELETON) or any(len(line) != 3 for line in values):
        raise ValueError(f"{path}: expected 17 lines of x,y,z in mm, got {len(values)} lines")
    return numbers(values, (len(SKELETON), 3), str(path))


def _detections(path: Path) -> dict[str, np.ndarray]:
    """Return image_id -> (17, 3) px and score of the best-scored person."""
    loaded = load_json(path, "COCO results")
    if not isinstance(loaded, list):
        raise ValueError(f"{path}: expected a list of detections, got {type(loaded).__name__}")
    best: dict[str, tuple[float, np.ndarray]] = {}
    for at, entry in enumerate(loaded):
        what = f"{path}: entry {at}"
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), str):
            raise ValueError(f"{what}: expected a mapping with the image_id 'Train/00001'")
        keypoints = numbers(entry.get("keypoints"), (3 * len(SKELETON),), f"{what}: keypoints").reshape(-1, 3)
        score: Any = numbers(entry.get("score", 1.0), (), f"{what}: score")
        if entry["image_id"] not in best or float(score) > best[entry["image_id"]][0]:
            best[entry["image_id"]] = (float(score), keypoints)
    return {name: keypoints for name, (_, keypoints) in best.items()}
