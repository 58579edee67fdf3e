"""Evaluate labels: how right the pseudo labels of a round are, and what refusing the others cost.

About the train split, whose truth no other stage may see: nothing here finds its way back into a round.
"""

from functools import partial
from pathlib import Path

import numpy as np

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.files.tables import write_table
from pipeline.files.truth import Truth
from pipeline.geometry.camera import Camera
from pipeline.metrics import mpjpe, pck


def main(*, labels: Path, cameras: Path, truth: Path, metrics: Path, table: Path, poses: Path | None = None) -> None:
    """Compare labels with the truth.

    Args:
        poses: the 3D that the labels are projections of. With it, the labels that were refused are judged as well:
            by where they would have been.
    """
    made = Labels.read(labels)
    rigs = read_rigs(cameras)
    wanted = Truth.read(truth).arranged(made.keys, made.skeleton)
    train = made.keys.split == "train"

    real = wanted.joints[train]  # (frames, joints, 3)
    reason = made.reason[train]  # (frames, views, joints)
    possible = reason != Reason.VIEW_MISSING
    accepted = reason == Reason.ACCEPTED
    keys = made.keys.take(train)
    pictured = partial(pck.keypoints_and_head_sizes, skeleton=made.skeleton)
    shown, head = rigs.map_by_rig(keys, made.views, str(labels), pictured, real, wanted.head[train])
    if wanted.origin == "peer":
        shown = np.full_like(shown, np.nan)  # a peer's joint is no place where a label has to be
    off = np.where(accepted, pck.head_distances(made.points[train], shown, head), np.nan)
    off_refused = np.full_like(off, np.nan)
    if poses is not None:
        teacher = Poses.read(poses)
        made.keys.require_same(teacher.keys, str(poses))
        (would_be,) = rigs.map_by_rig(keys, made.views, str(labels), _projected, teacher.joints[train])
        has_place = possible & ~accepted & np.isfinite(would_be).all(-1)
        off_refused = np.where(has_place, pck.head_distances(would_be, shown, head), np.nan)

    values = {
        "frames": int(train.sum()),
        "labels": int(accepted.sum()),
        "coverage": _share(accepted, possible),
        "pckh_50": pck.pckh(off, 0.5),
        "pckh_25": pck.pckh(off, 0.25),
        "median_head": mpjpe.median_known(off),
        "refused_pckh_50": pck.pckh(off_refused, 0.5),
        "by_view": {view: pck.pckh(off[:, index], 0.5) for index, view in enumerate(made.views)},
    }
    write_json(metrics, wanted.named(values))
    columns: dict[str, list[object]] = {}
    for view_index, view in enumerate(made.views):
        for joint_index, joint in enumerate(made.skeleton.joints):
            here = (slice(None), view_index, joint_index)
            row = {
                "view": view,
                "joint": joint,
                "possible": int(possible[here].sum()),
                "labels": int(accepted[here].sum()),
                "measured": int(np.isfinite(off[here]).sum()),
                "coverage": _share(accepted[here], possible[here]),
                "pckh_50": pck.pckh(off[here], 0.5),
                "pckh_25": pck.pckh(off[here], 0.25),
                "median_head": mpjpe.median_known(off[here]),
                "refused_pckh_50": pck.pckh(off_refused[here], 0.5),
            }
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
    write_table(table, columns)
    told = f"{_share(accepted, possible):.1f} % of the joints labelled"
    if np.isfinite(off).any():
        told += f", {pck.pckh(off, 0.5):.1f} % of the labels within half a head of the truth"
    if np.isfinite(off_refused).any():
        told += f", as {pck.pckh(off_refused, 0.5):.1f} % of the refused ones would have been"
    print(f"{metrics}: {told}")


def _projected(cameras: tuple[Camera, ...], joints: np.ndarray) -> tuple[np.ndarray]:
    """(frames, views, joints, 2) px of (frames, joints, 3) mm."""
    return (np.stack([camera.project(joints) for camera in cameras], axis=1),)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """Percent; NaN of nothing."""
    return 100.0 * float(part.sum()) / float(whole.sum()) if whole.any() else float("nan")


if __name__ == "__main__":
    cli.run(main)
