"""RPSM on a GPU: the search of pictorial.py for many frames at once, in operations of torch.

The bodies are the same except for rounding: energies on the coarse grid are float32 sums in another order, all later ones
float64. On the coarse grid the frames are the innermost axis, so that a shift of the grid is a shift of long rows, and the
maximum over a limb's offsets is a few dozen calls of `torch.maximum`. Nothing waits for the GPU between its first operation
and its last.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.geometry import pictorial
from pipeline.geometry.camera import Camera
from pipeline.geometry.pictorial import KNOWN, NO_ROOT, NO_SUPPORT, VIOLATION, Bodies, Search

_BATCH = 512  # frames at once: launching the GPU's operations takes as long for one


def has_gpu() -> bool:
    """Return whether torch finds a GPU."""
    return torch.cuda.is_available()


def whole(
    windows: np.ndarray,
    corners: np.ndarray,
    coarse: np.ndarray,
    scale: np.ndarray,
    size: tuple[int, int],
    device: str = "cuda",
) -> torch.Tensor:
    """Return `heatmaps.compress.decompress` on a device: the stored form has 1/14 of the maps' bytes to send there."""
    *batch, _, rows, columns = windows.shape
    width, height = size
    small = torch.from_numpy(coarse).to(device).reshape(-1, 1, *coarse.shape[-2:]).float()
    enlarged = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")[:, 0, :height, :width]
    maps = (enlarged * (torch.from_numpy(scale).to(device).reshape(-1, 1, 1) / 255)).reshape(len(small), -1)
    values = torch.from_numpy(windows).to(device).reshape(-1, 2, rows * columns).float().clamp(min=0)
    left, top = torch.from_numpy(corners).to(device).reshape(-1, 2, 2, 1, 1).long().unbind(2)
    y, x = (torch.arange(side, device=device) for side in (rows, columns))
    at = ((top + y[:, None]) * width + left + x).reshape(-1, 2, rows * columns)
    second = torch.where(values[:, 1] > 0, values[:, 1], maps.gather(1, at[:, 1]))
    maps.scatter_(1, at[:, 1], second).scatter_(1, at[:, 0], values[:, 0])
    return maps.reshape(*batch, height, width)


@torch.inference_mode()
def search(
    maps: np.ndarray | Callable[[slice], np.ndarray | torch.Tensor],
    map_from_image: np.ndarray,
    cameras: tuple[Camera, ...],
    bodies: Bodies,
    settings: Search,
    *,
    device: str = "cuda",
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `pictorial.search` returns, computed on a device.

    Neighbouring frames with equal limb lengths (usually one person's) are searched together.
    """
    centres, limb_mm = bodies.centres, bodies.limb_mm
    frames, num_joints = limb_mm.shape
    joints, status = np.full((frames, num_joints, 3), np.nan), np.full((frames, num_joints), NO_ROOT, dtype=np.uint8)
    lenses = torch.from_numpy(pictorial.lens_rows(cameras)).to(device)
    map_from_lens = map_from_image @ np.stack([camera.K for camera in cameras])
    changes = np.flatnonzero((np.diff(np.nan_to_num(limb_mm, nan=-1.0), axis=0) != 0).any(axis=-1)) + 1
    for first, last in zip([0, *changes], [*changes, frames], strict=True):
        for start in range(first, last, _BATCH):
            rows = slice(start, min(start + _BATCH, last))
            block = maps(rows) if callable(maps) else maps[rows]
            views = _Views(
                maps=torch.as_tensor(block, device=device).float().nan_to_num(nan=0.0).clamp_(min=0),
                lenses=lenses,
                map_from_lens=torch.from_numpy(map_from_lens[rows]).to(device),
            )
            block_centres = torch.from_numpy(np.nan_to_num(centres[rows])).to(device)
            block_joints, supported = _search(views, block_centres, limb_mm[start], bodies.parents, settings)
            rooted = np.isfinite(centres[rows]).all(axis=-1)
            state = np.where(rooted[:, None], np.where(supported.cpu().numpy(), KNOWN, NO_SUPPORT), NO_ROOT)
            joints[rows] = np.where((state == KNOWN)[..., None], block_joints.cpu().numpy(), np.nan)
            status[rows] = state
    return joints, status


@dataclass(frozen=True, eq=False)
class _Views:
    """What the views show of some frames.

    Attributes:
        maps: (frames, views, joints, height, width) >= 0.
        lenses: (views, 19), see `pictorial.lens_rows`.
        map_from_lens: (frames, views, 2, 3) map px from normalised image coordinates.
    """

    maps: torch.Tensor
    lenses: torch.Tensor
    map_from_lens: torch.Tensor


def _search(
    views: _Views, centres: torch.Tensor, limb_mm: np.ndarray, parents: tuple[int, ...], settings: Search
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the bodies of frames with equal limbs: (frames, joints, 3) world mm, (frames, joints) bool: has heat."""
    device = views.maps.device
    cube = torch.from_numpy(pictorial.grid(settings.cube_mm, settings.coarse_bins, settings.published)).to(device)
    heat = _heat_on_grid(views, centres[:, :, None] + cube)
    energies = heat.clamp_(min=settings.floor).log_().permute(1, 2, 0).contiguous()  # (joints, bins^3, frames)
    chosen, fits = _best_on_grid(energies, limb_mm, parents, settings)
    joints = (centres[:, :, None] + cube[:, chosen.T].permute(1, 0, 2)).transpose(1, 2)  # (frames, joints, 3)
    side = settings.cube_mm / settings.coarse_bins
    layers = _layers(parents, torch.from_numpy(limb_mm).to(device))
    for _ in range(settings.refine_steps):
        offsets = torch.from_numpy(pictorial.grid(side, settings.refine_bins, settings.published)).to(device)
        around = joints[..., None] + offsets  # (frames, joints, 3, few)
        energy = _heat(views, around).clamp_(min=settings.floor).log_()
        best = _best_of_few(energy, around, layers, parents.index(-1), settings)
        joints = around.gather(3, best[:, :, None, None].expand(-1, -1, 3, 1))[..., 0]
        side /= settings.refine_bins
    supported = _heat(views, joints[..., None])[..., 0] > settings.floor
    return joints, supported & fits[:, None]


def _project(views: _Views, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Project (frames, 3, positions) world mm to x and y, each (frames, views, positions) map px; NaN if not visible."""
    lenses = views.lenses
    rotation, centre = lenses[:, :9].reshape(-1, 3, 3), lenses[:, 9:12, None]
    k1, k2, p1, p2, k3, factor, reach = lenses[:, 12:].T[:, :, None]
    x, y, z = (rotation @ (positions[:, None] - centre)).unbind(2)  # each (frames, views, positions)
    x, y = x / z, y / z
    squared = x * x + y * y
    scale = 1 + squared * (k1 + squared * (k2 + squared * k3)) + factor * (p1 * y + p2 * x)
    x, y = x * scale + p2 * squared, y * scale + p1 * squared
    visible = (z > 0) & (squared <= reach)
    u, v = (
        torch.where(visible, row[..., 0, None] * x + row[..., 1, None] * y + row[..., 2, None], torch.nan)
        for row in views.map_from_lens.unbind(2)
    )
    return u, v


def _inside(u: torch.Tensor, v: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Return whether positions lie in the map, bool."""
    return (u >= 0) & (u <= maps.shape[-1] - 1) & (v >= 0) & (v <= maps.shape[-2] - 1)  # NaN is not


def _heat_on_grid(views: _Views, positions: torch.Tensor) -> torch.Tensor:
    """Sum over the views at positions that all joints share: (frames, 3, positions) -> (frames, joints, positions) float32."""
    maps = views.maps
    num_views, joints, height, width = maps.shape[1:]
    u, v = _project(views, positions)
    inside = _inside(u, v, maps)
    where = torch.stack([2 * u / (width - 1) - 1, 2 * v / (height - 1) - 1], dim=-1).nan_to_num(nan=-2.0).float()
    heat = torch.zeros(len(maps), joints, positions.shape[-1], dtype=torch.float32, device=maps.device)
    for view in range(num_views):
        sampled = torch.nn.functional.grid_sample(maps[:, view], where[:, view, None], align_corners=True)
        heat += sampled[:, :, 0] * inside[:, view, None]
    return heat


def _heat(views: _Views, around: torch.Tensor) -> torch.Tensor:
    """Sum over the views at each joint's own positions: (frames, joints, 3, few) -> (frames, joints, few) float64."""
    maps = views.maps
    frames, num_views, joints, height, width = maps.shape
    few = around.shape[-1]
    u, v = _project(views, around.transpose(1, 2).reshape(frames, 3, joints * few))
    inside = _inside(u, v, maps)
    u, v = torch.where(inside, u, 0.0), torch.where(inside, v, 0.0)
    left, top = u.long().clamp(max=width - 2), v.long().clamp(max=height - 2)
    a, b = u - left, v - top
    at = (top * width + left).reshape(frames, num_views, joints, few)
    values = maps.reshape(frames, num_views, joints, height * width)
    upper_left, upper_right, lower_left, lower_right = (
        values.gather(3, at + step).reshape(u.shape).double() for step in (0, 1, width, width + 1)
    )
    sampled = (1 - b) * ((1 - a) * upper_left + a * upper_right) + b * ((1 - a) * lower_left + a * lower_right)
    return torch.where(inside, sampled, 0.0).sum(dim=1).reshape(frames, joints, few)


def _best_on_grid(
    energies: torch.Tensor, limb_mm: np.ndarray, parents: tuple[int, ...], settings: Search
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the best body on the grid as pictorial.py does; energies (joints, bins^3, frames) are overwritten.

    Returns:
        (joints, frames) int64, the chosen positions, and (frames,) bool, whether any body fits.
    """
    bins, step, tolerance = settings.coarse_bins, settings.step_mm, settings.coarse_tolerance_mm
    joints, count, frames = energies.shape
    order = pictorial.leaves_first(parents).tolist()
    for joint in order:
        if parents[joint] >= 0 and limb_mm[joint] >= 0:
            _send(energies[joint], energies[parents[joint]], limb_mm[joint], settings)
    index = torch.arange(count, device=energies.device)[:, None]
    x, y, z = index // (bins * bins), index // bins % bins, index % bins
    steps = np.arange(bins)
    squared = steps[:, None, None] ** 2 + steps[:, None] ** 2 + steps**2
    chosen = torch.zeros(joints, frames, dtype=torch.int64, device=energies.device)
    fits = torch.ones(frames, dtype=torch.bool, device=energies.device)
    for joint in reversed(order):
        own = energies[joint]
        if parents[joint] >= 0 and limb_mm[joint] >= 0:
            allowed = np.abs(step * np.sqrt(squared) - limb_mm[joint]) <= tolerance
            above = chosen[parents[joint]]
            offset = (x - above // (bins * bins)).abs() * (bins * bins)
            offset += (y - above // bins % bins).abs() * bins
            offset += (z - above % bins).abs()
            own = torch.where(torch.from_numpy(allowed.ravel()).to(energies.device)[offset], own, -torch.inf)
        chosen[joint], most = _first_best(own, 0)
        fits &= most > -torch.inf
    return chosen, fits


def _first_best(values: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the index of the largest value along an axis, the first of equals (torch takes any), and its value."""
    most = values.amax(dim=axis, keepdim=True)
    shape = [1] * values.ndim
    shape[axis] = -1
    index = torch.arange(values.shape[axis], device=values.device).reshape(shape)
    first = torch.where(values == most, index, values.shape[axis]).amin(dim=axis)
    return first, most.squeeze(axis)


def _send(own: torch.Tensor, above: torch.Tensor, length: float, settings: Search) -> None:
    """Add a child's message to its parent's energies, (bins^3, frames); pictorial.py explains how a shell is folded."""
    bins, step, tolerance = settings.coarse_bins, settings.step_mm, settings.coarse_tolerance_mm
    reach = pictorial.bins_apart(length, step, tolerance, bins)
    shell = pictorial.limb_shell(length, reach, step, tolerance, np.empty(((reach + 1) ** 2, 4), dtype=np.int64))
    frames = own.shape[-1]
    padded = torch.nn.functional.pad(own.reshape(bins, bins, bins, frames), [0, 0, *[reach] * 6], value=-torch.inf)
    folded = [_fold(None, padded, 0, reach=reach, offset=a) for a in range(reach + 1)]
    gathered: torch.Tensor | None = None
    message: torch.Tensor | None = None
    for n, (a, b, low, high) in enumerate(shell.tolist()):
        gathered = _fold(gathered, folded[a], 1, reach=reach, offset=b)
        if n + 1 == len(shell) or shell[n + 1, 2:].tolist() != [low, high]:
            for c in range(low, high + 1):
                message = _fold(message, gathered, 2, reach=reach, offset=c)
            gathered = None
    above += -torch.inf if message is None else message.reshape(-1, frames)


def _fold(target: torch.Tensor | None, source: torch.Tensor, axis: int, *, reach: int, offset: int) -> torch.Tensor:
    """Return the larger of a padded axis's values at +offset and -offset, and of the old `target`."""
    bins = source.shape[axis] - 2 * reach
    ahead, behind = (source.narrow(axis, reach + sign * offset, bins) for sign in (1, -1))
    if target is None:
        return torch.maximum(ahead, behind)
    torch.maximum(target, ahead, out=target)
    return target if offset == 0 else torch.maximum(target, behind, out=target)


def _layers(parents: tuple[int, ...], limb_mm: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return joints, their parents and limb lengths, grouped by distance from the root, the farthest first."""
    distance = [0] * len(parents)
    for joint in reversed(pictorial.leaves_first(parents).tolist()):
        distance[joint] = distance[parents[joint]] + 1 if parents[joint] >= 0 else 0
    layers = []
    for far in range(max(distance), 0, -1):
        joints = [joint for joint in range(len(parents)) if distance[joint] == far]
        above = [parents[joint] for joint in joints]
        own = torch.tensor(joints, device=limb_mm.device)
        layers.append((own, torch.tensor(above, device=limb_mm.device), limb_mm[own]))
    return layers


def _best_of_few(
    energy: torch.Tensor,
    around: torch.Tensor,
    layers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    root: int,
    settings: Search,
) -> torch.Tensor:
    """Choose positions as pictorial.py does: energy (frames, joints, few), overwritten -> (frames, joints) int64."""
    frames, joints, few = energy.shape
    tolerance = settings.limb_tolerance_mm
    best = torch.zeros(frames, joints, few, dtype=torch.int64, device=energy.device)
    for own, above, lengths in layers:
        apart = around[:, own, :, None, :] - around[:, above, :, :, None]  # (frames, layer, 3, above, own)
        distance = (apart[:, :, 0] ** 2 + apart[:, :, 1] ** 2 + apart[:, :, 2] ** 2).sqrt()
        over = ((distance - lengths[:, None, None]).abs() - tolerance).nan_to_num(nan=0.0).clamp(min=0)
        wrong = torch.where(over > 0, torch.inf, 0.0) if settings.published else VIOLATION * over
        best[:, own], message = _first_best(energy[:, own, None, :] - wrong, 3)
        energy.index_add_(1, above, message)
    chosen = torch.zeros(frames, joints, dtype=torch.int64, device=energy.device)
    chosen[:, root] = _first_best(energy[:, root], 1)[0]
    for own, above, _ in reversed(layers):
        chosen[:, own] = best[:, own].gather(2, chosen[:, above, None])[..., 0]
    return chosen
