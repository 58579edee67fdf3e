"""Align one set of joints to another: Procrustes analysis."""

import numpy as np


def align(joints: np.ndarray, target: np.ndarray, scale: bool) -> np.ndarray:
    """Return the joints after the rotation and translation, and with `scale` the scaling, that fit the target best.

    Umeyama 1991.

    Args:
        joints: (..., joints, 3) mm; NaN if unknown.
        target: (..., joints, 3) mm; NaN if unknown.
        scale: a similarity (PA-MPJPE) instead of a rigid motion.

    Returns:
        (..., joints, 3) mm, never mirrored. The fit uses the joints known in both; every joint is moved. All NaN if fewer than
        three are known in both: they determine no motion.
    """
    both = (np.isfinite(joints) & np.isfinite(target)).all(axis=-1, keepdims=True)  # (..., joints, 1)
    count = np.maximum(both.sum(axis=-2, keepdims=True), 1)
    middle = np.where(both, joints, 0).sum(axis=-2, keepdims=True) / count
    target_middle = np.where(both, target, 0).sum(axis=-2, keepdims=True) / count
    centred = np.where(both, joints - middle, 0)
    centred_target = np.where(both, target - target_middle, 0)
    left, singular, right = np.linalg.svd(np.swapaxes(centred_target, -1, -2) @ centred)  # (..., 3, 3)
    mirror = np.ones_like(singular)
    mirror[..., 2] = np.where(np.linalg.det(left @ right) < 0, -1.0, 1.0)
    target_from_joints = (left * mirror[..., None, :]) @ right
    size = np.ones(singular.shape[:-1])
    if scale:
        spread = (centred**2).sum(axis=(-2, -1))
        size = (singular * mirror).sum(axis=-1) / np.where(spread > 0, spread, np.nan)
    moved = size[..., None, None] * ((joints - middle) @ np.swapaxes(target_from_joints, -1, -2)) + target_middle
    enough = both.sum(axis=-2, keepdims=True) >= 3
    return np.where(enough, moved, np.nan)
