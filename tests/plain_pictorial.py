"""RPSM as one would write it down: every place of a joint against every place of its parent. One frame, no tricks.

The fast search is held against it in the tests, and beside it in the benchmark.
"""

import numpy as np
from scipy.spatial.distance import cdist

from pipeline.geometry.camera import Camera
from pipeline.geometry.pictorial import Search


def search(
    maps: np.ndarray,
    map_from_image: np.ndarray,
    cameras: tuple[Camera, ...],
    centre: np.ndarray,
    limb_mm: np.ndarray,
    parents: tuple[int, ...],
    settings: Search,
) -> np.ndarray:
    """(joints, 3) world mm of one frame; arguments as of `pictorial.search`, without the axis of frames."""
    joints, published = len(parents), settings.semantics == "published"
    places = np.repeat([centre], joints, axis=0)
    side, bins = settings.space_mm, settings.first_bins
    for level in range(settings.depth + 1):
        around = places[:, None] + cube(side, bins, published)  # (joints, places, 3)
        heat = sum(
            sampled(maps[view], camera.project(around) @ map_from_image[view, :, :2].T + map_from_image[view, :, 2])
            for view, camera in enumerate(cameras)
        )
        tolerance = settings.limb_tolerance_mm
        if published:
            energy = heat
        else:
            energy = np.log(np.maximum(heat, settings.floor))
            if level == 0:
                tolerance = max(tolerance, side / (bins - 1) / 2)

        def with_limb(said: np.ndarray, child: int, around=around, tolerance=tolerance, level=level) -> np.ndarray:
            """(parent's places, child's places): what the child's places say to each of its parent's."""
            if np.isnan(limb_mm[child]):
                return np.repeat(said[None], around.shape[1], axis=0)
            distance = cdist(around[parents[child]], around[child])
            over = np.abs(distance - limb_mm[child]) - tolerance
            if published:
                return (over <= 0) * said
            return said - np.where(over > 1e-9, np.inf if level == 0 else 1e3 * over, 0.0)

        total: dict[int, np.ndarray] = {}  # what a joint and all below it have, at each of the joint's places
        best: dict[int, np.ndarray] = {}  # of a child's places, for each of its parent's

        def collect(joint: int, energy=energy, total=total, best=best, with_limb=with_limb) -> np.ndarray:
            total[joint] = energy[joint].copy()
            for child in range(joints):
                if parents[child] == joint:
                    said = with_limb(collect(child), child)
                    best[child], message = said.argmax(axis=1), said.max(axis=1)
                    total[joint] = total[joint] * message if published else total[joint] + message
            return total[joint]

        root = parents.index(-1)
        chosen = {root: int(collect(root).argmax())}
        waiting = [root]
        while waiting:
            joint = waiting.pop()
            for child in range(joints):
                if parents[child] == joint:
                    chosen[child] = int(best[child][chosen[joint]])
                    waiting.append(child)
        places = np.array([around[joint, chosen[joint]] for joint in range(joints)])
        side = settings.space_mm / settings.first_bins if level == 0 else side / settings.next_bins
        bins = settings.next_bins
    return places


def cube(side: float, bins: int, published: bool) -> np.ndarray:
    """(places, 3): the published order is y outermost, then x; ours x, then y; z is innermost in both."""
    along = np.linspace(-side / 2, side / 2, bins)
    if published:
        return np.array([[x, y, z] for y in along for x in along for z in along])
    return np.array([[x, y, z] for x in along for y in along for z in along])


def sampled(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear: (joints, height, width), (joints, places, 2) -> (joints, places); 0 off the map, negative values 0."""
    height, width = maps.shape[1:]
    x, y = points[..., 0], points[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)  # NaN is not
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    a, b = x - left, y - top
    each = np.arange(len(maps))[:, None]
    known = np.maximum(np.nan_to_num(maps.astype(np.float64)), 0)
    upper = (1 - a) * known[each, top, left] + a * known[each, top, left + 1]
    lower = (1 - a) * known[each, top + 1, left] + a * known[each, top + 1, left + 1]
    return np.where(inside, (1 - b) * upper + b * lower, 0)
