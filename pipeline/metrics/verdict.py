"""Judge whether a new model is better, from label-free evidence alone, with reasons; or answer that the evidence is too weak.

Two independent figures have to agree: the distance of each view from the consensus of the others, and the variation of limb
lengths. A mistake that all views share deceives both, and a student that learned where the views agree is better at agreeing
than at being right. So a gain has to exceed a margin, and signs of a shared mistake (a body that changes its size, joints that
get lost) forbid a recommendation.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from pipeline import nanstats
from pipeline.metrics.intervals import bootstrap_interval

ADOPT, REJECT, UNSURE = "adopt", "do_not_adopt", "not_enough_evidence"
_BLOCKS = 16  # minimum number of blocks that the bootstrap draws from, if there are enough frames


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """When to adopt a model; tuned in benchmarks/evidence.py on simulated rounds, and tested on others.

    Attributes:
        min_frames: with fewer held-out frames the verdict is "not enough evidence".
        disagreement_gain: share by which the views' disagreement has to fall at least: the lower end of its interval has to
            exceed it.
        stretch_gain: the same for the limbs' stretch.
        max_regression: share; an increase of either whose whole interval lies beyond it speaks against the model.
        coverage_drop: share of the joints that may get lost.
        size_change: share by which the body may become longer or shorter.
        limb_change: share by which any kind of limb may become longer or shorter.
        asymmetry_rise: share of their length by which left limbs may differ more from right ones than before.
        confidence_level: of the intervals.
    """

    min_frames: Annotated[int, Ge(0)]
    disagreement_gain: Annotated[float, Ge(0)]
    stretch_gain: Annotated[float, Ge(0)]
    max_regression: Annotated[float, Ge(0)]
    coverage_drop: Annotated[float, Ge(0)]
    size_change: Annotated[float, Ge(0)]
    limb_change: Annotated[float, Ge(0)]
    asymmetry_rise: Annotated[float, Ge(0)]
    confidence_level: Annotated[float, Gt(0), Lt(1), "expected a number between 0 and 1"]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutFigures:
    """One model's label-free figures on held-out frames.

    Attributes:
        disagreement: (frames,) mm, mean over views and joints of the clipped leave-one-view-out error.
        stretch, coverage, swapped, upside_down, flipped: (frames,) as in pipeline/files/evidence.py; NaN if unknown.
        limbs: (people, limbs) mm, median lengths; NaN if unknown.
        asymmetry: (people,) of left and right limbs; NaN if unknown.
    """

    disagreement: np.ndarray
    stretch: np.ndarray
    coverage: np.ndarray
    swapped: np.ndarray
    upside_down: np.ndarray
    flipped: np.ndarray
    limbs: np.ndarray
    asymmetry: np.ndarray


def judge(
    before: HeldOutFigures,
    after: HeldOutFigures,
    sequence: np.ndarray,
    thresholds: Thresholds,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return whether to adopt the model `after` in place of `before`, with reasons.

    Args:
        before, after: of the same frames, in the same order.
        sequence: (frames,) text; sequences are resampled in blocks of consecutive frames.
        thresholds: when to adopt.
        rng: of the bootstrap.

    Returns:
        verdict: ADOPT, REJECT or UNSURE; reasons: sentences; figures: by name, each with before, after, and for the first two
        the relative reduction and its interval.
    """
    frames = len(sequence)
    if frames < thresholds.min_frames:
        why = f"There are {frames} held-out frames; at least {thresholds.min_frames} are needed for a verdict."
        return {"verdict": UNSURE, "reasons": [why], "figures": {}}
    if np.isfinite(before.disagreement + after.disagreement).sum() < thresholds.min_frames:
        why = "Too few held-out frames have three views: a view is compared with the consensus of at least two others."
        return {"verdict": UNSURE, "reasons": [why], "figures": {}}
    blocks = bootstrap_blocks(sequence)
    figures: dict[str, dict[str, float]] = {}
    for name, old, new in (
        ("disagreement_mm", before.disagreement, after.disagreement),
        ("stretch", before.stretch, after.stretch),
    ):
        pair = np.stack([old, new], axis=1)
        pair[~np.isfinite(pair).all(axis=1)] = np.nan
        figures[name] = {"before": nanstats.mean(old), "after": nanstats.mean(new), "gain": _gain(pair)}
        low, high = np.nan, np.nan
        if np.isfinite(figures[name]["gain"]):
            low, high = bootstrap_interval(
                pair, blocks, rng, statistic=_gain, level=thresholds.confidence_level, draws=500
            )
        figures[name] |= {"gain_low": low, "gain_high": high}
    for name, old, new in (
        ("coverage", before.coverage, after.coverage),
        ("swapped", before.swapped, after.swapped),
        ("upside_down", before.upside_down, after.upside_down),
        ("flipped", before.flipped, after.flipped),
        ("asymmetry", before.asymmetry, after.asymmetry),
    ):
        figures[name] = {"before": _mean_or_0(old), "after": _mean_or_0(new)}
    limbs = _limb_ratios(before.limbs, after.limbs)
    figures["size"] = {"before": 1.0, "after": float(np.median(limbs))}
    figures["most_changed_limb"] = {"before": 1.0, "after": float(limbs[np.abs(np.log(limbs)).argmax()])}

    against = _against(figures, thresholds)
    if against:
        return {"verdict": REJECT, "reasons": against, "figures": figures}
    lacking = _lacking(figures, thresholds)
    if lacking:
        return {"verdict": UNSURE, "reasons": lacking, "figures": figures}
    disagreement, stretch = figures["disagreement_mm"], figures["stretch"]
    reasons = [
        f"The views contradict each other less: {disagreement['before']:.0f} mm before, {disagreement['after']:.0f} mm now"
        f" ({_percent(disagreement)}).",
        f"Bones keep their length better: they deviated by {100 * stretch['before']:.1f} % before and by"
        f" {100 * stretch['after']:.1f} % now ({_percent(stretch)}).",
        "No figure without labels can exclude a mistake that all views make alike and that leaves a plausible body.",
    ]
    return {"verdict": ADOPT, "reasons": reasons, "figures": figures}


def bootstrap_blocks(sequence: np.ndarray) -> np.ndarray:
    """Return (frames,) int, each frame's block: its sequence, or a part of it if there are few sequences."""
    names, counts = np.unique(sequence, return_counts=True)
    pieces = max(1, -(-_BLOCKS // len(names)))
    block = np.zeros(len(sequence), dtype=int)
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        block[sequence == name] = number * pieces + np.arange(count) * min(pieces, count) // count
    return block


def _against(figures: dict[str, dict[str, float]], thresholds: Thresholds) -> list[str]:
    """Return the sentences that speak against a model."""
    reasons = []
    size, limb = (figures[name]["after"] - 1 for name in ("size", "most_changed_limb"))
    disagreement, stretch, coverage = figures["disagreement_mm"], figures["stretch"], figures["coverage"]
    if coverage["before"] - coverage["after"] > thresholds.coverage_drop:
        reasons.append(
            f"Joints got lost: {100 * coverage['before']:.1f} % could be triangulated before,"
            f" {100 * coverage['after']:.1f} % now."
        )
    if abs(size) > thresholds.size_change:
        reasons.append(
            f"The body has changed its size by {100 * size:+.0f} %: joints have moved along the limbs in all views alike."
        )
    if abs(limb) > thresholds.limb_change:
        reasons.append(f"A limb has changed its length by {100 * limb:+.0f} %: its joint has moved in all views alike.")
    if figures["asymmetry"]["after"] - figures["asymmetry"]["before"] > thresholds.asymmetry_rise:
        old, new = (100 * figures["asymmetry"][when] for when in ("before", "after"))
        reasons.append(
            f"Left and right limbs have become unlike, {old:.1f} % before, {new:.1f} % now: joints have moved in all views"
            " alike."
        )
    if disagreement["gain_high"] < -thresholds.max_regression:
        reasons.append(
            f"The views contradict each other more: {disagreement['before']:.0f} mm before, {disagreement['after']:.0f} mm"
            f" now ({_percent(disagreement)})."
        )
    if stretch["gain_high"] < -thresholds.max_regression:
        reasons.append(
            f"Bones keep their length worse: they deviated by {100 * stretch['before']:.1f} % before and by"
            f" {100 * stretch['after']:.1f} % now ({_percent(stretch)})."
        )
    for name, what in (
        ("upside_down", "people stand on their heads"),
        ("swapped", "a view exchanges left and right"),
        ("flipped", "left and right change places from one frame to the next"),
    ):
        if figures[name]["after"] - figures[name]["before"] > 0.05:
            old, new = (100 * figures[name][when] for when in ("before", "after"))
            reasons.append(f"More often than before, {what}: {old:.1f} % before, {new:.1f} % now.")
    return reasons


def _lacking(figures: dict[str, dict[str, float]], thresholds: Thresholds) -> list[str]:
    """Return the sentences on evidence that a recommendation lacks."""
    reasons = []
    for name, gain, what in (
        ("disagreement_mm", thresholds.disagreement_gain, "the views' disagreement"),
        ("stretch", thresholds.stretch_gain, "the limbs' stretch"),
    ):
        if not figures[name]["gain_low"] > gain:
            reasons.append(
                f"The change of {what} is too small or too uncertain: {_percent(figures[name])}; a reduction counts if its"
                f" interval lies above {100 * gain:.0f} %."
            )
    return reasons


def _percent(figure: dict[str, float]) -> str:
    """Return the relative change and its interval in words."""
    if not np.isfinite(figure["gain"]):
        return "no frame in which it is known before and now"
    less = "less" if figure["gain"] >= 0 else "more"
    low, high = sorted(-100 * figure[end] for end in ("gain_low", "gain_high"))
    return f"{100 * abs(figure['gain']):.0f} % {less}, interval {low:+.0f} to {high:+.0f} %"


def _gain(pair: np.ndarray) -> float:
    """Return the share by which the mean has fallen; (frames, 2) before and after."""
    known = pair[np.isfinite(pair).all(axis=1)]
    if not len(known):
        return float("nan")
    old, new = known.mean(axis=0)
    return float(1 - new / old) if old > 0 else 0.0


def _mean_or_0(values: np.ndarray) -> float:
    """Return the mean of the known values; 0 if there are none."""
    return nanstats.mean(values) if np.isfinite(values).any() else 0.0


def _limb_ratios(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return (limbs,) the ratio of lengths after to before, (people, limbs) mm, median over people; 1 if unknown."""
    both = np.isfinite(before) & np.isfinite(after) & (before > 0) & (after > 0)
    ratios = [np.median(after[known, k] / before[known, k]) if known.any() else 1.0 for k, known in enumerate(both.T)]
    return np.array(ratios) if ratios else np.ones(1)
