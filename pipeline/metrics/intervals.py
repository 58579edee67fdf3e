"""Confidence intervals: the bootstrap over sequences.

Frames of one sequence are correlated, so resampling frames would give intervals that are far too narrow. Whole groups are
resampled with replacement instead: sequences, or persons (Efron 1979; cluster bootstrap).
"""

from collections.abc import Callable

import numpy as np


def bootstrap_interval(
    values: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
    *,
    statistic: Callable[[np.ndarray], float] = lambda values: float(np.nanmean(values)),
    level: float = 0.95,
    draws: int = 1000,
) -> tuple[float, float]:
    """Return the ends of the percentile interval of a statistic under resampling of groups.

    Args:
        values: (frames, ...); NaN if unknown, if the statistic accepts it.
        groups: (frames,) each frame's group.
        rng: of the draws.
        statistic: (frames of a draw, ...) -> a number.
        level: confidence level of the interval.
        draws: number of draws.

    Returns:
        The two ends; NaN with fewer than two groups.
    """
    names = np.unique(groups)
    if len(names) < 2:
        return float("nan"), float("nan")
    rows = [np.flatnonzero(groups == name) for name in names]
    statistics = []
    for _ in range(draws):
        drawn = rng.integers(0, len(rows), len(rows))
        statistics.append(statistic(values[np.concatenate([rows[index] for index in drawn])]))
    low, high = np.nanpercentile(statistics, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
