"""Bring one set of points as close as possible to another: Procrustes analysis."""

import numpy as np


def align(points: np.ndarray, target: np.ndarray, scale: bool) -> np.ndarray:
    """Move points by the rotation and translation, and with `scale` the size, that fit the target best (Umeyama 1991).

    Args:
        points: (..., joints, 3) mm; NaN where not known.
        target: (..., joints, 3) mm; NaN where not known.
        scale: similarity (PA-MPJPE) instead of a rigid motion.

    Returns:
        (..., joints, 3) mm, never mirrored. The fit is over the joints that both know; every joint of `points` is moved.
        All NaN where they share fewer than three, which fix no motion.
    """
    both = (np.isfinite(points) & np.isfinite(target)).all(axis=-1, keepdims=True)  # (..., joints, 1)
    count = np.maximum(both.sum(axis=-2, keepdims=True), 1)
    middle = np.where(both, points, 0).sum(axis=-2, keepdims=True) / count
    target_middle = np.where(both, target, 0).sum(axis=-2, keepdims=True) / count
    centred = np.where(both, points - middle, 0)
    wanted = np.where(both, target - target_middle, 0)
    left, singular, right = np.linalg.svd(np.swapaxes(wanted, -1, -2) @ centred)  # (..., 3, 3)
    mirror = np.ones_like(singular)
    mirror[..., 2] = np.where(np.linalg.det(left @ right) < 0, -1.0, 1.0)
    target_from_points = (left * mirror[..., None, :]) @ right
    size = np.ones(singular.shape[:-1])
    if scale:
        spread = (centred**2).sum(axis=(-2, -1))
        size = (singular * mirror).sum(axis=-1) / np.where(spread > 0, spread, np.nan)
    moved = size[..., None, None] * ((points - middle) @ np.swapaxes(target_from_points, -1, -2)) + target_middle
    enough = both.sum(axis=-2, keepdims=True) >= 3
    return np.where(enough, moved, np.nan)
