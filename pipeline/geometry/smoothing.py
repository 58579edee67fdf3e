"""Smooth joints over time: noise is fast, people are slow. One track at a time: one person in one sequence."""

import numpy as np

from pipeline import nanstats

_MIN_RUN = 9  # frames; a shorter run has too few frequencies to filter
# The filter settles within so many periods of the cut-off: a run is extended by them at both ends, point-reflected.
_SETTLING_PERIODS = 5.0
_MIN_NEIGHBOURS = 5  # known frames that a parabola is fitted to, at least


def butterworth(
    joints: np.ndarray, frames: np.ndarray, *, frames_per_second: float, cutoff_hz: float, max_gap_s: float
) -> np.ndarray:
    """Return the joints after a second-order Butterworth filter, run forwards and backwards (Winter 2009, 3.4.4.2).

    Two passes leave no delay.

    Args:
        joints: (frames, joints, 3) mm of one track; NaN if unknown.
        frames: (frames,) int, ascending frame numbers.
        frames_per_second: frame numbers per second.
        cutoff_hz: higher frequencies are removed; well below half of the rate of the frames that exist.
        max_gap_s: gaps of at most this length between known frames are filled.

    Returns:
        (frames, joints, 3) mm. A longer gap ends a run; a run of few frames stays unchanged.
    """
    from scipy.signal import butter, sosfiltfilt  # takes a quarter of a second to import

    smoothed = joints.copy()
    if len(frames) < 2:
        return smoothed
    step = int(np.gcd.reduce(np.diff(frames)))
    # Two passes attenuate twice, so the cut-off of each pass is higher.
    sections = butter(2, cutoff_hz / (np.sqrt(2) - 1) ** 0.25, fs=frames_per_second / step, output="sos")
    settling = int(np.ceil(_SETTLING_PERIODS * frames_per_second / (step * cutoff_hz)))
    positions = (frames - frames[0]) // step  # on a grid without holes
    for joint, known in _tracks(joints):
        wide = np.diff(frames[known]) > max(max_gap_s * frames_per_second, step)
        for run in np.split(known, np.flatnonzero(wide) + 1):
            grid = np.arange(positions[run[0]], positions[run[-1]] + 1)
            if len(grid) <= _MIN_RUN:
                continue
            even = np.stack([np.interp(grid, positions[run], joints[run, joint, k]) for k in range(3)], axis=-1)
            even = sosfiltfilt(sections, even, axis=0, padlen=min(settling, len(grid) - 1))
            inside = np.arange(run[0], run[-1] + 1)
            smoothed[inside, joint] = even[positions[inside] - grid[0]]
    return smoothed


def local_polynomial(
    joints: np.ndarray,
    frames: np.ndarray,
    *,
    frames_per_second: float,
    window_s: float,
    max_gap_s: float,
    variances: np.ndarray | None = None,
) -> np.ndarray:
    """Return at each frame the parabola through its neighbours; near and certain neighbours weigh more (Cleveland 1979).

    Args:
        window_s: farther neighbours have no weight.
        variances: (frames, joints) mm^2; a neighbour's weight is 1 / variance. NaN counts as the joint's median. None: all
            weights are equal.

    The other arguments are those of `butterworth`.

    Returns:
        (frames, joints, 3) mm. Neighbours beyond a longer gap have no weight; a joint with few neighbours stays unchanged.
    """
    smoothed = joints.copy()
    times = frames / frames_per_second
    step = 1.001 * np.diff(times).min() if len(times) > 1 else 0.0
    for joint, known in _tracks(joints):
        weights = np.ones(len(known))
        if variances is not None:
            own = variances[known, joint]
            typical = nanstats.median(own) if np.isfinite(own).any() else 1.0
            own = np.where(np.isfinite(own), own, typical)
            weights = typical / np.maximum(own, 1e-3 * typical) if typical > 0 else weights
        wide = np.diff(times[known]) > max(max_gap_s, step)
        for run in np.split(np.arange(len(known)), np.flatnonzero(wide) + 1):
            rows = known[run]
            inside = np.arange(rows[0], rows[-1] + 1)
            fitted, enough = _parabolas(times[inside], times[rows], joints[rows, joint], weights[run], window_s)
            smoothed[inside[enough], joint] = fitted[enough]
    return smoothed


def _tracks(joints: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return each joint that is known in some frame, with the rows in which it is known."""
    known = np.isfinite(joints).all(axis=-1)
    return [(joint, np.flatnonzero(known[:, joint])) for joint in range(joints.shape[1]) if known[:, joint].any()]


def _parabolas(
    query_times: np.ndarray, times: np.ndarray, positions: np.ndarray, weights: np.ndarray, window_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (queries, 3) mm, weighted parabolas at the query times, and (queries,) bool, whether neighbours suffice."""
    fitted = np.full((len(query_times), 3), np.nan)
    first = np.searchsorted(times, query_times - window_s, "left")
    last = np.searchsorted(times, query_times + window_s, "right")
    enough = last - first >= _MIN_NEIGHBOURS
    for row in np.flatnonzero(enough):
        near = slice(first[row], last[row])
        offset = (times[near] - query_times[row]) / (window_s * 1.001)
        root_weight = np.sqrt(weights[near] * (1 - np.abs(offset) ** 3) ** 3)[:, None]
        design = root_weight * np.stack([np.ones_like(offset), offset, offset**2], axis=1)
        fitted[row] = np.linalg.lstsq(design, root_weight * positions[near])[0][0]
    return fitted, enough
