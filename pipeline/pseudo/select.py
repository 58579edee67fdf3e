"""Which joints are good enough to learn from, and why each other one was refused. By geometry alone, without any truth."""

from dataclasses import dataclass

import numpy as np

from pipeline.geometry import agreement, epipolar, ransac
from pipeline.geometry.camera import Camera
from pipeline.geometry.ransac import KNOWN, NO_AGREEMENT, RAYS_PARALLEL, TOO_FEW_VIEWS

NO_POSE = 5  # beside the statuses of ransac.py: the teacher itself has no such joint


@dataclass(frozen=True)
class Thresholds:
    """What it takes to be accepted.

    Attributes:
        confidence: of a score, strict; a view above it proposes positions, the others only support them.
        inliers: how many views have to agree.
        reproj_px: of a view's error, strict; below it the view agrees.
        ray_angle_deg: two of the agreeing views must look from directions that differ by this much.
        epipolar_px: a view whose median Sampson distance to the other confident ones is not below it proposes no
            positions; None for no such test.
    """

    confidence: float
    inliers: int
    reproj_px: float
    ray_angle_deg: float
    epipolar_px: float | None = None


@dataclass(frozen=True, eq=False)
class Selection:
    """The joints that were accepted.

    Attributes:
        joints: (frames, joints, 3) world mm; NaN where refused.
        agree: (frames, views, joints) bool, the views that speak for an accepted joint.
        errors: (frames, views, joints) px, each view's detection against an accepted joint; NaN where there is none.
        status: (frames, joints) uint8, KNOWN where accepted, or another status of ransac.py, or NO_POSE.
    """

    joints: np.ndarray
    agree: np.ndarray
    errors: np.ndarray
    status: np.ndarray


def by_triangulation(
    points: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    thresholds: Thresholds,
) -> Selection:
    """Accept a joint where enough views agree on one position, found by trying every pair of confident views.

    Args:
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        scores: (frames, views, joints) in [0, 1].
        cameras: one a view.
    """
    found = ransac.triangulate_ransac(
        points,
        np.where(_confident(points, scores, cameras, thresholds), scores, -1.0),
        cameras,
        confidence_threshold=thresholds.confidence,
        reproj_threshold_px=thresholds.reproj_px,
        min_inliers=thresholds.inliers,
        min_ray_angle_deg=thresholds.ray_angle_deg,
    )
    errors = agreement.reprojection_errors(found.joints, points, cameras)
    return Selection(found.joints, found.inliers, errors, found.status)


def by_reprojection(
    joints: np.ndarray,
    points: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    thresholds: Thresholds,
) -> Selection:
    """Accept a joint that the teacher already has in 3D where enough views have detected it near its reprojection.

    Args:
        joints: (frames, joints, 3) world mm; NaN where not known.

    The other arguments are those of `by_triangulation`.
    """
    confident = _confident(points, scores, cameras, thresholds)
    errors = agreement.reprojection_errors(joints, points, cameras)
    agree = errors < thresholds.reproj_px
    sines = agreement.widest_ray_sines(joints, agree, cameras)
    status = np.select(
        [
            ~np.isfinite(joints).all(axis=-1),
            confident.sum(axis=1) < 2,
            agree.sum(axis=1) < thresholds.inliers,
            sines < np.sin(np.deg2rad(thresholds.ray_angle_deg)),
        ],
        [NO_POSE, TOO_FEW_VIEWS, NO_AGREEMENT, RAYS_PARALLEL],
        KNOWN,
    ).astype(np.uint8)
    accepted = status == KNOWN
    return Selection(
        np.where(accepted[..., None], joints, np.nan),
        agree & accepted[:, None],
        np.where(accepted[:, None], errors, np.nan),
        status,
    )


def _confident(
    points: np.ndarray, scores: np.ndarray, cameras: tuple[Camera, ...], thresholds: Thresholds
) -> np.ndarray:
    """(frames, views, joints) bool: who may propose positions."""
    confident = (scores > thresholds.confidence) & np.isfinite(points).all(axis=-1)
    if thresholds.epipolar_px is not None:
        # NaN, where no other view is confident, is not below.
        confident &= epipolar.median_epipolar_px(points, confident, cameras) < thresholds.epipolar_px
    return confident
