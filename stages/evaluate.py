"""Evaluate: the accuracy of a model on the held-out frames, in 2D and in 3D.

One of the few stages that may read the ground truth. If it is another tool's result instead, the numbers are named distances
to a peer, and no PCKh is reported. If it is Human3.6M's, the numbers of the published tables are written as well.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Unit

from pipeline import cli, nanstats
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.poses import Poses
from pipeline.files.tables import write_table
from pipeline.files.truth import Truth
from pipeline.geometry.camera import Camera
from pipeline.geometry.triangulation import triangulate_all_views
from pipeline.metrics import mpjpe, pck, published
from pipeline.pseudo.held_out import HeldOut


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Section `evaluate` of params.yaml.

    Attributes:
        curve_limit: in head sizes; the PCKh curve and the area under it go from 0 to here.
        curve_points: number of thresholds of the curve, both ends included.
    """

    curve_limit: Annotated[float, Gt(0), Unit("head sizes")]
    curve_points: Annotated[int, Ge(2), "a curve has two ends"]


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
    """Measure one model against the ground truth.

    Args:
        heatmaps: the model's heatmaps and keypoints.
        poses: the triangulated poses.
        rpsm: the poses of RPSM.
        cameras: the target's rigs.
        truth: the ground truth.
        metrics: accuracy, written as JSON.
        joints: accuracy by joint, written as CSV.
        curve: the PCKh curve, written as CSV.
    """
    detected = Heatmaps.read(heatmaps, maps=False)
    triangulated, pictorial = Poses.read(poses), Poses.read(rpsm)
    detected.keys.require_same(triangulated.keys, str(poses))
    detected.keys.require_same(pictorial.keys, str(rpsm))
    rigs = read_rigs(cameras)
    views, skeleton = detected.views, detected.skeleton
    known = Truth.read(truth)
    ground_truth = known.arranged(detected.keys, skeleton)
    test = detected.keys.split == "test"

    true_joints = ground_truth.joints[test]  # (frames, joints, 3)
    has_image = np.isfinite(detected.image_from_map[test]).all((-2, -1))  # (frames, views)
    project = partial(pck.keypoints_and_head_sizes, skeleton=skeleton)
    true_keypoints, head = rigs.map_by_rig(
        detected.keys.take(test), views, str(heatmaps), project, true_joints, ground_truth.head[test]
    )
    true_keypoints = np.where(has_image[..., None, None], true_keypoints, np.nan)
    head_distance = pck.head_distances(
        detected.keypoints[test], true_keypoints, head
    )  # (frames, views, joints) head sizes
    predicted = triangulated.joints[test]
    absolute = mpjpe.joint_distances(predicted, true_joints)
    keypoints = detected.keypoints[test].copy()
    held_out.hide(views, keypoints)
    (plain,) = rigs.map_by_rig(detected.keys.take(test), views, str(heatmaps), _all_views, keypoints)
    absolute_dlt = mpjpe.joint_distances(plain, true_joints)
    absolute_rpsm = mpjpe.joint_distances(pictorial.joints[test], true_joints)

    peer = ground_truth.origin == "peer"
    if peer:
        head_distance = np.full_like(head_distance, np.nan)  # a keypoint need not be at a peer's joint
    thresholds = np.linspace(0, config.curve_limit, config.curve_points)
    heights = pck.pckh_curve(head_distance, thresholds)
    distance = "peer_distance" if peer else "mpjpe_abs"
    values: dict[str, Any] = {
        "coverage": mpjpe.coverage(predicted, true_joints),
        "coverage_rpsm": mpjpe.coverage(pictorial.joints[test], true_joints),
        f"{distance}_mm": nanstats.mean(absolute),
        f"{distance}_median_mm": nanstats.median(absolute),
        "coverage_dlt": mpjpe.coverage(plain, true_joints),
        f"{distance}_dlt_mm": nanstats.mean(absolute_dlt),
        f"{distance}_dlt_median_mm": nanstats.median(absolute_dlt),
        f"{distance}_rpsm_mm": nanstats.mean(absolute_rpsm),
        f"{distance}_rpsm_median_mm": nanstats.median(absolute_rpsm),
        "frames": int(test.sum()),
    }
    if not peer:
        by_view = {view: pck.pckh(head_distance[:, index], 0.5) for index, view in enumerate(views)}
        values |= {
            "pckh_50": pck.pckh(head_distance, 0.5),
            "pckh_25": pck.pckh(head_distance, 0.25),
            "pckh_auc": pck.area_under(thresholds, heights),
            "mpjpe_rel_mm": nanstats.mean(mpjpe.relative_distances(predicted, true_joints, skeleton.root)),
            "mpjpe_pa_mm": nanstats.mean(mpjpe.aligned_distances(predicted, true_joints)),
            "by_view": by_view,
        }
        if held_out.mask(views, str(heatmaps)).any():
            values["pckh_50_held_out_view"] = by_view[str(held_out.view)]
    if not peer and known.skeleton.name == published.HUMAN36M.name:
        human36m = known.arranged(detected.keys, published.HUMAN36M).joints[test]
        true_17, side_px = rigs.map_by_rig(
            detected.keys.take(test), views, str(heatmaps), published.keypoints_and_box_sides, human36m
        )
        true_17 = np.where(has_image[..., None, None], true_17, np.nan)
        input_px = float(published.STRIDE * detected.map_size[0])
        numbers = published.detection_numbers(detected.keypoints[test], skeleton, true_17, side_px, input_px)
        for method, distances in (("dlt", absolute_dlt), ("triangulate", absolute), ("rpsm", absolute_rpsm)):
            numbers |= published.position_numbers(distances, skeleton, method)
        values["published"] = {"joints": skeleton.name, **numbers}
    write_json(metrics, ground_truth.named(values))

    by_joint: dict[str, Any] = {
        "joint": list(skeleton.joint_names),
        "pckh_50": pck.pckh_by_joint(head_distance, 0.5),
        "pckh_25": pck.pckh_by_joint(head_distance, 0.25),
        f"{distance}_mm": [nanstats.mean(absolute[:, joint]) for joint in range(len(skeleton))],
        "coverage": [mpjpe.coverage(predicted[:, joint], true_joints[:, joint]) for joint in range(len(skeleton))],
    }
    write_table(joints, by_joint)
    write_table(curve, {"threshold": thresholds, "pckh": heights})

    summary = f"{metrics}: {values['frames']} test frames"
    if not np.isfinite(true_joints).any():
        print(f"{summary}, without known ground truth")
        return
    if not peer:
        summary += f", PCKh@0.5 {values['pckh_50']:.1f} %"
    name = "distance to the peer" if peer else "MPJPE"
    summary += f", {name} {values[f'{distance}_mm']:.1f} mm (median {values[f'{distance}_median_mm']:.1f})"
    print(f"{summary}, {values['coverage']:.1f} % of the joints known")
    if "box_pckh_50_15j" in (numbers := values.get("published", {})):
        print(
            f"as published: box-PCKh@0.5 {numbers['box_pckh_50_16j']:.1f} % (16 joints), {numbers['box_pckh_50_15j']:.1f} %"
            f" (15 joints), Triangulate {numbers['mpjpe_abs_dlt_16j_mm']:.1f} mm, RPSM {numbers['mpjpe_abs_rpsm_16j_mm']:.1f} mm"
            " (16 joints); all tables: python -m tools.published_tables"
        )


def _all_views(rig: tuple[Camera, ...], keypoints: np.ndarray) -> tuple[np.ndarray]:
    """Return the joints of the published "Triangulate", (frames, joints, 3) world mm: the plain DLT of all views."""
    return (triangulate_all_views(keypoints, rig),)


if __name__ == "__main__":
    cli.run(main, Evaluate)
