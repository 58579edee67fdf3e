"""Triangulation without a judgement about who is right: every view with weight has its say."""

import numpy as np


def triangulate(
    points: np.ndarray, image_from_world: np.ndarray, weights: np.ndarray, min_views: int = 2
) -> np.ndarray:
    """Intersect the rays to one joint from several views, in the least-squares sense (weighted DLT, Hartley 2003, 12.2).

    Args:
        points: (..., views, joints, 2) px, undistorted; NaN where not seen.
        image_from_world: (..., views, 3, 4) projections of world mm to undistorted px.
        weights: (..., views, joints) >= 0; 0 leaves a view out.
        min_views: joints with weight in fewer views stay unknown.

    Returns:
        (..., joints, 3) world mm; NaN where unknown, and where all rays are parallel.
    """
    known = np.isfinite(points).all(axis=-1) & (weights > 0)  # (..., views, joints)
    P = image_from_world[..., :, None, :, :]  # (..., views, 1, 3, 4)
    # Divided by the length of their normals, rows measure mm across the ray, whatever the focal length and the zoom.
    rows = np.where(known, 1.0, 0.0)[..., None, None] * (
        np.where(known[..., None], points, 0.0)[..., None] * P[..., 2:3, :] - P[..., :2, :]
    )  # (..., views, joints, 2, 4)
    rows /= np.linalg.norm(P[..., :2, :3], axis=-1)[..., None]
    rows *= np.where(known, np.sqrt(np.maximum(weights, 0)), 0.0)[..., None, None]
    A = np.moveaxis(rows, -4, -3)  # (..., joints, views, 2, 4)
    A = A.reshape(*A.shape[:-3], -1, 4)
    # Metres, near the middle of the rig: four columns of like size, else the smallest singular vector loses digits.
    centre, metre = _middle(image_from_world), 1000.0
    A = np.concatenate([A[..., :3] * metre, A[..., 3:] + A[..., :3] @ centre[..., None, :, None]], axis=-1)
    _, singular, right = np.linalg.svd(A)
    homogeneous = right[..., 3, :]  # (..., joints, 4)
    enough = (known.sum(axis=-2) >= max(min_views, 2)) & (singular[..., 2] > 1e-9 * singular[..., 0])
    scale = np.where(enough & (np.abs(homogeneous[..., 3]) > 1e-9), homogeneous[..., 3], np.nan)
    return homogeneous[..., :3] / scale[..., None] * metre + centre[..., None, :]


def _middle(image_from_world: np.ndarray) -> np.ndarray:
    """(..., views, 3, 4) -> (..., 3) world mm, the mean of the camera centres."""
    centres = -np.linalg.solve(image_from_world[..., :3], image_from_world[..., 3:])[..., 0]
    return centres.mean(axis=-2)
