"""RPSM: fit one body to the heatmaps of all views (recursive pictorial structures, Qiu 2019, section 4).

A body is a tree of joints with known limb lengths. The search returns the body with the most heat under its joints, summed
over all views: first on a coarse grid around the root that all joints share, then on finer and finer grids around each joint's
last position. All joints are searched together, so a joint that most views miss, or swap with its mirror image, is pulled to a
position that the rest of the body allows.

Each frame is searched independently on one thread, so the result does not depend on the number of threads.
pictorial_torch.py is the same search on a GPU.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from pipeline import nanstats
from pipeline.compiled import njit
from pipeline.geometry.camera import Camera
from pipeline.processors import num_processors

# Statuses of a joint: the numbers of the enumeration in files/poses.py.
KNOWN, NO_ROOT, NO_SUPPORT = 0, 5, 6

VIOLATION = 1e3  # log energy per mm beyond the tolerance: outweighs any heat
_FRAMES_PER_TASK = 16
_LANES = 8  # joints are padded to a multiple of it, so that a px of all joints is a few whole vectors
_CHUNK = 2048  # positions of the grid that are folded at once: they stay in the fastest memory
_LN2 = np.float32(np.log(2.0))
_ROOT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2) as a float
_MANTISSA = np.int32(23)  # how many of them are the mantissa
_3RD, _5TH, _7TH, _9TH, _11TH = (np.float32(1 / n) for n in range(3, 13, 2))

Maps = np.ndarray | Callable[[slice], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where to search, and how finely. The section `rpsm` of params.yaml inherits these keys.

    Attributes:
        cube_mm: side of the cube around the root.
        coarse_bins: positions along a side of the coarse grid, both ends included.
        refine_bins: positions along a side of each finer grid.
        refine_steps: number of finer grids; the first is as wide as a bin of the cube, each next one is `refine_bins` times
            narrower.
        limb_tolerance_mm: how much a limb may be longer or shorter than its known length.
        min_heat: a lower sum of heat over the views counts as this much, so that one invisible joint does not rule out a body.
        variant: "robust" is ours. "published" follows the published code: there is no `min_heat`, so a joint without heat
            rules out the body; a limb that fits no pair of positions of a finer grid rules it out as well, instead of
            violating the tolerance as little as possible; the tolerance is not widened on a coarse grid; and of equally good
            positions the first in the order (y, x, z) is taken, not (x, y, z).
    """

    cube_mm: Annotated[float, Gt(0)]
    coarse_bins: Annotated[int, Ge(2), "a grid has two ends"]
    refine_bins: Annotated[int, Ge(2), "a grid has two ends"]
    refine_steps: Annotated[int, Ge(0)]
    limb_tolerance_mm: Annotated[float, Gt(0)]
    min_heat: Annotated[float, Gt(0)]
    variant: Literal["robust", "published"] = "robust"

    @property
    def published(self) -> bool:
        return self.variant == "published"

    @property
    def floor(self) -> float:
        """Return the heat that replaces any lower heat before the logarithm."""
        return 0.0 if self.published else self.min_heat

    @property
    def step_mm(self) -> float:
        """Return the distance between positions of the coarse grid."""
        return self.cube_mm / (self.coarse_bins - 1)

    @property
    def coarse_tolerance_mm(self) -> float:
        """Return the limb tolerance on the coarse grid: at least half a step, so that every limb has an offset on it."""
        return self.limb_tolerance_mm if self.published else max(self.limb_tolerance_mm, self.step_mm / 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bodies:
    """The bodies to search for, one per frame.

    Attributes:
        centres: (frames, 3) world mm, about where the root is; NaN if unknown.
        limb_mm: (frames, joints) from each joint to its parent; NaN if unknown, then any length fits.
        parents: (joints,) index of each joint's parent, -1 at the root.
    """

    centres: np.ndarray
    limb_mm: np.ndarray
    parents: tuple[int, ...]

    def take(self, rows: slice | np.ndarray | int) -> "Bodies":
        """Return the bodies of some frames, or of one."""
        return Bodies(centres=self.centres[rows], limb_mm=self.limb_mm[rows], parents=self.parents)


def search(
    maps: Maps,
    map_from_image: np.ndarray,
    cameras: tuple[Camera, ...],
    bodies: Bodies,
    settings: Search,
    *,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the joints of the best body in every frame, and their statuses.

    The energy of a body is the product of its joints' heat. The heat of a joint is the sum over the views of its map at the
    projected position (bilinear; negative values and NaN count 0, as do positions outside the map, behind the camera and
    beyond the valid radius of its lens model). The energy is 0 if a limb's length is off by more than the tolerance. It is
    maximised exactly on the grid, by dynamic programming along the tree. On the finer grids a limb that fits no pair of
    positions violates the tolerance as little as possible.

    Args:
        maps: (frames, views, joints, height, width), at least 2 px a side; or a function that returns them for a slice of the
            frames, called from the threads.
        map_from_image: (frames, views, 2, 3) map px from px of the full image; NaN if the view is missing.
        cameras: (views,).
        bodies: of the frames.
        threads: number of threads; by default one per processor. The result is the same for any number.

    Returns:
        (frames, joints, 3) world mm and (frames, joints) uint8 status. NaN where the centre is unknown (NO_ROOT) and where
        the joint has no heat at the position that the rest of the body leaves to it (NO_SUPPORT), which is every joint of a
        frame in whose cube no body fits.
    """
    frames, num_joints = bodies.limb_mm.shape
    lenses, map_from_lens = lens_rows(cameras), map_from_image @ np.stack([camera.K for camera in cameras])
    order, tree = leaves_first(bodies.parents), np.array(bodies.parents, dtype=np.int64)
    centres, limb_mm = (np.ascontiguousarray(each, dtype=np.float64) for each in (bodies.centres, bodies.limb_mm))
    joints, status = np.full((frames, num_joints, 3), np.nan), np.full((frames, num_joints), NO_ROOT, dtype=np.uint8)

    def search_block(start: int) -> None:
        rows = slice(start, start + size)
        _search(
            np.ascontiguousarray(maps(rows) if callable(maps) else maps[rows], dtype=np.float32),
            lenses,
            map_from_lens[rows],
            centres[rows],
            limb_mm[rows],
            order,
            tree,
            settings.cube_mm,
            settings.coarse_bins,
            settings.refine_bins,
            settings.refine_steps,
            settings.coarse_tolerance_mm,
            settings.limb_tolerance_mm,
            settings.floor,
            settings.published,
            joints[rows],
            status[rows],
        )

    workers = threads or num_processors()
    size = max(min(-(-frames // workers), _FRAMES_PER_TASK), 1)
    tasks = range(0, frames, size)
    if workers == 1 or len(tasks) == 1:
        for start in tasks:
            search_block(start)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(search_block, tasks))  # the compiled code releases the interpreter's lock
    return joints, status


def roots(joints: np.ndarray, root: int) -> np.ndarray:
    """Return (frames, 3), the root of (frames, joints, 3); the median of the known joints where it is NaN."""
    return np.where(np.isfinite(joints[:, root]), joints[:, root], nanstats.median_along(joints, 1))


def leaves_first(parents: tuple[int, ...]) -> np.ndarray:
    """Return (joints,) an order in which every joint comes before its parent."""
    depth = np.zeros(len(parents), dtype=np.int64)
    for joint in range(len(parents)):
        above = parents[joint]
        while above >= 0:
            depth[joint] += 1
            above = parents[above]
    return np.argsort(-depth, kind="stable")


def lens_rows(cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return (views, 19): R, centre, k1 k2 p1 p2 k3, tangential factor, squared valid radius of each camera."""
    factors = {"opencv": 2.0, "h36m": 1.0}
    return np.array(
        [[*c.R.ravel(), *c.centre, *c.distortion, factors[c.convention], c.max_valid_radius**2] for c in cameras],
        dtype=np.float64,
    )


def grid(side: float, bins: int, published: bool) -> np.ndarray:
    """Return (3, bins^3), the positions of a cube around 0; the x axis is outermost, or (published) the y axis."""
    along = np.linspace(-side / 2, side / 2, bins)
    x, y, z = np.meshgrid(along, along, along, indexing="xy" if published else "ij")
    return np.stack([x.ravel(), y.ravel(), z.ravel()])


# Compiled. Names of sizes: bins, few: positions of the coarse and of a finer grid; lanes: joints, padded.

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _search(
    maps,
    lenses,
    map_from_lens,
    centres,
    limb_mm,
    order,
    parents,
    cube,
    bins,
    refine_bins,
    refine_steps,
    coarse_tolerance,
    tolerance,
    min_heat,
    published,
    positions,
    status,
):
    frames, views, joints, height, width = maps.shape
    lanes = (joints + _LANES - 1) // _LANES * _LANES
    stacked = np.zeros((views, height, width, lanes), dtype=np.float32)
    energies = np.empty((joints, bins**3), dtype=np.float32)
    few = refine_bins**3
    around = np.empty((3, joints * few))
    heat = np.empty(joints * few)
    last, last_heat = np.empty((3, joints)), np.empty(joints)
    chosen = np.empty(joints, dtype=np.int64)
    for frame in range(frames):
        centre, joints_now = centres[frame], positions[frame]
        if not np.isfinite(centre[0] + centre[1] + centre[2]):
            continue
        _stack(maps[frame], stacked)
        _energies_on_grid(stacked, lenses, map_from_lens[frame], centre, cube, bins, published, min_heat, energies)
        fits = _best_on_grid(
            energies, limb_mm[frame], order, parents, bins, cube / (bins - 1), coarse_tolerance, chosen
        )
        for joint in range(joints):
            _position(centre, cube, bins, published, chosen[joint], joints_now[joint])
        side = cube / bins
        for _ in range(refine_steps):
            for joint in range(joints):
                for position in range(few):
                    _position(
                        joints_now[joint], side, refine_bins, published, position, around[:, joint * few + position]
                    )
            _heat(stacked, lenses, map_from_lens[frame], around, few, heat)
            for i in range(joints * few):
                heat[i] = np.log(max(heat[i], min_heat))
            _best_of_few(
                heat.reshape(joints, few), around, limb_mm[frame], order, parents, tolerance, published, chosen
            )
            for joint in range(joints):
                for k in range(3):
                    joints_now[joint, k] = around[k, joint * few + chosen[joint]]
            side /= refine_bins
        for joint in range(joints):
            for k in range(3):
                last[k, joint] = joints_now[joint, k]
        _heat(stacked, lenses, map_from_lens[frame], last, 1, last_heat)
        for joint in range(joints):
            if fits and last_heat[joint] > min_heat:
                status[frame, joint] = KNOWN
            else:
                status[frame, joint] = NO_SUPPORT
                for k in range(3):
                    joints_now[joint, k] = np.nan


@_compiled
def _fill(values, value):
    """Set all values; `values[:] = value` takes numba ten times as long to compile."""
    for i in range(len(values)):
        values[i] = value


@_compiled
def _position(centre, side, bins, published, index, position):
    """Compute the world mm of one position of a cube's grid; `index` counts in the order of `grid`."""
    i, j, k = index // (bins * bins), index // bins % bins, index % bins
    x, y = (j, i) if published else (i, j)
    step = side / (bins - 1)
    position[0] = centre[0] + (x * step - side / 2)
    position[1] = centre[1] + (y * step - side / 2)
    position[2] = centre[2] + (k * step - side / 2)


@_compiled
def _stack(maps, stacked):
    """Copy the maps of a frame to (views, height, width, lanes): joints innermost, as they are sampled together."""
    views, joints, height, width = maps.shape
    for view in range(views):
        for y in range(height):
            for joint in range(joints):
                for x in range(width):
                    value = maps[view, joint, y, x]
                    stacked[view, y, x, joint] = value if value > 0 else np.float32(0)


@_compiled
def _project(positions, lens, map_from_lens, u, v):
    """Project (3, positions) world mm to map px; -1 where the camera cannot see them."""
    # Scalars keep the loop plain arithmetic, which the compiler turns into vector instructions.
    r00, r01, r02, r10, r11, r12 = lens[0], lens[1], lens[2], lens[3], lens[4], lens[5]
    r20, r21, r22, cx, cy, cz = lens[6], lens[7], lens[8], lens[9], lens[10], lens[11]
    k1, k2, p1, p2, k3, factor, reach = lens[12], lens[13], lens[14], lens[15], lens[16], lens[17], lens[18]
    a, b, c = map_from_lens[0, 0], map_from_lens[0, 1], map_from_lens[0, 2]
    d, e, f = map_from_lens[1, 0], map_from_lens[1, 1], map_from_lens[1, 2]
    for i in range(positions.shape[1]):
        from_x, from_y, from_z = positions[0, i] - cx, positions[1, i] - cy, positions[2, i] - cz
        z = r20 * from_x + r21 * from_y + r22 * from_z
        nearness = 1 / z
        x = (r00 * from_x + r01 * from_y + r02 * from_z) * nearness
        y = (r10 * from_x + r11 * from_y + r12 * from_z) * nearness
        squared = x * x + y * y
        scale = 1 + squared * (k1 + squared * (k2 + squared * k3)) + factor * (p1 * y + p2 * x)
        visible = (z > 0) & (squared <= reach)
        x, y = x * scale + p2 * squared, y * scale + p1 * squared
        u[i] = a * x + b * y + c if visible else -1.0
        v[i] = d * x + e * y + f if visible else -1.0


@_compiled
def _energies_on_grid(stacked, lenses, map_from_lens, centre, cube, bins, published, min_heat, energies):
    """Compute the log heat of every joint at every position of the coarse grid; energies (joints, bins^3)."""
    views, height, width, lanes = stacked.shape
    joints = len(energies)
    count = bins * bins
    step = cube / (bins - 1)
    outer, inner = (1, 0) if published else (0, 1)
    positions, u, v = np.empty((3, count)), np.empty(count), np.empty(count)
    slow, fast, up = positions[outer], positions[inner], positions[2]
    upper = np.empty((views, count), dtype=np.int64)
    weights = np.empty((views, 4, count), dtype=np.float32)
    heat = np.empty(bins * lanes, dtype=np.float32)
    values = stacked.reshape(stacked.size)
    for plane in range(bins):
        across = centre[outer] + (plane * step - cube / 2)
        for row in range(bins):
            along = centre[inner] + (row * step - cube / 2)
            for k in range(bins):
                slow[row * bins + k] = across
                fast[row * bins + k] = along
                up[row * bins + k] = centre[2] + (k * step - cube / 2)
        for view in range(views):
            _project(positions, lenses[view], map_from_lens[view], u, v)
            _bilinear(u, v, width, height, lanes, view * height * width * lanes, upper[view], weights[view])
        for row in range(bins):
            _fill(heat, np.float32(0))
            for view in range(views):
                for k in range(bins):
                    i = row * bins + k
                    if upper[view, i] >= 0:
                        at = np.uint64(upper[view, i])
                        _add(
                            values,
                            at,
                            at + np.uint64(width * lanes),
                            np.uint64(lanes),
                            weights[view, 0, i],
                            weights[view, 1, i],
                            weights[view, 2, i],
                            weights[view, 3, i],
                            heat,
                            np.uint64(k * lanes),
                        )
            first = (plane * bins + row) * bins
            for joint in range(joints):
                for k in range(bins):
                    energies[joint, first + k] = heat[k * lanes + joint]
    for joint in range(joints):
        _take_logarithms(energies[joint], np.float32(min_heat))


@_compiled
def _bilinear(u, v, width, height, lanes, start, upper, weights):
    """Compute the index of the first of the four px around each position, -1 outside the map, and their weights."""
    one = np.float32(1)
    for i in range(len(u)):
        inside = (u[i] >= 0) & (u[i] <= width - 1) & (v[i] >= 0) & (v[i] <= height - 1)  # NaN is not
        x, y = u[i] if inside else 0.0, v[i] if inside else 0.0
        left, top = min(np.int64(x), width - 2), min(np.int64(y), height - 2)
        right, below = np.float32(x - left), np.float32(y - top)
        upper[i] = start + (top * width + left) * lanes if inside else -1
        weights[0, i] = (one - below) * (one - right)
        weights[1, i] = (one - below) * right
        weights[2, i] = below * (one - right)
        weights[3, i] = below * right


@_compiled
def _add(values, upper, lower, lanes, w00, w01, w10, w11, heat, at):
    """Add one bilinear sample of all joints to their heat."""
    # The indices are unsigned: signed ones may count from the end, which prevents vector instructions.
    for i in range(lanes):
        heat[at + i] += (w00 * values[upper + i] + w01 * values[upper + lanes + i]) + (
            w10 * values[lower + i] + w11 * values[lower + lanes + i]
        )


@_compiled
def _heat(stacked, lenses, map_from_lens, positions, few, heat):
    """Sum over the views each joint's map at its own positions; (3, joints * few) world mm -> heat (joints * few,)."""
    views, height, width, _ = stacked.shape
    u, v = np.empty(len(heat)), np.empty(len(heat))
    _fill(heat, 0.0)
    for view in range(views):
        _project(positions, lenses[view], map_from_lens[view], u, v)
        for i in range(len(heat)):
            x, y = u[i], v[i]
            if (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1):  # NaN is not
                left, top = min(int(x), width - 2), min(int(y), height - 2)
                a, b = x - left, y - top
                joint = i // few
                heat[i] += (1 - b) * (
                    (1 - a) * stacked[view, top, left, joint] + a * stacked[view, top, left + 1, joint]
                ) + b * ((1 - a) * stacked[view, top + 1, left, joint] + a * stacked[view, top + 1, left + 1, joint])


@_compiled
def _take_logarithms(values, min_heat):
    """Set values = log(max(values, min_heat)), -inf of 0; float32 to 3e-7, in vector instructions (a library's are not)."""
    mantissas, exponents = np.empty(len(values), dtype=np.float32), np.empty(len(values), dtype=np.float32)
    bits, mantissa_bits = values.view(np.int32), mantissas.view(np.int32)
    one, two = np.float32(1), np.float32(2)
    for i in range(len(values)):
        values[i] = values[i] if values[i] > min_heat else min_heat
    for i in range(len(values)):
        exponent = (bits[i] - _ROOT_HALF) >> _MANTISSA
        mantissa_bits[i] = bits[i] - (exponent << _MANTISSA)  # of sqrt(1/2) to sqrt(2)
        exponents[i] = exponent
    for i in range(len(values)):
        s = (mantissas[i] - one) / (mantissas[i] + one)
        z = s * s
        series = one + z * (_3RD + z * (_5TH + z * (_7TH + z * (_9TH + z * _11TH))))
        values[i] = exponents[i] * _LN2 + two * s * series if values[i] > 0 else np.float32(-np.inf)


@_compiled
def _best_on_grid(energies, limb_mm, order, parents, bins, step, tolerance, chosen):
    """Choose the body of most energy on the grid that all joints share; energies (joints, bins^3) are overwritten.

    Whether a child's position fits its parent's depends on their offset alone, so a limb is a shell of offsets, and a child's
    message is the dilation of its energies with that shell. Only energies go up the tree; the positions are searched on the
    way down, for the chosen parent's position alone.

    Returns:
        Whether any body fits.
    """
    joints = len(energies)
    farthest = 0
    for joint in range(joints):
        if limb_mm[joint] >= 0:  # NaN is not
            farthest = max(farthest, bins_apart(limb_mm[joint], step, tolerance, bins))
    plane = (bins + farthest) ** 2
    room = max(_CHUNK, plane) + 2 * plane
    padded = np.empty((bins + 2 * farthest) * plane, dtype=np.float32)
    folded = np.empty((farthest + 1, room), dtype=np.float32)
    gathered, message = np.empty(room, dtype=np.float32), np.empty(room, dtype=np.float32)
    columns = np.empty(((farthest + 1) ** 2, 4), dtype=np.int64)
    for joint in order:
        if parents[joint] >= 0 and limb_mm[joint] >= 0:
            reach = bins_apart(limb_mm[joint], step, tolerance, bins)
            shell = limb_shell(limb_mm[joint], reach, step, tolerance, columns)
            _send(energies[joint], energies[parents[joint]], bins, reach, shell, padded, folded, gathered, message)
    for n in range(joints - 1, -1, -1):  # from the root outwards
        joint = order[n]
        own = energies[joint].reshape(bins, bins, bins)
        above, length, reach = 0, limb_mm[joint], bins
        if parents[joint] >= 0:
            above = chosen[parents[joint]]
            if length >= 0:
                reach = bins_apart(length, step, tolerance, bins)
        x0, y0, z0 = above // (bins * bins), above // bins % bins, above % bins
        most = np.float32(-np.inf)
        chosen[joint] = 0
        for x in range(max(x0 - reach, 0), min(x0 + reach + 1, bins)):
            for y in range(max(y0 - reach, 0), min(y0 + reach + 1, bins)):
                for z in range(max(z0 - reach, 0), min(z0 + reach + 1, bins)):
                    if own[x, y, z] > most and (
                        reach == bins
                        or _is_limb((x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2, length, step, tolerance)
                    ):
                        most = own[x, y, z]
                        chosen[joint] = (x * bins + y) * bins + z
        if most == -np.inf:
            return False
    return True


@_compiled
def bins_apart(length, step, tolerance, bins):
    """Return the largest distance of a limb's ends along an axis, in bins."""
    return min(int((length + tolerance) / step), bins - 1)


@_compiled
def _is_limb(squared, length, step, tolerance):
    return abs(step * np.sqrt(squared) - length) <= tolerance


@_compiled
def limb_shell(length, reach, step, tolerance, columns):
    """Return the offsets (+-a, +-b, +-c) as long as a limb: rows a, b, low <= c <= high, equal ranges of c together."""
    count = 0
    for a in range(reach + 1):
        for b in range(reach + 1):
            low, high = reach + 1, -1
            for c in range(reach + 1):
                if _is_limb(a * a + b * b + c * c, length, step, tolerance):
                    low, high = min(low, c), c
            if high < 0:
                continue
            position = count
            for k in range(count):
                if columns[k, 2] == low and columns[k, 3] == high:
                    position = k + 1
            for k in range(count, position, -1):
                for m in range(4):
                    columns[k, m] = columns[k - 1, m]
            columns[position, 0], columns[position, 1], columns[position, 2], columns[position, 3] = a, b, low, high
            count += 1
    return columns[:count]


@_compiled
def _send(own, above, bins, reach, shell, padded, folded, gathered, message):
    """Add a child's message to its parent's energies: the highest energy in the shell around each position.

    Every shift is a long loop over a flat cube padded with -inf. A shell is symmetric in each axis, so the cube is folded along
    x first, once for each a; the results are folded along y and merged where their ranges of z are equal; the merged ones are
    folded along z.
    """
    width = bins + reach  # the padding behind a row is also the padding before the next row
    plane = width * width
    margin = reach * width + reach
    nothing = np.float32(-np.inf)
    _fill(padded, nothing)
    _fill(folded.reshape(folded.size), nothing)
    _fill(gathered, nothing)
    for x in range(bins):
        for y in range(bins):
            for z in range(bins):
                padded[(x + reach) * plane + y * width + z] = own[(x * bins + y) * bins + z]
    planes = max(_CHUNK // plane, 1)
    for start in range(0, bins, planes):
        stop = min(start + planes, bins)
        count = (stop - start) * plane
        first = (start + reach) * plane
        for a in range(reach + 1):
            _fold(folded[a, margin:], padded[first + a * plane :], padded[first - a * plane :], count, False)
        fresh = True
        for n in range(len(shell)):
            a, b, low, high = shell[n, 0], shell[n, 1], shell[n, 2], shell[n, 3]
            more = n > 0 and shell[n - 1, 2] == low and shell[n - 1, 3] == high
            line = folded[a]
            _fold(gathered[margin:], line[margin + b * width :], line[margin - b * width :], count, more)
            if n + 1 == len(shell) or shell[n + 1, 2] != low or shell[n + 1, 3] != high:
                for c in range(low, high + 1):
                    _fold(message, gathered[margin + c :], gathered[margin - c :], count, not fresh)
                    fresh = False
        if fresh:  # no offset is as long as the limb
            _fill(message, nothing)
        for x in range(start, stop):
            for y in range(bins):
                for z in range(bins):
                    above[(x * bins + y) * bins + z] += message[(x - start) * plane + y * width + z]


@_compiled
def _fold(target, ahead, behind, count, more):
    """Set target(i) = max(ahead(i), behind(i)); if more, the maximum includes the old target(i)."""
    if more:
        for i in range(count):
            value = ahead[i] if ahead[i] > behind[i] else behind[i]
            target[i] = value if value > target[i] else target[i]
    else:
        for i in range(count):
            target[i] = ahead[i] if ahead[i] > behind[i] else behind[i]


@_compiled
def _best_of_few(energies, around, limb_mm, order, parents, tolerance, published, chosen):
    """Choose the body of most energy where each joint has a few positions of its own; energies (joints, few) are overwritten."""
    joints, few = energies.shape
    best = np.zeros((joints, few), dtype=np.int64)  # of a child's positions, for each of its parent's
    for joint in order:
        parent = parents[joint]
        if parent < 0:
            continue
        length = limb_mm[joint]
        shortest, longest = max(length - tolerance, 0.0) ** 2, (length + tolerance) ** 2
        for above in range(few):
            most = -np.inf
            for own in range(few):
                squared = 0.0
                for k in range(3):
                    squared += (around[k, joint * few + own] - around[k, parent * few + above]) ** 2
                message = energies[joint, own]
                if squared > longest or squared < shortest:  # neither, where the length is NaN
                    over = max(abs(np.sqrt(squared) - length) - tolerance, 0.0)
                    message = -np.inf if published else message - VIOLATION * over
                if message > most:
                    most = message
                    best[joint, above] = own
            energies[parent, above] += most
    for n in range(joints - 1, -1, -1):
        joint = order[n]
        if parents[joint] >= 0:
            chosen[joint] = best[joint, chosen[parents[joint]]]
        else:
            chosen[joint] = 0
            for own in range(few):
                if energies[joint, own] > energies[joint, chosen[joint]]:
                    chosen[joint] = own
