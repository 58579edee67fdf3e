"""RPSM: one body in all the heatmaps at once (recursive pictorial structures, Qiu 2019, section 4).

A body is a tree of joints whose limbs have known lengths. What is searched for is the body that has most heat under its
joints in all views together: first on a coarse grid of places around the root, shared by all joints, then again and again
on a grid half as wide around each joint's last place. Nothing is decided joint by joint, so a joint that most views miss, or
mistake for its mirror image, is pulled to where the rest of the body allows it.

Each frame is searched by itself, on one thread, so the result is the same on any number of threads. pictorial_torch.py does
the same on a GPU.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.compiled import njit
from pipeline.geometry.camera import Camera

# Status of a joint, the numbers of files/poses.py `Status`.
KNOWN, NO_ROOT, NO_SUPPORT = 0, 5, 6

VIOLATION = 1e3  # log energy per mm beyond the tolerance: more than any heat
_FRAMES_A_TASK = 16
_LANES = 8  # joints are padded to a multiple of it, so that a px of all joints is a few whole vectors
_CHUNK = 2048  # places of the grid that are folded at once: they stay in the fastest memory
_LN2 = np.float32(np.log(2.0))
_ROOT_HALF, _MANTISSA = (
    np.int32(0x3F3504F3),
    np.int32(23),
)  # sqrt(1/2) as a float's bits, how many of these are mantissa
_3RD, _5TH, _7TH, _9TH, _11TH = (np.float32(1 / n) for n in range(3, 13, 2))


@dataclass(frozen=True)
class Search:
    """Where to look, and how closely.

    Attributes:
        space_mm: side of the cube of places around the root.
        first_bins: places along a side of the first grid, its ends included.
        next_bins: the same of the later grids.
        depth: how many later grids; the first of them is as wide as a bin of the cube, each next one `next_bins` times
            narrower.
        limb_tolerance_mm: how much longer or shorter than known a limb may be.
        floor: heat, summed over the views, that counts as none; keeps one unseen joint from ruling out a body.
        semantics: "robust" is ours. "published" is that of the published code: without the floor, so a joint without heat
            rules out the body; a limb that no combination of the later grids' places allows rules it out as well, instead
            of being violated as little as possible; the tolerance holds on a first grid of wider steps, too; and of places
            that are equally good it takes the first in the order (y, x, z), not (x, y, z).
    """

    space_mm: float
    first_bins: int
    next_bins: int
    depth: int
    limb_tolerance_mm: float
    floor: float
    semantics: Literal["robust", "published"] = field(default="robust", kw_only=True)

    @property
    def published(self) -> bool:
        return self.semantics == "published"

    @property
    def least_heat(self) -> float:
        """What the logarithm is taken of where there is less heat."""
        return 0.0 if self.published else self.floor

    @property
    def step_mm(self) -> float:
        """Between places of the first grid."""
        return self.space_mm / (self.first_bins - 1)

    @property
    def first_tolerance_mm(self) -> float:
        """Of limbs on the first grid; less than half a step could leave a limb no offset on it at all."""
        return self.limb_tolerance_mm if self.published else max(self.limb_tolerance_mm, self.step_mm / 2)


def search(
    maps: np.ndarray | Callable[[slice], np.ndarray],
    map_from_image: np.ndarray,
    cameras: tuple[Camera, ...],
    centres: np.ndarray,
    limb_mm: np.ndarray,
    parents: tuple[int, ...],
    settings: Search,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the body in every frame.

    The energy of a body is the product over its joints of the heat, that is of the sum over the views of the joint's
    map where the view shows it (bilinear, negative values and NaN count 0, as does everything off the map, behind the
    camera and beyond the reach of its lens model), and 0 when a limb's length is off by more than the tolerance. It is
    maximised exactly on the grid, by dynamic programming along the tree. On the later grids a limb that no combination of
    places allows is violated as little as possible.

    Args:
        maps: (frames, views, joints, height, width), of 2 px a side at least; or what gives those of some frames, which the
            threads then ask for.
        map_from_image: (frames, views, 2, 3) px of the map from px of the full picture; NaN where the view is missing.
        cameras: one a view.
        centres: (frames, 3) world mm, about where the root is; NaN where not known.
        limb_mm: (frames, joints) from each joint to its parent; NaN where not known, then any length will do.
        parents: of each joint, -1 at the root.
        threads: how many; by default one a core. Changes no bit of the result.

    Returns:
        (frames, joints, 3) world mm, and (frames, joints) uint8 status. NaN where the centre is not known (NO_ROOT) and
        where the joint has no heat at all at the place that the rest of the body leaves to it (NO_SUPPORT), which is
        every joint of a frame in whose cube no body fits.
    """
    frames, joints = limb_mm.shape
    lenses, map_from_lens = lens_rows(cameras), map_from_image @ np.stack([camera.K for camera in cameras])
    order, tree = leaves_first(parents), np.array(parents, dtype=np.int64)
    centres, limb_mm = (np.ascontiguousarray(each, dtype=np.float64) for each in (centres, limb_mm))
    places, status = np.full((frames, joints, 3), np.nan), np.full((frames, joints), NO_ROOT, dtype=np.uint8)

    def some(start: int) -> None:
        rows = slice(start, start + size)
        _search(
            np.ascontiguousarray(maps(rows) if callable(maps) else maps[rows], dtype=np.float32),
            lenses,
            map_from_lens[rows],
            centres[rows],
            limb_mm[rows],
            order,
            tree,
            settings.space_mm,
            settings.first_bins,
            settings.next_bins,
            settings.depth,
            settings.first_tolerance_mm,
            settings.limb_tolerance_mm,
            settings.least_heat,
            settings.published,
            places[rows],
            status[rows],
        )

    workers = threads or len(os.sched_getaffinity(0))
    size = max(min(-(-frames // workers), _FRAMES_A_TASK), 1)
    tasks = range(0, frames, size)
    if workers == 1 or len(tasks) == 1:
        for start in tasks:
            some(start)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(some, tasks))  # the compiled code lets go of the interpreter
    return places, status


def roots(joints: np.ndarray, root: int) -> np.ndarray:
    """(frames, joints, 3) -> (frames, 3): the root where it is known, else the median of what is; NaN of nothing."""
    known = np.isfinite(joints).all(axis=-1).any(axis=-1)
    middle = np.full((len(joints), 3), np.nan)
    middle[known] = np.nanmedian(joints[known], axis=1)
    return np.where(np.isfinite(joints[:, root]), joints[:, root], middle)


def leaves_first(parents: tuple[int, ...]) -> np.ndarray:
    """(joints,) an order in which every joint comes before its parent."""
    depth = np.zeros(len(parents), dtype=np.int64)
    for joint in range(len(parents)):
        above = parents[joint]
        while above >= 0:
            depth[joint] += 1
            above = parents[above]
    return np.argsort(-depth, kind="stable")


def lens_rows(cameras: tuple[Camera, ...]) -> np.ndarray:
    """(views, 19) what projects on the normalised image plane: R, centre, k1 k2 p1 p2 k3, tangential factor, reach^2."""
    factors = {"opencv": 2.0, "h36m": 1.0}
    return np.array(
        [[*c.R.ravel(), *c.centre, *c.distortion, factors[c.convention], c.max_valid_radius**2] for c in cameras],
        dtype=np.float64,
    )


def grid(side: float, bins: int, published: bool) -> np.ndarray:
    """(3, bins^3): the places of a cube about 0, the x axis outermost, or (published) the y axis."""
    along = np.linspace(-side / 2, side / 2, bins)
    x, y, z = np.meshgrid(along, along, along, indexing="xy" if published else "ij")
    return np.stack([x.ravel(), y.ravel(), z.ravel()])


# Compiled. Names of sizes: bins, few: places of the first and of a later grid; lanes: joints, padded.

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
    space,
    bins,
    next_bins,
    depth,
    first_tolerance,
    tolerance,
    floor,
    published,
    places,
    status,
):
    frames, views, joints, height, width = maps.shape
    lanes = (joints + _LANES - 1) // _LANES * _LANES
    stacked = np.zeros((views, height, width, lanes), dtype=np.float32)
    energies = np.empty((joints, bins**3), dtype=np.float32)
    few = next_bins**3
    around = np.empty((3, joints * few))
    heat = np.empty(joints * few)
    last, last_heat = np.empty((3, joints)), np.empty(joints)
    chosen = np.empty(joints, dtype=np.int64)
    for frame in range(frames):
        centre, found = centres[frame], places[frame]
        if not np.isfinite(centre[0] + centre[1] + centre[2]):
            continue
        _stack(maps[frame], stacked)
        _energies_on_grid(stacked, lenses, map_from_lens[frame], centre, space, bins, published, floor, energies)
        fits = _best_on_grid(
            energies, limb_mm[frame], order, parents, bins, space / (bins - 1), first_tolerance, chosen
        )
        for joint in range(joints):
            _place(centre, space, bins, published, chosen[joint], found[joint])
        side = space / bins
        for _ in range(depth):
            for joint in range(joints):
                for place in range(few):
                    _place(found[joint], side, next_bins, published, place, around[:, joint * few + place])
            _heat(stacked, lenses, map_from_lens[frame], around, few, heat)
            for i in range(joints * few):
                heat[i] = np.log(max(heat[i], floor))
            _best_of_few(
                heat.reshape(joints, few), around, limb_mm[frame], order, parents, tolerance, published, chosen
            )
            for joint in range(joints):
                for k in range(3):
                    found[joint, k] = around[k, joint * few + chosen[joint]]
            side /= next_bins
        for joint in range(joints):
            for k in range(3):
                last[k, joint] = found[joint, k]
        _heat(stacked, lenses, map_from_lens[frame], last, 1, last_heat)
        for joint in range(joints):
            if fits and last_heat[joint] > floor:
                status[frame, joint] = KNOWN
            else:
                status[frame, joint] = NO_SUPPORT
                for k in range(3):
                    found[joint, k] = np.nan


@_compiled
def _fill(values, value):
    """values[:] = value, which takes numba ten times as long to compile."""
    for i in range(len(values)):
        values[i] = value


@_compiled
def _place(centre, side, bins, published, index, place):
    """The world mm of a place of a cube's grid, of which `index` is the number in the order of `grid`."""
    i, j, k = index // (bins * bins), index // bins % bins, index % bins
    x, y = (j, i) if published else (i, j)
    step = side / (bins - 1)
    place[0] = centre[0] + (x * step - side / 2)
    place[1] = centre[1] + (y * step - side / 2)
    place[2] = centre[2] + (k * step - side / 2)


@_compiled
def _stack(maps, stacked):
    """The maps of a frame with the joints innermost, (views, height, width, lanes), as they are sampled together."""
    views, joints, height, width = maps.shape
    for view in range(views):
        for y in range(height):
            for joint in range(joints):
                for x in range(width):
                    value = maps[view, joint, y, x]
                    stacked[view, y, x, joint] = value if value > 0 else np.float32(0)


@_compiled
def _project(places, lens, map_from_lens, u, v):
    """Where a view's map shows places: (3, places) world mm -> map px; -1 where the camera cannot show them."""
    # Number by number, so that the loop is plain arithmetic, of which the compiler makes vector instructions.
    r00, r01, r02, r10, r11, r12 = lens[0], lens[1], lens[2], lens[3], lens[4], lens[5]
    r20, r21, r22, cx, cy, cz = lens[6], lens[7], lens[8], lens[9], lens[10], lens[11]
    k1, k2, p1, p2, k3, factor, reach = lens[12], lens[13], lens[14], lens[15], lens[16], lens[17], lens[18]
    a, b, c = map_from_lens[0, 0], map_from_lens[0, 1], map_from_lens[0, 2]
    d, e, f = map_from_lens[1, 0], map_from_lens[1, 1], map_from_lens[1, 2]
    for i in range(places.shape[1]):
        from_x, from_y, from_z = places[0, i] - cx, places[1, i] - cy, places[2, i] - cz
        z = r20 * from_x + r21 * from_y + r22 * from_z
        nearness = 1 / z
        x = (r00 * from_x + r01 * from_y + r02 * from_z) * nearness
        y = (r10 * from_x + r11 * from_y + r12 * from_z) * nearness
        squared = x * x + y * y
        scale = 1 + squared * (k1 + squared * (k2 + squared * k3)) + factor * (p1 * y + p2 * x)
        seen = (z > 0) & (squared <= reach)
        x, y = x * scale + p2 * squared, y * scale + p1 * squared
        u[i] = a * x + b * y + c if seen else -1.0
        v[i] = d * x + e * y + f if seen else -1.0


@_compiled
def _energies_on_grid(stacked, lenses, map_from_lens, centre, space, bins, published, floor, energies):
    """Logarithm of the heat of every joint at every place of the first grid; energies (joints, bins^3)."""
    views, height, width, lanes = stacked.shape
    joints = len(energies)
    count = bins * bins
    step = space / (bins - 1)
    outer, inner = (1, 0) if published else (0, 1)
    places, u, v = np.empty((3, count)), np.empty(count), np.empty(count)
    slow, fast, up = places[outer], places[inner], places[2]
    upper = np.empty((views, count), dtype=np.int64)
    weights = np.empty((views, 4, count), dtype=np.float32)
    heat = np.empty(bins * lanes, dtype=np.float32)
    values = stacked.reshape(stacked.size)
    for plane in range(bins):
        across = centre[outer] + (plane * step - space / 2)
        for row in range(bins):
            along = centre[inner] + (row * step - space / 2)
            for k in range(bins):
                slow[row * bins + k] = across
                fast[row * bins + k] = along
                up[row * bins + k] = centre[2] + (k * step - space / 2)
        for view in range(views):
            _project(places, lenses[view], map_from_lens[view], u, v)
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
        _take_logarithms(energies[joint], np.float32(floor))


@_compiled
def _bilinear(u, v, width, height, lanes, start, upper, weights):
    """Where the first of the four px around each place stands in the stacked maps, -1 off the map, and their weights."""
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
    # The indices are unsigned: signed ones may count from the end, which keeps the loop from becoming vector instructions.
    for i in range(lanes):
        heat[at + i] += (w00 * values[upper + i] + w01 * values[upper + lanes + i]) + (
            w10 * values[lower + i] + w11 * values[lower + lanes + i]
        )


@_compiled
def _heat(stacked, lenses, map_from_lens, places, few, heat):
    """Sum over the views of each joint's map at its own places; (3, joints * few) world mm -> heat (joints * few,)."""
    views, height, width, _ = stacked.shape
    u, v = np.empty(len(heat)), np.empty(len(heat))
    _fill(heat, 0.0)
    for view in range(views):
        _project(places, lenses[view], map_from_lens[view], u, v)
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
def _take_logarithms(values, floor):
    """values = log(max(values, floor)), -inf of 0; float32 to 3e-7, in vector instructions (a library's are not)."""
    mantissas, exponents = np.empty(len(values), dtype=np.float32), np.empty(len(values), dtype=np.float32)
    bits, mantissa_bits = values.view(np.int32), mantissas.view(np.int32)
    one, two = np.float32(1), np.float32(2)
    for i in range(len(values)):
        values[i] = values[i] if values[i] > floor else floor
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
    """The body of most energy on one grid that all joints share; energies (joints, bins^3) are used up.

    Which places of a child a parent's place allows depends on their offset alone, so a limb is a shell of offsets, and what
    the child has to say is a dilation of its energies with that shell. Only energies go up the tree; the places are looked
    for on the way down, of the one that was chosen.

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
    gathered, said = np.empty(room, dtype=np.float32), np.empty(room, dtype=np.float32)
    columns = np.empty(((farthest + 1) ** 2, 4), dtype=np.int64)
    for joint in order:
        if parents[joint] >= 0 and limb_mm[joint] >= 0:
            reach = bins_apart(limb_mm[joint], step, tolerance, bins)
            shell = limb_shell(limb_mm[joint], reach, step, tolerance, columns)
            _send(energies[joint], energies[parents[joint]], bins, reach, shell, padded, folded, gathered, said)
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
    """How far apart along an axis, in bins, a limb's ends can be."""
    return min(int((length + tolerance) / step), bins - 1)


@_compiled
def _is_limb(squared, length, step, tolerance):
    return abs(step * np.sqrt(squared) - length) <= tolerance


@_compiled
def limb_shell(length, reach, step, tolerance, columns):
    """The offsets (+-a, +-b, +-c) that are as long as a limb: rows a, b, low <= c <= high, those of like c together."""
    count = 0
    for a in range(reach + 1):
        for b in range(reach + 1):
            low, high = reach + 1, -1
            for c in range(reach + 1):
                if _is_limb(a * a + b * b + c * c, length, step, tolerance):
                    low, high = min(low, c), c
            if high < 0:
                continue
            place = count
            for k in range(count):
                if columns[k, 2] == low and columns[k, 3] == high:
                    place = k + 1
            for k in range(count, place, -1):
                for m in range(4):
                    columns[k, m] = columns[k - 1, m]
            columns[place, 0], columns[place, 1], columns[place, 2], columns[place, 3] = a, b, low, high
            count += 1
    return columns[:count]


@_compiled
def _send(own, above, bins, reach, shell, padded, folded, gathered, said):
    """Add to a parent's energies what its child has to say: the most energy in the shell around each place.

    Every shift is a long loop over a flat cube that has -inf around it. A shell is symmetric in each axis, so the cube is
    folded along x first, once for each a; these are folded along y, and those of like z put together; which is folded along z.
    """
    width = bins + reach  # the padding behind a row serves as that before the next one, too
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
                    _fold(said, gathered[margin + c :], gathered[margin - c :], count, not fresh)
                    fresh = False
        if fresh:  # a limb that no offset is as long as
            _fill(said, nothing)
        for x in range(start, stop):
            for y in range(bins):
                for z in range(bins):
                    above[(x * bins + y) * bins + z] += said[(x - start) * plane + y * width + z]


@_compiled
def _fold(target, ahead, behind, count, more):
    """target(i) = max(ahead(i), behind(i)) and, if more, what it is already."""
    if more:
        for i in range(count):
            value = ahead[i] if ahead[i] > behind[i] else behind[i]
            target[i] = value if value > target[i] else target[i]
    else:
        for i in range(count):
            target[i] = ahead[i] if ahead[i] > behind[i] else behind[i]


@_compiled
def _best_of_few(energies, around, limb_mm, order, parents, tolerance, published, chosen):
    """The body of most energy where each joint has a few places of its own; energies (joints, few) are used up."""
    joints, few = energies.shape
    best = np.zeros((joints, few), dtype=np.int64)  # of a child's places, for each of its parent's
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
                said = energies[joint, own]
                if squared > longest or squared < shortest:  # neither, where the length is NaN
                    over = max(abs(np.sqrt(squared) - length) - tolerance, 0.0)
                    said = -np.inf if published else said - VIOLATION * over
                if said > most:
                    most = said
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
