"""Compress a heatmap to two small patches around its peaks and a coarse map of the rest, and decompress it again.

A coarse map is needed because an unsure network leaves low, wide heat; without it RPSM loses whole limbs
(benchmarks/geometry_heatmaps.py).
"""

import math

import numpy as np

from pipeline.compiled import njit

_FAINT = np.float32(1e-6)  # a coarse map whose maximum is lower is 0


def peak_patches(maps: np.ndarray, side: int, floor: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """Return a map's values around its best peak, and around the best peak of the rest.

    Args:
        maps: (..., height, width).
        side: px of a patch; a smaller map is one whole patch.
        floor: values below it become 0; a second peak below it is ignored.

    Returns:
        (..., 2, rows, columns) float16 and (..., 2, 2) int16, the x y of each patch's top-left px. Without such a peak, and
        where the second patch overlaps the first, the values are 0.
    """
    return compress(maps, side, floor)[:2]


def coarse_map(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what lies outside of the patches, roughly: a bilinear surface with one number per 4 x 4 px.

    The numbers are means of 4 x 4 px in which negative values and NaN count as 0. They are sharpened so that the means of the
    surface are those of the map within a few per cent: bilinear interpolation between plain means would blur twice.

    Args:
        maps: (..., height, width).

    Returns:
        (..., height / 4, width / 4) uint8, rounded up, and (...) float32, the value that 255 stands for.
    """
    return compress(maps, 1)[2:]


def compress(maps: np.ndarray, side: int, floor: float = 1e-4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return `peak_patches`, then `coarse_map`, computed in one pass.

    Args:
        maps: (..., height, width).
        side: px of a patch; a smaller map is one whole patch.
        floor: values below it are 0 in a patch.
    """
    *batch, height, width = maps.shape
    flat = np.ascontiguousarray(maps, dtype=np.float32).reshape(-1, height, width)
    rows, columns = min(side, height), min(side, width)
    patches, corners, coarse, scale = _compress(flat, rows, columns, np.float32(floor))
    return (
        patches.view(np.float16).reshape(*batch, *patches.shape[1:]),
        corners.reshape(*batch, 2, 2),
        coarse.reshape(*batch, *coarse.shape[1:]),
        scale.reshape(batch),
    )


def decompress(
    patches: np.ndarray, corners: np.ndarray, coarse: np.ndarray, scale: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Return the maps that were compressed.

    A pixel has the value of the first patch, else the positive value of the second, else that of the coarse map, bilinear.

    Args:
        patches: (..., 2, rows, columns) float16, finite; negative values count as 0.
        corners: (..., 2, 2) integers, x y of each patch's top-left px.
        coarse: (..., height / 4, width / 4) uint8, rounded up.
        scale: (...) the value that 255 stands for.
        size: (width, height) px of a map.

    Returns:
        (..., height, width) float32.

    Raises:
        ValueError: a patch lies outside of its map, or the coarse map is for maps of another size.
    """
    *batch, two, rows, columns = patches.shape
    count = math.prod(batch)
    bits = np.ascontiguousarray(patches, dtype=np.float16).view(np.uint16).reshape(count, two, rows, columns)
    corners = np.ascontiguousarray(corners, dtype=np.int16).reshape(count, two, 2)
    coarse = np.ascontiguousarray(coarse, dtype=np.uint8).reshape(count, *coarse.shape[-2:])
    scale = np.ascontiguousarray(scale, dtype=np.float32).reshape(-1)
    width, height = size
    if coarse.shape[1:] != (-(-height // 4), -(-width // 4)):
        raise ValueError(f"a coarse map of {coarse.shape[1:]} does not belong to maps of {(height, width)}")
    return _decompress(bits, corners, coarse, scale, width, height).reshape(*batch, height, width)


# The loops release the interpreter's lock and are compiled once for all runs. Inner loops go along a row without a branch or
# a sum, so that they become vector instructions.


@njit(cache=True, nogil=True, error_model="numpy")
def _bands(grid, highest, means):
    """Write the maxima of four rows, column by column, 0 where nothing is positive, and the means of 4 x 4 px."""
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
    """Write the numbers whose bilinear surface has nearly these (rows, columns) means; negative numbers become 0.

    Bilinear interpolation at four px per number followed by means is M = (1, 6, 1) / 8 along each axis, with numbers repeated
    at the border. The sharpening is 2 - M, whose product with M is 1 except for (1 - M)^2.
    """
    rows, columns = means.shape
    centre, neighbour = np.float32(5 / 4), np.float32(-1 / 8)
    for i in range(rows):
        for j in range(columns):
            padded[i + 1, j + 1] = means[i, j]
        padded[i + 1, 0], padded[i + 1, columns + 1] = means[i, 0], means[i, columns - 1]
    for j in range(columns + 2):
        padded[0, j], padded[rows + 1, j] = padded[1, j], padded[rows, j]
    for i in range(rows):
        for j in range(columns + 2):
            line[j] = centre * padded[i + 1, j] + neighbour * (padded[i, j] + padded[i + 2, j])
        for j in range(columns):
            value = centre * line[j + 1] + neighbour * (line[j] + line[j + 2])
            surface[i, j] = value if value > 0 else np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _compress(flat, rows, columns, floor):
    """Return the patches, (maps, 2, rows, columns) float16 as bits, their corners, (maps, 2, 2), the coarse maps,
    (maps, height / 4, width / 4) uint8, and the values that 255 stands for, (maps,)."""
    count, height, width = flat.shape
    bands, across = -(-height // 4), -(-width // 4)
    patches = np.empty((count, 2, rows, columns), dtype=np.uint16)
    corners = np.zeros((count, 2, 2), dtype=np.int16)
    coarse = np.empty((count, bands, across), dtype=np.uint8)
    scales = np.empty(count, dtype=np.float32)
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
    half = np.float32(2.0**-112)  # as in _decompress
    none = np.float32(0)
    for n in range(count):
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

        top, left, bottom, right = 0, 0, 0, 0  # of the first patch
        done = 0
        while done < 2:
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
            corners[n, done, 0], corners[n, done, 1] = corner_x, corner_y
            for i in range(rows):
                for j in range(columns):
                    lines[i, j] = grid[corner_y + i, corner_x + j]
            if done == 1:  # pixels of both belong to the first
                for i in range(max(top - corner_y, 0), min(bottom - corner_y, rows)):
                    for j in range(max(left - corner_x, 0), min(right - corner_x, columns)):
                        lines[i, j] = none
            for j in range(len(patch)):
                patch[j] = patch[j] * half if patch[j] >= floor else none
            bits = patches[n, done].reshape(rows * columns)
            for j in range(len(patch)):  # round to the nearest float16, ties to even; too large values become infinity
                rounded = np.int32(patch_bits[j] + 0xFFF + ((patch_bits[j] >> 13) & 1)) >> 13
                bits[j] = min(np.int32(rounded), np.int32(0x7C00))
            done += 1
            if done == 1:  # the rest: maxima outside of the first patch
                top, left, bottom, right = corner_y, corner_x, corner_y + rows, corner_x + columns
                for i in range(top // 4, (bottom + 3) // 4):
                    for x in range(left, right):
                        highest[i, x] = none
                    for y in range(4 * i, min(4 * i + 4, height)):
                        if y < top or y >= bottom:
                            for x in range(left, right):
                                value = grid[y, x]
                                highest[i, x] = value if value > highest[i, x] else highest[i, x]
        patches[n, done:] = 0
    return patches, corners, coarse, scales


@njit(cache=True, nogil=True, error_model="numpy")
def _decompress(bits, corners, coarse, scales, width, height):
    count, two, rows, columns = bits.shape
    maps = np.empty((count, height, width), dtype=np.float32)
    lines = np.empty((coarse.shape[1], 4 * coarse.shape[2]), dtype=np.float32)
    patch = np.empty((rows, columns), dtype=np.int32)
    line, values = patch.reshape(rows * columns), patch.view(np.float32)
    # The bits of a float16, moved to where a float32 has its exponent and fraction, are 2^-112 of the value, subnormals as well.
    scale = np.float32(2.0**112)
    below = np.empty(
        max(width, height), dtype=np.int64
    )  # pixel -> the coarse pixel before its centre, and how far past that
    past = np.empty(height, dtype=np.float32)
    for y in range(height):
        below[y] = (y + 2) // 4 - 1
        past[y] = np.float32((y + 0.5) / 4 - 0.5 - below[y])
    for n in range(count):
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
                raise ValueError("a patch lies outside of its map")
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
