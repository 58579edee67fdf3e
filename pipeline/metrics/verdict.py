"""Is the new model better? Said from label-free evidence alone, with reasons, or not said at all.

Two independent witnesses have to agree: how far each view is from what the others say, and how constant the bones are. Both
can be fooled by a mistake that all views make alike, and a student that was taught where the views agree is better at
agreeing than at being right; so a gain has to exceed a margin, and what would be a sign of such a mistake (a body that
changes its size, joints that went missing) forbids a recommendation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.metrics.intervals import bootstrap_interval

ADOPT, REJECT, UNSURE = "adopt", "do_not_adopt", "not_enough_evidence"
_BLOCKS = 16  # pieces of recordings that the intervals are made of, at least, where there are frames for it


@dataclass(frozen=True)
class Thresholds:
    """What it takes; tuned in benchmarks/evidence.py on simulated runs, and tried on others.

    Attributes:
        least_frames: with fewer held-out frames nothing is said.
        disagreement_gain: least reduction of the views' disagreement, as a share, that speaks for a model: the lower end of
            its interval has to exceed it.
        stretch_gain: the same of the limbs' stretch.
        loss: an increase of either whose interval lies beyond this speaks against a model.
        coverage_drop: share of the joints that may get lost.
        size_change: how much longer or shorter the body may have become, as a share.
        limb_change: how much longer or shorter any kind of limb may have become, as a share.
        asymmetry_rise: how much more left limbs may differ from right ones, as a share of their length.
        level: of the intervals.
    """

    least_frames: int
    disagreement_gain: float
    stretch_gain: float
    loss: float
    coverage_drop: float
    size_change: float
    limb_change: float
    asymmetry_rise: float
    level: float


@dataclass(frozen=True, eq=False)
class HeldOutFigures:
    """One model's figures, of held-out frames only.

    Attributes:
        disagreement: (frames,) mm, the mean over views and joints of the truncated leave-one-view-out error.
        stretch, coverage, swapped, upside_down, flipped: (frames,) as in pipeline/files/evidence.py; NaN where not known.
        limbs: (people, limbs) mm, usual lengths; NaN where not known.
        asymmetry: (people,) of left and right limbs; NaN where not known.
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
    """Whether to adopt `after` in place of `before`.

    Args:
        before, after: of the same frames, in the same order.
        sequence: (frames,) text; recordings are resampled in blocks of consecutive frames.
        rng: of the bootstrap.

    Returns:
        verdict: ADOPT, REJECT or UNSURE; reasons: sentences; figures: by name, each with before, after, and where there is
        one the interval of the relative reduction.
    """
    frames = len(sequence)
    if frames < thresholds.least_frames:
        why = f"There are {frames} held-out frames; at least {thresholds.least_frames} are needed to say anything."
        return {"verdict": UNSURE, "reasons": [why], "figures": {}}
    if np.isfinite(before.disagreement + after.disagreement).sum() < thresholds.least_frames:
        why = "Too few held-out frames have three views: only then is there a view to compare with what two others say."
        return {"verdict": UNSURE, "reasons": [why], "figures": {}}
    blocks = bootstrap_blocks(sequence)
    figures: dict[str, dict[str, float]] = {}
    for name, old, new in (
        ("disagreement_mm", before.disagreement, after.disagreement),
        ("stretch", before.stretch, after.stretch),
    ):
        pair = np.stack([old, new], axis=1)
        pair[~np.isfinite(pair).all(axis=1)] = np.nan
        figures[name] = {"before": _mean(old, np.nan), "after": _mean(new, np.nan), "gain": _gain(pair)}
        low, high = np.nan, np.nan
        if np.isfinite(figures[name]["gain"]):
            low, high = bootstrap_interval(pair, blocks, rng, _gain, thresholds.level, draws=500)
        figures[name] |= {"gain_low": low, "gain_high": high}
    for name, old, new in (
        ("coverage", before.coverage, after.coverage),
        ("swapped", before.swapped, after.swapped),
        ("upside_down", before.upside_down, after.upside_down),
        ("flipped", before.flipped, after.flipped),
        ("asymmetry", before.asymmetry, after.asymmetry),
    ):
        figures[name] = {"before": _mean(old), "after": _mean(new)}
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
        f"Bones keep their length better: they were off by {100 * stretch['before']:.1f} % and are by"
        f" {100 * stretch['after']:.1f} % ({_percent(stretch)}).",
        "What no figure without labels can exclude: a mistake that all views make alike and that leaves a plausible body.",
    ]
    return {"verdict": ADOPT, "reasons": reasons, "figures": figures}


def bootstrap_blocks(sequence: np.ndarray) -> np.ndarray:
    """(frames,) int, which block a frame belongs to: sequences, cut into pieces where there are few of them."""
    names, counts = np.unique(sequence, return_counts=True)
    pieces = max(1, -(-_BLOCKS // len(names)))
    block = np.zeros(len(sequence), dtype=int)
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        block[sequence == name] = number * pieces + np.arange(count) * min(pieces, count) // count
    return block


def _against(figures: dict[str, dict[str, float]], thresholds: Thresholds) -> list[str]:
    """What speaks against a model, in words."""
    found = []
    size, limb = (figures[name]["after"] - 1 for name in ("size", "most_changed_limb"))
    disagreement, stretch, coverage = figures["disagreement_mm"], figures["stretch"], figures["coverage"]
    if coverage["before"] - coverage["after"] > thresholds.coverage_drop:
        found.append(
            f"Joints got lost: {100 * coverage['before']:.1f} % could be triangulated before,"
            f" {100 * coverage['after']:.1f} % now."
        )
    if abs(size) > thresholds.size_change:
        found.append(
            f"The body has changed its size by {100 * size:+.0f} %: joints have moved along the limbs in all views alike."
        )
    if abs(limb) > thresholds.limb_change:
        found.append(f"A limb has changed its length by {100 * limb:+.0f} %: its joint has moved in all views alike.")
    if figures["asymmetry"]["after"] - figures["asymmetry"]["before"] > thresholds.asymmetry_rise:
        old, new = (100 * figures["asymmetry"][when] for when in ("before", "after"))
        found.append(
            f"Left and right limbs have become unlike, {old:.1f} % before, {new:.1f} % now: joints have moved in all views"
            " alike."
        )
    if disagreement["gain_high"] < -thresholds.loss:
        found.append(
            f"The views contradict each other more: {disagreement['before']:.0f} mm before, {disagreement['after']:.0f} mm"
            f" now ({_percent(disagreement)})."
        )
    if stretch["gain_high"] < -thresholds.loss:
        found.append(
            f"Bones keep their length worse: they were off by {100 * stretch['before']:.1f} % and are by"
            f" {100 * stretch['after']:.1f} % ({_percent(stretch)})."
        )
    for name, what in (
        ("upside_down", "people stand on their heads"),
        ("swapped", "a view exchanges left and right"),
        ("flipped", "left and right change places from one moment to the next"),
    ):
        if figures[name]["after"] - figures[name]["before"] > 0.05:
            old, new = (100 * figures[name][when] for when in ("before", "after"))
            found.append(f"More often than before, {what}: {old:.1f} % before, {new:.1f} % now.")
    return found


def _lacking(figures: dict[str, dict[str, float]], thresholds: Thresholds) -> list[str]:
    """What is missing for a recommendation, in words."""
    found = []
    for name, gain, what in (
        ("disagreement_mm", thresholds.disagreement_gain, "how far the views contradict each other"),
        ("stretch", thresholds.stretch_gain, "how much bones change their length"),
    ):
        if not figures[name]["gain_low"] > gain:
            found.append(
                f"Too small or too uncertain a change of {what}: {_percent(figures[name])}; a reduction surely above"
                f" {100 * gain:.0f} % would count."
            )
    return found


def _percent(figure: dict[str, float]) -> str:
    if not np.isfinite(figure["gain"]):
        return "no frame in which it is known before and now"
    less = "less" if figure["gain"] >= 0 else "more"
    low, high = sorted(-100 * figure[end] for end in ("gain_low", "gain_high"))
    return f"{100 * abs(figure['gain']):.0f} % {less}, surely between {low:+.0f} and {high:+.0f} %"


def _gain(pair: np.ndarray) -> float:
    """(frames, 2) before and after -> the share by which the mean has fallen."""
    known = pair[np.isfinite(pair).all(axis=1)]
    if not len(known):
        return float("nan")
    old, new = known.mean(axis=0)
    return float(1 - new / old) if old > 0 else 0.0


def _mean(values: np.ndarray, of_nothing: float = 0.0) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else of_nothing


def _limb_ratios(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(people, limbs) mm of both -> (limbs,) how much longer each has become, the median over people; 1 where unknown."""
    both = np.isfinite(before) & np.isfinite(after) & (before > 0) & (after > 0)
    ratios = [np.median(after[known, k] / before[known, k]) if known.any() else 1.0 for k, known in enumerate(both.T)]
    return np.array(ratios) if ratios else np.ones(1)
