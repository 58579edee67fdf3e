"""Statistics that leave NaN out and return NaN, without a warning, if nothing is left."""

import numpy as np


def mean(values: np.ndarray) -> float:
    """Return the mean of all finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def median(values: np.ndarray) -> float:
    """Return the median of all finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def percentile(values: np.ndarray, q: float) -> float:
    """Return the q-th percentile of all finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, q)) if finite.size else float("nan")


def mean_along(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Return the mean of the finite values along an axis or several; NaN where there are none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=axis)
    return np.where(finite, values, 0.0).sum(axis=axis) / np.where(count > 0, count, np.nan)


def median_along(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the median of the finite values along an axis; NaN where there are none."""
    values = np.moveaxis(np.where(np.isfinite(values), values, np.nan), axis, 0)
    ordered = np.sort(values, axis=0)  # NaN goes last
    count = np.isfinite(values).sum(axis=0, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(values) - 1), axis=0)
    return ((low + high) / 2)[0]


def percent(part: float, whole: float) -> float:
    """Return `part` in percent of `whole`; NaN if `whole` is 0."""
    return 100.0 * float(part) / float(whole) if whole else float("nan")
