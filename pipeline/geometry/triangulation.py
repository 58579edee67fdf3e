"""Triangulation without outlier rejection: every view with weight contributes."""

import numpy as np


def triangulate_dlt(
    keypoints: np.ndarray, image_from_world: np.ndarray, weights: np.ndarray, min_views: int = 2
) -> np.ndarray:
    """Return the joints that minimise the algebraic error of several views (weighted DLT, Hartley 2003, 12.2).

    The inhomogeneous form: a joint is never at infinity, and the result does not depend on the world's origin.

    Args:
        keypoints: (..., views, joints, 2) px, undistorted; NaN if not seen.
        image_from_world: (..., views, 3, 4) projections of world mm to undistorted px.
        weights: (..., views, joints) >= 0, of a view's squared residual; 0 excludes a view.
        min_views: joints with weight in fewer views stay unknown.

    Returns:
        (..., joints, 3) world mm; NaN if unknown, and if all rays are parallel.
    """
    known = np.isfinite(keypoints).all(axis=-1) & (weights > 0)  # (..., views, joints)
    P = np.array(image_from_world, dtype=np.float64)
    centre = _mean_centre(P)  # (..., 3); far from the origin the equations would lose digits
    P[..., 3] += (P[..., :3] @ centre[..., None, :, None])[..., 0]
    # Divided by the length of their normals, rows measure mm across the ray for any focal length.
    lengths = np.linalg.norm(P[..., :2, :3], axis=-1)  # (..., views, 2)
    P = P[..., :, None, :, :]  # (..., views, 1, 3, 4)
    rows = np.where(known[..., None], keypoints, 0.0)[..., None] * P[..., 2:3, :] - P[..., :2, :]
    rows *= (np.sqrt(np.where(known, weights, 0.0))[..., None] / lengths[..., None, :])[..., None]
    A, b = rows[..., :3], -rows[..., 3]  # (..., views, joints, 2, 3), (..., views, joints, 2)
    normal = np.einsum("...vjri,...vjrk->...jik", A, A)
    right = np.einsum("...vjri,...vjr->...ji", A, b)
    scale = np.trace(normal, axis1=-2, axis2=-1)
    enough = (known.sum(axis=-2) >= max(min_views, 2)) & (np.linalg.det(normal) > 1e-13 * scale**3)
    solvable = np.where(enough[..., None, None], normal, np.eye(3))
    joints = np.linalg.solve(solvable, right[..., None])[..., 0] + centre[..., None, :]
    return np.where(enough[..., None], joints, np.nan)


def _mean_centre(image_from_world: np.ndarray) -> np.ndarray:
    """Return (..., 3) world mm, the mean of the camera centres; (..., views, 3, 4) projections."""
    centres = -np.linalg.solve(image_from_world[..., :3], image_from_world[..., 3:])[..., 0]
    return centres.mean(axis=-2)
