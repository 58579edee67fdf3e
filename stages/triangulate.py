"""Triangulate: 2D keypoints in every view + cameras -> 3D joints, from the views that agree, or from all views.

A joint on which too few views agree stays unknown, with the reason, and no later stage fills it in. The uncertainty of a known
joint follows from how much the views contradict one another. Both steps run in blocks of frames, so memory does not grow with
the recording.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Unit

from pipeline import cli, nanstats
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.heatmaps import keypoint_blocks, read_header
from pipeline.files.poses import JointStatus, writing
from pipeline.geometry import agreement, ransac, uncertainty
from pipeline.geometry.camera import Camera
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.geometry.triangulation import triangulate_all_views
from pipeline.pseudo.held_out import HeldOut


@dataclass(frozen=True, kw_only=True)
class Triangulate(AgreementThresholds):
    """Section `triangulate` of params.yaml: the keys of `AgreementThresholds`, and

    Attributes:
        min_inliers: how many views have to agree.
        refine: how the agreeing views determine the position: "none" is least squares of their errors in px; with "huber"
            the errors above `huber_px` count linearly, not squared.
        huber_px: px of the full image.
        method: "ransac" takes the views that agree. "dlt" is "Triangulate" of the published tables: the plain DLT of all views
            that have a keypoint, however low its score. Every joint counts; of the other keys only `reproj_threshold_px` has an
            effect, on the uncertainty.
    """

    min_inliers: Annotated[int, Ge(2), "one ray makes no point"]
    refine: Literal["none", "huber"]
    huber_px: Annotated[float, Gt(0), Unit("px")]
    method: Literal["ransac", "dlt"] = "ransac"


def main(*, heatmaps: Path, cameras: Path, out: Path, metrics: Path, config: Triangulate, held_out: HeldOut) -> None:
    """Write the triangulated poses.

    Args:
        heatmaps: the model's heatmaps and keypoints.
        cameras: the target's rigs.
        out: the poses, written as HDF5.
        metrics: coverage, reprojection error and refusals, written as JSON.
    """
    keys, views, skeleton = read_header(heatmaps)
    rigs = read_rigs(cameras)
    held_out.mask(views, str(heatmaps))  # refuses an unknown view now
    if len(views) < 2:
        raise ValueError(f"{heatmaps}: expected at least two views to triangulate from, got {len(views)}")
    if config.method == "ransac" and config.min_inliers > len(views):
        raise ValueError(
            f"triangulate.min_inliers: {config.min_inliers} views can never agree where there are {len(views)}"
        )

    def triangulate_rig(rig: tuple[Camera, ...], keypoints: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, ...]:
        if config.method == "dlt":
            return _all_views(keypoints, rig)
        triangulated = ransac.triangulate_ransac(
            keypoints,
            scores,
            rig,
            config,
            min_inliers=config.min_inliers,
            huber_px=config.huber_px if config.refine == "huber" else None,
        )
        return triangulated.joints, triangulated.inliers, triangulated.error_px, triangulated.status

    errors, spreads = [np.empty(0)], [np.empty(0)]  # of the known joints
    statuses, agreeing = np.zeros(len(JointStatus), dtype=int), 0
    run = None
    with writing(out, keys, views, skeleton) as poses:
        for rows, keypoints, scores in keypoint_blocks(heatmaps):
            held_out.hide(views, keypoints)
            block = keys.take(rows)
            joints, inliers, error, status = rigs.map_by_rig(
                block, views, str(heatmaps), triangulate_rig, keypoints, scores
            )
            poses.put(rows, joints, inliers, error, status)
            for each, rig in rigs.groups(block, views, str(heatmaps)):
                part = uncertainty.tally(joints[each], inliers[each], keypoints[each], rig, config.reproj_threshold_px)
                run = part if run is None else run + part
            errors.append(error[status == JointStatus.KNOWN])
            statuses += np.bincount(status.ravel(), minlength=len(JointStatus))
            agreeing += int(inliers.sum())
        if run is not None:
            noise = uncertainty.estimate_noise(run, config.reproj_threshold_px)

            def covariance_rig(
                rig: tuple[Camera, ...], joints: np.ndarray, inliers: np.ndarray, keypoints: np.ndarray
            ) -> tuple[np.ndarray]:
                return (uncertainty.covariances(joints, inliers, keypoints, rig, noise),)

            for rows, keypoints, _ in keypoint_blocks(heatmaps):
                held_out.hide(views, keypoints)
                arrays = (*poses.get(rows), keypoints)
                (covariance,) = rigs.map_by_rig(keys.take(rows), views, str(heatmaps), covariance_rig, *arrays)
                poses.put_covariance(rows, covariance)
                spread = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))
                spreads.append(spread[np.isfinite(spread)])

    error, spread = np.concatenate(errors), np.concatenate(spreads)
    count = max(statuses.sum(), 1)
    values = {
        "coverage": 100 * statuses[JointStatus.KNOWN] / count,
        "reproj_px_median": nanstats.median(error),
        "reproj_px_p95": nanstats.percentile(error, 95),
        "spread_mm_median": nanstats.median(spread),
        "views_mean": agreeing / error.size if error.size else np.nan,
        "refused": {
            status.name.lower(): 100 * statuses[status] / count
            for status in JointStatus
            if status
            in (
                JointStatus.TOO_FEW_VIEWS,
                JointStatus.NO_AGREEMENT,
                JointStatus.RAYS_PARALLEL,
                JointStatus.BEHIND_CAMERA,
            )
        },
    }
    write_json(metrics, values)
    kind = "agreeing " if config.method == "ransac" else ""
    print(
        f"{out}: {values['coverage']:.1f} % of the joints known, with {values['views_mean']:.1f} {kind}views each and a"
        f" reprojection error of {values['reproj_px_median']:.1f} px (median)"
    )


def _all_views(keypoints: np.ndarray, rig: tuple[Camera, ...]) -> tuple[np.ndarray, ...]:
    """Return joints, the views that they are visible in, their mean reprojection errors and statuses, without any rejection."""
    joints = triangulate_all_views(keypoints, rig)  # (frames, joints, 3)
    known, seen = np.isfinite(joints).all(axis=-1), np.isfinite(keypoints).all(axis=-1)
    error_px = agreement.reprojection_errors(joints, keypoints, rig)  # NaN if the joint is behind the camera
    too_few = np.where(seen.sum(axis=1) < 2, JointStatus.TOO_FEW_VIEWS, JointStatus.RAYS_PARALLEL)
    status = np.where(known, JointStatus.KNOWN, too_few).astype(np.uint8)
    return joints, np.isfinite(error_px), nanstats.mean_along(error_px, 1), status


if __name__ == "__main__":
    cli.run(main, Triangulate)
