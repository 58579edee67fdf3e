"""RPSM written plainly: every position of a joint against every position of its parent. One frame, no optimisation.

The tests compare the fast search with it, and the benchmark times it.
"""

import numpy as np
from scipy.spatial.distance import cdist

from pipeline.geometry.camera import Camera
from pipeline.geometry.pictorial import Bodies, Search


def search(
    maps: np.ndarray,
    map_from_image: np.ndarray,
    cameras: tuple[Camera, ...],
    bodies: Bodies,
    settings: Search,
) -> np.ndarray:
    """Return (joints, 3) world mm of one frame; the arguments are those of `pictorial.search` without the axis of frames."""
    parents, limb_mm = bodies.parents, bodies.limb_mm
    joints, published = len(parents), settings.variant == "published"
    positions = np.repeat([bodies.centres], joints, axis=0)
    side, bins = settings.cube_mm, settings.coarse_bins
    for level in range(settings.refine_steps + 1):
        around = positions[:, None] + cube(side, bins, published)  # (joints, positions, 3)
        heat = sum(
            sampled(maps[view], camera.project(around) @ map_from_image[view, :, :2].T + map_from_image[view, :, 2])
            for view, camera in enumerate(cameras)
        )
        tolerance = settings.limb_tolerance_mm
        if published:
            energy = heat
        else:
            energy = np.log(np.maximum(heat, settings.min_heat))
            if level == 0:
                tolerance = max(tolerance, side / (bins - 1) / 2)

        def with_limb(message: np.ndarray, child: int, around=around, tolerance=tolerance, level=level) -> np.ndarray:
            """Return (parent's positions, child's positions): the message of each pair."""
            if np.isnan(limb_mm[child]):
                return np.repeat(message[None], around.shape[1], axis=0)
            distance = cdist(around[parents[child]], around[child])
            over = np.abs(distance - limb_mm[child]) - tolerance
            if published:
                return (over <= 0) * message
            return message - np.where(over > 1e-9, np.inf if level == 0 else 1e3 * over, 0.0)

        total: dict[int, np.ndarray] = {}  # energy of a joint and all its descendants, at each of the joint's positions
        best: dict[int, np.ndarray] = {}  # of a child's positions, for each of its parent's

        def collect(joint: int, energy=energy, total=total, best=best, with_limb=with_limb) -> np.ndarray:
            total[joint] = energy[joint].copy()
            for child in range(joints):
                if parents[child] == joint:
                    message = with_limb(collect(child), child)
                    best[child], best_message = message.argmax(axis=1), message.max(axis=1)
                    total[joint] = total[joint] * best_message if published else total[joint] + best_message
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
        positions = np.array([around[joint, chosen[joint]] for joint in range(joints)])
        side = settings.cube_mm / settings.coarse_bins if level == 0 else side / settings.refine_bins
        bins = settings.refine_bins
    return positions


def cube(side: float, bins: int, published: bool) -> np.ndarray:
    """Return (positions, 3); the published order is y outermost, then x; ours x, then y; z is innermost in both."""
    along = np.linspace(-side / 2, side / 2, bins)
    if published:
        return np.array([[x, y, z] for y in along for x in along for z in along])
    return np.array([[x, y, z] for x in along for y in along for z in along])


def sampled(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Sample (joints, height, width) bilinearly at (joints, positions, 2); 0 outside the map, negative values are 0."""
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
