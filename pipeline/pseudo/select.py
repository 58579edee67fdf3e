"""Select the joints that are good enough to learn from, with the reason for each refusal. Geometry alone, no labels."""

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Unit

from pipeline.geometry import agreement, epipolar, ransac
from pipeline.geometry.camera import Camera
from pipeline.geometry.ransac import KNOWN, NO_AGREEMENT, RAYS_PARALLEL, TOO_FEW_VIEWS
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.geometry.triangulation import triangulate_homogeneous

_BLOCK = 1024  # frames whose hypotheses are in memory at once
NO_POSE = 5  # beside the statuses of ransac.py: the teacher has no such joint


@dataclass(frozen=True, kw_only=True)
class LabelThresholds(AgreementThresholds):
    """When a joint is accepted: the keys of `AgreementThresholds`, and

    Attributes:
        ransac_inliers: how many views have to agree.
        epipolar_threshold_px: a view proposes positions only if its median Sampson distance to the other confident views is
            below this many px; None for no such test.
    """

    ransac_inliers: Annotated[int, Ge(2), "one view cannot agree with itself"]
    epipolar_threshold_px: Annotated[float, Gt(0), Unit("px")] | None


@dataclass(frozen=True, eq=False)
class Selection:
    """The joints that were accepted.

    Attributes:
        joints: (frames, joints, 3) world mm; NaN if refused.
        agree: (frames, views, joints) bool, the views that agree on an accepted joint.
        error_px: (frames, views, joints) distance of each view's keypoint from the projection of an accepted joint; NaN
            without one.
        status: (frames, joints) uint8, KNOWN if accepted, another status of ransac.py, or NO_POSE.
    """

    joints: np.ndarray
    agree: np.ndarray
    error_px: np.ndarray
    status: np.ndarray


def by_triangulation(
    keypoints: np.ndarray, scores: np.ndarray, cameras: tuple[Camera, ...], thresholds: LabelThresholds
) -> Selection:
    """Accept the joints on which enough views agree, among the hypotheses of all pairs of confident views.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        scores: (frames, views, joints) in [0, 1].
        cameras: (views,).
        thresholds: when a joint is accepted.
    """
    confident_scores = np.where(_confident(keypoints, scores, cameras, thresholds), scores, -1.0)
    triangulated = ransac.triangulate_ransac(
        keypoints, confident_scores, cameras, thresholds, min_inliers=thresholds.ransac_inliers
    )
    error_px = agreement.reprojection_errors(triangulated.joints, keypoints, cameras)
    return Selection(triangulated.joints, triangulated.inliers, error_px, triangulated.status)


def by_published_rule(
    keypoints: np.ndarray, scores: np.ndarray, cameras: tuple[Camera, ...], thresholds: LabelThresholds
) -> Selection:
    """Accept joints by the rule of the published self-training, in which the positions of pairs are not refitted.

    The plain DLT of each pair of confident views is a hypothesis. The views whose keypoints are nearer than the threshold to
    its projection agree, confident or not. The hypothesis with most agreeing views wins, among equals the one with the smaller
    mean error of these views. Its views remain the agreeing ones; the joint is their plain DLT. Unlike `by_triangulation`, no
    view joins after that, and the error of the final joint is not tested again. The published rule has no test of the angle
    between rays (`min_ray_angle_deg` 0); a hypothesis behind a camera has no agreement with it.

    The arguments are those of `by_triangulation`.
    """
    confident = _confident(keypoints, scores, cameras, thresholds)
    parts = [
        _published_block(keypoints[rows], confident[rows], cameras, thresholds)
        for rows in (slice(first, first + _BLOCK) for first in range(0, max(len(keypoints), 1), _BLOCK))
    ]
    joints, agree, status = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Selection(joints, agree, agreement.reprojection_errors(joints, keypoints, cameras), status)


def _published_block(
    keypoints: np.ndarray, confident: np.ndarray, cameras: tuple[Camera, ...], thresholds: LabelThresholds
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return joints (frames, joints, 3) mm, agreeing views (frames, views, joints), and statuses (frames, joints)."""
    frames, views, num_joints, _ = keypoints.shape
    undistorted = np.stack([camera.undistort(keypoints[:, v]) for v, camera in enumerate(cameras)], axis=1)
    image_from_world = np.stack([camera.image_from_world for camera in cameras])
    least_sine = np.sin(np.deg2rad(thresholds.min_ray_angle_deg))
    best_agree = np.zeros((frames, views, num_joints), dtype=bool)
    best_number, best_error = np.zeros((frames, num_joints), dtype=int), np.full((frames, num_joints), np.inf)
    narrow = np.zeros((frames, num_joints), dtype=bool)
    for first, second in combinations(range(views), 2):
        pair = [first, second]
        proposed = confident[:, first] & confident[:, second]  # (frames, joints)
        valid = np.stack([proposed, proposed], axis=1)
        position = triangulate_homogeneous(undistorted[:, pair], image_from_world[pair], valid)
        error_px = agreement.reprojection_errors(position, keypoints, cameras)
        agree = error_px < thresholds.reproj_threshold_px
        number = agree.sum(axis=1)
        enough = number >= thresholds.ransac_inliers
        if least_sine > 0:
            wide = agreement.widest_ray_sines(position, agree, cameras) >= least_sine
            narrow |= enough & ~wide
            enough &= wide
        mean_error = np.where(agree, error_px, 0.0).sum(axis=1) / np.maximum(number, 1)
        better = enough & ((number > best_number) | ((number == best_number) & (mean_error < best_error)))
        best_number = np.where(better, number, best_number)
        best_error = np.where(better, mean_error, best_error)
        best_agree = np.where(better[:, None], agree, best_agree)
    joints = triangulate_homogeneous(undistorted, image_from_world, best_agree)
    status = np.select(
        [confident.sum(axis=1) < 2, best_number > 0, narrow], [TOO_FEW_VIEWS, KNOWN, RAYS_PARALLEL], NO_AGREEMENT
    ).astype(np.uint8)
    return joints, best_agree, status


def by_reprojection(
    joints: np.ndarray,
    keypoints: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    thresholds: LabelThresholds,
) -> Selection:
    """Accept the teacher's 3D joints that have enough views' keypoints near their projection.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown.

    The other arguments are those of `by_triangulation`.
    """
    confident = _confident(keypoints, scores, cameras, thresholds)
    error_px = agreement.reprojection_errors(joints, keypoints, cameras)
    agree = error_px < thresholds.reproj_threshold_px
    sines = agreement.widest_ray_sines(joints, agree, cameras)
    status = np.select(
        [
            ~np.isfinite(joints).all(axis=-1),
            confident.sum(axis=1) < 2,
            agree.sum(axis=1) < thresholds.ransac_inliers,
            sines < np.sin(np.deg2rad(thresholds.min_ray_angle_deg)),
        ],
        [NO_POSE, TOO_FEW_VIEWS, NO_AGREEMENT, RAYS_PARALLEL],
        KNOWN,
    ).astype(np.uint8)
    accepted = status == KNOWN
    return Selection(
        np.where(accepted[..., None], joints, np.nan),
        agree & accepted[:, None],
        np.where(accepted[:, None], error_px, np.nan),
        status,
    )


def _confident(
    keypoints: np.ndarray, scores: np.ndarray, cameras: tuple[Camera, ...], thresholds: LabelThresholds
) -> np.ndarray:
    """Return (frames, views, joints) bool, the views that may propose positions."""
    confident = (scores > thresholds.confidence_threshold) & np.isfinite(keypoints).all(axis=-1)
    if thresholds.epipolar_threshold_px is not None:
        # False for NaN: no other view is confident.
        confident &= epipolar.median_epipolar_px(keypoints, confident, cameras) < thresholds.epipolar_threshold_px
    return confident
