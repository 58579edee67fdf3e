"""Pseudo labels: the keypoints of a round's teacher, filtered by geometry -> the labels of the student.

A joint is labelled if enough views agree on one 3D position. It is labelled in every view, as the projection of that position:
the views that were right teach those that were wrong. Each refused joint carries the reason. Only frames of the train split
are labelled, and no ground truth is read.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from pipeline import cli, nanstats
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


@dataclass(frozen=True, kw_only=True)
class Pseudo(select.LabelThresholds):
    """Section `pseudo` of params.yaml; `rounds.<round>.pseudo` overrides single keys. The keys of `LabelThresholds`, and

    Attributes:
        source: the source of a joint's 3D position: "triangulation" of the teacher's keypoints, its "rpsm" poses, or its poses
            after the stage `smooth`.
        ransac: whether geometry filters the labels. If false, every keypoint with a score above the threshold is a label, and
            the settings below have no effect, except for `boxes`.
        use_reprojection: labels are projections of the 3D position; else the agreeing views' own keypoints.
        label_outlier_views: with `use_reprojection`, the views that disagree are labelled as well.
        weighting: "hard" is 1 for every label; "agreement" is the mean over the views of exp(-(error / threshold)^2 / 2).
        boxes: of the student's input and the next export, train and test: the "prepared" ones, or boxes around the teacher's
            "poses" where they are known.
        box_margin: with boxes "poses", the share of the pose's sides that is added to them.
        rule: with source "triangulation": "refitted" refines the position on its views, which others may join; "published" is
            the rule of the published self-training (`select.by_published_rule`).
    """

    source: Literal["triangulation", "rpsm", "smooth"]
    ransac: bool
    use_reprojection: bool
    label_outlier_views: bool
    weighting: Literal["hard", "agreement"]
    boxes: Literal["prepared", "poses"]
    box_margin: Annotated[float, Ge(0)]
    rule: Literal["refitted", "published"] = "refitted"

    def __post_init__(self) -> None:
        if self.rule == "published" and self.ransac and self.source != "triangulation":
            raise ValueError(
                f"pseudo.rule: the published rule triangulates, so pseudo.source must be triangulation, got {self.source}"
            )


@dataclass(frozen=True)
class Round:
    """The keys of section `rounds.<round>` of params.yaml that labels depend on."""

    teacher: str
    pseudo: dict[str, Any] = field(default_factory=dict)


def settings(params: Path, name: str) -> Pseudo:
    """Return the section `pseudo` with the overrides of the round `name`."""
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
    build(Pseudo, values["pseudo"], "pseudo")  # its own mistakes are named `pseudo`, not `rounds`
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
    """Write the labels of a round.

    Args:
        heatmaps: the teacher's heatmaps and keypoints.
        poses: the teacher's triangulated poses.
        rpsm: the teacher's poses of RPSM.
        cameras: the target's rigs.
        frames: the prepared frames.
        out: the labels, written as HDF5.
        metrics: counts and refusals, written as JSON.
        round: the name of the round, whose settings replace those of `pseudo`.
        params: the params file, whose section `pseudo` is read.
        smooth: the teacher's smoothed poses; needed if `pseudo.source` is "smooth".
        rig_check: the output of check_rig, whose problems are printed.
    """
    config = settings(params, round)
    if rig_check is not None:
        _print_problems(rig_check)
    source = {"triangulation": poses, "rpsm": rpsm, "smooth": smooth}[config.source]
    if source is None:
        raise ValueError("pseudo.source: smooth needs the flag --smooth")
    detected = Heatmaps.read(heatmaps, maps=False)
    target = Frames.read(frames)
    teacher = Poses.read(source)
    detected.keys.require_same(target.keys, str(frames))
    detected.keys.require_same(teacher.keys, str(source))
    rigs, views = read_rigs(cameras), detected.views
    if len(views) < 2:
        raise ValueError(f"{heatmaps}: expected at least two views that can agree, got {len(views)}")
    if config.ransac_inliers > len(views):
        raise ValueError(
            f"pseudo.ransac_inliers: {config.ransac_inliers} views can never agree where there are {len(views)}"
        )

    train = detected.keys.split == "train"
    present = target.present & np.isfinite(target.box).all(axis=-1)
    held_out_view = held_out.mask(views, str(heatmaps))
    keypoints = np.where(present[..., None, None], detected.keypoints, np.nan)
    held_out.hide(views, keypoints)

    def label_rig(
        rig: tuple[Camera, ...], keypoints: np.ndarray, scores: np.ndarray, joints: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        if config.ransac:
            label, weights, reason, error_px = agreed(keypoints, scores, joints, rig, config)
        else:
            label, weights, reason = confident(keypoints, scores, config.confidence_threshold)
            error_px = np.full(reason.shape, np.nan)
        reason[(reason == Reason.ACCEPTED) & ~labels.inside(label, rig)] = Reason.OUTSIDE
        return label, weights, reason, error_px

    label, weights, reason, error_px = rigs.map_by_rig(
        detected.keys.take(train),
        views,
        str(heatmaps),
        label_rig,
        keypoints[train],
        detected.scores[train],
        teacher.joints[train],
    )
    reason[:, held_out_view] = Reason.VIEW_HELD_OUT
    reason[~np.broadcast_to(present[train][..., None], reason.shape)] = Reason.VIEW_MISSING
    accepted = reason == Reason.ACCEPTED

    box = target.person_box
    if config.boxes == "poses":
        (refined,) = rigs.map_by_rig(
            detected.keys,
            views,
            str(heatmaps),
            lambda rig, joints: (labels.boxes(joints, rig, config.box_margin),),
            teacher.joints,
        )
        box = np.where(np.isfinite(refined) & present[..., None], refined, box)
    result = Labels(
        keys=detected.keys,
        views=views,
        skeleton=detected.skeleton,
        keypoints=np.full(detected.keypoints.shape, np.nan),
        weights=np.zeros(detected.scores.shape),
        reason=np.full(detected.scores.shape, Reason.TEST_SPLIT),
        person_box=box,
    )
    result.keypoints[train] = np.where(accepted[..., None], label, np.nan)
    result.weights[train] = np.where(accepted, weights, 0.0)
    result.reason[train] = reason
    result.write(out)

    values = summary(reason, error_px, detected.skeleton.joint_names)
    write_json(metrics, values)
    print(f"{out}: {values['labels']} labels, {values['coverage']:.1f} % of the joints in {values['frames']} frames")


def _print_problems(rig_check: Path) -> None:
    """Print the problems of the rig check: labels are possible with them, but the user should know."""
    try:
        problems = json.loads(rig_check.read_text(encoding="utf-8")).get("problems", [])
    except (OSError, ValueError, AttributeError):
        raise ValueError(f"{rig_check}: not readable as an output of check_rig") from None
    for sentence in problems:
        print(f"{rig_check}: {sentence}")


def agreed(
    keypoints: np.ndarray, scores: np.ndarray, joints: np.ndarray, rig: tuple[Camera, ...], config: Pseudo
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels where the views agree.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image, the teacher's; NaN if not seen.
        scores: (frames, views, joints) in [0, 1].
        joints: (frames, joints, 3) world mm, the teacher's poses; not used with source "triangulation".
        rig: (views,) cameras.
        config: when a joint is accepted.

    Returns:
        Labels (frames, views, joints, 2) px, weights and reasons (frames, views, joints), and the errors in px of the agreeing
        views, NaN elsewhere.
    """
    if config.source != "triangulation":
        selection = select.by_reprojection(joints, keypoints, scores, rig, config)
    elif config.rule == "published":
        selection = select.by_published_rule(keypoints, scores, rig, config)
    else:
        selection = select.by_triangulation(keypoints, scores, rig, config)
    error_px = np.where(selection.agree, selection.error_px, np.nan)
    mean_error = np.nansum(error_px, axis=1) / np.maximum(selection.agree.sum(axis=1), 1)
    refused = np.select(
        [
            selection.status == select.NO_POSE,
            selection.status == ransac.BEHIND_CAMERA,
            selection.status == ransac.TOO_FEW_VIEWS,
            selection.status == ransac.NO_AGREEMENT,
            selection.status == ransac.RAYS_PARALLEL,
            ~(mean_error < config.reproj_threshold_px) & (config.rule == "refitted"),
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
    label = agreement.project(selection.joints, rig) if config.use_reprojection else keypoints
    weights = np.ones(refused.shape)
    if config.weighting == "agreement":
        weights = labels.agreement_weights(selection.error_px, config.reproj_threshold_px)
    return label, np.repeat(weights[:, None], len(rig), axis=1), reason, error_px


def confident(
    keypoints: np.ndarray, scores: np.ndarray, confidence_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the teacher's own keypoints as labels, each view independently: self-training without geometry."""
    valid = np.isfinite(keypoints).all(axis=-1) & (scores > confidence_threshold)
    return keypoints, np.ones(scores.shape), np.where(valid, Reason.ACCEPTED, Reason.LOW_CONFIDENCE)


def summary(reason: np.ndarray, error_px: np.ndarray, joint_names: tuple[str, ...]) -> dict[str, Any]:
    """Return figures of the labels of the train split that need no ground truth.

    Args:
        reason: (frames, views, joints) `Reason`.
        error_px: (frames, views, joints) of the agreeing views; NaN elsewhere.
        joint_names: (joints,).
    """
    possible = reason != Reason.VIEW_MISSING
    accepted = reason == Reason.ACCEPTED
    labelled_views = accepted.sum(axis=1)  # (frames, joints)
    return {
        "frames": len(reason),
        "labels": int(accepted.sum()),
        "coverage": nanstats.percent(accepted.sum(), possible.sum()),
        "reproj_px_median": nanstats.median(error_px),
        "reproj_px_p95": nanstats.percentile(error_px, 95),
        "refused": {
            each.name.lower(): nanstats.percent((reason == each).sum(), possible.sum())
            for each in Reason
            if each not in (Reason.ACCEPTED, Reason.VIEW_MISSING, Reason.TEST_SPLIT)
        },
        "labelled_views": {
            str(count): nanstats.percent((labelled_views == count).sum(), labelled_views.size)
            for count in range(reason.shape[1] + 1)
        },
        "by_joint": {
            name: nanstats.percent(accepted[:, :, k].sum(), possible[:, :, k].sum())
            for k, name in enumerate(joint_names)
        },
    }


if __name__ == "__main__":
    cli.run(main)
