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


DECODERS = {"dark": decode_dark, "quarter": decode_quarter, "soft": decode_soft}  # as parameters call them


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
    return keep(maps, window, floor)[:2]


def background(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What lies outside of the windows, roughly: a bilinear surface with one number for 4 x 4 px.

    The numbers are means of 4 x 4 px, negative values and NaN counting as 0, sharpened so that the means of the surface
    are those of the map within a few per cent: bilinear between means would blunt twice what is there.

    A network that is not sure leaves low, wide heat; without it RPSM loses whole limbs (benchmarks/geometry_heatmaps.py).

    Args:
        maps: (..., height, width).

    Returns:
        (..., height / 4, width / 4) uint8, rounded up, and (...) float32, the value of 255.
    """
    return keep(maps, 1)[2:]


def keep(maps: np.ndarray, window: int, floor: float = 1e-4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a file keeps of maps: `windows`, then `background`, in one pass.

    Args:
        maps: (..., height, width).
        window: px, side of a window; smaller maps are kept whole.
        floor: values below it are 0 in a window.

    Returns:
        Windows and corners as `windows` has them, the surface and its scale as `background` has them.
    """
    *batch, height, width = maps.shape
    flat = np.ascontiguousarray(maps, dtype=np.float32).reshape(-1, height, width)
    side = min(window, height), min(window, width)
    kept, corners, coarse, scale = _keep(flat, *side, np.float32(floor))
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
def _bands(grid, highest, means):
    """Maxima of four rows, column by column, 0 where nothing is positive, and means of 4 x 4 px."""
    height, width = grid.shape
    none, largest = np.float32(0), np.float32(65504)
    fours = np.empty((means.shape[1], 4), dtype=np.float32)
    line = fours.reshape(4 * len(fours))
    line[width:] = none
    for i in range(len(means)):
        rows, y = min(4, height - 4 * i), 4 * i
        if rows == 4:
            for x in range(width):
                a, b, c, d = grid[y, x], grid[y + 1, x], grid[y + 2, x], grid[y + 3, x]
                a, b = a if a > none else none, b if b > none else none
                c, d = c if c > none else none, d if d > none else none
                above, below = a if a > b else b, c if c > d else d
                highest[i, x] = above if above > below else below
                a, b = a if a <= largest else none, b if b <= largest else none
                c, d = c if c <= largest else none, d if d <= largest else none
                line[x] = (a + b) + (c + d)
        else:
            for x in range(width):
                highest[i, x] = line[x] = none
            for y in range(4 * i, height):
                for x in range(width):
                    value = grid[y, x] if grid[y, x] > none else none
                    highest[i, x] = value if value > highest[i, x] else highest[i, x]
                    line[x] += value if value <= largest else none
        share = np.float32(1 / (4 * rows))
        for j in range(means.shape[1]):
            means[i, j] = ((fours[j, 0] + fours[j, 1]) + (fours[j, 2] + fours[j, 3])) * share
        if width % 4:
            means[i, -1] *= np.float32(4 / (width % 4))


@njit(cache=True, nogil=True, error_model="numpy")
def _sharpen(means, padded, line, surface):
    """(rows, columns) means to the numbers of the bilinear surface, nearly, that has them; negative ones become 0.

    Bilinear at four px a number, then means again, is M = (1, 6, 1) / 8 along each axis, with numbers repeated at the border;
    this is 2 - M, whose product with M is 1 but for (1 - M)^2.
    """
    rows, columns = means.shape
    here, beside = np.float32(5 / 4), np.float32(-1 / 8)
    for i in range(rows):
        for j in range(columns):
            padded[i + 1, j + 1] = means[i, j]
        padded[i + 1, 0], padded[i + 1, columns + 1] = means[i, 0], means[i, columns - 1]
    for j in range(columns + 2):
        padded[0, j], padded[rows + 1, j] = padded[1, j], padded[rows, j]
    for i in range(rows):
        for j in range(columns + 2):
            line[j] = here * padded[i + 1, j] + beside * (padded[i, j] + padded[i + 2, j])
        for j in range(columns):
            value = here * line[j + 1] + beside * (line[j] + line[j + 2])
            surface[i, j] = value if value > 0 else np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _keep(flat, rows, columns, floor):
    """(maps, 2, rows, columns) float16, as bits, around the best peak and the best elsewhere, and (maps, 2, 2) corners;
    (maps, height / 4, width / 4) uint8 and (maps,) the value of 255."""
    number, height, width = flat.shape
    bands, across = -(-height // 4), -(-width // 4)
    kept = np.empty((number, 2, rows, columns), dtype=np.uint16)
    corners = np.zeros((number, 2, 2), dtype=np.int16)
    coarse = np.empty((number, bands, across), dtype=np.uint8)
    scales = np.empty(number, dtype=np.float32)
    highest = np.empty((bands, width), dtype=np.float32)
    means = np.empty((bands, across), dtype=np.float32)
    surface, padded = np.empty_like(means), np.empty((bands + 2, across + 2), dtype=np.float32)
    line = np.empty(across + 2, dtype=np.float32)
    levels = surface.reshape(bands * across)
    best = np.empty(width, dtype=np.float32)
    lines = np.empty((rows, columns), dtype=np.float32)
    patch = lines.reshape(rows * columns)
    # Floats that are not negative are in the order of their bits, and a maximum of integers becomes vector instructions.
    best_bits, level_bits, patch_bits = best.view(np.int32), levels.view(np.int32), patch.view(np.int32)
    half = np.float32(2.0**-112)  # as in _put
    none = np.float32(0)
    for n in range(number):
        grid = flat[n]
        _bands(grid, highest, means)
        _sharpen(means, padded, line, surface)
        most = np.int32(0)
        for i in range(len(levels)):
            most = max(most, level_bits[i])
        scale = none
        for i in range(len(levels)):
            if level_bits[i] == most:
                scale = levels[i]
                break
        if scale < _FAINT:
            scale = none
        scales[n] = scale
        factor = np.float32(255) / scale if scale > none else none
        shares = coarse[n].reshape(bands * across)
        for i in range(len(levels)):
            share = levels[i] * factor + np.float32(0.5)
            shares[i] = np.uint8(np.int32(share if share < np.float32(255) else np.float32(255)))

        top, left, bottom, right = 0, 0, 0, 0  # of the first window
        found = 0
        while found < 2:
            best[:] = none
            for i in range(bands):
                for x in range(width):
                    best[x] = highest[i, x] if highest[i, x] > best[x] else best[x]
            most = np.int32(0)
            for x in range(width):
                most = max(most, best_bits[x])
            first, column, peak = height, 0, none
            for x in range(width):
                if best_bits[x] == most:
                    peak = best[x]
                    if peak < floor or not peak > none:
                        break
                    for y in range(first):
                        if grid[y, x] == peak and not (top <= y < bottom and left <= x < right):
                            first, column = y, x
                            break
            if peak < floor or not peak > none:
                break
            corner_y = max(min(first - rows // 2, height - rows), 0)
            corner_x = max(min(column - columns // 2, width - columns), 0)
            corners[n, found, 0], corners[n, found, 1] = corner_x, corner_y
            for i in range(rows):
                for j in range(columns):
                    lines[i, j] = grid[corner_y + i, corner_x + j]
            if found == 1:  # what both would hold is the first window's
                for i in range(max(top - corner_y, 0), min(bottom - corner_y, rows)):
                    for j in range(max(left - corner_x, 0), min(right - corner_x, columns)):
                        lines[i, j] = none
            for j in range(len(patch)):
                patch[j] = patch[j] * half if patch[j] >= floor else none
            bits = kept[n, found].reshape(rows * columns)
            for j in range(
                len(patch)
            ):  # to the nearest float16, to the even one of two; what is too large, to infinity
                rounded = np.int32(patch_bits[j] + 0xFFF + ((patch_bits[j] >> 13) & 1)) >> 13
                bits[j] = min(np.int32(rounded), np.int32(0x7C00))
            found += 1
            if found == 1:  # the rest: maxima without what is in the window
                top, left, bottom, right = corner_y, corner_x, corner_y + rows, corner_x + columns
                for i in range(top // 4, (bottom + 3) // 4):
                    for x in range(left, right):
                        highest[i, x] = none
                    for y in range(4 * i, min(4 * i + 4, height)):
                        if y < top or y >= bottom:
                            for x in range(left, right):
                                value = grid[y, x]
                                highest[i, x] = value if value > highest[i, x] else highest[i, x]
        kept[n, found:] = 0
    return kept, corners, coarse, scales


@njit(cache=True, nogil=True, error_model="numpy")
def _put(bits, corners, coarse, scales, width, height):
    number, two, rows, columns = bits.shape
    maps = np.empty((number, height, width), dtype=np.float32)
    lines = np.empty((coarse.shape[1], 4 * coarse.shape[2]), dtype=np.float32)
    patch = np.empty((rows, columns), dtype=np.int32)
    line, values = patch.reshape(rows * columns), patch.view(np.float32)
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
            lines[i, 0] = lines[i, 1] = left
            for j in range(1, coarse.shape[2]):
                right = np.float32(coarse[n, i, j]) * step
                rise = (right - left) * np.float32(0.125)
                for k in range(4):
                    lines[i, 4 * j - 2 + k] = left + np.float32(2 * k + 1) * rise
                left = right
            lines[i, 4 * coarse.shape[2] - 2] = lines[i, 4 * coarse.shape[2] - 1] = left
        for y in range(height):
            over, under = max(below[y], 0), min(below[y] + 1, coarse.shape[1] - 1)
            share = past[y]
            for x in range(width):
                maps[n, y, x] = lines[over, x] + share * (lines[under, x] - lines[over, x])
        for k in range(two - 1, -1, -1):
            left, top = corners[n, k, 0], corners[n, k, 1]
            if left < 0 or top < 0 or left + columns > width or top + rows > height:
                raise ValueError("a window lies outside of its map")
            flat = bits[n, k].reshape(rows * columns)
            for j in range(len(line)):
                bit = np.int32(flat[j])
                line[j] = bit << 13 if bit < 0x8000 else 0
            for i in range(rows):
                for j in range(columns):
                    value = values[i, j] * scale
                    there = maps[n, top + i, left + j]
                    maps[n, top + i, left + j] = value if (k == 0) | (value > 0) else there
    return maps
