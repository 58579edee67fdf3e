"""Is this the calibration of these images? The answer comes from the keypoints of one person, without labels or images.

A person seen by all cameras is a calibration target that is always there. A fault of one camera shows in the distance of its
keypoints from the joints that the *other* cameras agree on, and the correction that removes this distance names the fault:
keypoints that fit when they are taken from other frames are late, those that fit when the camera is turned and shifted belong
to a camera that has moved. A fault of all cameras together, units or axes, shows only in the body.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.consensus import pair_epipolar_px
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.rig import drift, intrinsics, search
from pipeline.rig.body import body_scale, check_body
from pipeline.rig.observations import Observations
from pipeline.rig.report import Finding, RigReport
from pipeline.rig.residuals import (
    MIN_KEYPOINTS,
    TOLERATED,
    agreed_joints,
    figures_by_camera,
    finite_median,
    image_diagonal,
    median_vector,
    residual_vectors,
)
from pipeline.rig.sentences import finding

_LOOSE = 0.003  # of the diagonal; a larger offset of all keypoints is the calibration's, not the detector's


def check(
    observations: Observations,
    cameras: tuple[Camera, ...],
    thresholds: AgreementThresholds,
    max_offset_frames: int,
) -> RigReport:
    """Return everything that the keypoints of one person say of a rig.

    Args:
        observations: of the rig.
        cameras: (views,).
        thresholds: when views agree.
        max_offset_frames: largest frame offset to notice, in rows of the observations.
    """
    observations = observations.above(thresholds.confidence_threshold)
    seen = np.isfinite(observations.keypoints).all(axis=-1)
    findings = [
        *intrinsics.check_intrinsics(cameras),
        *intrinsics.check_placement(cameras),
        *intrinsics.check_image_sizes(observations, cameras),
    ]
    if any(each.kind == "placement" for each in findings):
        return RigReport(findings=tuple(findings))
    epipolar_px = pair_medians(observations, cameras)
    by_camera = figures_by_camera(observations, cameras, thresholds)
    if len(cameras) > 2:
        pushed, observations = drift.undo_pushes(observations, cameras, thresholds)
        corrected = search.correct(observations, cameras, thresholds, max_offset_frames)
        observations, cameras = corrected.observations, corrected.cameras
        findings += [*pushed, *corrected.findings, *_check_looseness(observations, cameras, thresholds)]
    elif len(cameras) == 2:
        findings += _check_two(observations, cameras, max_offset_frames)
    joints = agreed_joints(observations, cameras, thresholds)
    scale = body_scale(joints, observations.skeleton)
    known = float(np.isfinite(joints[..., 0]).mean()) if joints.size else 0.0
    findings += check_body(joints, observations.skeleton, scale)
    if seen.sum() < MIN_KEYPOINTS or not np.isfinite(scale):
        findings.append(finding("no_person", serious=False))
    return RigReport(
        findings=tuple(findings),
        by_camera=by_camera,
        epipolar_px=epipolar_px,
        body_scale=scale,
        coverage_percent=100 * known,
    )


def pair_medians(observations: Observations, cameras: tuple[Camera, ...]) -> dict[str, float]:
    """Return the median distance of each pair of cameras from each other's epipolar lines, px; NaN if unknown."""
    if len(cameras) < 2:
        return {}
    valid = np.isfinite(observations.keypoints).all(axis=-1)
    distance_px = pair_epipolar_px(observations.keypoints, valid, cameras)
    pairs = combinations([camera.name for camera in cameras], 2)
    return {f"{a}/{b}": finite_median(distance_px[:, pair]) for pair, (a, b) in enumerate(pairs)}


def _check_two(observations: Observations, cameras: tuple[Camera, ...], max_offset_frames: int) -> Iterator[Finding]:
    """Yield faults of two cameras.

    Which of the two is wrong stays open, and only errors across the epipolar lines are visible.
    """
    diagonal_px = image_diagonal(cameras)
    distances_px: dict[int, float] = {}
    for rows in range(-max_offset_frames, max_offset_frames + 1):
        keypoints = observations.shifted(1, rows).keypoints
        distance_px = pair_epipolar_px(keypoints, np.isfinite(keypoints).all(axis=-1), cameras)
        if np.isfinite(distance_px).sum() >= MIN_KEYPOINTS:
            distances_px[rows] = finite_median(distance_px)
    if 0 not in distances_px:
        return
    best = min(distances_px, key=lambda each: (distances_px[each], abs(each)))
    off_px, first, second = distances_px[0], cameras[0].name, cameras[1].name
    if best and distances_px[best] < 0.8 * off_px and off_px > 0.5 * TOLERATED * diagonal_px:
        yield finding(
            "two_late",
            second,
            {"rows": best, "off_px": off_px, "off_px_then": distances_px[best]},
            count=abs(best),
            word="early" if best > 0 else "late",
            other=first,
        )
    elif off_px > 2 * TOLERATED * diagonal_px:
        yield finding("two_disagree", "", {"off_px": off_px}, first=first, second=second)


def _check_looseness(
    observations: Observations, cameras: tuple[Camera, ...], thresholds: AgreementThresholds
) -> Iterator[Finding]:
    """Yield cameras whose keypoints all have the same offset, beyond the detector's noise but too little for a move."""
    for view, camera in enumerate(cameras):
        vectors = residual_vectors(observations, cameras, thresholds, view)
        if np.isfinite(vectors[..., 0]).sum() < MIN_KEYPOINTS:
            continue
        bias = median_vector(vectors)
        noise_px = finite_median(np.linalg.norm(vectors - bias, axis=-1))
        bias_px = float(np.linalg.norm(bias))
        if bias_px > _LOOSE * np.hypot(*camera.size) and bias_px > 0.5 * noise_px:
            figures = {"bias_px": bias_px, "noise_px": noise_px}
            yield finding("loose", camera.name, figures, serious=False, x=bias[0], y=bias[1])
