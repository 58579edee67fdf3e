"""Render heatmaps: a Gaussian at each keypoint."""

import numpy as np

from pipeline.compiled import njit


def render(keypoints: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Return Gaussians of height 1.

    Args:
        keypoints: (..., 2) map px, x y; the map of a NaN is 0.
        size: (width, height) px of a map.
        sigma: map px.

    Returns:
        (..., height, width) float32.
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    *batch, _ = keypoints.shape
    width, height = size
    flat = keypoints.reshape(-1, 2)
    # A Gaussian is the product of two, one along each axis. NumPy's exp uses vector instructions, numba's does not.
    factors = np.exp(_exponents(flat, width, height, 2 * sigma**2))
    return _outer(flat, factors, width, height).reshape(*batch, height, width)


@njit(cache=True, nogil=True, error_model="numpy")
def _exponents(keypoints, width, height, scale):
    """Return (keypoints, width + height) exponents: of the columns' Gaussians, then of the rows'."""
    exponents = np.empty((len(keypoints), width + height))
    for n in range(len(keypoints)):
        for x in range(width):
            step = x - keypoints[n, 0]
            exponents[n, x] = -(step * step) / scale
        for y in range(height):
            step = y - keypoints[n, 1]
            exponents[n, width + y] = -(step * step) / scale
    return exponents


@njit(cache=True, nogil=True, error_model="numpy")
def _outer(keypoints, factors, width, height):
    maps = np.empty((len(keypoints), height, width), dtype=np.float32)
    for n in range(len(keypoints)):
        if np.isfinite(keypoints[n, 0]) and np.isfinite(keypoints[n, 1]):
            for y in range(height):
                row = factors[n, width + y]
                for x in range(width):
                    maps[n, y, x] = row * factors[n, x]
        else:
            maps[n] = 0
    return maps
