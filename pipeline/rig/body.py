"""What the body says of the world: its size, its stance, and which way its knees and elbows bend.

Units and axes are wrong in all cameras alike; no residual shows that, only the body does.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.rig.report import Finding
from pipeline.rig.residuals import finite_median
from pipeline.rig.sentences import finding
from pipeline.skeleton import Skeleton

# Medians of adults, mm; children and giants are 0.4 to 1.4 of them, other units are not.
_ADULT_MM = {"knee": ("hip", 430.0), "ankle": ("knee", 420.0), "elbow": ("shoulder", 290.0), "wrist": ("elbow", 255.0)}
_BODY_SCALES = 0.4, 1.5
_UNITS = {1000.0: "m", 10.0: "cm", 25.4: "inches", 304.8: "feet", 0.1: "a tenth of a mm", 0.001: "µm"}


def body_scale(joints: np.ndarray, skeleton: Skeleton) -> float:
    """Return the size of the person, 1 for an adult.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown.
        skeleton: the names of the joints.

    Returns:
        The median over the bones of arms and legs; NaN if none is known in at least five frames.
    """
    ratios = []
    for side in ("left", "right"):
        for child, (parent, adult_mm) in _ADULT_MM.items():
            names = f"{side}_{parent}", f"{side}_{child}"
            if all(name in skeleton.joint_names for name in names):
                length_mm = np.linalg.norm(
                    joints[:, skeleton.index(names[0])] - joints[:, skeleton.index(names[1])], axis=-1
                )
                if np.isfinite(length_mm).sum() >= 5:
                    ratios.append(finite_median(length_mm) / adult_mm)
    return float(np.median(ratios)) if ratios else float("nan")


def check_body(joints: np.ndarray, skeleton: Skeleton, scale: float) -> Iterator[Finding]:
    """Yield wrong units, a wrong upward axis and a mirrored world.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown.
        skeleton: the names of the joints.
        scale: of `body_scale`.
    """
    low, high = _BODY_SCALES
    if np.isfinite(scale) and not low <= scale <= high:
        unit_mm = min(_UNITS, key=lambda each: abs(np.log(scale * each)))
        figures = {"body_scale": scale}
        if low <= scale * unit_mm <= high:
            yield finding("units_named", "", figures, corrected=scale * unit_mm, unit=_UNITS[unit_mm])
        else:
            yield finding("units", "", figures)
    up = _upward(joints, skeleton)
    if np.isfinite(up).all() and up[2] < 0.5:
        axis = int(np.abs(up).argmax())
        yield finding(
            "up",
            "",
            {"up_x": float(up[0]), "up_y": float(up[1]), "up_z": float(up[2])},
            axis=f"{'-' if up[axis] < 0 else ''}{'xyz'[axis]}",
            stance="stands on their head" if up[2] < -0.5 else "lies on their side",
        )
    backwards, frames = _backwards(joints, skeleton)
    if frames >= 40 and backwards > 0.75:
        yield finding("bends_backwards", "", {"backwards": backwards})


def _mean_joint(joints: np.ndarray, skeleton: Skeleton, *names: str) -> np.ndarray:
    """Return (frames, 3), the mean of those of some joints that are known; NaN if none is."""
    chosen = [joints[:, skeleton.index(name)] for name in names if name in skeleton.joint_names]
    if not chosen:
        return np.full((len(joints), 3), np.nan)
    stacked = np.stack(chosen)
    valid = np.isfinite(stacked).all(axis=-1, keepdims=True)
    count = valid.sum(axis=0)
    return np.where(count > 0, np.where(valid, stacked, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _upward(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return (3,) the median direction from the ankles to the shoulders; NaN if unknown."""
    shoulders = _mean_joint(joints, skeleton, "left_shoulder", "right_shoulder")
    body = shoulders - _mean_joint(joints, skeleton, "left_ankle", "right_ankle")
    body = body[np.isfinite(body).all(axis=-1)]
    if len(body) < 5:
        return np.full(3, np.nan)
    median = np.median(body / np.linalg.norm(body, axis=-1, keepdims=True), axis=0)
    return np.asarray(median / max(np.linalg.norm(median), 1e-9))


def _backwards(joints: np.ndarray, skeleton: Skeleton) -> tuple[float, int]:
    """Return the share of frames in which the body bends towards its back, as its sides define it, and their number."""
    up = _upward(joints, skeleton)
    left = _mean_joint(joints, skeleton, "left_hip", "left_shoulder")
    sides = left - _mean_joint(joints, skeleton, "right_hip", "right_shoulder")
    front = np.zeros((len(joints), 3))
    for side in ("left", "right"):
        for first, bend, last, sign in (("hip", "knee", "ankle", 1.0), ("shoulder", "elbow", "wrist", -1.0)):
            a, b, c = (_mean_joint(joints, skeleton, f"{side}_{name}") for name in (first, bend, last))
            front += np.nan_to_num(sign * (b - (a + c) / 2))
        toe = _mean_joint(joints, skeleton, f"{side}_big_toe", f"{side}_toe", f"{side}_small_toe")
        front += np.nan_to_num(toe - _mean_joint(joints, skeleton, f"{side}_ankle", f"{side}_heel"))
    face = _mean_joint(joints, skeleton, "nose") - _mean_joint(joints, skeleton, "left_ear", "right_ear")
    front += np.nan_to_num(face)
    ahead = np.cross(sides, up)  # left x up: in a right-handed world a person looks this way
    length = np.linalg.norm(ahead, axis=-1)
    along = (front * ahead).sum(axis=-1) / np.where(length > 0, length, np.nan)
    clear = np.isfinite(along) & (np.abs(along) > 50)
    return (float((along[clear] < 0).mean()) if clear.any() else float("nan")), int(clear.sum())
