"""Labels from accepted joints: their weights, which lie inside the image, and boxes around the poses."""

import numpy as np

from pipeline import nanstats
from pipeline.geometry import agreement
from pipeline.geometry.camera import Camera

# A pose has a box if at least this share of its joints is visible: a box around an arm is no person's box.
_KNOWN_SHARE = 0.5
_PERSON_MM = 1500.0  # joints farther than this from the median joint are outliers


def agreement_weights(error_px: np.ndarray, threshold_px: float) -> np.ndarray:
    """Return the mean over the views of exp(-(error / threshold)^2 / 2), the agreement of the rig on each joint.

    Args:
        error_px: (frames, views, joints); NaN where a view has no keypoint, which is excluded from the mean.
        threshold_px: the error that counts 0.61; twice this error counts 0.14.

    Returns:
        (frames, joints) in [0, 1]; 0 if no view has a keypoint.
    """
    seen = np.isfinite(error_px)
    with np.errstate(under="ignore"):
        weights = np.exp(-((np.where(seen, error_px, 0.0) / threshold_px) ** 2) / 2) * seen
    return weights.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


def inside(keypoints: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return (frames, views, joints) bool, whether keypoints (frames, views, joints, 2) px lie in the full image.

    False for NaN.
    """
    size = np.array([camera.size for camera in cameras], dtype=np.float64)[:, None]  # (views, 1, 2)
    return np.all((keypoints >= -0.5) & (keypoints <= size - 0.5), axis=-1)


def boxes(joints: np.ndarray, cameras: tuple[Camera, ...], margin: float) -> np.ndarray:
    """Return the boxes around the projected poses.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown. Outliers are excluded.
        cameras: (views,).
        margin: share of each side that is added to it, half at each end.

    Returns:
        (frames, views, 4) px of the full image, x1 y1 x2 y2; NaN if less than half of the joints are visible.
    """
    middle = nanstats.median_along(joints, 1)[:, None]
    near = np.linalg.norm(joints - middle, axis=-1, keepdims=True) < _PERSON_MM  # false for NaN
    keypoints = agreement.project(np.where(near, joints, np.nan), cameras)  # (frames, views, joints, 2)
    visible = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    low = np.where(visible, keypoints, np.inf).min(axis=2)
    high = np.where(visible, keypoints, -np.inf).max(axis=2)
    enough = visible.mean(axis=2) >= _KNOWN_SHARE  # (frames, views, 1)
    low, high = np.where(enough, low, np.nan), np.where(enough, high, np.nan)
    centre, half = (low + high) / 2, (high - low) * (1 + margin) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)
