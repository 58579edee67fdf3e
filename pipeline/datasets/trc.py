"""TRC, the marker files of OpenSim and Pose2Sim: one row per frame, three columns per marker, units in the header."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.skeleton import Skeleton

_LAST_NUMBER = 2**31 - 1
_MM = {"m": 1000.0, "cm": 10.0, "mm": 1.0}

# Pose2Sim's names for OpenPose BODY_25B, whose Neck and Head are MPII's upper neck and head top.
_POSE2SIM = {
    "RHip": "right_hip",
    "RKnee": "right_knee",
    "RAnkle": "right_ankle",
    "LHip": "left_hip",
    "LKnee": "left_knee",
    "LAnkle": "left_ankle",
    "Neck": "upper_neck",
    "Head": "head_top",
    "Nose": "nose",
    "RShoulder": "right_shoulder",
    "RElbow": "right_elbow",
    "RWrist": "right_wrist",
    "LShoulder": "left_shoulder",
    "LElbow": "left_elbow",
    "LWrist": "left_wrist",
    "RBigToe": "right_big_toe",
    "RSmallToe": "right_small_toe",
    "RHeel": "right_heel",
    "LBigToe": "left_big_toe",
    "LSmallToe": "left_small_toe",
    "LHeel": "left_heel",
}

# Limbs as a fraction of the body's height (Drillis and Contini 1966).
_LIMBS = {
    ("{}_hip", "{}_knee"): 0.245,
    ("{}_knee", "{}_ankle"): 0.246,
    ("{}_shoulder", "{}_elbow"): 0.186,
    ("{}_elbow", "{}_wrist"): 0.146,
}


@dataclass(frozen=True, eq=False)
class Markers:
    """A marker file.

    Attributes:
        names: (markers,) of the file.
        number: (frames,) int, the file's own frame numbers.
        points: (frames, markers, 3) mm, in the file's own axes; NaN where empty.
    """

    names: tuple[str, ...]
    number: np.ndarray
    points: np.ndarray


def read(path: Path) -> Markers:
    """Return the markers of a file.

    Raises:
        ValueError: no TRC file, unknown units, a row of another length.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; expected markers as TRC") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as text ({error})") from None
    if len(lines) < 6 or not lines[0].startswith("PathFileType") or not lines[3].startswith("Frame#"):
        raise ValueError(f"{path}: not a TRC file (expected PathFileType in line 1 and Frame# in line 4)")
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
    unit = header.get("Units", "").strip()
    if unit not in _MM:
        raise ValueError(f"{path}: Units: expected one of {', '.join(_MM)}, got '{unit}'")
    names = tuple(name.strip() for name in lines[3].split("\t")[2:] if name.strip())
    if len(set(names)) != len(names) or not names:
        raise ValueError(f"{path}: expected marker names that differ, got {', '.join(names) or 'none'}")
    numbers, rows = [], []
    for line_number, line in enumerate(lines[5:], start=6):
        if not line.strip():
            continue
        cells = line.rstrip("\r\n").split("\t")
        cells = cells[: len(cells) - 1] if len(cells) == 3 * len(names) + 3 and not cells[-1].strip() else cells
        if len(cells) != 3 * len(names) + 2:
            raise ValueError(f"{path}: line {line_number}: expected {3 * len(names) + 2} columns, got {len(cells)}")
        try:
            numbers.append(int(cells[0]))
            rows.append([float(cell) if cell.strip() else np.nan for cell in cells[2:]])
        except ValueError:
            raise ValueError(f"{path}: line {line_number}: a cell is no number") from None
        if abs(numbers[-1]) > _LAST_NUMBER:
            raise ValueError(
                f"{path}: line {line_number}: expected a frame number up to {_LAST_NUMBER}, got {cells[0][:40]}"
            )
    if not rows:
        raise ValueError(f"{path}: the file has no frames")
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"{path}: a frame number is there twice")
    points = np.array(rows).reshape(len(rows), len(names), 3) * _MM[unit]
    points[~np.isfinite(points).all(axis=-1)] = np.nan
    return Markers(names, np.array(numbers), points)


def joints(markers: Markers, skeleton: Skeleton, axes: str) -> np.ndarray:
    """Return the markers that are joints, in the world's axes.

    Args:
        markers: names are the skeleton's own, or Pose2Sim's.
        skeleton: the joints to return.
        axes: the file's columns that are the world's x, y and z, z up: "zxy" for a file whose y is up.

    Returns:
        (frames, joints, 3) world mm; NaN for joints that have no marker.
    """
    marker_of = {_POSE2SIM.get(name, name): index for index, name in enumerate(markers.names)}
    result = np.full((len(markers.number), len(skeleton), 3), np.nan)
    for index, joint in enumerate(skeleton.joint_names):
        if joint in marker_of:
            result[:, index] = markers.points[:, marker_of[joint]]
    return result[..., ["xyz".index(axis) for axis in axes]]


def height(joints: np.ndarray, skeleton: Skeleton) -> float:
    """Return the person's height in mm, estimated from the limbs; NaN if no limb is known.

    Args:
        joints: (frames, joints, 3) mm.
        skeleton: of the joints.
    """
    lengths, fractions = 0.0, 0.0
    for (start, end), fraction in _LIMBS.items():
        for side in ("left", "right"):
            pair = start.format(side), end.format(side)
            if not set(pair) <= set(skeleton.joint_names):
                continue
            limb = joints[:, skeleton.index(pair[1])] - joints[:, skeleton.index(pair[0])]
            length = np.linalg.norm(limb, axis=-1)
            if np.isfinite(length).any():
                lengths, fractions = lengths + float(np.nanmedian(length)), fractions + fraction
    return lengths / fractions if fractions else float("nan")
