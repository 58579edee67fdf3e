"""Labels from accepted joints: how much each one counts, which lie in the picture, and new boxes from the poses."""

import numpy as np

from pipeline.geometry import agreement
from pipeline.geometry.camera import Camera

# A pose makes a box when at least this share of its joints is known: a box around an arm is no box of a person.
_KNOWN_SHARE = 0.5
_PERSON_MM = 1500.0  # joints farther than this from the middle of the pose are no part of the person


def agreement_weights(errors: np.ndarray, threshold_px: float) -> np.ndarray:
    """How much of the rig stands behind a joint: the mean over the views of exp(-(error / threshold)^2 / 2).

    Args:
        errors: (frames, views, joints) px; NaN where a view saw nothing, which is left out of the mean.
        threshold_px: the error that counts 0.61; twice as much counts 0.14.

    Returns:
        (frames, joints) in [0, 1]; 0 where no view saw anything.
    """
    seen = np.isfinite(errors)
    with np.errstate(under="ignore"):
        say = np.exp(-((np.where(seen, errors, 0.0) / threshold_px) ** 2) / 2) * seen
    return say.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


def inside(points: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """(frames, views, joints, 2) px -> (frames, views, joints) bool: in the full picture; NaN is not."""
    size = np.array([camera.size for camera in cameras], dtype=np.float64)[:, None]  # (views, 1, 2)
    return np.all((points >= -0.5) & (points <= size - 0.5), axis=-1)


def boxes(joints: np.ndarray, cameras: tuple[Camera, ...], margin: float) -> np.ndarray:
    """Boxes around the projected poses.

    Args:
        joints: (frames, joints, 3) world mm; NaN where not known. Joints far off the others are left out.
        cameras: one a view.
        margin: of each side, added to it, half on either end.

    Returns:
        (frames, views, 4) px of the full picture, x1 y1 x2 y2; NaN where less than half of the joints are shown.
    """
    known = np.isfinite(joints).all(axis=-1, keepdims=True)  # (frames, joints, 1)
    middle = np.nanmedian(np.where(known.any(axis=1, keepdims=True), joints, 0.0), axis=1, keepdims=True)
    near = np.linalg.norm(joints - middle, axis=-1, keepdims=True) < _PERSON_MM  # false for NaN
    shown = agreement.project(np.where(near, joints, np.nan), cameras)  # (frames, views, joints, 2)
    visible = np.isfinite(shown).all(axis=-1, keepdims=True)
    low = np.where(visible, shown, np.inf).min(axis=2)
    high = np.where(visible, shown, -np.inf).max(axis=2)
    enough = visible.mean(axis=2) >= _KNOWN_SHARE  # (frames, views, 1)
    low, high = np.where(enough, low, np.nan), np.where(enough, high, np.nan)
    centre, half = (low + high) / 2, (high - low) * (1 + margin) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)
