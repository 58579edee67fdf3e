"""RPSM: one body in all the heatmaps at once (recursive pictorial structures, Qiu 2019, section 4).

A body is a tree of joints whose limbs have known lengths. What is searched for is the body that has most heat under its
joints in all views together: first on a coarse grid of places around the root, shared by all joints, then again and again
on a grid half as wide around each joint's last place. Nothing is decided joint by joint, so a joint that most views miss, or
mistake for its mirror image, is pulled to where the rest of the body allows it.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from pipeline.geometry import agreement
from pipeline.geometry.camera import Camera

# Status of a joint, the numbers of files/poses.py `Status`.
KNOWN, NO_ROOT, NO_SUPPORT = 0, 5, 6

_VIOLATION = 1e3  # log energy per mm beyond the tolerance: more than any heat


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
    """

    space_mm: float
    first_bins: int
    next_bins: int
    depth: int
    limb_tolerance_mm: float
    floor: float


def search(
    maps: np.ndarray,
    map_from_image: np.ndarray,
    cameras: tuple[Camera, ...],
    centres: np.ndarray,
    limb_mm: np.ndarray,
    parents: tuple[int, ...],
    settings: Search,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the body in every frame.

    The energy of a body is the product over its joints of the heat, that is of the sum over the views of the joint's
    map where the view shows it (bilinear, negative values count 0, as does everything off the map), and 0 when a limb's
    length is off by more than the tolerance. It is maximised exactly on the grid, by dynamic programming along the tree.
    On the later grids a limb that no combination of places allows is violated as little as possible.

    Args:
        maps: (frames, views, joints, height, width).
        map_from_image: (frames, views, 2, 3) px of the map from px of the full picture; NaN where the view is missing.
        cameras: one a view.
        centres: (frames, 3) world mm, about where the root is; NaN where not known.
        limb_mm: (frames, joints) from each joint to its parent; NaN where not known, then any length will do.
        parents: of each joint, -1 at the root.

    Returns:
        (frames, joints, 3) world mm, and (frames, joints) uint8 status. NaN where the centre is not known (NO_ROOT) and
        where the joint has no heat at all at the place that the rest of the body leaves to it (NO_SUPPORT).
    """
    frames, _, joints, _, _ = maps.shape
    maps = np.ascontiguousarray(maps, dtype=np.float32)
    limb_mm = np.ascontiguousarray(limb_mm, dtype=np.float64)
    order = _leaves_first(parents)
    tree = np.array(parents, dtype=np.int64)

    step = settings.space_mm / (settings.first_bins - 1)
    cube = _grid(settings.space_mm, settings.first_bins)  # (places, 3)
    heat = _heat(maps, map_from_image, cameras, (centres[:, None] + cube)[:, None])  # (frames, joints, places)
    # A tolerance below half a step could leave a limb no offset on the grid at all.
    tolerance = max(settings.limb_tolerance_mm, step / 2)
    chosen = np.zeros((frames, joints), dtype=np.int64)
    energy = np.log(np.maximum(heat, settings.floor))
    _best_on_grid(energy, limb_mm, order, tree, settings.first_bins, step, tolerance, chosen)
    places = centres[:, None] + cube[chosen]  # (frames, joints, 3)

    side = settings.space_mm / settings.first_bins
    for _ in range(settings.depth):
        around = places[:, :, None] + _grid(side, settings.next_bins)  # (frames, joints, places, 3)
        heat = _heat(maps, map_from_image, cameras, around)
        energy = np.log(np.maximum(heat, settings.floor))
        _best_of_few(energy, around, limb_mm, order, tree, settings.limb_tolerance_mm, chosen)
        places = np.take_along_axis(around, chosen[..., None, None], axis=2)[:, :, 0]
        side /= settings.next_bins

    supported = _heat(maps, map_from_image, cameras, places[:, :, None])[..., 0] > settings.floor
    rooted = np.isfinite(centres).all(axis=-1)
    status = np.where(rooted[:, None], np.where(supported, KNOWN, NO_SUPPORT), NO_ROOT).astype(np.uint8)
    return np.where((status == KNOWN)[..., None], places, np.nan), status


def roots(joints: np.ndarray, root: int) -> np.ndarray:
    """(frames, joints, 3) -> (frames, 3): the root where it is known, else the median of what is; NaN of nothing."""
    known = np.isfinite(joints).all(axis=-1).any(axis=-1)
    middle = np.full((len(joints), 3), np.nan)
    middle[known] = np.nanmedian(joints[known], axis=1)
    return np.where(np.isfinite(joints[:, root]), joints[:, root], middle)


def _grid(side: float, bins: int) -> np.ndarray:
    """(bins^3, 3): the places of a cube about 0, x outermost."""
    along = np.linspace(-side / 2, side / 2, bins)
    return np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1).reshape(-1, 3)


def _leaves_first(parents: tuple[int, ...]) -> np.ndarray:
    """(joints,) an order in which every joint comes before its parent."""
    depth = np.zeros(len(parents), dtype=np.int64)
    for joint in range(len(parents)):
        above = parents[joint]
        while above >= 0:
            depth[joint] += 1
            above = parents[above]
    return np.argsort(-depth, kind="stable")


def _heat(maps: np.ndarray, map_from_image: np.ndarray, cameras: tuple[Camera, ...], places: np.ndarray) -> np.ndarray:
    """Sum over the views of the maps where they show the places.

    Args:
        places: (frames, joints, places, 3) world mm, or (frames, 1, places, 3), the same for all joints.

    Returns:
        (frames, joints, places) float64.
    """
    frames, many, count, _ = places.shape
    shown = agreement.project(places.reshape(frames, -1, 3), cameras)  # (frames, views, many * places, 2)
    shown = shown @ np.swapaxes(map_from_image[..., :2], -1, -2) + map_from_image[..., None, :, 2]
    heat = np.zeros((frames, maps.shape[2], count))
    _sample(maps, np.ascontiguousarray(shown.reshape(frames, len(cameras), many, count, 2)), heat)
    return heat


@njit(cache=True, nogil=True, error_model="numpy")
def _sample(maps, shown, heat):
    """Add up bilinear samples of all views; (frames, views, joints or 1, places, 2) map px -> (frames, joints, places)."""
    frames, views, joints, rows, columns = maps.shape
    for frame in range(frames):
        for view in range(views):
            for place in range(shown.shape[3]):
                for joint in range(joints):
                    own = joint if shown.shape[2] > 1 else 0
                    x, y = shown[frame, view, own, place, 0], shown[frame, view, own, place, 1]
                    if not (0 <= x <= columns - 1 and 0 <= y <= rows - 1):  # NaN is not inside
                        continue
                    left, top = min(int(x), columns - 2), min(int(y), rows - 2)
                    a, b = x - left, y - top
                    window = maps[frame, view, joint, top : top + 2, left : left + 2]
                    heat[frame, joint, place] += (1 - b) * (
                        (1 - a) * max(window[0, 0], 0.0) + a * max(window[0, 1], 0.0)
                    ) + b * ((1 - a) * max(window[1, 0], 0.0) + a * max(window[1, 1], 0.0))


@njit(cache=True, nogil=True, error_model="numpy")
def _best_on_grid(energy, limb_mm, order, parents, bins, step, tolerance, chosen):
    """The body of most energy on one grid that all joints share; energy (frames, joints, bins^3) is used up.

    Which places of a child a parent's place allows depends on their offset alone, so the limb is a short list of offsets,
    a shell, and what the child has to say is the maximum of its shifted energies.
    """
    frames, joints, _ = energy.shape
    longest = 0.0
    for length in limb_mm.flat:
        longest = max(longest, length) if length == length else longest
    padding = min(int((longest + tolerance) / step), bins - 1)
    width = bins + 2 * padding
    # Both with a margin, so that a shift is one long loop without borders; nothing is ever read from `said`'s margin.
    shifted = np.full((width, width, width), -np.inf)
    said = np.zeros((width, width, width))
    middle = slice(padding, padding + bins)
    for frame in range(frames):
        for joint in order:
            parent = parents[joint]
            if parent < 0:
                continue
            length = limb_mm[frame, joint]
            own = energy[frame, joint].reshape(bins, bins, bins)
            above = energy[frame, parent].reshape(bins, bins, bins)
            if np.isnan(length):  # the child's best is the same for all of the parent's places
                continue
            shifted[middle, middle, middle] = own
            said[:] = -np.inf
            reach = min(int((length + tolerance) / step), bins - 1)
            for dx in range(-reach, reach + 1):
                for dy in range(-reach, reach + 1):
                    for dz in range(-reach, reach + 1):
                        if abs(step * np.sqrt(dx * dx + dy * dy + dz * dz) - length) <= tolerance:
                            _take_maximum(said.ravel(), shifted.ravel(), bins, padding, dx, dy, dz)
            above += said[middle, middle, middle]
        for k in range(joints - 1, -1, -1):  # from the root outwards
            joint = order[k]
            parent = parents[joint]
            if parent < 0:
                chosen[frame, joint] = energy[frame, joint].argmax()
                continue
            length = limb_mm[frame, joint]
            place = chosen[frame, parent]
            px, py, pz = place // (bins * bins), place // bins % bins, place % bins
            most = -np.inf
            chosen[frame, joint] = place
            for x in range(bins):
                for y in range(bins):
                    for z in range(bins):
                        own_energy = energy[frame, joint, (x * bins + y) * bins + z]
                        if own_energy > most:
                            squared = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
                            if not abs(step * np.sqrt(squared) - length) > tolerance:  # any length where it is NaN
                                most = own_energy
                                chosen[frame, joint] = (x * bins + y) * bins + z


@njit(cache=True, nogil=True, error_model="numpy")
def _take_maximum(said, shifted, bins, padding, dx, dy, dz):
    """said(i) = max(said(i), shifted(i + offset)) for all places of the grid, flat, a plane at a time."""
    width = bins + 2 * padding
    first = (padding * width + padding) * width + padding
    length = (bins - 1) * width + bins  # from the first place of a plane to its last
    for x in range(bins):
        start = first + x * width * width
        target = said[start : start + length]
        start += (dx * width + dy) * width + dz
        source = shifted[start : start + length]
        for i in range(length):
            target[i] = max(target[i], source[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _best_of_few(energy, around, limb_mm, order, parents, tolerance, chosen):
    """The body of most energy where each joint has a few places of its own; energy (frames, joints, places) is used up."""
    frames, joints, count = energy.shape
    best = np.zeros((joints, count), dtype=np.int64)  # of a child's places, for each of its parent's
    for frame in range(frames):
        for joint in order:
            parent = parents[joint]
            if parent < 0:
                continue
            length = limb_mm[frame, joint]
            for above in range(count):
                most = -np.inf
                for own in range(count):
                    said = energy[frame, joint, own]
                    if not np.isnan(length):
                        squared = 0.0
                        for k in range(3):
                            squared += (around[frame, joint, own, k] - around[frame, parent, above, k]) ** 2
                        said -= _VIOLATION * max(abs(np.sqrt(squared) - length) - tolerance, 0.0)
                    if said > most:
                        most = said
                        best[joint, above] = own
                energy[frame, parent, above] += most
        for k in range(joints - 1, -1, -1):
            joint = order[k]
            if parents[joint] < 0:
                chosen[frame, joint] = energy[frame, joint].argmax()
            else:
                chosen[frame, joint] = best[joint, chosen[frame, parents[joint]]]
