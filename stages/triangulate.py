"""Triangulate: what a model saw in every view + cameras -> 3D joints, by the views that agree.

A joint on which too few views agree stays unknown, with the reason, and no later stage invents it. How far off the others
may be follows from how much the views contradict one another. Both is done in blocks of frames, so memory does not grow with
the recording.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.heatmaps import keypoint_blocks, read_header
from pipeline.files.poses import Status, writing
from pipeline.geometry import ransac, uncertainty
from pipeline.geometry.camera import Camera
from pipeline.pseudo.held_out import HeldOut


@dataclass(frozen=True)
class Triangulate:
    """Section `triangulate` of params.yaml.

    Attributes:
        confidence_threshold: a view with a score above it proposes positions; the others only support them.
        reproj_threshold_px: px of the full picture; a view agrees when the joint is shown nearer than this to its peak.
        min_inliers: how many views have to agree.
        min_ray_angle_deg: two of them must look at the joint from directions that differ by this much.
        refine: how the agreeing views place the joint: "none" is plain least squares of their errors in px, with "huber"
            those farther off than `huber_px` pull with their distance only, not the square of it.
        huber_px: px of the full picture.
    """

    confidence_threshold: float
    reproj_threshold_px: float
    min_inliers: int
    min_ray_angle_deg: float
    refine: Literal["none", "huber"]
    huber_px: float

    def __post_init__(self) -> None:
        if not 0 <= self.confidence_threshold < 1:
            raise ValueError(
                f"triangulate.confidence_threshold: expected 0 or more and less than 1, got {self.confidence_threshold}"
            )
        if self.reproj_threshold_px <= 0:
            raise ValueError(
                f"triangulate.reproj_threshold_px: expected more than 0 px, got {self.reproj_threshold_px}"
            )
        if self.min_inliers < 2:
            raise ValueError(f"triangulate.min_inliers: one ray makes no point, got {self.min_inliers}")
        if not 0 <= self.min_ray_angle_deg < 90:
            raise ValueError(
                f"triangulate.min_ray_angle_deg: expected 0 or more and less than 90, got {self.min_ray_angle_deg}"
            )
        if self.huber_px <= 0:
            raise ValueError(f"triangulate.huber_px: expected more than 0 px, got {self.huber_px}")


def main(*, heatmaps: Path, cameras: Path, out: Path, metrics: Path, config: Triangulate, held_out: HeldOut) -> None:
    keys, views, skeleton = read_header(heatmaps)
    rigs, unused = read_rigs(cameras), held_out.among(views, str(heatmaps))
    if len(views) < 2:
        raise ValueError(f"{heatmaps}: expected at least two views to triangulate from, got {len(views)}")
    if config.min_inliers > len(views):
        raise ValueError(
            f"triangulate.min_inliers: {config.min_inliers} views can never agree where there are {len(views)}"
        )

    def triangulated(rig: tuple[Camera, ...], points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, ...]:
        found = ransac.triangulate_ransac(
            points,
            scores,
            rig,
            confidence_threshold=config.confidence_threshold,
            reproj_threshold_px=config.reproj_threshold_px,
            min_inliers=config.min_inliers,
            min_ray_angle_deg=config.min_ray_angle_deg,
            huber_px=config.huber_px if config.refine == "huber" else None,
        )
        return found.joints, found.inliers, found.error, found.status

    errors, spreads = [np.empty(0)], [np.empty(0)]  # of the known joints
    statuses, agreeing = np.zeros(len(Status), dtype=int), 0
    run = None
    with writing(out, keys, views, skeleton) as poses:
        for rows, points, scores in keypoint_blocks(heatmaps):
            points[:, unused] = np.nan
            some = keys.take(rows)
            joints, inliers, error, status = rigs.map_by_rig(some, views, str(heatmaps), triangulated, points, scores)
            poses.put(rows, joints, inliers, error, status)
            for each, rig in rigs.groups(some, views, str(heatmaps)):
                part = uncertainty.tally(joints[each], inliers[each], points[each], rig, config.reproj_threshold_px)
                run = part if run is None else run + part
            errors.append(error[status == Status.KNOWN])
            statuses += np.bincount(status.ravel(), minlength=len(Status))
            agreeing += int(inliers.sum())
        if run is not None:
            noise = uncertainty.estimate_noise(run, config.reproj_threshold_px)

            def uncertain(
                rig: tuple[Camera, ...], joints: np.ndarray, inliers: np.ndarray, points: np.ndarray
            ) -> tuple[np.ndarray]:
                return (uncertainty.covariances(joints, inliers, points, rig, noise),)

            for rows, points, _ in keypoint_blocks(heatmaps):
                points[:, unused] = np.nan
                arrays = (*poses.get(rows), points)
                (covariance,) = rigs.map_by_rig(keys.take(rows), views, str(heatmaps), uncertain, *arrays)
                poses.put_covariance(rows, covariance)
                spread = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))
                spreads.append(spread[np.isfinite(spread)])

    error, spread = np.concatenate(errors), np.concatenate(spreads)
    count = max(statuses.sum(), 1)
    values = {
        "coverage": 100 * statuses[Status.KNOWN] / count,
        "reproj_px_median": np.median(error) if error.size else np.nan,
        "reproj_px_p95": np.percentile(error, 95) if error.size else np.nan,
        "spread_mm_median": np.median(spread) if spread.size else np.nan,
        "views_mean": agreeing / error.size if error.size else np.nan,
        "refused": {
            status.name.lower(): 100 * statuses[status] / count
            for status in Status
            if status in (Status.TOO_FEW_VIEWS, Status.NO_AGREEMENT, Status.RAYS_PARALLEL, Status.BEHIND_CAMERA)
        },
    }
    write_json(metrics, values)
    print(
        f"{out}: {values['coverage']:.1f} % of the joints known, by {values['views_mean']:.1f} views that agree to"
        f" {values['reproj_px_median']:.1f} px (median)"
    )


if __name__ == "__main__":
    cli.run(main, Triangulate)
