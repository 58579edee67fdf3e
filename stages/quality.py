"""Quality: label-free figures of a model's keypoints and poses; the evidence for the verdict.

Each figure detects some kinds of mistakes; docs/explanation/evidence.md shows which, and how well it follows the true error.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from pipeline import cli, nanstats
from pipeline.files.atomic import write_json
from pipeline.files.cameras import Rigs, read_rigs
from pipeline.files.evidence import Evidence
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.poses import Poses
from pipeline.geometry.camera import Camera
from pipeline.geometry.consensus import pair_epipolar_px
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.metrics import labelfree
from pipeline.pseudo.held_out import HeldOut


@dataclass(frozen=True, kw_only=True)
class Quality(AgreementThresholds):
    """Section `quality` of params.yaml: the keys of `AgreementThresholds`, for the other views' agreement, and

    Attributes:
        limit_mm: a larger disagreement counts as this much, and so does a keypoint on whose joint no two others agree.
        moved_mm: a joint with a larger displacement from one round to the next counts as changed.
        floor_mm: an ankle more than this below the floor counts as below it.
    """

    limit_mm: Annotated[float, Gt(0)]
    moved_mm: Annotated[float, Gt(0)]
    floor_mm: Annotated[float, Gt(0)]


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
    """Measure one model without labels.

    Args:
        heatmaps: the model's heatmaps and keypoints.
        poses: the triangulated poses.
        rpsm: the poses of RPSM.
        cameras: the target's rigs.
        out: the evidence of each frame, written as HDF5.
        metrics: label-free figures, written as JSON.
        teacher: the teacher's poses of RPSM, which the model's are compared with.
    """
    detected = Heatmaps.read(heatmaps, maps=False)
    triangulated, pictorial = Poses.read(poses), Poses.read(rpsm)
    for path, each in ((poses, triangulated), (rpsm, pictorial)):
        detected.keys.require_same(each.keys, str(path))
    rigs = read_rigs(cameras)
    rigs.groups(detected.keys, detected.views, str(heatmaps))  # refuses missing cameras now
    evidence, values = measure(
        keypoints=detected.keypoints,
        scores=detected.scores,
        present=np.isfinite(detected.image_from_map).all(axis=(-2, -1)),
        poses=triangulated,
        rigs=rigs,
        quality=quality,
    )
    evidence.write(out)
    held_out_view = held_out.mask(detected.views, str(heatmaps))
    for split, figures in values.items():
        if held_out_view.any():
            figures["held_out_view_mm"] = figures["leave_one_view_out_by_view_mm"][held_out.view]
        figures["coverage_rpsm"] = 100 * pictorial.valid[detected.keys.split == split].mean()
    split = "test" if "test" in values else "train"
    figures = values.get(split, {})
    summary = f"{metrics}: limbs deviate by {figures.get('limb_stretch', np.nan):.1f} % of their length"
    if len(detected.views) > 2:
        summary += f", views by {figures.get('leave_one_view_out_mm', np.nan):.0f} mm from the others' consensus"
    if teacher is not None:
        before = Poses.read(teacher)
        detected.keys.require_same(before.keys, str(teacher))
        values["label_churn"] = labelfree.label_churn(before.joints, pictorial.joints, quality.moved_mm)
    write_json(metrics, values)
    print(f"{summary} ({split} frames)")


def measure(
    *, keypoints: np.ndarray, scores: np.ndarray, present: np.ndarray, poses: Poses, rigs: Rigs, quality: Quality
) -> tuple[Evidence, dict[str, Any]]:
    """Return the evidence of every frame, and the figures of each split.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        scores: (frames, views, joints).
        present: (frames, views) bool, the view has an image.
        poses: triangulated from these keypoints.
        rigs: the cameras.
        quality: thresholds.
    """
    keys, skeleton = poses.keys, poses.skeleton

    def measure_rig(
        rig: tuple[Camera, ...], keypoints: np.ndarray, scores: np.ndarray, joints: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        px, mm = labelfree.leave_one_view_out(keypoints, scores, rig, quality)
        epipolar_px = pair_epipolar_px(keypoints, scores > quality.confidence_threshold, rig)
        return px, mm, labelfree.left_right_swaps(keypoints, joints, rig, skeleton), epipolar_px

    px, mm, swapped, epipolar_px = rigs.map_by_rig(
        keys, poses.views, "cameras", measure_rig, keypoints, scores, poses.joints
    )
    clipped_mm = labelfree.clip_errors(mm, present, quality.limit_mm)
    stretch = np.minimum(labelfree.limb_deviations(poses.joints, keys.person, skeleton), 1.0)
    medians = labelfree.limb_medians(poses.joints, keys.person, skeleton)
    limbs = np.stack(list(medians.values())) if medians else np.empty((0, len(skeleton.limbs)))
    people = np.array(list(medians))
    evidence = Evidence(
        keys=keys,
        views=poses.views,
        disagreement=nanstats.mean_along(clipped_mm, 2),
        stretch=nanstats.mean_along(stretch, 1),
        coverage=poses.valid.mean(axis=1),
        swapped=nanstats.mean_along(swapped.reshape(len(keys), -1), 1),
        upside_down=labelfree.upside_down(poses.joints, skeleton),
        flipped=labelfree.side_flips(poses.joints, keys.sequence, keys.number, skeleton),
        people=people,
        limbs=limbs,
        asymmetry=labelfree.asymmetry(limbs, skeleton),
    )
    jerk = labelfree.jerk(poses.joints, keys.sequence, keys.number)
    depth_mm = labelfree.below_floor(poses.joints, skeleton)
    below = np.where(np.isfinite(depth_mm), depth_mm > quality.floor_mm, np.nan)
    values: dict[str, Any] = {}
    for split in ("test", "train"):
        rows = np.flatnonzero(keys.split == split)
        if len(rows) == 0:
            continue
        shares = labelfree.camera_shares(clipped_mm[rows])
        agreeing = labelfree.agreeing_views(poses.inliers[rows])
        values[split] = {
            "frames": len(rows),
            "leave_one_view_out_px_median": nanstats.median(px[rows]),
            "leave_one_view_out_mm_median": nanstats.median(mm[rows]),
            "leave_one_view_out_mm": _mean(clipped_mm[rows]),
            "leave_one_view_out_by_view_mm": dict(
                zip(poses.views, nanstats.mean_along(clipped_mm[rows], (0, 2)), strict=True)
            ),
            "reproj_inlier_px_median": nanstats.median(poses.error_px[rows]),
            "views_agreeing": {str(number): share for number, share in enumerate(agreeing)},
            "coverage": 100 * poses.valid[rows].mean(),
            "limb_stretch": 100 * _mean(stretch[rows]),
            "limb_asymmetry": 100 * _mean(evidence.asymmetry[np.isin(people, keys.person[rows])]),
            "sides_flipped": 100 * _mean(evidence.flipped[rows]),
            "left_right_swapped": 100 * _mean(swapped[rows]),
            "jerk_mm_median": nanstats.median(jerk[rows]),
            "feet_below_floor": 100 * _mean(below[rows]),
            "upside_down": 100 * _mean(evidence.upside_down[rows]),
            "sampson_px_median": {
                " ".join(pair): nanstats.median(epipolar_px[rows, index])
                for index, pair in enumerate(combinations(poses.views, 2))
            },
            "camera_share": dict(zip(poses.views, shares, strict=True)),
        }
    return evidence, values


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of all finite values; summed with zeros in place of NaN, as the figures always were."""
    return nanstats.mean_along(values.ravel(), 0)


if __name__ == "__main__":
    cli.run(main)
