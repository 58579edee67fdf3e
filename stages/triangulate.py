"""Triangulate: what a model saw in every view + cameras -> 3D joints, by the views that agree.

A joint on which too few views agree stays unknown, with the reason, and no later stage invents it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.cameras import of_views, read_cameras
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.poses import Poses, Status
from pipeline.geometry import ransac


@dataclass(frozen=True)
class Triangulate:
    """Section `triangulate` of params.yaml.

    Attributes:
        confidence_threshold: a view with a score above it proposes positions; the others only support them.
        reproj_threshold_px: px of the full picture; a view agrees when the joint is shown nearer than this to its peak.
        min_inliers: how many views have to agree.
        min_ray_angle_deg: two of them must look at the joint from directions that differ by this much.
    """

    confidence_threshold: float
    reproj_threshold_px: float
    min_inliers: int
    min_ray_angle_deg: float

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


def main(heatmaps: Path, cameras: Path, out: Path, metrics: Path, config: Triangulate) -> None:
    seen = Heatmaps.read(heatmaps, windows=False)
    rig = of_views(read_cameras(cameras), seen.views, str(heatmaps))
    if len(rig) < 2:
        raise ValueError(f"{heatmaps}: expected at least two views to triangulate from, got {len(rig)}")
    if config.min_inliers > len(rig):
        raise ValueError(
            f"triangulate.min_inliers: {config.min_inliers} views can never agree where there are {len(rig)}"
        )
    found = ransac.triangulate(
        seen.points,
        seen.scores,
        rig,
        confidence_threshold=config.confidence_threshold,
        reproj_threshold_px=config.reproj_threshold_px,
        min_inliers=config.min_inliers,
        min_ray_angle_deg=config.min_ray_angle_deg,
    )
    poses = Poses(seen.keys, seen.views, seen.skeleton, found.joints, found.inliers, found.error, found.status)
    poses.write(out)

    known = poses.known
    count = max(known.size, 1)
    values = {
        "coverage": 100 * known.sum() / count,
        "reproj_px_median": np.median(found.error[known]) if known.any() else np.nan,
        "reproj_px_p95": np.percentile(found.error[known], 95) if known.any() else np.nan,
        "views_mean": found.inliers.sum(axis=1)[known].mean() if known.any() else np.nan,
        "refused": {
            status.name.lower(): 100 * (found.status == status).sum() / count
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
