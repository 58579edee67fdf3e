"""How well label-free figures follow the true error, and how often the verdict is right.

    python -m benchmarks.evidence     # minutes; writes docs/explanation/evidence.md and benchmarks/results/evidence.json
    python -m benchmarks.evidence --quick    # does it run at all?

Simulated detectors in rigs of three to eight cameras fail in known ways on moving bodies. The true error of the triangulated
joints is compared with the outputs of the stages `quality` and `verdict`, which never read it. If the self-training study has
left its models (data/studies), these are evaluated as well. The verdict's thresholds were tuned on the rigs 100 to 119 and on
the study's seed 1; the reported results are of other rigs and other seeds.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from pipeline import nanstats, params
from pipeline.datasets.synthetic import rig
from pipeline.datasets.synthetic.body import JOINTS
from pipeline.files.atomic import replacing, write_json
from pipeline.files.cameras import Rigs, read_rigs
from pipeline.files.evidence import Evidence
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.keys import FrameKeys
from pipeline.files.poses import Poses
from pipeline.files.truth import Truth
from pipeline.geometry import agreement, ransac
from pipeline.geometry.camera import Camera
from pipeline.metrics import mpjpe
from pipeline.metrics.intervals import bootstrap_interval
from pipeline.skeleton import get
from stages.quality import Quality, measure
from stages.synthesize import Synthesize
from stages.triangulate import Triangulate
from stages.verdict import Verdict, compare

SKELETON = get("mpii_16")
FIGURES = {
    "leave_one_view_out_mm": "leave one view out, truncated mean mm",
    "leave_one_view_out_mm_median": "leave one view out, median mm",
    "limb_stretch": "limb stretch %",
    "limb_asymmetry": "left/right asymmetry %",
    "reproj_inlier_px_median": "reprojection of inliers px",
    "views_disagreeing": "views that do not agree %",
    "coverage_lost": "joints not triangulated %",
    "left_right_swapped": "swapped in a view %",
    "sampson_px_median": "Sampson distance px",
    "jerk_mm_median": "jerk mm/frame^3",
    "sides_flipped": "sides change places %",
    "upside_down": "upside down %",
}
_LOST_MM = 300.0  # what an unknown joint counts in the true loss that verdicts are compared with, and an error at most
_BAND = 0.05  # a change of the true error by less than this share is none


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The mistakes of a simulated detector; all zeros: none.

    Attributes:
        noise_px: standard deviation, independent in every detection.
        outliers: share of keypoints at random positions near the person.
        swapped: share of (frame, view) with left and right exchanged.
        missing: share of keypoints that are not detected.
        shared_mm: length of a constant shift of every joint in the world, the same in all views, different for each joint.
        whole_mm: length of a constant shift of the whole body, the same in all views.
        pulled: share of the way by which hands and feet move towards elbows and knees, the same in all views.
        mirrored: share of frames with left and right exchanged in all views.
        moved_deg: rotation of one camera since its calibration.
        late: frame offset of one camera.
    """

    noise_px: float = 3.0
    outliers: float = 0.0
    swapped: float = 0.0
    missing: float = 0.0
    shared_mm: float = 0.0
    whole_mm: float = 0.0
    pulled: float = 0.0
    mirrored: float = 0.0
    moved_deg: float = 0.0
    late: float = 0


# The mistake that is varied, its values, and whether a figure without labels can detect it in principle.
SWEEPS: dict[str, tuple[str, tuple[float, ...], str]] = {
    "independent noise": ("noise_px", (1, 2, 3, 5, 7, 9, 12), "seen"),
    "outliers": ("outliers", (0, 0.05, 0.1, 0.2, 0.3, 0.4), "seen"),
    "left and right swapped in single views": ("swapped", (0, 0.05, 0.1, 0.2, 0.35, 0.5), "seen"),
    "missing detections": ("missing", (0, 0.1, 0.2, 0.35, 0.5), "seen"),
    "a camera that has moved": ("moved_deg", (0, 0.25, 0.5, 1, 2, 3), "seen"),
    "a camera that is late": ("late", (0, 1, 2, 4, 6, 8), "seen"),
    "hands and feet pulled in, in all views": ("pulled", (0, 0.15, 0.3, 0.5, 0.7), "shared"),
    "joints shifted, in all views": ("shared_mm", (0, 25, 50, 100, 150), "shared"),
    "the whole body shifted, in all views": ("whole_mm", (0, 25, 50, 100, 150), "shared"),
    "left and right exchanged, in all views": ("mirrored", (0, 0.05, 0.1, 0.2, 0.35, 0.5), "shared"),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """People in front of a rig: (frames, joints, 3) world mm."""

    cameras: tuple[Camera, ...]
    joints: np.ndarray
    keys: FrameKeys
    seed: int


def scene(seed: int, cameras: int, test: int = 120) -> Scene:
    """Return a scene of three train people and three held-out people with `test` frames in total, at 25 frames per second."""
    drawn = params.load(Synthesize)
    studio = rig.Studio(
        seed=seed,
        num_cameras=cameras,
        side_px=512,
        domain_gap=1.0,
        look=drawn.look,
        corruptions=drawn.corruptions,
        frames_per_second=25.0,
    )
    counts = [30, 30, 30, *[test // 3] * 3]
    people = [rig.sequence_of(studio, subject, count).pose.joints() for subject, count in enumerate(counts)]
    names = [f"s{subject}" for subject in range(6)]
    order = [JOINTS.index(joint) for joint in SKELETON.joint_names]
    return Scene(
        rig.cameras_of(studio),
        np.concatenate(people)[:, order],
        FrameKeys(
            np.repeat(names, counts),
            np.concatenate([np.arange(count) for count in counts]),
            np.repeat(["train"] * 3 + ["test"] * 3, counts),
            np.repeat(names, counts),
        ),
        seed,
    )


def detect(world: Scene, wrong: Mistakes, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the detector's keypoints, (frames, views, joints, 2) px, and (frames, views, joints) scores."""
    rng = np.random.default_rng([world.seed, draw, 7])
    joints = world.joints.copy()
    direction = np.random.default_rng([world.seed, 8]).normal(size=(len(SKELETON), 3))  # the mistake's, the same always
    joints += wrong.shared_mm * direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    joints += wrong.whole_mm * np.array([0.6, 0.8, 0.0])
    for end, middle in (("wrist", "elbow"), ("ankle", "knee")):
        for side in ("left", "right"):
            outer, inner = SKELETON.index(f"{side}_{end}"), SKELETON.index(f"{side}_{middle}")
            joints[:, outer] += wrong.pulled * (joints[:, inner] - joints[:, outer])
    mirrored = rng.random(len(joints)) < wrong.mirrored
    joints[mirrored] = joints[mirrored][:, list(SKELETON.flipped)]
    seen = []
    for view, camera in enumerate(world.cameras):
        shown = joints
        if view == 1 and wrong.late:
            first = np.searchsorted(world.keys.sequence, world.keys.sequence)  # rows are in order of their sequence
            shown = joints[np.maximum(np.arange(len(joints)) - int(wrong.late), first)]
        turned = camera
        if view == 1 and wrong.moved_deg:
            angle = np.deg2rad(wrong.moved_deg)
            about_y = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
            turned = replace(camera, R=about_y @ camera.R)
        seen.append(turned.project(shown))
    points = np.stack(seen, axis=1)
    exchanged = rng.random(points.shape[:2]) < wrong.swapped
    points[exchanged] = points[exchanged][:, list(SKELETON.flipped)]
    points += rng.normal(0, wrong.noise_px, points.shape)
    gross = rng.random(points.shape[:3]) < wrong.outliers
    middle = np.nanmean(points, axis=2, keepdims=True)
    points = np.where(gross[..., None], middle + rng.normal(0, 60, points.shape), points)
    points[rng.random(points.shape[:3]) < wrong.missing] = np.nan
    known = np.isfinite(points).all(axis=-1)
    return points, np.where(known, 0.9, 0.0)


def examine(world: Scene, points: np.ndarray, scores: np.ndarray) -> tuple[Evidence, dict[str, float]]:
    """Return the label-free figures of keypoints, and the true error, which the stages do not read."""
    found = _triangulated(points, scores, world.cameras)
    views = tuple(camera.name for camera in world.cameras)
    poses = Poses(
        keys=world.keys,
        views=views,
        skeleton=SKELETON,
        joints=found.joints,
        inliers=found.inliers,
        error_px=found.error_px,
        status=found.status,
    )
    present = np.ones(points.shape[:2], dtype=bool)
    evidence, values = measure(
        keypoints=points,
        scores=scores,
        present=present,
        poses=poses,
        rigs=Rigs({"": world.cameras}),
        quality=params.load(Quality),
    )
    figures = _flat(values["test"])
    test = world.keys.split == "test"
    off = mpjpe.joint_distances(found.joints[test], world.joints[test])
    figures["mpjpe"] = nanstats.mean(off)
    figures["loss"] = float(np.where(np.isfinite(off), np.minimum(off, _LOST_MM), _LOST_MM).mean())
    return evidence, figures


def _triangulated(points: np.ndarray, scores: np.ndarray, cameras: tuple[Camera, ...], least: int = 2) -> Any:
    config = params.load(Triangulate)
    return ransac.triangulate_ransac(
        points,
        scores,
        cameras,
        config,
        min_inliers=least,
    )


def _flat(figures: dict[str, Any]) -> dict[str, float]:
    """Return the figures as one number each; larger is worse for all of them."""
    flat = {key: float(value) for key, value in figures.items() if np.ndim(value) == 0 and not isinstance(value, dict)}
    share = figures["views_agreeing"]
    views = len(share) - 1
    flat["views_disagreeing"] = 100 - sum(int(number) * part for number, part in share.items()) / views
    flat["coverage_lost"] = 100 - flat["coverage"]
    flat["sampson_px_median"] = float(np.mean(list(figures["sampson_px_median"].values())))
    return flat


Range = tuple[float, float, float]  # a mean and the ends of its 95 % interval


def correlations(rigs: list[int]) -> dict[str, dict[str, Range]]:
    """Return the rank correlation of each figure with the true error, by kind of mistake and over all kinds."""
    rows: list[dict[str, Any]] = []
    for seed in tqdm(rigs, desc="mistakes", disable=None):
        world = scene(seed, 3 + seed % 6)
        for kind, (name, values, _) in SWEEPS.items():
            for value in values:
                wrong = replace(Mistakes(), **{name: value})
                _, figures = examine(world, *detect(world, wrong, 0))
                rows.append({"kind": kind, "value": value, "rig": seed, **figures})
    table: dict[str, dict[str, Range]] = {}
    for kind in (*SWEEPS, "all kinds that views can contradict", "all kinds"):
        if kind == "all kinds":
            own = rows
        elif kind in SWEEPS:
            own = [row for row in rows if row["kind"] == kind]
        else:
            own = [row for row in rows if SWEEPS[row["kind"]][2] == "seen"]
        table[kind] = {figure: _rank(own, figure) for figure in FIGURES}
    return table


def _rank(rows: list[dict[str, Any]], figure: str) -> Range:
    """Spearman's, the mean over rigs: whether the figure orders the states of one rig as the true error does.

    The interval is the bootstrap's over rigs.
    """
    found = []
    for seed in sorted({row["rig"] for row in rows}):
        own = [row for row in rows if row["rig"] == seed]
        pair = np.array([[row["mpjpe"], row[figure]] for row in own])
        pair = pair[np.isfinite(pair).all(axis=1)]
        if len(pair) > 2 and np.ptp(pair[:, 1]) > 0 and np.ptp(pair[:, 0]) > 0:
            found.append(spearmanr(pair[:, 0], pair[:, 1])[0])
        else:
            found.append(0.0)  # a figure that does not move says nothing
    low, high = bootstrap_interval(np.array(found), np.arange(len(found)), np.random.default_rng(0))
    return float(np.mean(found)), low, high


def trap(rigs: list[int]) -> list[dict[str, float]]:
    """Return the known trap: growing true errors, and their effect on reprojection errors and stricter inlier counts."""
    rows = []
    for outliers, shared in ((0.0, 0.0), (0.2, 0.0), (0.4, 0.0), (0.2, 0.5)):
        cells: dict[str, list[float]] = {}
        for seed in rigs:
            world = scene(seed, 4)
            points, scores = detect(world, Mistakes(outliers=outliers), 0)
            wrong = np.zeros(points.shape[:1] + points.shape[2:3], dtype=bool)  # (frames, joints)
            if shared:  # a share of the joints is mistaken alike in all views, 250 mm off, without any noise
                rng = np.random.default_rng([seed, 9])
                wrong = rng.random(wrong.shape) < 0.15
                moved = world.joints + 250 * np.array([0.6, 0.8, 0.0])
                alike = agreement.project(moved, world.cameras) + rng.normal(0, 1.5, points.shape)
                points = np.where(wrong[:, None, :, None], alike, points)
            for least in (2, 3, 4):
                found = _triangulated(points, scores, world.cameras, least)
                known = np.isfinite(found.error_px)
                off = mpjpe.joint_distances(found.joints, world.joints)
                cells.setdefault(f"coverage_{least}", []).append(100 * known.mean())
                cells.setdefault(f"shared_{least}", []).append(100 * wrong[known].mean())
                if least == 2:
                    cells.setdefault("mpjpe", []).append(nanstats.mean(off))
                    cells.setdefault("reproj", []).append(float(np.nanmedian(found.error_px)))
        rows.append(
            {"outliers": outliers, "shared": shared} | {key: float(np.mean(each)) for key, each in cells.items()}
        )
    return rows


# The possible effects of a round on a detector: functions of its mistakes and of chance.
def _outcomes(before: Mistakes, rng: np.random.Generator) -> dict[str, Mistakes]:
    gain = rng.uniform(0.15, 0.6)
    better = replace(
        before,
        noise_px=before.noise_px * (1 - gain),
        outliers=before.outliers * (1 - gain),
        swapped=before.swapped * (1 - gain),
    )
    worse = replace(
        before,
        noise_px=before.noise_px * (1 + gain),
        outliers=min(before.outliers * (1 + gain), 0.5),
        swapped=min(before.swapped * (1 + gain), 0.5),
    )
    return {
        "better": better,
        "a little better": replace(before, noise_px=0.9 * before.noise_px, outliers=0.9 * before.outliers),
        "unchanged": before,
        "better on the training frames only": before,
        "worse": worse,
        "fewer joints": replace(better, missing=rng.uniform(0.5, 0.7)),
        "collapsed": replace(better, pulled=0.9, noise_px=1.0, outliers=0.02),
        "learned a shared shift": replace(better, noise_px=0.5 * before.noise_px, shared_mm=rng.uniform(100, 200)),
        "learned to exchange left and right": replace(better, mirrored=rng.uniform(0.3, 0.5)),
        "learned a small shared shift": replace(better, noise_px=0.5 * before.noise_px, shared_mm=rng.uniform(40, 80)),
        "learned to shift the whole body": replace(better, whole_mm=rng.uniform(100, 200)),
        "better, hardly any frames": better,
    }


def verdicts(rigs: list[int]) -> list[dict[str, Any]]:
    """Return simulated rounds: the verdicts without labels, and the true changes."""
    config, rows = params.load(Verdict), []
    for seed in tqdm(rigs, desc="rounds", disable=None):
        rng = np.random.default_rng([seed, 3])
        before = Mistakes(
            noise_px=rng.uniform(3, 8),
            outliers=rng.uniform(0.02, 0.3),
            swapped=rng.uniform(0, 0.2),
            missing=rng.uniform(0, 0.1),
        )
        for kind, after in _outcomes(before, rng).items():
            world = scene(seed, 3 + seed % 6, test=24 if "hardly" in kind else 120)
            old, was = examine(world, *detect(world, before, 0))
            new, now = examine(world, *detect(world, after, 1))
            said = compare(old, new, config, kind)
            gain = 1 - now["loss"] / was["loss"]
            told = {"verdict": said["verdict"], "reason": said["reasons"][0]}
            rows.append({"kind": kind, "rig": seed, "gain": gain, **told})
    return rows


def studied(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield verdicts on the study's models: every method's rounds against the first network, its second against its first."""
    quality, config = params.load(Quality), params.load(Verdict)
    for base in sorted(folder.glob("seed*")):
        if not (base / "truth.h5").exists() or not (base / "r0/heatmaps.h5").exists():
            continue
        found: dict[str, tuple[Evidence, float]] = {}
        for model in [base / "r0", *sorted(path.parent for path in base.glob("*/r?/heatmaps.h5"))]:
            seen, poses = Heatmaps.read(model / "heatmaps.h5", maps=False), Poses.read(model / "poses.h5")
            present = np.isfinite(seen.image_from_map).all(axis=(-2, -1))
            rigs = read_rigs(base / "cameras.toml")
            evidence, _ = measure(
                keypoints=seen.keypoints, scores=seen.scores, present=present, poses=poses, rigs=rigs, quality=quality
            )
            truth = Truth.read(base / "truth.h5").arranged(poses.keys, poses.skeleton)
            test = poses.keys.split == "test"
            off = mpjpe.joint_distances(poses.joints[test], truth.joints[test])
            loss = float(np.where(np.isfinite(off), np.minimum(off, _LOST_MM), _LOST_MM).mean())
            found[str(model.relative_to(base))] = evidence, loss
        for name in found:
            for other in ("r0", f"{name.split('/')[0]}/r1"):
                if name in ("r0", other) or other not in found:
                    continue
                if other != "r0" and not name.endswith("r2"):
                    continue
                for old, new in ((other, name), (name, other)):  # and the way back, which should be refused
                    said = compare(found[old][0], found[new][0], config, new)
                    told = {"verdict": said["verdict"], "reason": said["reasons"][0], "back": old != other}
                    gain = 1 - found[new][1] / found[old][1]
                    yield {"seed": base.name, "before": old, "after": new, "gain": gain, **told}


def true_change(gain: float) -> str:
    """Return the change of the true loss in words."""
    return "better" if gain > _BAND else "worse" if gain < -_BAND else "the same"


def confusion(rows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((true_change(row["gain"]), row["verdict"]) for row in rows)


def share_right(rows: list[dict[str, Any]]) -> float:
    """Return the percentage of right verdicts. Better: adopt. Worse: do not adopt. The same: not adopt."""
    right = {"better": ("adopt",), "worse": ("do_not_adopt",), "the same": ("not_enough_evidence", "do_not_adopt")}
    return 100 * float(np.mean([row["verdict"] in right[true_change(row["gain"])] for row in rows]))


def share_wrong(rows: list[dict[str, Any]]) -> float:
    """Return the percentage of wrong verdicts: adopted although not better, or refused although better."""
    wrong = {"better": ("do_not_adopt",), "worse": ("adopt",), "the same": ("adopt",)}
    return 100 * float(np.mean([row["verdict"] in wrong[true_change(row["gain"])] for row in rows]))


def page(
    table: dict[str, dict[str, Range]],
    traps: list[dict[str, float]],
    judged: list[dict[str, Any]],
    real: list[dict[str, Any]],
    rigs: tuple[list[int], list[int]],
) -> str:
    """Return the text of docs/explanation/evidence.md."""
    lines = [
        "# What evidence without labels is worth",
        "",
        "Printed by `python -m benchmarks.evidence`; do not edit. Simulated detectors in front of rigs of three to eight",
        "cameras fail in known ways, and the figures of the stage `quality`, which reads no label, are compared with the",
        "true error of the triangulated joints.",
        "",
        "## How well each figure orders the states of a rig",
        "",
        f"Spearman's rank correlation with the true MPJPE, the mean over {len(rigs[0])} rigs; 1 is a perfect order, 0 none.",
        "A figure that does not move counts 0.",
        "",
        "| kind of mistake | " + " | ".join(FIGURES.values()) + " |",
        "| --- |" + " ---: |" * len(FIGURES),
    ]
    for kind, each in table.items():
        lines.append(f"| {kind} | " + " | ".join(f"{each[figure][0]:.2f}" for figure in FIGURES) + " |")
    pooled = [kind for kind in table if kind not in SWEEPS]
    lines += ["", "Across kinds, with the 95 % interval of a bootstrap over the rigs:", ""]
    lines += ["| figure | " + " | ".join(pooled) + " |", "| --- |" + " ---: |" * len(pooled)]
    for figure, name in FIGURES.items():
        ranges = (table[kind][figure] for kind in pooled)
        lines.append(
            f"| {name} | " + " | ".join(f"{m:.2f} ({low:.2f} to {high:.2f})" for m, low, high in ranges) + " |"
        )
    lines += [
        "",
        "Mistakes that all views make alike are invisible to every figure that compares views; only the body itself can reveal",
        "them (bones, sides, gravity), and a shift of the whole body is invisible to every figure without labels.",
        "",
        "## The trap",
        "",
        "The reprojection error of the inliers hardly changes while the true error grows, because RANSAC removes the views that",
        "disagree; and requiring more views to agree keeps the mistakes that all views share (here 15 % of the joints, 250 mm",
        "in the last row) and removes joints with independent noise. Four cameras; the last two columns are for 2 / 3 / 4 views.",
        "",
        "| outliers % | shared mistakes | true MPJPE mm | inliers' reprojection px | shared mistakes among accepted joints, % |"
        " accepted, % |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in traps:
        shared = " / ".join(f"{row[f'shared_{least}']:.1f}" for least in (2, 3, 4))
        kept = " / ".join(f"{row[f'coverage_{least}']:.0f}" for least in (2, 3, 4))
        lines.append(
            f"| {100 * row['outliers']:.0f} | {'yes' if row['shared'] else 'no'} | {row['mpjpe']:.1f} | {row['reproj']:.2f} |"
            f" {shared} | {kept} |"
        )
    lines += ["", "## The verdict against the ground truth", ""]
    lines.append(
        f"The true loss is the MPJPE of the held-out frames, in which an unknown joint counts {_LOST_MM:.0f} mm, and no"
        f" joint counts more. Better and worse mean that it fell or rose by more than {100 * _BAND:.0f} %."
        ' Right: a better model is adopted, a worse one refused, an equal one not adopted. The answer "not enough evidence"'
        " is never wrong."
    )
    forth, back = ([row for row in real if row["back"] == way] for way in (False, True))
    for title, rows in (
        (f"{len(judged)} simulated rounds, {len(rigs[1])} rigs", judged),
        (f"The study's trained networks, {len(forth)} rounds", forth),
        ("The same pairs in reverse, as rounds that lost the gain", back),
    ):
        if not rows:
            continue
        counts = confusion(rows)
        lines += [
            "",
            f"### {title}: {share_right(rows):.0f} % right, {share_wrong(rows):.0f} % wrong",
            "",
            "| ground truth | adopt | not enough evidence | do not adopt |",
            "| --- | ---: | ---: | ---: |",
        ]
        for state in ("better", "the same", "worse"):
            cells = (counts[(state, said)] for said in ("adopt", "not_enough_evidence", "do_not_adopt"))
            lines.append(f"| {state} | " + " | ".join(str(cell) for cell in cells) + " |")
        gains = [row["gain"] for row in rows if row["verdict"] == "adopt"]
        if gains:
            good = sum(true_change(gain) == "better" for gain in gains)
            lines += [
                "",
                f"Of {len(gains)} that were adopted {good} were better, {sum(g < -_BAND for g in gains)} worse.",
            ]
    lines += [
        "",
        "By the kind of simulated round (those from *fewer joints* on are designed to fail):",
        "",
        "| the round | true change of the loss, mean % | adopt | not enough evidence | do not adopt | right % |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind in dict.fromkeys(row["kind"] for row in judged):
        own = [row for row in judged if row["kind"] == kind]
        said = Counter(row["verdict"] for row in own)
        lines.append(
            f"| {kind} | {-100 * np.mean([row['gain'] for row in own]):+.0f} | {said['adopt']} | {said['not_enough_evidence']} |"
            f" {said['do_not_adopt']} | {share_right(own):.0f} |"
        )
    lines += [
        "",
        "A round that shifts the whole body while its noise decreases is adopted: this evidence cannot detect the shift.",
        "The rounds that were refused although better are mostly rounds whose limbs changed: all views share their mistakes, and",
        "without labels it is unknown that these are smaller than the noise that disappeared.",
    ]
    lines += ["", "Simulated rounds with a wrong verdict, by its first reason:", ""]
    lines += ["| the round | verdict | reason, without its figures | number |", "| --- | --- | --- | ---: |"]
    whys = Counter(
        (row["kind"], row["verdict"].replace("_", " "), re.split(r" by |: |, \d", row["reason"])[0])
        for row in judged
        if share_wrong([row]) > 0
    )
    lines += [f"| {kind} | {said_so} | {why} | {number} |" for (kind, said_so, why), number in sorted(whys.items())]
    wrong = [row for row in real if share_wrong([row]) > 0]
    if real:
        lines += [
            "",
            f"Trained networks with a wrong verdict: {len(wrong)} of {len(real)}" + (":" if wrong else "."),
        ]
        lines += [
            f"- {row['seed']}, {row['before']} -> {row['after']}: {row['verdict'].replace('_', ' ')}, true change of the loss"
            f" {-100 * row['gain']:+.1f} %. {row['reason']}"
            for row in wrong
        ]
    return "\n".join(lines) + "\n"


def main(quick: bool, studies: Path) -> None:
    first = list(range(200, 202 if quick else 212))
    second = list(range(300, 302 if quick else 340))
    table = correlations(first)
    traps = trap(first)
    judged = verdicts(second)
    real = [row for row in studied(studies) if row["seed"] != "seed1"] if studies.is_dir() and not quick else []
    text = page(table, traps, judged, real, (first, second))
    print(text)
    if not quick:
        with replacing(Path("docs/explanation/evidence.md")) as scratch:
            scratch.write_text(text, encoding="utf-8", newline="\n")
        result = {"correlations": table, "trap": traps, "simulated": judged, "study": real}
        write_json(Path("benchmarks/results/evidence.json"), json.loads(json.dumps(result)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rigs, nothing written")
    parser.add_argument(
        "--studies", type=Path, default=Path("data/studies"), help="where the self-training study keeps models"
    )
    given = parser.parse_args()
    main(given.quick, given.studies)
