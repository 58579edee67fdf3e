"""Pseudo labels: what a round's teacher saw, cleaned by geometry -> what the student learns from.

A joint becomes a label where enough views agree on one 3D position, and then it is a label in every view, as the
projection of that position: the views that were wrong are taught by those that were right. Each one that is refused
carries the reason. Only frames of the train split are labelled, and no truth is read.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.geometry import agreement, ransac
from pipeline.geometry.camera import Camera
from pipeline.params import build, read
from pipeline.pseudo import labels, select
from pipeline.pseudo.held_out import HeldOut


@dataclass(frozen=True)
class Pseudo:
    """Section `pseudo` of params.yaml; `rounds.<round>.pseudo` overrides single keys of it.

    Attributes:
        source: where the 3D position of a joint is from: "triangulation" of the teacher's peaks, its "rpsm" poses, or
            what the stage `smooth` made of its poses.
        confidence_threshold: a view with a score above it proposes positions; the others only support them.
        ransac: whether geometry has a say at all. Without it, every peak with a score above the threshold is a label,
            and the settings below have no effect but `boxes`.
        ransac_inliers: how many views have to agree on a joint.
        reproj_threshold_px: px of the full picture; a view agrees when the joint is shown nearer than this to its peak.
        epipolar_threshold_px: px; a view whose median Sampson distance to the other confident ones is not below it
            proposes nothing; null for no such test.
        use_reprojection: labels are projections of the 3D position; else the agreeing views' own peaks.
        label_outlier_views: with `use_reprojection`, views that disagree get the label as well.
        min_ray_angle_deg: two of the agreeing views must look from directions that differ by this much.
        weighting: "hard" is 1 for every label; "agreement" is the mean over the views of exp(-(error / threshold)^2 / 2).
        boxes: of the student's input and the next export, train and test: the "prepared" ones, or around the teacher's
            "poses" where these are known.
        box_margin: with boxes "poses", of the longer side of the pose, added to it.
    """

    source: Literal["triangulation", "rpsm", "smooth"]
    confidence_threshold: float
    ransac: bool
    ransac_inliers: int
    reproj_threshold_px: float
    epipolar_threshold_px: float | None
    use_reprojection: bool
    label_outlier_views: bool
    min_ray_angle_deg: float
    weighting: Literal["hard", "agreement"]
    boxes: Literal["prepared", "poses"]
    box_margin: float

    def __post_init__(self) -> None:
        if not 0 <= self.confidence_threshold < 1:
            raise ValueError(
                f"pseudo.confidence_threshold: expected 0 or more and less than 1, got {self.confidence_threshold}"
            )
        if self.ransac_inliers < 2:
            raise ValueError(f"pseudo.ransac_inliers: one view cannot agree with itself, got {self.ransac_inliers}")
        if self.reproj_threshold_px <= 0:
            raise ValueError(f"pseudo.reproj_threshold_px: expected more than 0 px, got {self.reproj_threshold_px}")
        if self.epipolar_threshold_px is not None and self.epipolar_threshold_px <= 0:
            raise ValueError(
                f"pseudo.epipolar_threshold_px: expected more than 0 px, or null, got {self.epipolar_threshold_px}"
            )
        if not 0 <= self.min_ray_angle_deg < 90:
            raise ValueError(
                f"pseudo.min_ray_angle_deg: expected 0 or more and less than 90, got {self.min_ray_angle_deg}"
            )
        if self.box_margin < 0:
            raise ValueError(f"pseudo.box_margin: expected 0 or more, got {self.box_margin}")


@dataclass(frozen=True)
class Round:
    """Section `rounds.<round>` of params.yaml, as far as labels go."""

    teacher: str
    pseudo: dict[str, Any] = field(default_factory=dict)


def settings(params: Path, name: str) -> Pseudo:
    """The section `pseudo` with what the round overrides."""
    values = read(params)
    rounds = values.get("rounds") or {}
    if name not in rounds:
        raise ValueError(f"{params}: rounds has no '{name}'; it has {', '.join(map(str, rounds)) or 'none'}")
    override = build(Round, rounds[name], f"rounds.{name}").pseudo
    known = sorted(each.name for each in fields(Pseudo))
    for key in override:
        if key not in known:
            raise ValueError(f"rounds.{name}.pseudo.{key}: no such parameter; known ones are {', '.join(known)}")
    if "pseudo" not in values:
        raise ValueError(f"{params}: the section 'pseudo' is missing")
    build(Pseudo, values["pseudo"], "pseudo")  # its own mistakes are named as such
    return build(Pseudo, {**values["pseudo"], **override}, f"rounds.{name}.pseudo" if override else "pseudo")


def main(
    *,
    heatmaps: Path,
    poses: Path,
    rpsm: Path,
    cameras: Path,
    frames: Path,
    out: Path,
    metrics: Path,
    round: str,
    params: Path,
    held_out: HeldOut,
    smooth: Path | None = None,
    rig_check: Path | None = None,
) -> None:
    config = settings(params, round)
    if rig_check is not None:
        _say_problems(rig_check)
    source = {"triangulation": poses, "rpsm": rpsm, "smooth": smooth}[config.source]
    if source is None:
        raise ValueError("pseudo.source: smooth needs the flag --smooth")
    seen = Heatmaps.read(heatmaps, windows=False)
    target = Frames.read(frames)
    teacher = Poses.read(source)
    seen.keys.require_same(target.keys, str(frames))
    seen.keys.require_same(teacher.keys, str(source))
    rigs, views = read_rigs(cameras), seen.views
    if len(views) < 2:
        raise ValueError(f"{heatmaps}: expected at least two views that can agree, got {len(views)}")
    if config.ransac_inliers > len(views):
        raise ValueError(
            f"pseudo.ransac_inliers: {config.ransac_inliers} views can never agree where there are {len(views)}"
        )

    train = seen.keys.split == "train"
    present = target.present & np.isfinite(target.box).all(axis=-1)
    unused = held_out.among(views, str(heatmaps))
    used = present & ~unused
    points = np.where(used[..., None, None], seen.points, np.nan)
    scores = np.where(used[..., None], seen.scores, 0.0)

    def chosen(
        rig: tuple[Camera, ...], points: np.ndarray, scores: np.ndarray, joints: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        if config.ransac:
            found, weights, reason, errors = agreed(points, scores, joints, rig, config)
        else:
            found, weights, reason = confident(points, scores, config.confidence_threshold)
            errors = np.full(reason.shape, np.nan)
        reason[(reason == Reason.ACCEPTED) & ~labels.inside(found, rig)] = Reason.OUTSIDE
        return found, weights, reason, errors

    found, weights, reason, errors = rigs.map_by_rig(
        seen.keys.take(train), views, str(heatmaps), chosen, points[train], scores[train], teacher.joints[train]
    )
    reason[:, unused] = Reason.VIEW_HELD_OUT
    reason[~np.broadcast_to(present[train][..., None], reason.shape)] = Reason.VIEW_MISSING
    accepted = reason == Reason.ACCEPTED

    box = target.rectangle
    if config.boxes == "poses":
        (refined,) = rigs.map_by_rig(
            seen.keys,
            views,
            str(heatmaps),
            lambda rig, joints: (labels.boxes(joints, rig, config.box_margin),),
            teacher.joints,
        )
        box = np.where(np.isfinite(refined) & present[..., None], refined, box)
    made = Labels(
        keys=seen.keys,
        views=seen.views,
        skeleton=seen.skeleton,
        points=np.full(seen.points.shape, np.nan),
        weights=np.zeros(seen.scores.shape),
        reason=np.full(seen.scores.shape, Reason.TEST_SPLIT),
        box=box,
    )
    made.points[train] = np.where(accepted[..., None], found, np.nan)
    made.weights[train] = np.where(accepted, weights, 0.0)
    made.reason[train] = reason
    made.write(out)

    values = summary(reason, errors, seen.skeleton.joints)
    write_json(metrics, values)
    print(f"{out}: {values['labels']} labels, {values['coverage']:.1f} % of the joints in {values['frames']} frames")


def _say_problems(rig_check: Path) -> None:
    """Labels can be made with a rig that has problems, but nobody should do so without knowing it."""
    try:
        problems = json.loads(rig_check.read_text(encoding="utf-8")).get("problems", [])
    except (OSError, ValueError, AttributeError):
        raise ValueError(f"{rig_check}: not readable as what check_rig writes") from None
    for sentence in problems:
        print(f"{rig_check}: {sentence}")


def agreed(
    points: np.ndarray, scores: np.ndarray, joints: np.ndarray, rig: tuple[Camera, ...], config: Pseudo
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels where the views agree.

    Args:
        points: (frames, views, joints, 2) px of the full picture, the teacher's peaks; NaN where not seen.
        scores: (frames, views, joints) in [0, 1].
        joints: (frames, joints, 3) world mm, the teacher's poses; not looked at with source "triangulation".
        rig: one camera a view.

    Returns:
        points (frames, views, joints, 2) px, weights and reasons (frames, views, joints), and the errors in px of the
        agreeing views, NaN elsewhere.
    """
    thresholds = select.Thresholds(
        config.confidence_threshold,
        config.ransac_inliers,
        config.reproj_threshold_px,
        config.min_ray_angle_deg,
        config.epipolar_threshold_px,
    )
    if config.source != "triangulation":
        selection = select.by_reprojection(joints, points, scores, rig, thresholds)
    else:
        selection = select.by_triangulation(points, scores, rig, thresholds)
    errors = np.where(selection.agree, selection.errors, np.nan)
    mean_error = np.nansum(errors, axis=1) / np.maximum(selection.agree.sum(axis=1), 1)
    refused = np.select(
        [
            selection.status == select.NO_POSE,
            selection.status == ransac.BEHIND_CAMERA,
            selection.status == ransac.TOO_FEW_VIEWS,
            selection.status == ransac.NO_AGREEMENT,
            selection.status == ransac.RAYS_PARALLEL,
            ~(mean_error < config.reproj_threshold_px),
        ],
        [
            Reason.NO_POSE,
            Reason.NO_POSE,
            Reason.LOW_CONFIDENCE,
            Reason.TOO_FEW_INLIERS,
            Reason.RAY_ANGLE,
            Reason.REPROJECTION,
        ],
        Reason.ACCEPTED,
    )  # (frames, joints)
    reason = np.repeat(refused[:, None], len(rig), axis=1)  # (frames, views, joints)
    if not (config.use_reprojection and config.label_outlier_views):
        reason[(reason == Reason.ACCEPTED) & ~selection.agree] = Reason.OUTLIER_VIEW
    found = agreement.project(selection.joints, rig) if config.use_reprojection else points
    weights = np.ones(refused.shape)
    if config.weighting == "agreement":
        weights = labels.agreement_weights(selection.errors, config.reproj_threshold_px)
    return found, np.repeat(weights[:, None], len(rig), axis=1), reason, errors


def confident(
    points: np.ndarray, scores: np.ndarray, confidence_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The teacher's own peaks as labels, each view by itself: what self-training is without geometry."""
    seen = np.isfinite(points).all(axis=-1) & (scores > confidence_threshold)
    return points, np.ones(scores.shape), np.where(seen, Reason.ACCEPTED, Reason.LOW_CONFIDENCE)


def summary(reason: np.ndarray, errors: np.ndarray, joints: tuple[str, ...]) -> dict[str, Any]:
    """What the labels of the train split are like, without any truth.

    Args:
        reason: (frames, views, joints) `Reason`.
        errors: (frames, views, joints) px of the agreeing views; NaN elsewhere.
        joints: their names.
    """
    possible = reason != Reason.VIEW_MISSING
    accepted = reason == Reason.ACCEPTED
    labelled_views = accepted.sum(axis=1)  # (frames, joints)
    known = errors[np.isfinite(errors)]
    return {
        "frames": len(reason),
        "labels": int(accepted.sum()),
        "coverage": _percent(accepted, possible),
        "reproj_px_median": np.median(known) if known.size else np.nan,
        "reproj_px_p95": np.percentile(known, 95) if known.size else np.nan,
        "refused": {
            each.name.lower(): _percent(reason == each, possible)
            for each in Reason
            if each not in (Reason.ACCEPTED, Reason.VIEW_MISSING, Reason.TEST_SPLIT)
        },
        "labelled_views": {
            str(count): _percent(labelled_views == count, np.ones_like(labelled_views))
            for count in range(reason.shape[1] + 1)
        },
        "by_joint": {name: _percent(accepted[:, :, k], possible[:, :, k]) for k, name in enumerate(joints)},
    }


def _percent(part: np.ndarray, whole: np.ndarray) -> float:
    """NaN of nothing."""
    return 100.0 * float(part.sum()) / float(whole.sum()) if whole.any() else float("nan")


if __name__ == "__main__":
    cli.run(main)
