"""Decode heatmaps: sub-pixel keypoints and scores.

A decoder takes maps, (..., height, width). It returns keypoints, (..., 2) map px, x y, and scores, (...): the raw height of the
peak. It may exceed 1; published protocols use it so, and `as_shares` cuts it for files. A map without a positive value, or with
NaN, has the keypoint NaN and the score 0.
"""

import math

import numpy as np

from pipeline.compiled import njit

_TINY = 1e-10  # the smallest value whose logarithm is taken


def decode_quarter(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest pixel, moved by a quarter px towards its higher neighbour, in x and in y (Newell 2016)."""
    flat = _flat(maps)
    peaks, scores = _peaks(flat)
    _quarter_steps(flat, peaks)
    return peaks.reshape(*maps.shape[:-2], 2), scores.reshape(maps.shape[:-2])


def decode_dark(maps: np.ndarray, blur: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the top of the Gaussian near the highest pixel: one Newton step on the map's logarithm (DARK, Zhang 2020).

    The quarter offset replaces the step at the map's border, on a plateau, and where the step leaves the pixel's
    neighbourhood.

    Args:
        maps: (..., height, width).
        blur: map px, sigma of a Gaussian that smooths the map before its logarithm is taken; 0 for none.
    """
    flat = _flat(maps)
    peaks, scores = _peaks(flat)
    radius = math.ceil(3 * blur)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * blur**2)) if radius else np.ones(1)
    _newton_steps(flat, peaks, kernel / kernel.sum())
    return peaks.reshape(*maps.shape[:-2], 2), scores.reshape(maps.shape[:-2])


def decode_soft(maps: np.ndarray, radius: int = 3, beta: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the soft-argmax near the highest pixel: the mean position under softmax(beta * map) (Sun 2018).

    Args:
        maps: (..., height, width).
        radius: map px; the mean is taken in the square from -radius to radius around the peak.
        beta: the larger, the closer to the argmax.
    """
    flat = _flat(maps)
    peaks, scores = _peaks(flat)
    _mean_steps(flat, peaks, radius, beta)
    return peaks.reshape(*maps.shape[:-2], 2), scores.reshape(maps.shape[:-2])


def as_shares(scores: np.ndarray) -> np.ndarray:
    """Return scores in [0, 1], as the artefacts of the pipeline have them: heights above 1 become 1."""
    return np.minimum(scores, scores.dtype.type(1))


DECODERS = {"dark": decode_dark, "quarter": decode_quarter, "soft": decode_soft}  # by their names in params.yaml


# The loops release the interpreter's lock and are compiled once for all runs. Inner loops go along a row without a branch or
# a sum, so that they become vector instructions.


def _flat(maps: np.ndarray) -> np.ndarray:
    """Return (maps, height, width) float32 or float64, in C order."""
    maps = np.ascontiguousarray(maps, dtype=None if maps.dtype in (np.float32, np.float64) else np.float32)
    return maps.reshape(-1, *maps.shape[-2:])


@njit(cache=True, nogil=True, error_model="numpy")
def _raise_column_maxima(grid, top, bottom, left, right, nans, best):
    """Raise best[x] to the maximum of column x of a rectangle; a NaN stays, or is skipped."""
    for y in range(top, bottom):
        for x in range(left, right):
            value = grid[y, x]
            best[x] = value if (value > best[x]) | (nans & (value != value)) else best[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _peaks(flat):
    """Return (maps, 2) x y of each map's first highest pixel, and (maps,) its height; NaN and 0 without one."""
    number, rows, columns = flat.shape
    peaks, scores = np.full((number, 2), np.nan), np.zeros(number, dtype=flat.dtype)
    best = np.empty(columns, dtype=flat.dtype)
    for n in range(number):
        best[:] = 0
        _raise_column_maxima(flat[n], 0, rows, 0, columns, True, best)
        height = flat.dtype.type(0)
        for x in range(columns):
            if best[x] > height or best[x] != best[x]:
                height = best[x]
            if height != height:
                break
        if not height > 0:
            continue
        first = rows
        for x in range(columns):
            if best[x] == height:
                for y in range(first):
                    if flat[n, y, x] == height:
                        first = y
                        peaks[n, 0], peaks[n, 1] = x, y
                        break
        scores[n] = height
    return peaks, scores


@njit(cache=True, nogil=True, error_model="numpy")
def _uphill(grid, x, y):
    """Return on which side of a pixel the map is higher, x y, each in {-1, 0, 1}; 0 at the border."""
    rows, columns = grid.shape
    none = grid.dtype.type(0)
    side_x = np.sign(grid[y, x + 1] - grid[y, x - 1]) if 0 < x < columns - 1 else none
    side_y = np.sign(grid[y + 1, x] - grid[y - 1, x]) if 0 < y < rows - 1 else none
    return side_x, side_y


@njit(cache=True, nogil=True, error_model="numpy")
def _quarter_steps(flat, peaks):
    """Move the peaks, (maps, 2) whole px, by the quarter offset."""
    for n in range(len(flat)):
        if np.isnan(peaks[n, 0]):
            continue
        side_x, side_y = _uphill(flat[n], int(peaks[n, 0]), int(peaks[n, 1]))
        peaks[n, 0] += 0.25 * side_x
        peaks[n, 1] += 0.25 * side_y


@njit(cache=True, nogil=True, error_model="numpy")
def _newton_steps(flat, peaks, kernel):
    """Move the peaks, (maps, 2) whole px, by DARK's step after a blur, or by the quarter offset."""
    number, rows, columns = flat.shape
    radius = len(kernel) // 2
    side = 5 + 2 * radius
    across = np.empty((side, 5))
    log = np.empty((5, 5))  # of the blurred map around the peak, y x: enough for its derivatives
    for n in range(number):
        if np.isnan(peaks[n, 0]):
            continue
        grid = flat[n]
        x, y = int(peaks[n, 0]), int(peaks[n, 1])
        side_x, side_y = _uphill(grid, x, y)
        step_x, step_y = 0.25 * side_x, 0.25 * side_y
        if 2 <= x < columns - 2 and 2 <= y < rows - 2:
            for i in range(side):
                row = grid[min(max(y - 2 - radius + i, 0), rows - 1)]  # pixels outside of the map repeat its border
                for j in range(5):
                    total = 0.0
                    for k in range(2 * radius + 1):
                        total += kernel[k] * row[min(max(x - 2 - radius + j + k, 0), columns - 1)]
                    across[i, j] = total
            for i in range(5):
                for j in range(5):
                    total = 0.0
                    for k in range(2 * radius + 1):
                        total += kernel[k] * across[i + k, j]
                    log[i, j] = math.log(max(total, _TINY))
            gradient_x, gradient_y = (log[2, 3] - log[2, 1]) / 2, (log[3, 2] - log[1, 2]) / 2
            curvature_x = (log[2, 4] - 2 * log[2, 2] + log[2, 0]) / 4
            curvature_y = (log[4, 2] - 2 * log[2, 2] + log[0, 2]) / 4
            curvature_xy = (log[3, 3] - log[3, 1] - log[1, 3] + log[1, 1]) / 4
            determinant = curvature_x * curvature_y - curvature_xy * curvature_xy
            if determinant > 0 and curvature_x < 0:
                newton_x = (curvature_xy * gradient_y - curvature_y * gradient_x) / determinant
                newton_y = (curvature_xy * gradient_x - curvature_x * gradient_y) / determinant
                if abs(newton_x) <= 1 and abs(newton_y) <= 1:
                    step_x, step_y = newton_x, newton_y
        peaks[n, 0] += step_x
        peaks[n, 1] += step_y


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_steps(flat, peaks, radius, beta):
    """Move the peaks, (maps, 2) whole px, to the mean position under softmax(beta * map) in the window."""
    number, rows, columns = flat.shape
    for n in range(number):
        if np.isnan(peaks[n, 0]):
            continue
        x, y = int(peaks[n, 0]), int(peaks[n, 1])
        total, sum_x, sum_y = 0.0, 0.0, 0.0
        for row in range(max(y - radius, 0), min(y + radius + 1, rows)):
            for column in range(max(x - radius, 0), min(x + radius + 1, columns)):
                weight = math.exp(beta * (flat[n, row, column] - flat[n, y, x]))
                total += weight
                sum_x += weight * (column - x)
                sum_y += weight * (row - y)
        peaks[n, 0] += sum_x / total
        peaks[n, 1] += sum_y / total
