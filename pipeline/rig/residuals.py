"""How far each view's keypoints are from the joints that the other views agree on."""

from collections.abc import Sequence

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.consensus import consensus_joints
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.rig.observations import Observations

MIN_KEYPOINTS = 60  # with fewer nothing is concluded
TOLERATED = 0.006  # share of the image diagonal; a residual below it needs no correction
MAX_RESIDUAL = (
    0.1  # share of the image diagonal; the bound of a residual, and the residual of a keypoint without a joint
)


def image_diagonal(cameras: Sequence[Camera]) -> float:
    """Return the median diagonal of the cameras' images, px."""
    return float(np.median([np.hypot(*camera.size) for camera in cameras]))


def agreed_joints(
    observations: Observations,
    cameras: tuple[Camera, ...],
    thresholds: AgreementThresholds,
    without: int | None = None,
) -> np.ndarray:
    """Return (frames, joints, 3) world mm that the views agree on, one view left out or none; NaN where too few do."""
    return consensus_joints(observations.keypoints, observations.scores, cameras, thresholds, without)


def residual_vectors(
    observations: Observations, cameras: tuple[Camera, ...], thresholds: AgreementThresholds, view: int
) -> np.ndarray:
    """Return (frames, joints, 2) px from a view's keypoints to the projected joints of the other views; NaN if unknown."""
    joints = agreed_joints(observations, cameras, thresholds, view)
    return cameras[view].project(joints) - observations.keypoints[:, view]


def mean_residual(
    observations: Observations, cameras: tuple[Camera, ...], thresholds: AgreementThresholds, limit_px: float
) -> float:
    """Return the mean residual of all keypoints of all views, px.

    Args:
        observations: of the rig.
        cameras: (views,).
        thresholds: when views agree.
        limit_px: the bound of a residual; keypoints without a joint of the other views count as much.

    Returns:
        px; infinite without keypoints.
    """
    total, count = 0.0, 0
    for view in range(len(cameras)):
        seen = np.isfinite(observations.keypoints[:, view, :, 0])
        residual_px = np.linalg.norm(residual_vectors(observations, cameras, thresholds, view), axis=-1)
        total += float(_bounded(residual_px, limit_px)[seen].sum())
        count += int(seen.sum())
    return total / count if count else np.inf


def median_residual(camera: Camera, joints: np.ndarray, keypoints: np.ndarray) -> float:
    """Return the median distance between keypoints and projected joints, px.

    Args:
        camera: the view's.
        joints: (..., 3) world mm; NaN if unknown. A joint that the camera cannot see is infinitely far.
        keypoints: (..., 2) px of the full image; NaN if not seen.

    Returns:
        px; NaN for fewer than `MIN_KEYPOINTS` pairs.
    """
    both = np.isfinite(joints[..., 0]) & np.isfinite(keypoints[..., 0])
    if both.sum() < MIN_KEYPOINTS:
        return float("nan")
    residual_px = np.linalg.norm(camera.project(joints[both]) - keypoints[both], axis=-1)
    return float(np.median(np.where(np.isfinite(residual_px), residual_px, np.inf)))


def figures_by_camera(
    observations: Observations, cameras: tuple[Camera, ...], thresholds: AgreementThresholds
) -> dict[str, dict[str, float]]:
    """Return the figures of each camera, as `RigReport.by_camera` describes them."""
    if len(cameras) < 3:
        return {camera.name: {} for camera in cameras}
    limit_px = MAX_RESIDUAL * image_diagonal(cameras)
    figures, cost = {}, np.full(len(cameras), limit_px)
    for view, camera in enumerate(cameras):
        vectors = residual_vectors(observations, cameras, thresholds, view)
        residual_px = np.linalg.norm(vectors, axis=-1)
        figures[camera.name] = {
            "off_px": finite_median(residual_px),
            "bias_px": float(np.linalg.norm(median_vector(vectors))),
            "known": 100 * float(np.isfinite(residual_px).mean()),
        }
        seen = np.isfinite(observations.keypoints[:, view, :, 0])
        if seen.any():
            cost[view] = _bounded(residual_px, limit_px)[seen].mean()
    for camera, each in zip(cameras, cost / max(cost.sum(), 1e-9), strict=True):
        figures[camera.name]["share"] = 100 * float(each)
    return figures


def median_vector(vectors: np.ndarray) -> np.ndarray:
    """Return the median of (..., 2) vectors without NaN: (2,); NaN if there is none."""
    flat = vectors.reshape(-1, 2)
    valid = flat[np.isfinite(flat).all(axis=-1)]
    return np.median(valid, axis=0) if len(valid) else np.full(2, np.nan)


def finite_median(values: np.ndarray) -> float:
    """Return the median of the finite values; NaN if there is none."""
    valid = values[np.isfinite(values)]
    return float(np.median(valid)) if valid.size else float("nan")


def _bounded(residual_px: np.ndarray, limit_px: float) -> np.ndarray:
    """Return residuals of at most `limit_px`, which also replaces NaN."""
    return np.minimum(np.where(np.isfinite(residual_px), residual_px, limit_px), limit_px)
