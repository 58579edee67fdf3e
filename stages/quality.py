"""Quality: what a model's detections and poses say about themselves, without any label; evidence for the verdict.

Each figure sees some kinds of mistakes; which, and how far it follows the true error, is in docs/explanation/evidence.md.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.cameras import Rigs, read_rigs
from pipeline.files.evidence import Evidence
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.poses import Poses
from pipeline.geometry.camera import Camera
from pipeline.metrics import labelfree
from pipeline.pseudo.held_out import HeldOut


@dataclass(frozen=True)
class Quality:
    """Section `quality` of params.yaml.

    Attributes:
        confidence_threshold, reproj_threshold_px, min_ray_angle_deg: of the other views' agreement, as in `triangulate`.
        limit_mm: a disagreement beyond it counts as this much, and so does a detection that no two others speak of.
        moved_mm: a joint that moved farther from one round to the next counts as changed.
        floor_mm: a foot so far below the floor counts as below it.
    """

    confidence_threshold: float
    reproj_threshold_px: float
    min_ray_angle_deg: float
    limit_mm: float
    moved_mm: float
    floor_mm: float

    def __post_init__(self) -> None:
        for key in ("reproj_threshold_px", "limit_mm", "moved_mm", "floor_mm"):
            if getattr(self, key) <= 0:
                raise ValueError(f"quality.{key}: expected more than 0, got {getattr(self, key)}")


def main(
    *,
    heatmaps: Path,
    poses: Path,
    rpsm: Path,
    cameras: Path,
    out: Path,
    metrics: Path,
    quality: Quality,
    held_out: HeldOut,
    teacher: Path | None = None,
) -> None:
    seen = Heatmaps.read(heatmaps, windows=False)
    triangulated, pictorial = Poses.read(poses), Poses.read(rpsm)
    for path, each in ((poses, triangulated), (rpsm, pictorial)):
        seen.keys.require_same(each.keys, str(path))
    rigs = read_rigs(cameras)
    rigs.groups(seen.keys, seen.views, str(heatmaps))  # says what is missing
    present = np.isfinite(seen.image_from_map).all(axis=(-2, -1))  # (frames, views)
    evidence, values = look(seen.points, seen.scores, present, triangulated, rigs, quality)
    evidence.write(out)
    unused = held_out.among(seen.views, str(heatmaps))
    for split, figures in values.items():
        if unused.any():
            figures["held_out_view_mm"] = figures["leave_one_view_out_by_view_mm"][held_out.view]
        figures["coverage_rpsm"] = 100 * pictorial.known[seen.keys.split == split].mean()
    shown = values.get("test", values.get("train", {}))
    told = f"{metrics}: limbs are off by {shown.get('limb_stretch', np.nan):.1f} % of their length"
    if len(seen.views) > 2:
        told += f", views {shown.get('leave_one_view_out_mm', np.nan):.0f} mm from what the others say"
    told += f" ({'test' if 'test' in values else 'train'} frames)"
    if teacher is not None:
        before = Poses.read(teacher)
        seen.keys.require_same(before.keys, str(teacher))
        values["label_churn"] = labelfree.label_churn(before.joints, pictorial.joints, quality.moved_mm)
    write_json(metrics, values)
    print(told)


def look(
    points: np.ndarray, scores: np.ndarray, present: np.ndarray, poses: Poses, rigs: Rigs, quality: Quality
) -> tuple[Evidence, dict[str, Any]]:
    """The evidence of every frame, and the figures of each split.

    Args:
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        scores: (frames, views, joints).
        present: (frames, views) bool, the view has a picture.
        poses: what was triangulated from these points.
    """
    keys, skeleton = poses.keys, poses.skeleton

    def compared(
        rig: tuple[Camera, ...], points: np.ndarray, scores: np.ndarray, joints: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        px, mm = labelfree.leave_one_view_out(
            points,
            scores,
            rig,
            confidence_threshold=quality.confidence_threshold,
            reproj_threshold_px=quality.reproj_threshold_px,
            min_ray_angle_deg=quality.min_ray_angle_deg,
        )
        apart = labelfree.pair_distances(points, scores > quality.confidence_threshold, rig)
        return px, mm, labelfree.left_right_swaps(points, joints, rig, skeleton), apart

    px, mm, exchanged, apart = rigs.map_by_rig(keys, poses.views, "cameras", compared, points, scores, poses.joints)
    bounded = labelfree.clip_errors(mm, present, quality.limit_mm)
    stretch = np.minimum(labelfree.limb_deviations(poses.joints, keys.person, skeleton), 1.0)
    usual = labelfree.limb_medians(poses.joints, keys.person, skeleton)
    limbs = np.stack(list(usual.values())) if usual else np.empty((0, len(skeleton.limbs)))
    people = np.array(list(usual))
    evidence = Evidence(
        keys=keys,
        views=poses.views,
        disagreement=_mean(bounded, 2),
        stretch=_mean(stretch, 1),
        coverage=poses.known.mean(axis=1),
        swapped=_mean(exchanged.reshape(len(keys), -1), 1),
        upside_down=labelfree.upside_down(poses.joints, skeleton),
        flipped=labelfree.side_flips(poses.joints, keys.sequence, keys.number, skeleton),
        people=people,
        limbs=limbs,
        asymmetry=labelfree.asymmetry(limbs, skeleton),
    )
    trembling = labelfree.jerk(poses.joints, keys.sequence, keys.number)
    sunk = labelfree.below_floor(poses.joints, skeleton)
    below = np.where(np.isfinite(sunk), sunk > quality.floor_mm, np.nan)
    values: dict[str, Any] = {}
    for split in ("test", "train"):
        rows = np.flatnonzero(keys.split == split)
        if len(rows) == 0:
            continue
        shares = labelfree.camera_shares(bounded[rows])
        agreeing = labelfree.agreeing_views(poses.inliers[rows])
        values[split] = {
            "frames": len(rows),
            "leave_one_view_out_px_median": _median(px[rows]),
            "leave_one_view_out_mm_median": _median(mm[rows]),
            "leave_one_view_out_mm": _mean(bounded[rows].ravel(), 0),
            "leave_one_view_out_by_view_mm": dict(zip(poses.views, _mean(bounded[rows], (0, 2)), strict=True)),
            "reproj_inlier_px_median": _median(poses.error[rows]),
            "views_agreeing": {str(number): share for number, share in enumerate(agreeing)},
            "coverage": 100 * poses.known[rows].mean(),
            "limb_stretch": 100 * _mean(stretch[rows].ravel(), 0),
            "limb_asymmetry": 100 * _mean(evidence.asymmetry[np.isin(people, keys.person[rows])], 0),
            "sides_flipped": 100 * _mean(evidence.flipped[rows], 0),
            "left_right_swapped": 100 * _mean(exchanged[rows].ravel(), 0),
            "jerk_mm_median": _median(trembling[rows]),
            "feet_below_floor": 100 * _mean(below[rows], 0),
            "upside_down": 100 * _mean(evidence.upside_down[rows], 0),
            "sampson_px_median": {
                " ".join(pair): _median(apart[rows, index]) for index, pair in enumerate(combinations(poses.views, 2))
            },
            "camera_share": dict(zip(poses.views, shares, strict=True)),
        }
    return evidence, values


def _mean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Over what is known; NaN, without a warning, of nothing."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.where(known, values, 0.0).sum(axis=axis) / np.where(count > 0, count, np.nan)


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


if __name__ == "__main__":
    cli.run(main)
