"""Two views of one point: the fundamental matrix, from calibration alone, and the distance it measures."""

import numpy as np

from pipeline.geometry.camera import Camera


def fundamental_matrix(a: Camera, b: Camera) -> np.ndarray:
    """F with `x_b^T F x_a = 0` for the two images of every point (Hartley 2003, 9.2).

    Returns:
        (3, 3) for undistorted homogeneous px, of unit norm.
    """
    R = b.R @ a.R.T  # b's axes from a's
    x, y, z = b.R @ (a.centre - b.centre)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    F = np.linalg.inv(b.K).T @ cross @ R @ np.linalg.inv(a.K)
    length = np.linalg.norm(F)
    if length == 0:
        raise ValueError(f"cameras {a.name} and {b.name} stand at the same place: no epipolar geometry between them")
    return F / length


def sampson_distance(points_a: np.ndarray, points_b: np.ndarray, F: np.ndarray) -> np.ndarray:
    """First-order distance of a pair of points from a pair that satisfies `x_b^T F x_a = 0` (Sampson 1982).

    Args:
        points_a, points_b: (..., 2) undistorted px.
        F: (..., 3, 3).

    Returns:
        (...) px; NaN where either is not seen.
    """
    ones = np.ones((*points_a.shape[:-1], 1))
    a, b = np.concatenate([points_a, ones], axis=-1), np.concatenate([points_b, ones], axis=-1)
    line_b = (F @ a[..., None])[..., 0]  # where b should be
    line_a = (np.swapaxes(F, -1, -2) @ b[..., None])[..., 0]
    residual = (b * line_b).sum(axis=-1)
    return np.abs(residual) / np.sqrt((line_b[..., :2] ** 2).sum(axis=-1) + (line_a[..., :2] ** 2).sum(axis=-1))


def median_epipolar_px(points: np.ndarray, candidates: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Each view's median Sampson distance to the candidate views other than itself.

    Of three views that do not agree, none is near both others, and all are far by this measure: it takes a fourth to
    tell who is wrong.

    Args:
        points: (..., views, joints, 2) px of the full picture; NaN where not seen.
        candidates: (..., views, joints) bool, the views that count.
        cameras: one a view.

    Returns:
        (..., views, joints) px; NaN where the view saw nothing or no other candidate did.
    """
    views = len(cameras)
    undistorted = np.stack([camera.undistort(points[..., v, :, :]) for v, camera in enumerate(cameras)], axis=-3)
    between = np.full((views, *points.shape[:-3], views, points.shape[-2]), np.nan)  # (view, ..., other view, joints)
    for a in range(views):
        for b in range(a + 1, views):
            F = fundamental_matrix(cameras[a], cameras[b])
            distance = sampson_distance(undistorted[..., a, :, :], undistorted[..., b, :, :], F)
            between[a, ..., b, :] = np.where(candidates[..., b, :], distance, np.nan)
            between[b, ..., a, :] = np.where(candidates[..., a, :], distance, np.nan)
    return np.moveaxis(_median(between), 0, -2)  # (..., views, joints)


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the last but one axis of what is known; NaN, without a warning, of nothing."""
    ordered = np.sort(values, axis=-2)  # NaN goes last
    known = np.isfinite(values).sum(axis=-2, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(known - 1, 0) // 2, axis=-2)
    high = np.take_along_axis(ordered, np.minimum(known // 2, values.shape[-2] - 1), axis=-2)
    return ((low + high) / 2)[..., 0, :]
