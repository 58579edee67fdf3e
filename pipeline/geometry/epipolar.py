"""Two views of one point: the fundamental matrix, from calibration alone, and the distances that it measures."""

import numpy as np

from pipeline import nanstats
from pipeline.geometry.camera import Camera


def fundamental_matrix(a: Camera, b: Camera) -> np.ndarray:
    """Return F with `x_b^T F x_a = 0` for the two projections of every point (Hartley 2003, 9.2).

    Returns:
        (3, 3) for undistorted homogeneous px, of unit norm.
    """
    R = b.R @ a.R.T  # b's axes from a's
    x, y, z = b.R @ (a.centre - b.centre)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    F = np.linalg.inv(b.K).T @ cross @ R @ np.linalg.inv(a.K)
    length = np.linalg.norm(F)
    if length == 0:
        raise ValueError(
            f"cameras {a.name} and {b.name} have the same position: there is no epipolar geometry between them"
        )
    return F / length


def sampson_distance(keypoints_a: np.ndarray, keypoints_b: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Return the first-order distance of keypoint pairs from pairs that satisfy `x_b^T F x_a = 0` (Sampson 1982).

    Args:
        keypoints_a, keypoints_b: (..., 2) undistorted px.
        F: (..., 3, 3).

    Returns:
        (...) px; NaN if either is not seen.
    """
    ones = np.ones((*keypoints_a.shape[:-1], 1))
    a, b = np.concatenate([keypoints_a, ones], axis=-1), np.concatenate([keypoints_b, ones], axis=-1)
    line_b = (F @ a[..., None])[..., 0]  # epipolar line on which b should lie
    line_a = (np.swapaxes(F, -1, -2) @ b[..., None])[..., 0]
    residual = (b * line_b).sum(axis=-1)
    return np.abs(residual) / np.sqrt((line_b[..., :2] ** 2).sum(axis=-1) + (line_a[..., :2] ** 2).sum(axis=-1))


def median_epipolar_px(keypoints: np.ndarray, candidates: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return each view's median Sampson distance to the candidate views other than itself.

    If one of three views is wrong, all three have large distances: a fourth view is needed to identify the wrong one.

    Args:
        keypoints: (..., views, joints, 2) px of the full image; NaN if not seen.
        candidates: (..., views, joints) bool, the views to compare with.
        cameras: (views,).

    Returns:
        (..., views, joints) px; NaN if the view or all other candidates have no keypoint.
    """
    views = len(cameras)
    undistorted = np.stack([camera.undistort(keypoints[..., v, :, :]) for v, camera in enumerate(cameras)], axis=-3)
    between = np.full(
        (views, *keypoints.shape[:-3], views, keypoints.shape[-2]), np.nan
    )  # (view, ..., other view, joints)
    for a in range(views):
        for b in range(a + 1, views):
            F = fundamental_matrix(cameras[a], cameras[b])
            distance = sampson_distance(undistorted[..., a, :, :], undistorted[..., b, :, :], F)
            between[a, ..., b, :] = np.where(candidates[..., b, :], distance, np.nan)
            between[b, ..., a, :] = np.where(candidates[..., a, :], distance, np.nan)
    return np.moveaxis(nanstats.median_along(between, -2), 0, -2)  # (..., views, joints)
