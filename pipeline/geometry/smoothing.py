"""Joints over time: noise is quick, people are slow. One track at a time: one person in one sequence."""

import numpy as np

_LEAST_RUN = 9  # frames, fewer have no frequencies to speak of
_SETTLING = (
    5.0  # periods of the cut-off that a run is continued by on either end, turned around, for the filter to settle
)
_LEAST_NEIGHBOURS = 5  # known moments, for a parabola and a say in what is noise


def butterworth(
    joints: np.ndarray, frames: np.ndarray, rate: float, cutoff_hz: float, longest_gap_s: float
) -> np.ndarray:
    """Butterworth's filter of second order, forwards and backwards, so that nothing comes late (Winter 2009, 3.4.4.2).

    Args:
        joints: (frames, joints, 3) mm of one track; NaN where not known.
        frames: (frames,) int, their numbers, ascending.
        rate: frame numbers a second.
        cutoff_hz: what is quicker is noise; well below half of the rate at which there are joints.
        longest_gap_s: what is not known between known moments that are no farther apart is filled in.

    Returns:
        (frames, joints, 3) mm. A longer gap ends a run; a run of few frames stays as it is.
    """
    from scipy.signal import butter, sosfiltfilt  # a quarter of a second to import, for who wants it

    smoothed = joints.copy()
    if len(frames) < 2:
        return smoothed
    step = int(np.gcd.reduce(np.diff(frames)))
    # Two passes damp twice: the cut-off of each lies higher.
    sections = butter(2, cutoff_hz / (np.sqrt(2) - 1) ** 0.25, fs=rate / step, output="sos")
    settling = int(np.ceil(_SETTLING * rate / (step * cutoff_hz)))
    places = (frames - frames[0]) // step  # on a grid without holes
    for joint, known in _tracks(joints):
        wide = np.diff(frames[known]) > max(longest_gap_s * rate, step)
        for run in np.split(known, np.flatnonzero(wide) + 1):
            grid = np.arange(places[run[0]], places[run[-1]] + 1)
            if len(grid) <= _LEAST_RUN:
                continue
            even = np.stack([np.interp(grid, places[run], joints[run, joint, k]) for k in range(3)], axis=-1)
            even = sosfiltfilt(sections, even, axis=0, padlen=min(settling, len(grid) - 1))
            inside = np.arange(run[0], run[-1] + 1)
            smoothed[inside, joint] = even[places[inside] - grid[0]]
    return smoothed


def local_polynomial(
    joints: np.ndarray,
    frames: np.ndarray,
    rate: float,
    window_s: float,
    longest_gap_s: float,
    variances: np.ndarray | None = None,
) -> np.ndarray:
    """At each moment the parabola through its neighbours, the nearer and surer ones first (Cleveland 1979).

    Args:
        window_s: neighbours that are farther off have no say.
        variances: (frames, joints) mm^2, a neighbour's weight is one over it; NaN counts as the joint's median. None: all alike.

    The other arguments are those of `butterworth`.

    Returns:
        (frames, joints, 3) mm. Neighbours beyond a longer gap have no say; a joint with few neighbours stays as it is.
    """
    smoothed = joints.copy()
    times = frames / rate
    step = 1.001 * np.diff(times).min() if len(times) > 1 else 0.0
    for joint, known in _tracks(joints):
        weights = np.ones(len(known))
        if variances is not None:
            typical = np.nanmedian(variances[known, joint]) if np.isfinite(variances[known, joint]).any() else 1.0
            own = np.where(np.isfinite(variances[known, joint]), variances[known, joint], typical)
            weights = typical / np.maximum(own, 1e-3 * typical) if typical > 0 else weights
        wide = np.diff(times[known]) > max(longest_gap_s, step)
        for run in np.split(np.arange(len(known)), np.flatnonzero(wide) + 1):
            rows = known[run]
            inside = np.arange(rows[0], rows[-1] + 1)
            smoothed[inside, joint] = _parabolas(
                times[inside], times[rows], joints[rows, joint], weights[run], window_s, smoothed[inside, joint]
            )
    return smoothed


def _tracks(joints: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each joint with the rows where it is known, when it is anywhere."""
    known = np.isfinite(joints).all(axis=-1)
    return [(joint, np.flatnonzero(known[:, joint])) for joint in range(joints.shape[1]) if known[:, joint].any()]


def _parabolas(
    wanted: np.ndarray,
    times: np.ndarray,
    places: np.ndarray,
    weights: np.ndarray,
    window_s: float,
    otherwise: np.ndarray,
) -> np.ndarray:
    """(wanted, 3) mm, the weighted parabolas' values at the wanted times; `otherwise` where there are too few neighbours."""
    found = otherwise.copy()
    first, last = np.searchsorted(times, wanted - window_s, "left"), np.searchsorted(times, wanted + window_s, "right")
    for row in np.flatnonzero(last - first >= _LEAST_NEIGHBOURS):
        near = slice(first[row], last[row])
        offset = (times[near] - wanted[row]) / (window_s * 1.001)
        say = np.sqrt(weights[near] * (1 - np.abs(offset) ** 3) ** 3)[:, None]
        curve = np.linalg.lstsq(say * np.stack([np.ones_like(offset), offset, offset**2], axis=1), say * places[near])[
            0
        ]
        found[row] = curve[0]
    return found
