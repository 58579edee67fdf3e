"""Triangulation without outlier rejection: every view with weight contributes."""

import numpy as np

from pipeline.geometry.camera import Camera


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


def triangulate_homogeneous(keypoints: np.ndarray, image_from_world: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the joints of the plain DLT that is published as "Triangulate" (Hartley 2003, 12.2, the homogeneous form).

    The rows `x P3 - P1` and `y P3 - P2` of the views are neither weighted nor normalised, and the joint is their last right
    singular vector. Without noise it equals `triangulate_dlt`. With noise, views far from the joint count more, and the result
    depends on the world's origin and unit.

    Args:
        keypoints: (..., views, joints, 2) px, undistorted; NaN if not seen.
        image_from_world: (views, 3, 4) projections of world mm to undistorted px, K [R | t].
        valid: (..., views, joints) bool, the views to use; those that have no keypoint are not used.

    Returns:
        (..., joints, 3) world mm; NaN if fewer than two views are used, and for a joint at infinity.
    """
    used = valid & np.isfinite(keypoints).all(axis=-1)
    points = np.where(used[..., None], keypoints, 0.0)
    P = np.asarray(image_from_world, dtype=np.float64)[:, None]  # (views, 1, 3, 4)
    rows = points[..., None] * P[..., 2:3, :] - P[..., :2, :]  # (..., views, joints, 2, 4)
    rows = np.moveaxis(np.where(used[..., None, None], rows, 0.0), -4, -3)  # (..., joints, views, 2, 4)
    A = rows.reshape(*rows.shape[:-3], 2 * rows.shape[-3], 4)
    enough = used.sum(axis=-2) >= 2
    vectors = np.full((*A.shape[:-2], 4), np.nan)
    # Two views make four rows: the last right singular vector is among the reduced ones.
    vectors[enough] = np.linalg.svd(A[enough], full_matrices=False)[2][..., -1, :]
    scale = np.where(np.abs(vectors[..., 3]) > 1e-13, vectors[..., 3], np.nan)
    return vectors[..., :3] / scale[..., None]


def triangulate_all_views(
    keypoints: np.ndarray, cameras: tuple[Camera, ...], valid: np.ndarray | None = None
) -> np.ndarray:
    """Return `triangulate_homogeneous` of distorted keypoints: every view counts, however low its score.

    Args:
        keypoints: (..., views, joints, 2) px of the full image; NaN if not seen.
        cameras: (views,).
        valid: (..., views, joints) bool, the views to use; None for all.

    Returns:
        (..., joints, 3) world mm; NaN if fewer than two views have a keypoint.
    """
    undistorted = np.stack([camera.undistort(keypoints[..., v, :, :]) for v, camera in enumerate(cameras)], axis=-3)
    image_from_world = np.stack([camera.image_from_world for camera in cameras])
    used = np.ones(keypoints.shape[:-1], dtype=bool) if valid is None else valid
    return triangulate_homogeneous(undistorted, image_from_world, used)


def _mean_centre(image_from_world: np.ndarray) -> np.ndarray:
    """Return (..., 3) world mm, the mean of the camera centres; (..., views, 3, 4) projections."""
    centres = -np.linalg.solve(image_from_world[..., :3], image_from_world[..., 3:])[..., 0]
    return centres.mean(axis=-2)
