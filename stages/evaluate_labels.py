"""Evaluate labels: the accuracy of a round's pseudo labels, and of the joints that were refused.

The stage reads the ground truth of the train split, which no other stage may read: nothing here flows back into a round.
If it is Human3.6M's, the numbers of the published ablation are written as well.
"""

from functools import partial
from pathlib import Path

import numpy as np

from pipeline import cli, nanstats
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.files.tables import write_table
from pipeline.files.truth import Truth
from pipeline.geometry import agreement
from pipeline.geometry.camera import Camera
from pipeline.metrics import pck, published


def main(*, labels: Path, cameras: Path, truth: Path, metrics: Path, table: Path, poses: Path | None = None) -> None:
    """Compare labels with the ground truth.

    Args:
        labels: the labels of a round.
        cameras: the target's rigs.
        truth: the ground truth.
        metrics: counts and accuracy, written as JSON.
        table: counts and accuracy by view and joint, written as CSV.
        poses: the 3D joints that the labels are projections of. With them, the refused labels are evaluated as well, at the
            positions that they would have had.
    """
    labelled = Labels.read(labels)
    rigs = read_rigs(cameras)
    known = Truth.read(truth)
    ground_truth = known.arranged(labelled.keys, labelled.skeleton)
    train = labelled.keys.split == "train"

    joints = ground_truth.joints[train]  # (frames, joints, 3)
    reason = labelled.reason[train]  # (frames, views, joints)
    possible = reason != Reason.VIEW_MISSING
    accepted = reason == Reason.ACCEPTED
    keys = labelled.keys.take(train)
    project = partial(pck.keypoints_and_head_sizes, skeleton=labelled.skeleton)
    keypoints, head = rigs.map_by_rig(keys, labelled.views, str(labels), project, joints, ground_truth.head[train])
    if ground_truth.origin == "peer":
        keypoints = np.full_like(keypoints, np.nan)  # a label need not be at a peer's joint
    distance = np.where(accepted, pck.head_distances(labelled.keypoints[train], keypoints, head), np.nan)
    refused = np.full_like(distance, np.nan)
    if poses is not None:
        teacher = Poses.read(poses)
        labelled.keys.require_same(teacher.keys, str(poses))
        (projected,) = rigs.map_by_rig(keys, labelled.views, str(labels), _projected, teacher.joints[train])
        has_position = possible & ~accepted & np.isfinite(projected).all(-1)
        refused = np.where(has_position, pck.head_distances(projected, keypoints, head), np.nan)

    values = {
        "frames": int(train.sum()),
        "labels": int(accepted.sum()),
        "coverage": nanstats.percent(accepted.sum(), possible.sum()),
        "pckh_50": pck.pckh(distance, 0.5),
        "pckh_25": pck.pckh(distance, 0.25),
        "median_head": nanstats.median(distance),
        "refused_pckh_50": pck.pckh(refused, 0.5),
        "by_view": {view: pck.pckh(distance[:, index], 0.5) for index, view in enumerate(labelled.views)},
    }
    if ground_truth.origin != "peer" and known.skeleton.name == published.HUMAN36M.name:
        human36m = known.arranged(labelled.keys, published.HUMAN36M).joints[train]
        true_17, side_px = rigs.map_by_rig(
            keys, labelled.views, str(labels), published.keypoints_and_box_sides, human36m
        )
        values["published"] = published.label_numbers(
            labelled.keypoints[train],
            accepted,
            possible,
            labelled.skeleton,
            true_keypoints=true_17,
            side_px=side_px,
        )
    write_json(metrics, ground_truth.named(values))
    columns: dict[str, list[object]] = {}
    for view_index, view in enumerate(labelled.views):
        for joint_index, joint in enumerate(labelled.skeleton.joint_names):
            here = (slice(None), view_index, joint_index)
            row = {
                "view": view,
                "joint": joint,
                "possible": int(possible[here].sum()),
                "labels": int(accepted[here].sum()),
                "measured": int(np.isfinite(distance[here]).sum()),
                "coverage": nanstats.percent(accepted[here].sum(), possible[here].sum()),
                "pckh_50": pck.pckh(distance[here], 0.5),
                "pckh_25": pck.pckh(distance[here], 0.25),
                "median_head": nanstats.median(distance[here]),
                "refused_pckh_50": pck.pckh(refused[here], 0.5),
            }
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
    write_table(table, columns)
    summary = f"{values['coverage']:.1f} % of the joints labelled"
    if np.isfinite(distance).any():
        summary += f", {values['pckh_50']:.1f} % of the labels within half a head of the ground truth"
    if np.isfinite(refused).any():
        summary += f", {values['refused_pckh_50']:.1f} % of the refused joints"
    print(f"{metrics}: {summary}")


def _projected(cameras: tuple[Camera, ...], joints: np.ndarray) -> tuple[np.ndarray]:
    """Return (frames, views, joints, 2) px from (frames, joints, 3) mm."""
    return (agreement.project(joints, cameras),)


if __name__ == "__main__":
    cli.run(main)
