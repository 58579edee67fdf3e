"""Evaluate: how good a model is on the frames that nobody learned from, in 2D and in 3D.

One of the few stages that may read the truth. Where that "truth" is another tool's result, the numbers are named
distances to a peer, and no PCKh is reported.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.poses import Poses
from pipeline.files.tables import write_table
from pipeline.files.truth import Truth
from pipeline.metrics import mpjpe, pck
from pipeline.pseudo.held_out import HeldOut


@dataclass(frozen=True)
class Evaluate:
    """Section `evaluate` of params.yaml.

    Attributes:
        curve_limit: in head sizes; the PCKh curve and the area under it go from 0 to here.
        curve_points: how many thresholds the curve has, its two ends included.
    """

    curve_limit: float
    curve_points: int

    def __post_init__(self) -> None:
        if self.curve_limit <= 0:
            raise ValueError(f"evaluate.curve_limit: expected more than 0 head sizes, got {self.curve_limit}")
        if self.curve_points < 2:
            raise ValueError(f"evaluate.curve_points: a curve has two ends, got {self.curve_points}")


def main(
    *,
    heatmaps: Path,
    poses: Path,
    rpsm: Path,
    cameras: Path,
    truth: Path,
    metrics: Path,
    joints: Path,
    curve: Path,
    config: Evaluate,
    held_out: HeldOut,
) -> None:
    seen = Heatmaps.read(heatmaps, windows=False)
    triangulated, pictorial = Poses.read(poses), Poses.read(rpsm)
    seen.keys.require_same(triangulated.keys, str(poses))
    seen.keys.require_same(pictorial.keys, str(rpsm))
    rigs = read_rigs(cameras)
    wanted = Truth.read(truth).arranged(seen.keys, seen.skeleton)
    test = seen.keys.split == "test"

    real = wanted.joints[test]  # (frames, joints, 3)
    has_picture = np.isfinite(seen.image_from_map[test]).all((-2, -1))  # (frames, views)
    pictured = partial(pck.keypoints_and_head_sizes, skeleton=seen.skeleton)
    shown, head = rigs.map_by_rig(seen.keys.take(test), seen.views, str(heatmaps), pictured, real, wanted.head[test])
    shown = np.where(has_picture[..., None, None], shown, np.nan)
    off = pck.head_distances(seen.points[test], shown, head)  # (frames, views, joints) head sizes
    absolute = mpjpe.joint_distances(triangulated.joints[test], real)
    absolute_rpsm = mpjpe.joint_distances(pictorial.joints[test], real)

    peer = wanted.origin == "peer"
    if peer:
        off = np.full_like(off, np.nan)  # a peer's joint is no place where a detection has to be
    thresholds = np.linspace(0, config.curve_limit, config.curve_points)
    heights = pck.pckh_curve(off, thresholds)
    distance = "peer_distance" if peer else "mpjpe_abs"
    values: dict[str, Any] = {
        "coverage": mpjpe.coverage(triangulated.joints[test], real),
        "coverage_rpsm": mpjpe.coverage(pictorial.joints[test], real),
        f"{distance}_mm": mpjpe.mean_known(absolute),
        f"{distance}_median_mm": mpjpe.median_known(absolute),
        f"{distance}_rpsm_mm": mpjpe.mean_known(absolute_rpsm),
        f"{distance}_rpsm_median_mm": mpjpe.median_known(absolute_rpsm),
        "frames": int(test.sum()),
    }
    if not peer:
        root = seen.skeleton.root
        by_view = {view: pck.pckh(off[:, index], 0.5) for index, view in enumerate(seen.views)}
        values |= {
            "pckh_50": pck.pckh(off, 0.5),
            "pckh_25": pck.pckh(off, 0.25),
            "pckh_auc": pck.area_under(thresholds, heights),
            "mpjpe_rel_mm": mpjpe.mean_known(mpjpe.relative_distances(triangulated.joints[test], real, root)),
            "mpjpe_pa_mm": mpjpe.mean_known(mpjpe.aligned_distances(triangulated.joints[test], real)),
            "by_view": by_view,
        }
        if held_out.among(seen.views, str(heatmaps)).any():
            values["pckh_50_held_out_view"] = by_view[str(held_out.view)]
    write_json(metrics, wanted.named(values))

    by_joint: dict[str, Any] = {
        "joint": list(seen.skeleton.joints),
        "pckh_50": pck.pckh_by_joint(off, 0.5),
        "pckh_25": pck.pckh_by_joint(off, 0.25),
        f"{distance}_mm": [mpjpe.mean_known(absolute[:, joint]) for joint in range(len(seen.skeleton))],
        "coverage": [
            mpjpe.coverage(triangulated.joints[test][:, joint], real[:, joint]) for joint in range(len(seen.skeleton))
        ],
    }
    write_table(joints, by_joint)
    write_table(curve, {"threshold": thresholds, "pckh": heights})

    told = f"{metrics}: {values['frames']} test frames"
    if not np.isfinite(real).any():
        print(f"{told}, of which no truth is known")
        return
    if not peer:
        told += f", PCKh@0.5 {values['pckh_50']:.1f} %"
    what = "distance to the peer" if peer else "MPJPE"
    told += f", {what} {values[f'{distance}_mm']:.1f} mm (median {values[f'{distance}_median_mm']:.1f})"
    print(f"{told}, {values['coverage']:.1f} % of the joints known")


if __name__ == "__main__":
    cli.run(main, Evaluate)
