"""Heatmaps: draw targets, decode peaks, keep a map as two small windows and a coarse background.

(0, 0) is the centre of a map's top-left pixel. Which px of the picture that is, `image_from_map` says, beside the maps.
"""

import math

import numpy as np

from pipeline.compiled import njit

_TINY = 1e-10  # logarithms stop here
_FAINT = np.float32(1e-6)  # a background that is lower is none


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
    *batch, _ = points.shape
    width, height = size
    flat = points.reshape(-1, 2)
    # A Gaussian is the product of two: one exp a column and one a row, by NumPy, which has it in vector instructions.
    factors = np.exp(_exponents(flat, width, height, 2 * sigma**2))
    return _outer(flat, factors, width, height).reshape(*batch, height, width)


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
    flat = _numbers(maps)
    peaks, scores = _peaks(flat)
    _quarter_steps(flat, peaks)
    return peaks.reshape(*maps.shape[:-2], 2), scores.reshape(maps.shape[:-2])


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
    flat = _numbers(maps)
    peaks, scores = _peaks(flat)
    reach = math.ceil(3 * blur)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * blur**2)) if reach else np.ones(1)
    _newton_steps(flat, peaks, kernel / kernel.sum())
    return peaks.reshape(*maps.shape[:-2], 2), scores.reshape(maps.shape[:-2])


def decode_soft(maps: np.ndarray, radius: int = 3, beta: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Soft-argmax near the highest pixel: the mean position under softmax(beta * map) (Sun 2018), in a local window.

    Args:
        maps: (..., height, width).
        radius: map px; the window is the square from -radius to radius around the peak.
        beta: the larger, the closer to the plain argmax.

    Returns:
        As `decode_quarter`.
    """
    flat = _numbers(maps)
    peaks, scores = _peaks(flat)
    _mean_steps(flat, peaks, radius, beta)
    return peaks.reshape(*maps.shape[:-2], 2), scores.reshape(maps.shape[:-2])


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
    flat = np.ascontiguousarray(maps, dtype=np.float32).reshape(-1, height, width)
    kept, corners = _cut(flat, min(window, height), min(window, width), np.float32(floor))
    return kept.view(np.float16).reshape(*batch, *kept.shape[1:]), corners.reshape(*batch, 2, 2)


def background(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What lies outside of the windows, roughly: means of 4 x 4 px, negative values and NaN counting as 0.

    A network that is not sure leaves low, wide heat; without it RPSM loses whole limbs (benchmarks/geometry_heatmaps.py).

    Args:
        maps: (..., height, width).

    Returns:
        (..., height / 4, width / 4) uint8, rounded up, and (...) float32, the value of 255.
    """
    *batch, height, width = maps.shape
    flat = np.ascontiguousarray(maps, dtype=np.float32).reshape(-1, height, width)
    coarse, scale = _coarse(flat)
    return coarse.reshape(*batch, *coarse.shape[1:]), scale.reshape(batch)


def keep(maps: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a file keeps of maps: `windows` with its usual floor, and `background`, in one pass, with the same bytes.

    Args:
        maps: (..., height, width).
        window: px, side of a window; smaller maps are kept whole.

    Returns:
        Windows and corners as `windows` has them, the means and their scale as `background` has them.
    """
    *batch, height, width = maps.shape
    flat = np.ascontiguousarray(maps, dtype=np.float32).reshape(-1, height, width)
    size = min(window, height), min(window, width)
    kept, corners, coarse, scale = _cut_and_coarse(flat, *size, np.float32(1e-4))
    return (
        kept.view(np.float16).reshape(*batch, *kept.shape[1:]),
        corners.reshape(*batch, 2, 2),
        coarse.reshape(*batch, *coarse.shape[1:]),
        scale.reshape(batch),
    )


def whole(
    windows: np.ndarray, corners: np.ndarray, coarse: np.ndarray, scale: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The maps of which `windows` and `background` kept what matters.

    The first window counts, then what is positive in the second, and elsewhere the background, bilinear.

    Args:
        windows: (..., 2, rows, columns) float16, finite; negative values count as 0.
        corners: (..., 2, 2) integers, x y of each window's top-left px.
        coarse: (..., height / 4, width / 4) uint8, rounded up.
        scale: (...) the value of 255.
        size: (width, height) px of a map.

    Returns:
        (..., height, width) float32.

    Raises:
        ValueError: a window lies outside of its map.
    """
    *batch, two, rows, columns = windows.shape
    number = math.prod(batch)
    bits = np.ascontiguousarray(windows, dtype=np.float16).view(np.uint16).reshape(number, two, rows, columns)
    places = np.ascontiguousarray(corners, dtype=np.int16).reshape(number, two, 2)
    behind = np.ascontiguousarray(coarse, dtype=np.uint8).reshape(number, *coarse.shape[-2:])
    heights = np.ascontiguousarray(scale, dtype=np.float32).reshape(-1)
    width, height = size
    if behind.shape[1:] != (-(-height // 4), -(-width // 4)):
        raise ValueError(f"a background of {behind.shape[1:]} does not belong to maps of {(height, width)}")
    return _put(bits, places, behind, heights, width, height).reshape(*batch, height, width)


# The loops. Each leaves the interpreter's lock and is compiled once for all runs. Inner loops go along a row without a branch
# or a sum, so that they become vector instructions.


@njit(cache=True, nogil=True, error_model="numpy")
def _exponents(points, width, height, scale):
    """(points, width + height) of the columns' Gaussians, then of the rows'."""
    exponents = np.empty((len(points), width + height))
    for n in range(len(points)):
        for x in range(width):
            step = x - points[n, 0]
            exponents[n, x] = -(step * step) / scale
        for y in range(height):
            step = y - points[n, 1]
            exponents[n, width + y] = -(step * step) / scale
    return exponents


@njit(cache=True, nogil=True, error_model="numpy")
def _outer(points, factors, width, height):
    maps = np.empty((len(points), height, width), dtype=np.float32)
    for n in range(len(points)):
        if np.isfinite(points[n, 0]) and np.isfinite(points[n, 1]):
            for y in range(height):
                row = factors[n, width + y]
                for x in range(width):
                    maps[n, y, x] = row * factors[n, x]
        else:
            maps[n] = 0
    return maps


def _numbers(maps: np.ndarray) -> np.ndarray:
    """(maps, height, width) float32 or float64, in C order."""
    maps = np.ascontiguousarray(maps, dtype=None if maps.dtype in (np.float32, np.float64) else np.float32)
    return maps.reshape(-1, *maps.shape[-2:])


@njit(cache=True, nogil=True, error_model="numpy")
def _rise(grid, top, bottom, left, right, nans, best):
    """best[x] becomes the maximum of what it was and of column x of a rectangle; a NaN stays, or is passed over."""
    for y in range(top, bottom):
        for x in range(left, right):
            value = grid[y, x]
            best[x] = value if (value > best[x]) | (nans & (value != value)) else best[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _peaks(flat):
    """(maps, 2) x y of each map's highest pixel, the first of several, and (maps,) its height, at most 1; NaN and 0 for none."""
    number, rows, columns = flat.shape
    peaks, scores = np.full((number, 2), np.nan), np.zeros(number, dtype=flat.dtype)
    best = np.empty(columns, dtype=flat.dtype)
    for n in range(number):
        best[:] = 0
        _rise(flat[n], 0, rows, 0, columns, True, best)
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
        scores[n] = min(height, flat.dtype.type(1))
    return peaks, scores


@njit(cache=True, nogil=True, error_model="numpy")
def _uphill(grid, x, y):
    """On which side of a pixel the map is higher, x y, each in {-1, 0, 1}; 0 at the border."""
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
    reach = len(kernel) // 2
    side = 5 + 2 * reach
    across = np.empty((side, 5))
    log = np.empty((5, 5))  # of the blurred map around the peak, y x: its derivatives need no more
    for n in range(number):
        if np.isnan(peaks[n, 0]):
            continue
        grid = flat[n]
        x, y = int(peaks[n, 0]), int(peaks[n, 1])
        side_x, side_y = _uphill(grid, x, y)
        step_x, step_y = 0.25 * side_x, 0.25 * side_y
        if 2 <= x < columns - 2 and 2 <= y < rows - 2:
            for i in range(side):
                row = grid[min(max(y - 2 - reach + i, 0), rows - 1)]  # pixels off the map repeat its border
                for j in range(5):
                    total = 0.0
                    for k in range(2 * reach + 1):
                        total += kernel[k] * row[min(max(x - 2 - reach + j + k, 0), columns - 1)]
                    across[i, j] = total
            for i in range(5):
                for j in range(5):
                    total = 0.0
                    for k in range(2 * reach + 1):
                        total += kernel[k] * across[i + k, j]
                    log[i, j] = math.log(max(total, _TINY))
            slope_x, slope_y = (log[2, 3] - log[2, 1]) / 2, (log[3, 2] - log[1, 2]) / 2
            bend_x = (log[2, 4] - 2 * log[2, 2] + log[2, 0]) / 4
            bend_y = (log[4, 2] - 2 * log[2, 2] + log[0, 2]) / 4
            bend_xy = (log[3, 3] - log[3, 1] - log[1, 3] + log[1, 1]) / 4
            determinant = bend_x * bend_y - bend_xy * bend_xy
            if determinant > 0 and bend_x < 0:
                newton_x = (bend_xy * slope_y - bend_y * slope_x) / determinant
                newton_y = (bend_xy * slope_x - bend_x * slope_y) / determinant
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


@njit(cache=True, nogil=True, error_model="numpy")
def _cut(flat, rows, columns, floor):
    """(maps, 2, rows, columns) float16, as bits, around the best peak and the best elsewhere, and (maps, 2, 2) corners."""
    number, height, width = flat.shape
    kept = np.zeros((number, 2, rows, columns), dtype=np.uint16)
    corners = np.zeros((number, 2, 2), dtype=np.int16)
    best = np.empty(width, dtype=np.float32)
    values = np.empty(columns, dtype=np.float32)
    line = values.view(np.int32)
    scale = np.float32(2.0**-112)  # as in _put
    for n in range(number):
        grid = flat[n]
        top, left, bottom, right = 0, 0, 0, 0  # of the first window
        for k in range(2):
            best[:] = 0
            _rise(grid, 0, top, 0, width, False, best)
            _rise(grid, top, bottom, 0, left, False, best)
            _rise(grid, top, bottom, right, width, False, best)
            _rise(grid, bottom, height, 0, width, False, best)
            peak = np.float32(0)
            for x in range(width):
                peak = max(peak, best[x])
            if peak < floor or not peak > 0:
                break
            first, column = height, 0
            for x in range(width):
                if best[x] == peak:
                    for y in range(first):
                        if grid[y, x] == peak and not (top <= y < bottom and left <= x < right):
                            first, column = y, x
                            break
            corner_y = min(max(first - rows // 2, 0), height - rows)
            corner_x = min(max(column - columns // 2, 0), width - columns)
            corners[n, k, 0], corners[n, k, 1] = corner_x, corner_y
            for i in range(rows):
                for j in range(columns):
                    value = grid[corner_y + i, corner_x + j]
                    values[j] = value * scale if value >= floor else np.float32(0)
                for j in range(
                    columns
                ):  # to the nearest float16, to the even one of two; what is too large, to infinity
                    rounded = (line[j] + 0xFFF + ((line[j] >> 13) & 1)) >> 13
                    kept[n, k, i, j] = min(rounded, 0x7C00)
            if k == 1:  # what both would hold is the first window's
                for i in range(max(top - corner_y, 0), min(bottom - corner_y, rows)):
                    for j in range(max(left - corner_x, 0), min(right - corner_x, columns)):
                        kept[n, k, i, j] = 0
            top, left, bottom, right = corner_y, corner_x, corner_y + rows, corner_x + columns
    return kept, corners


@njit(cache=True, nogil=True, error_model="numpy")
def _coarse(flat):
    number, height, width = flat.shape
    rows, columns = -(-height // 4), -(-width // 4)
    coarse = np.empty((number, rows, columns), dtype=np.uint8)
    scale = np.empty(number, dtype=np.float32)
    line = np.empty(width, dtype=np.float32)
    means = np.empty((rows, columns), dtype=np.float32)
    none, largest = np.float32(0), np.float32(65504)
    for n in range(number):
        top = none
        for i in range(rows):
            line[:] = 0
            last = min(4 * i + 4, height)
            for y in range(4 * i, last):
                for x in range(width):
                    value = flat[n, y, x]
                    line[x] += value if (value > none) & (value <= largest) else none
            for j in range(columns):
                end = min(4 * j + 4, width)
                total = none
                for x in range(4 * j, end):
                    total += line[x]
                means[i, j] = total / np.float32((last - 4 * i) * (end - 4 * j))
                top = max(top, means[i, j])
        if top < _FAINT:
            top = none
        scale[n] = top
        factor = np.float32(255) / top if top > none else none
        for i in range(rows):
            for j in range(columns):
                coarse[n, i, j] = np.uint8(min(means[i, j] * factor + np.float32(0.5), np.float32(255)))
    return coarse, scale


@njit(cache=True, nogil=True, error_model="numpy")
def _band(grid, line, highest):
    """Sums, as a background counts them, and maxima of each column of up to four rows; 0 where nothing is positive."""
    none, largest = np.float32(0), np.float32(65504)
    if len(grid) == 4:
        for x in range(grid.shape[1]):
            a, b, c, d = grid[0, x], grid[1, x], grid[2, x], grid[3, x]
            total = a if (a > none) & (a <= largest) else none
            total += b if (b > none) & (b <= largest) else none
            total += c if (c > none) & (c <= largest) else none
            total += d if (d > none) & (d <= largest) else none
            line[x] = total
            top = a if a > none else none
            top = b if b > top else top
            top = c if c > top else top
            highest[x] = d if d > top else top
    else:
        line[:] = none
        highest[:] = none
        for y in range(len(grid)):
            for x in range(grid.shape[1]):
                value = grid[y, x]
                line[x] += value if (value > none) & (value <= largest) else none
                highest[x] = value if value > highest[x] else highest[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _cut_and_coarse(flat, rows, columns, floor):
    """`_cut` and `_coarse`: maxima of four rows are taken with their sums, and the second peak is looked for in these."""
    number, height, width = flat.shape
    bands, across = -(-height // 4), -(-width // 4)
    kept = np.zeros((number, 2, rows, columns), dtype=np.uint16)
    corners = np.zeros((number, 2, 2), dtype=np.int16)
    coarse = np.empty((number, bands, across), dtype=np.uint8)
    scales = np.empty(number, dtype=np.float32)
    highest = np.empty((bands, width), dtype=np.float32)  # of a column's four px
    means = np.empty((bands, across), dtype=np.float32)
    faint = np.empty(across, dtype=np.float32)
    line = np.empty(width, dtype=np.float32)
    best = np.empty(width, dtype=np.float32)
    values = np.empty(columns, dtype=np.float32)
    bits = values.view(np.int32)
    half = np.float32(2.0**-112)  # as in _put
    none = np.float32(0)
    for n in range(number):
        grid = flat[n]
        faint[:] = none
        for i in range(bands):
            last = min(4 * i + 4, height)
            _band(grid[4 * i : last], line, highest[i])
            whole_blocks = width // 4 if last == 4 * i + 4 else 0
            for j in range(whole_blocks):  # a 16th is exact
                total = line[4 * j] + line[4 * j + 1] + line[4 * j + 2] + line[4 * j + 3]
                means[i, j] = total * np.float32(1 / 16)
            for j in range(whole_blocks, across):
                end = min(4 * j + 4, width)
                total = none
                for x in range(4 * j, end):
                    total += line[x]
                means[i, j] = total / np.float32((last - 4 * i) * (end - 4 * j))
            for j in range(across):
                faint[j] = means[i, j] if means[i, j] > faint[j] else faint[j]
        scale = none
        for j in range(across):
            scale = max(scale, faint[j])
        if scale < _FAINT:
            scale = none
        scales[n] = scale
        factor = np.float32(255) / scale if scale > none else none
        for i in range(bands):
            for j in range(across):
                share = means[i, j] * factor + np.float32(0.5)
                coarse[n, i, j] = np.uint8(np.int32(share if share < np.float32(255) else np.float32(255)))

        top, left, bottom, right = 0, 0, 0, 0  # of the first window
        for k in range(2):
            best[:] = none
            for i in range(bands):
                start, last = 4 * i, min(4 * i + 4, height)
                if last <= top or start >= bottom:
                    for x in range(width):
                        best[x] = highest[i, x] if highest[i, x] > best[x] else best[x]
                else:  # beside the window its columns are whole; above and below it, they are looked at again
                    for x in range(left):
                        best[x] = highest[i, x] if highest[i, x] > best[x] else best[x]
                    for x in range(right, width):
                        best[x] = highest[i, x] if highest[i, x] > best[x] else best[x]
                    _rise(grid, start, min(top, last), left, right, False, best)
                    _rise(grid, max(bottom, start), last, left, right, False, best)
            peak = none
            for x in range(width):
                peak = max(peak, best[x])
            if peak < floor or not peak > 0:
                break
            first, column = height, 0
            for x in range(width):
                if best[x] == peak:
                    for y in range(first):
                        if grid[y, x] == peak and not (top <= y < bottom and left <= x < right):
                            first, column = y, x
                            break
            corner_y = min(max(first - rows // 2, 0), height - rows)
            corner_x = min(max(column - columns // 2, 0), width - columns)
            corners[n, k, 0], corners[n, k, 1] = corner_x, corner_y
            for i in range(rows):
                for j in range(columns):
                    value = grid[corner_y + i, corner_x + j]
                    values[j] = value * half if value >= floor else none
                for j in range(columns):  # to the nearest float16, as in _cut
                    rounded = (bits[j] + 0xFFF + ((bits[j] >> 13) & 1)) >> 13
                    kept[n, k, i, j] = min(rounded, 0x7C00)
            if k == 1:  # what both would hold is the first window's
                for i in range(max(top - corner_y, 0), min(bottom - corner_y, rows)):
                    for j in range(max(left - corner_x, 0), min(right - corner_x, columns)):
                        kept[n, k, i, j] = 0
            top, left, bottom, right = corner_y, corner_x, corner_y + rows, corner_x + columns
    return kept, corners, coarse, scales


@njit(cache=True, nogil=True, error_model="numpy")
def _put(bits, corners, coarse, scales, width, height):
    number, two, rows, columns = bits.shape
    maps = np.empty((number, height, width), dtype=np.float32)
    lines = np.empty((coarse.shape[1], 4 * coarse.shape[2]), dtype=np.float32)
    line = np.empty(columns, dtype=np.int32)
    values = line.view(np.float32)
    # A float16's exponent and fraction, moved to where a float32 has them, say 2^-112 of the value; subnormals as well.
    scale = np.float32(2.0**112)
    below = np.empty(
        max(width, height), dtype=np.int64
    )  # pixel -> the coarse one before its centre, and how far past it
    past = np.empty(height, dtype=np.float32)
    for y in range(height):
        below[y] = (y + 2) // 4 - 1
        past[y] = np.float32((y + 0.5) / 4 - 0.5 - below[y])
    for n in range(number):
        step = scales[n] / np.float32(255)
        for i in range(coarse.shape[1]):
            left = np.float32(coarse[n, i, 0]) * step
            lines[i, :2] = left
            for j in range(1, coarse.shape[2]):
                right = np.float32(coarse[n, i, j]) * step
                rise = (right - left) * np.float32(0.125)
                for k in range(4):
                    lines[i, 4 * j - 2 + k] = left + np.float32(2 * k + 1) * rise
                left = right
            lines[i, 4 * coarse.shape[2] - 2 :] = left
        for y in range(height):
            over, under = lines[max(below[y], 0)], lines[min(below[y] + 1, coarse.shape[1] - 1)]
            share = past[y]
            for x in range(width):
                maps[n, y, x] = over[x] + share * (under[x] - over[x])
        for k in range(two - 1, -1, -1):
            left, top = corners[n, k, 0], corners[n, k, 1]
            if left < 0 or top < 0 or left + columns > width or top + rows > height:
                raise ValueError("a window lies outside of its map")
            for i in range(rows):
                for j in range(columns):
                    bit = np.int32(bits[n, k, i, j])
                    line[j] = bit << 13 if bit < 0x8000 else 0
                for j in range(columns):
                    value = values[j] * scale
                    there = maps[n, top + i, left + j]
                    maps[n, top + i, left + j] = value if (k == 0) | (value > 0) else there
    return maps
