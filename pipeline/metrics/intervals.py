"""How sure a number is: bootstrap intervals over sequences.

Frames of one sequence resemble each other, so resampling frames would promise far too much. What is drawn again, with
replacement, is whole groups: sequences, or persons (Efron 1979; cluster bootstrap).
"""

from collections.abc import Callable

import numpy as np


def bootstrap_interval(
    values: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
    statistic: Callable[[np.ndarray], float] = lambda values: float(np.nanmean(values)),
    level: float = 0.95,
    draws: int = 1000,
) -> tuple[float, float]:
    """The percentile interval of a statistic under resampling of groups.

    Args:
        values: (frames, ...); NaN where not known, if the statistic can take it.
        groups: (frames,) which group a frame belongs to.
        statistic: (frames of a draw, ...) -> a number.
        level: of the interval.
        draws: how many.

    Returns:
        Its ends; NaN with fewer than two groups, which say nothing of each other.
    """
    names = np.unique(groups)
    if len(names) < 2:
        return float("nan"), float("nan")
    rows = [np.flatnonzero(groups == name) for name in names]
    found = []
    for _ in range(draws):
        drawn = rng.integers(0, len(rows), len(rows))
        found.append(statistic(values[np.concatenate([rows[index] for index in drawn])]))
    low, high = np.nanpercentile(found, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
