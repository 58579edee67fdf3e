"""Select the joints that are good enough to learn from, with the reason for each refusal. Geometry alone, no labels."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Unit

from pipeline.geometry import agreement, epipolar, ransac
from pipeline.geometry.camera import Camera
from pipeline.geometry.ransac import KNOWN, NO_AGREEMENT, RAYS_PARALLEL, TOO_FEW_VIEWS
from pipeline.geometry.thresholds import AgreementThresholds

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
