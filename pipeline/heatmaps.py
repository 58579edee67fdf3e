"""Heatmaps: draw targets, decode peaks, keep a map as two small windows.

(0, 0) is the centre of a map's top-left pixel. Which px of the picture that is, `image_from_map` says, beside the maps.
"""

import numpy as np

_TINY = 1e-10  # logarithms stop here


def draw(points: np.ndarray, size: tuple[int, int], sigma: float, rounded: bool = False) -> np.ndarray:
    """Gaussians of height 1.

    Args:
        points: (..., 2) map px, x y; NaN draws nothing.
        size: (width, height) px of a map.
        sigma: map px.
        rounded: centre them on the nearest whole pixel, as Simple Baselines does (Xiao 2018); peaks are exactly 1 then,
            and positions lose up to half a pixel.

    Returns:
        (..., height, width) float32.
    """
    points = np.asarray(points, dtype=np.float64)
    if rounded:
        points = np.floor(points + 0.5)
    width, height = size
    with np.errstate(under="ignore"):
        columns = np.exp(-((np.arange(width) - points[..., 0, None]) ** 2) / (2 * sigma**2))  # (..., width)
        rows = np.exp(-((np.arange(height) - points[..., 1, None]) ** 2) / (2 * sigma**2))  # (..., height)
        maps = (rows[..., :, None] * columns[..., None, :]).astype(np.float32)
    maps[~np.isfinite(points).all(axis=-1)] = 0
    return maps


def touches(points: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Whether a Gaussian reaches the map: (..., 2) map px -> (...) bool, at most 3 sigma off its pixels, not NaN."""
    reach = 3 * sigma
    width, height = size
    x, y = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
    return (x >= -reach) & (x <= width - 1 + reach) & (y >= -reach) & (y <= height - 1 + reach)


def decode_quarter(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest pixel, moved by a quarter towards its higher neighbour, in x and in y (Newell 2016).

    Args:
        maps: (..., height, width).

    Returns:
        (..., 2) map px, x y, and (...) scores: the height of the peak, at most 1. A map without a positive value, or
        with NaN, has the point NaN and the score 0.
    """
    flat, peaks, height = _peaks(maps)
    points = peaks + 0.25 * _uphill(flat, peaks)
    return _shaped(maps, points, height)


def decode_dark(maps: np.ndarray, blur: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The top of the Gaussian near the highest pixel: one Newton step on the logarithm of the map (DARK, Zhang 2020).

    Where the map is no hill (at its border, on a plateau, when the step leaves the pixel's neighbourhood), the quarter
    offset is used.

    Args:
        maps: (..., height, width).
        blur: map px, sigma of a Gaussian that smooths the map before its logarithm is taken; 0 for none.

    Returns:
        As `decode_quarter`.
    """
    flat, peaks, height = _peaks(maps)
    logs = np.log(np.maximum(_patches(flat, peaks, 2, blur), _TINY))  # (maps, 5, 5), y x
    slope_x, slope_y = (logs[:, 2, 3] - logs[:, 2, 1]) / 2, (logs[:, 3, 2] - logs[:, 1, 2]) / 2
    bend_x = (logs[:, 2, 4] - 2 * logs[:, 2, 2] + logs[:, 2, 0]) / 4
    bend_y = (logs[:, 4, 2] - 2 * logs[:, 2, 2] + logs[:, 0, 2]) / 4
    bend_xy = (logs[:, 3, 3] - logs[:, 3, 1] - logs[:, 1, 3] + logs[:, 1, 1]) / 4
    determinant = bend_x * bend_y - bend_xy**2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        step = (
            np.stack([bend_xy * slope_y - bend_y * slope_x, bend_xy * slope_x - bend_x * slope_y], axis=-1)
            / determinant[:, None]
        )  # (maps, 2)
    rows, columns = flat.shape[1:]
    x, y = peaks[:, 0], peaks[:, 1]
    within = (x >= 2) & (x < columns - 2) & (y >= 2) & (y < rows - 2)
    hill = within & (determinant > 0) & (bend_x < 0) & (np.abs(step) <= 1).all(axis=-1)
    points = peaks + np.where(hill[:, None], step, 0.25 * _uphill(flat, peaks))
    return _shaped(maps, points, height)


def decode_soft(maps: np.ndarray, radius: int = 3, beta: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Soft-argmax near the highest pixel: the mean position under softmax(beta * map) (Sun 2018), in a local window.

    Args:
        maps: (..., height, width).
        radius: map px; the window is the square from -radius to radius around the peak.
        beta: the larger, the closer to the plain argmax.

    Returns:
        As `decode_quarter`.
    """
    flat, peaks, height = _peaks(maps)
    patch = _patches(flat, peaks, radius, 0.0)
    offsets = np.arange(-radius, radius + 1)
    rows, columns = flat.shape[1:]
    x, y = peaks[:, :1] + offsets, peaks[:, 1:] + offsets  # (maps, window)
    inside = ((y >= 0) & (y < rows))[:, :, None] & ((x >= 0) & (x < columns))[:, None, :]
    with np.errstate(invalid="ignore", under="ignore"):
        weights = np.exp(beta * (patch - patch[:, radius, radius, None, None])) * inside
    total = weights.sum(axis=(1, 2))
    step = np.stack([(weights.sum(axis=1) * offsets).sum(axis=1), (weights.sum(axis=2) * offsets).sum(axis=1)], axis=-1)
    return _shaped(maps, peaks + step / total[:, None], height)


def windows(maps: np.ndarray, window: int, floor: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """What is worth keeping of a map: its values around the best peak, and around the best of the rest.

    Args:
        maps: (..., height, width).
        window: px, side of a window; smaller maps are kept whole.
        floor: values below it become 0, and a second peak below it is none.

    Returns:
        (..., 2, rows, columns) float16 and (..., 2, 2) int16, the x y of each window's top-left px. Where there is no
        such peak, and where the second window overlaps the first, the values are 0.
    """
    *batch, height, width = maps.shape
    rest = np.nan_to_num(np.asarray(maps, dtype=np.float32).reshape(-1, height, width))  # a copy
    rest[rest < floor] = 0
    rows, columns = min(window, height), min(window, width)
    each = np.arange(len(rest))[:, None, None]
    kept = np.zeros((len(rest), 2, rows, columns), dtype=np.float16)
    corners = np.zeros((len(rest), 2, 2), dtype=np.int16)
    for k in range(2):
        y, x = np.divmod(rest.reshape(len(rest), -1).argmax(axis=1), width)
        found = rest[np.arange(len(rest)), y, x] > 0
        corners[:, k, 0] = np.where(found, np.clip(x - columns // 2, 0, width - columns), 0)
        corners[:, k, 1] = np.where(found, np.clip(y - rows // 2, 0, height - rows), 0)
        y = corners[:, k, 1, None, None] + np.arange(rows)[:, None]
        x = corners[:, k, 0, None, None] + np.arange(columns)
        kept[:, k] = np.where(found[:, None, None], rest[each, y, x], 0)
        rest[each, y, x] = 0
    return kept.reshape(*batch, 2, rows, columns), corners.reshape(*batch, 2, 2)


def _peaks(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(maps, height, width), the highest pixel of each as (maps, 2) int x y, and its height, (maps,)."""
    *_, rows, columns = maps.shape
    flat = maps.reshape(-1, rows, columns)
    y, x = np.divmod(flat.reshape(len(flat), -1).argmax(axis=1), columns)
    return flat, np.stack([x, y], axis=-1), flat[np.arange(len(flat)), y, x]


def _uphill(flat: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """(maps, 2) in {-1, 0, 1}: on which side of the peak the map is higher, x y; 0 at the border."""
    *_, rows, columns = flat.shape
    each = np.arange(len(flat))
    x, y = peaks[:, 0], peaks[:, 1]
    right, left = flat[each, y, np.minimum(x + 1, columns - 1)], flat[each, y, np.maximum(x - 1, 0)]
    below, above = flat[each, np.minimum(y + 1, rows - 1), x], flat[each, np.maximum(y - 1, 0), x]
    sign_x = np.where((x > 0) & (x < columns - 1), np.sign(right - left), 0)
    sign_y = np.where((y > 0) & (y < rows - 1), np.sign(below - above), 0)
    return np.stack([sign_x, sign_y], axis=-1)


def _patches(flat: np.ndarray, peaks: np.ndarray, radius: int, blur: float) -> np.ndarray:
    """(maps, 2 radius + 1, 2 radius + 1) around the peaks, blurred; pixels off the map repeat its border."""
    *_, rows, columns = flat.shape
    reach = int(np.ceil(3 * blur))
    offsets = np.arange(-radius - reach, radius + reach + 1)
    y = np.clip(peaks[:, 1:] + offsets, 0, rows - 1)
    x = np.clip(peaks[:, :1] + offsets, 0, columns - 1)
    patch = flat[np.arange(len(flat))[:, None, None], y[:, :, None], x[:, None, :]].astype(np.float64)
    if reach == 0:
        return patch
    # Only what the derivatives need is blurred: a banded matrix from the left and from the right.
    steps = np.arange(len(offsets)) - reach - np.arange(2 * radius + 1)[:, None]
    band = np.where(np.abs(steps) <= reach, np.exp(-(steps**2) / (2 * blur**2)), 0)
    band /= band.sum(axis=1, keepdims=True)
    return band @ patch @ band.T


def _shaped(maps: np.ndarray, points: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    batch = maps.shape[:-2]
    known = height > 0  # false for NaN
    points = np.where(known[:, None], points, np.nan)
    scores = np.where(known, np.minimum(height, 1), 0)
    return points.reshape(*batch, 2), scores.reshape(batch)
