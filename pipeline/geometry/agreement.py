"""How well the views agree on joints: by what each shows of them, and by what the others say about it."""

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.triangulation import triangulate_dlt


def project(joints: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """(..., joints, 3) world mm -> (..., views, joints, 2) px of the full picture; NaN where a camera cannot show it."""
    return np.stack([camera.project(joints) for camera in cameras], axis=-3)


def reprojection_errors(joints: np.ndarray, points: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """How far each view's detection is from where it shows the joint.

    Args:
        joints: (..., joints, 3) world mm; NaN where not known.
        points: (..., views, joints, 2) px of the full picture; NaN where not seen.
        cameras: one a view.

    Returns:
        (..., views, joints) px; NaN where either is not known, or the joint is behind the camera.
    """
    return np.linalg.norm(project(joints, cameras) - points, axis=-1)


def leave_one_out_errors(points: np.ndarray, weights: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """How far each view's detection is from what the other views say of the joint, without any truth.

    Args:
        points: (..., views, joints, 2) px of the full picture; NaN where not seen.
        weights: (..., views, joints) >= 0, of a view's say in the triangulation; 0 leaves it out.
        cameras: one a view.

    Returns:
        (..., views, joints) px; NaN where the view saw nothing, or fewer than two others did.
    """
    undistorted = np.stack([camera.undistort(points[..., v, :, :]) for v, camera in enumerate(cameras)], axis=-3)
    image_from_world = np.stack([camera.image_from_world for camera in cameras])
    errors = np.full(points.shape[:-1], np.nan)
    for view, camera in enumerate(cameras):
        others = np.array(weights, dtype=np.float64)
        others[..., view, :] = 0
        joints = triangulate_dlt(undistorted, image_from_world, others)
        errors[..., view, :] = np.linalg.norm(camera.project(joints) - points[..., view, :, :], axis=-1)
    return errors


def widest_ray_sines(joints: np.ndarray, chosen: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Sine of the angle between two views' rays to a joint: the pair of the chosen views nearest to a right angle.

    Args:
        joints: (..., joints, 3) world mm.
        chosen: (..., views, joints) bool.
        cameras: one a view.

    Returns:
        (..., joints) in [0, 1]; 0 where fewer than two views are chosen or the joint is not known.
    """
    rays = np.stack([joints - camera.centre for camera in cameras], axis=-3)  # (..., views, joints, 3)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    widest = np.zeros(joints.shape[:-1])
    for i in range(len(cameras)):
        for k in range(i + 1, len(cameras)):
            sine = np.linalg.norm(np.cross(rays[..., i, :, :], rays[..., k, :, :]), axis=-1)
            both = chosen[..., i, :] & chosen[..., k, :] & np.isfinite(sine)
            widest = np.maximum(widest, np.where(both, sine, 0))
    return widest
