"""What several views agree on, with one view left out or none, and how far apart each pair of views is."""

from itertools import combinations

import numpy as np

from pipeline.geometry import epipolar, ransac
from pipeline.geometry.camera import Camera
from pipeline.geometry.thresholds import AgreementThresholds


def consensus_joints(
    keypoints: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    thresholds: AgreementThresholds,
    without: int | None = None,
) -> np.ndarray:
    """Return the joints that at least two views agree on.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        scores: (frames, views, joints).
        cameras: (views,).
        thresholds: when views agree.
        without: the index of a view that is left out; None to use all views.

    Returns:
        (frames, joints, 3) world mm; NaN where no two views agree.
    """
    if without is not None:
        keypoints = keypoints.copy()
        keypoints[:, without] = np.nan
    return ransac.triangulate_ransac(keypoints, scores, cameras, thresholds, min_inliers=2).joints


def pair_epipolar_px(keypoints: np.ndarray, valid: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return the Sampson distance between the two keypoints of every pair of cameras.

    Errors along the epipolar lines do not show in it.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        valid: (frames, views, joints) bool, the keypoints to use.
        cameras: (views,).

    Returns:
        (frames, pairs, joints) px of the full image, pairs in the order of itertools.combinations; NaN where one of the two
        keypoints is missing or not valid.
    """
    used = np.where(valid[..., None], keypoints, np.nan)
    undistorted = [camera.undistort(used[:, view]) for view, camera in enumerate(cameras)]
    distances = [
        epipolar.sampson_distance(undistorted[a], undistorted[b], epipolar.fundamental_matrix(cameras[a], cameras[b]))
        for a, b in combinations(range(len(cameras)), 2)
    ]
    return np.stack(distances, axis=1)
