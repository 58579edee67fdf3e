"""Agreement of the views on joints: reprojection errors, leave-one-view-out errors, angles between rays."""

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.triangulation import triangulate_dlt


def project(joints: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return (..., views, joints, 2) px of the full image from (..., joints, 3) world mm; NaN where not visible."""
    return np.stack([camera.project(joints) for camera in cameras], axis=-3)


def reprojection_errors(joints: np.ndarray, keypoints: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return the distance of each view's keypoint from the projected joint.

    Args:
        joints: (..., joints, 3) world mm; NaN if unknown.
        keypoints: (..., views, joints, 2) px of the full image; NaN if not seen.
        cameras: (views,).

    Returns:
        (..., views, joints) px; NaN if either is unknown, or the joint is behind the camera.
    """
    return np.linalg.norm(project(joints, cameras) - keypoints, axis=-1)


def leave_one_out_errors(keypoints: np.ndarray, weights: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return the distance of each view's keypoint from the joint that the other views triangulate.

    Args:
        keypoints: (..., views, joints, 2) px of the full image; NaN if not seen.
        weights: (..., views, joints) >= 0, of a view in the triangulation; 0 excludes it.
        cameras: (views,).

    Returns:
        (..., views, joints) px; NaN if the view has no keypoint, or fewer than two others have one.
    """
    undistorted = np.stack([camera.undistort(keypoints[..., v, :, :]) for v, camera in enumerate(cameras)], axis=-3)
    image_from_world = np.stack([camera.image_from_world for camera in cameras])
    errors = np.full(keypoints.shape[:-1], np.nan)
    for view, camera in enumerate(cameras):
        others = np.array(weights, dtype=np.float64)
        others[..., view, :] = 0
        joints = triangulate_dlt(undistorted, image_from_world, others)
        errors[..., view, :] = np.linalg.norm(camera.project(joints) - keypoints[..., view, :, :], axis=-1)
    return errors


def widest_ray_sines(joints: np.ndarray, valid: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return the largest sine of the angle between two views' rays to a joint.

    Args:
        joints: (..., joints, 3) world mm.
        valid: (..., views, joints) bool, the views to use.
        cameras: (views,).

    Returns:
        (..., joints) in [0, 1]; 0 if fewer than two views are valid or the joint is unknown.
    """
    rays = np.stack([joints - camera.centre for camera in cameras], axis=-3)  # (..., views, joints, 3)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    widest = np.zeros(joints.shape[:-1])
    for i in range(len(cameras)):
        for k in range(i + 1, len(cameras)):
            sine = np.linalg.norm(np.cross(rays[..., i, :, :], rays[..., k, :, :]), axis=-1)
            both = valid[..., i, :] & valid[..., k, :] & np.isfinite(sine)
            widest = np.maximum(widest, np.where(both, sine, 0))
    return widest
