"""Render, decode, compress and decompress heatmaps in plain NumPy: the reference of the compiled loops."""

import numpy as np

_TINY = 1e-10


def render(keypoints: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    keypoints = np.asarray(keypoints, dtype=np.float64)
    width, height = size
    with np.errstate(under="ignore"):
        columns = np.exp(-((np.arange(width) - keypoints[..., 0, None]) ** 2) / (2 * sigma**2))  # (..., width)
        rows = np.exp(-((np.arange(height) - keypoints[..., 1, None]) ** 2) / (2 * sigma**2))  # (..., height)
        maps = (rows[..., :, None] * columns[..., None, :]).astype(np.float32)
    maps[~np.isfinite(keypoints).all(axis=-1)] = 0
    return maps


def decode_quarter(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat, peaks, height = _peaks(maps)
    keypoints = peaks + 0.25 * _uphill(flat, peaks)
    return _shaped(maps, keypoints, height)


def decode_dark(maps: np.ndarray, blur: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
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
    keypoints = peaks + np.where(hill[:, None], step, 0.25 * _uphill(flat, peaks))
    return _shaped(maps, keypoints, height)


def decode_soft(maps: np.ndarray, radius: int = 3, beta: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    flat, peaks, height = _peaks(maps)
    patch = _patches(flat, peaks, radius, 0.0)
    offsets = np.arange(-radius, radius + 1)
    rows, columns = flat.shape[1:]
    x, y = peaks[:, :1] + offsets, peaks[:, 1:] + offsets  # (maps, side)
    inside = ((y >= 0) & (y < rows))[:, :, None] & ((x >= 0) & (x < columns))[:, None, :]
    with np.errstate(invalid="ignore", under="ignore"):
        weights = np.exp(beta * (patch - patch[:, radius, radius, None, None])) * inside
    total = weights.sum(axis=(1, 2))
    step = np.stack([(weights.sum(axis=1) * offsets).sum(axis=1), (weights.sum(axis=2) * offsets).sum(axis=1)], axis=-1)
    return _shaped(maps, peaks + step / total[:, None], height)


def peak_patches(maps: np.ndarray, side: int, floor: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    *batch, height, width = maps.shape
    rest = np.nan_to_num(np.asarray(maps, dtype=np.float32).reshape(-1, height, width))  # a copy
    rest[rest < floor] = 0
    rows, columns = min(side, height), min(side, width)
    each = np.arange(len(rest))[:, None, None]
    patches = np.zeros((len(rest), 2, rows, columns), dtype=np.float16)
    corners = np.zeros((len(rest), 2, 2), dtype=np.int16)
    for k in range(2):
        y, x = np.divmod(rest.reshape(len(rest), -1).argmax(axis=1), width)
        found = rest[np.arange(len(rest)), y, x] > 0
        corners[:, k, 0] = np.where(found, np.clip(x - columns // 2, 0, width - columns), 0)
        corners[:, k, 1] = np.where(found, np.clip(y - rows // 2, 0, height - rows), 0)
        y = corners[:, k, 1, None, None] + np.arange(rows)[:, None]
        x = corners[:, k, 0, None, None] + np.arange(columns)
        patches[:, k] = np.where(found[:, None, None], rest[each, y, x], 0)
        rest[each, y, x] = 0
    return patches.reshape(*batch, 2, rows, columns), corners.reshape(*batch, 2, 2)


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


def _shaped(maps: np.ndarray, keypoints: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    batch = maps.shape[:-2]
    known = height > 0  # false for NaN
    keypoints = np.where(known[:, None], keypoints, np.nan)
    scores = np.where(known, height, 0)
    return keypoints.reshape(*batch, 2), scores.reshape(batch)


def decompress_patches(patches: np.ndarray, corners: np.ndarray, width: int, height: int) -> np.ndarray:
    *batch, _, rows, columns = patches.shape
    flat = np.zeros((int(np.prod(batch)), height, width), dtype=np.float32)
    patches = patches.reshape(len(flat), 2, rows, columns).astype(np.float32)
    corners = corners.reshape(len(flat), 2, 2).astype(int)
    each = np.arange(len(flat))[:, None, None]
    for k in range(2):
        y = corners[:, k, 1, None, None] + np.arange(rows)[:, None]
        x = corners[:, k, 0, None, None] + np.arange(columns)
        flat[each, y, x] = np.maximum(flat[each, y, x], patches[:, k])
    return flat.reshape(*batch, height, width)


def coarse_map(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.where(maps > 0, maps, 0).astype(np.float64)
    *batch, height, width = values.shape
    rows, columns = -(-height // 4), -(-width // 4)
    means = np.empty((*batch, rows, columns))
    for i in range(rows):
        for j in range(columns):
            means[..., i, j] = values[..., 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean(axis=(-2, -1))
    means = np.maximum(_sharpened(_sharpened(means).swapaxes(-2, -1)).swapaxes(-2, -1), 0)
    top = means.max(axis=(-2, -1))
    means[top < 1e-6], top[top < 1e-6] = 0, 0
    return np.floor(means / np.where(top > 0, top, 1)[..., None, None] * 255 + 0.5).astype(int), top


def _sharpened(lines: np.ndarray) -> np.ndarray:
    """(..., n): 5/4 of each number less 1/8 of both neighbours, the border repeated."""
    padded = np.concatenate([lines[..., :1], lines, lines[..., -1:]], axis=-1)
    return 1.25 * lines - 0.125 * (padded[..., :-2] + padded[..., 2:])


def enlarge(coarse: np.ndarray, scale: np.ndarray, width: int, height: int) -> np.ndarray:
    rows, columns = coarse.shape[-2:]
    y = np.clip((np.arange(height) + 0.5) / 4 - 0.5, 0, rows - 1)
    x = np.clip((np.arange(width) + 0.5) / 4 - 0.5, 0, columns - 1)
    across = np.maximum(1 - np.abs(x[:, None] - np.arange(columns)), 0)  # (width, columns)
    down = np.maximum(1 - np.abs(y[:, None] - np.arange(rows)), 0)
    return down @ coarse @ across.T * (np.asarray(scale, dtype=np.float64) / 255)[..., None, None]
