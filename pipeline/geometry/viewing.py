"""What cameras show, and the camera that a misread calibration file would describe."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from pipeline.geometry.camera import Camera


def inside_image(camera: Camera, joints: np.ndarray) -> np.ndarray:
    """Return whether an ideal lens shows each position inside the image.

    The distortion is left out, because its polynomial folds back into the image far outside of it.

    Args:
        camera: any camera.
        joints: (..., 3) world mm; NaN if unknown.

    Returns:
        (...) bool; False where unknown or behind the camera.
    """
    keypoints = camera.project(joints, distorted=False)
    with np.errstate(invalid="ignore"):
        return np.asarray(((keypoints >= -0.5) & (keypoints <= np.array(camera.size) - 0.5)).all(axis=-1))


def transposed(camera: Camera) -> Camera:
    """Return the camera whose file meant the inverse rotation, with the same translation."""
    return replace(camera, R=camera.R.T, centre=-camera.R @ camera.translation)


def convergence_point(cameras: Sequence[Camera]) -> tuple[np.ndarray, np.ndarray]:
    """Return the position that most cameras look at.

    Candidates are the positions nearest to two optical axes. The one inside most images wins; of several, the one nearest to
    the optical axes.

    Returns:
        (3,) world mm, and (views,) bool: the position is inside the view's image. NaN and all False where no two cameras
        look at one position.
    """
    best, best_inside, best_key = np.full(3, np.nan), np.zeros(len(cameras), dtype=bool), (1, np.inf)
    for a, b in combinations(cameras, 2):
        position = _nearest_to_axes([a, b])
        inside = np.array([inside_image(camera, position) for camera in cameras])
        angles = [_angle_off_axis(camera, position) for camera, sees in zip(cameras, inside, strict=True) if sees]
        key = (int(inside.sum()), float(np.mean(angles)) if angles else np.inf)
        if key[0] > best_key[0] or (key[0] == best_key[0] and key[1] < best_key[1]):
            best, best_inside, best_key = position, inside, key
    if best_inside.sum() < 2:
        return np.full(3, np.nan), np.zeros(len(cameras), dtype=bool)
    refined = _nearest_to_axes([camera for camera, sees in zip(cameras, best_inside, strict=True) if sees])
    inside = np.array([inside_image(camera, refined) for camera in cameras])
    return (refined, inside) if inside.sum() >= best_inside.sum() else (best, best_inside)


def _nearest_to_axes(cameras: Sequence[Camera]) -> np.ndarray:
    """Return the (3,) position with the least sum of squared distances to the optical axes; NaN for parallel ones."""
    axes = np.stack([camera.R[2] for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # (views, 3, 3) projectors across the axes
    total = across.sum(axis=0)
    if np.linalg.cond(total) > 1e6:
        return np.full(3, np.nan)
    offsets = across @ np.stack([camera.centre for camera in cameras])[..., None]
    return np.linalg.solve(total, offsets.sum(axis=0))[:, 0]


def _angle_off_axis(camera: Camera, position: np.ndarray) -> float:
    """Return the angle between a position and the optical axis, in radians."""
    x, y, z = camera.camera_from_world(position)
    return float(np.arctan2(np.hypot(x, y), z))
