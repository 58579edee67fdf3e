"""RPSM: one body in all heatmaps, held against a plain dense implementation."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline import crops, heatmaps
from pipeline.files.poses import Status
from pipeline.geometry import agreement, pictorial, ransac
from pipeline.geometry.camera import Camera
from pipeline.skeleton import Skeleton, get
from tests.tiny_world import camera_ring

SEARCH = pictorial.Search(2000, 16, 2, 10, 150, 1e-3)
MPII = get("mpii_16")
STANDING = np.array(
    [
        [130, 20, 90], [120, 10, 480], [110, 0, 900], [-110, 0, 900], [-120, 10, 480], [-130, 20, 90], [0, 0, 940],
        [0, 0, 1440], [0, 0, 1530], [0, 20, 1780], [330, 60, 960], [250, 20, 1180], [170, 0, 1410], [-170, 0, 1410],
        [-250, 20, 1180], [-330, 60, 960],
    ],
    dtype=float,
)  # fmt: skip


def seen_by(
    cameras: tuple[Camera, ...], joints: np.ndarray, side: int = 64, sigma: float = 2.0, rounded: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Perfect heatmaps of a crop around the person, (frames, views, joints, side, side), and map_from_image."""
    shown = agreement.project(joints, cameras)
    middle, half = shown[:, :, [6]].mean(axis=2), 220.0
    map_from_image = crops.crop_from_image(np.concatenate([middle - half, middle + half], axis=-1), side)
    return heatmaps.draw(crops.transform(map_from_image, shown), (side, side), sigma, rounded), map_from_image


def people(frames: int = 12) -> np.ndarray:
    """A standing person, turned and shifted, every joint a few cm elsewhere: (frames, 16, 3)."""
    rng = np.random.default_rng(7)
    poses = []
    for angle in rng.uniform(0, 2 * np.pi, frames):
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        poses.append((STANDING + rng.normal(0, 30, STANDING.shape)) @ turn.T + [*rng.uniform(-300, 300, 2), 0])
    return np.array(poses)


def limbs_of(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(frames, joints) mm, the true length of every limb."""
    limb = np.full(joints.shape[:-1], np.nan)
    for parent, child in skeleton.limbs:
        limb[:, child] = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
    return limb


def test_statuses_are_those_of_the_poses_file():
    ours = [pictorial.KNOWN, pictorial.NO_ROOT, pictorial.NO_SUPPORT]
    assert ours == [Status.KNOWN, Status.NO_ROOT, Status.NO_SUPPORT]


def test_perfect_rounded_maps_of_64_px_give_15_mm_by_rays_and_20_mm_by_bodies():
    joints, cameras = people(), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints, rounded=True)
    peaks, scores = heatmaps.decode_quarter(maps)
    points = crops.transform(crops.inverse(map_from_image), peaks)
    rays = ransac.triangulate(
        points, scores, cameras, confidence_threshold=0.5, reproj_threshold_px=20, min_inliers=2, min_ray_angle_deg=5
    )
    assert np.linalg.norm(rays.joints - joints, axis=-1).mean() < 15  # mm
    found, status = pictorial.search(
        maps, map_from_image, cameras, rays.joints[:, 6], limbs_of(joints, MPII), MPII.parents, SEARCH
    )
    assert np.linalg.norm(found - joints, axis=-1).mean() < 20  # mm
    assert (status == Status.KNOWN).all()


def test_limbs_8_per_cent_too_long_change_next_to_nothing():
    joints, cameras = people(), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    found = [
        pictorial.search(maps, map_from_image, cameras, joints[:, 6] + 15, factor * limb, MPII.parents, SEARCH)[0]
        for limb in [limbs_of(joints, MPII)]
        for factor in (1.0, 1.08)
    ]
    errors = [np.linalg.norm(each - joints, axis=-1).mean() for each in found]
    assert errors[0] < 12  # mm
    assert abs(errors[1] - errors[0]) < 1


def test_a_wrist_that_all_views_see_on_the_floor_is_brought_back_by_its_limb():
    joints, cameras = people(4), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    wrist, ankle = MPII.index("left_wrist"), MPII.index("left_ankle")
    maps[:, :, wrist] = np.maximum(0.5 * maps[:, :, wrist], maps[:, :, ankle])  # the ankle's peak is twice as high
    found, _ = pictorial.search(
        maps, map_from_image, cameras, joints[:, 6], limbs_of(joints, MPII), MPII.parents, SEARCH
    )
    assert np.linalg.norm(found[:, wrist] - joints[:, wrist], axis=-1).max() < 40  # mm
    free = np.full((4, 16), np.nan)  # limbs of any length: the higher peak wins
    found, _ = pictorial.search(maps, map_from_image, cameras, joints[:, 6], free, MPII.parents, SEARCH)
    assert np.linalg.norm(found[:, wrist] - joints[:, ankle], axis=-1).max() < 40


def test_without_a_root_nothing_is_searched_and_without_heat_nothing_is_found():
    joints, cameras = people(3), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    knee, root = MPII.index("left_knee"), joints[:, 6].copy()
    root[0] = np.nan
    maps[1, :, knee] = 0
    map_from_image[2, 1] = np.nan  # a view is missing
    found, status = pictorial.search(maps, map_from_image, cameras, root, limbs_of(joints, MPII), MPII.parents, SEARCH)
    assert (status[0] == Status.NO_ROOT).all()
    assert np.isnan(found[0]).all()
    assert np.flatnonzero(status[1]).tolist() == [knee]
    assert status[1, knee] == Status.NO_SUPPORT
    assert np.isnan(found[1, knee]).all()
    assert np.linalg.norm(found[2] - joints[2], axis=-1).mean() < 20
    dark = np.zeros_like(maps)
    found, status = pictorial.search(
        dark, map_from_image, cameras, joints[:, 6], limbs_of(joints, MPII), MPII.parents, SEARCH
    )
    assert (status == Status.NO_SUPPORT).all()


def test_negative_values_count_as_none():
    joints, cameras = people(2), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    arguments = (map_from_image, cameras, joints[:, 6], limbs_of(joints, MPII), MPII.parents, SEARCH)
    plain, _ = pictorial.search(maps, *arguments)
    sunk, _ = pictorial.search(np.where(maps < 1e-3, -5.0, maps), *arguments)
    cut, _ = pictorial.search(np.where(maps < 1e-3, 0.0, maps), *arguments)
    np.testing.assert_array_equal(sunk, cut)
    np.testing.assert_allclose(cut, plain, atol=1)


def test_the_order_of_the_views_changes_nothing():
    joints, cameras = people(3), camera_ring(5)
    maps, map_from_image = seen_by(cameras, joints)
    limb, order = limbs_of(joints, MPII), [4, 2, 0, 1, 3]
    plain, _ = pictorial.search(maps, map_from_image, cameras, joints[:, 6], limb, MPII.parents, SEARCH)
    shuffled, _ = pictorial.search(
        maps[:, order],
        map_from_image[:, order],
        tuple(cameras[view] for view in order),
        joints[:, 6],
        limb,
        MPII.parents,
        SEARCH,
    )
    np.testing.assert_allclose(shuffled, plain, atol=1e-6)


def test_the_root_is_stood_in_for_by_the_middle_of_what_is_known():
    joints = np.full((3, 4, 3), np.nan)
    joints[0] = np.arange(12).reshape(4, 3)
    joints[1, 1:] = [[1, 2, 3], [5, 2, 3], [30, 2, 9]]
    centres = pictorial.roots(joints, root=0)
    assert centres[0].tolist() == [0, 1, 2]
    assert centres[1].tolist() == [5, 2, 3]
    assert np.isnan(centres[2]).all()


# The plain implementation: every place of a child against every place of its parent.


def sampled(grid: np.ndarray, point: np.ndarray) -> float:
    """Bilinear, 0 off the map, negative values 0."""
    height, width = grid.shape
    x, y = point
    if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
        return 0.0
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    a, b = x - left, y - top
    four = np.maximum(grid[top : top + 2, left : left + 2], 0)
    return float(np.array([1 - b, b]) @ four @ np.array([1 - a, a]))


def dense(  # one frame
    maps: np.ndarray, map_from_image: np.ndarray, cameras: tuple[Camera, ...], centre: np.ndarray, limb: np.ndarray,
    parents: tuple[int, ...], settings: pictorial.Search,
) -> np.ndarray:  # fmt: skip
    joints = len(parents)
    places = np.repeat([centre], joints, axis=0)
    side, bins, scale = settings.space_mm, settings.first_bins, settings.space_mm / settings.first_bins
    for level in range(settings.depth + 1):
        along = np.linspace(-side / 2, side / 2, bins)
        around = np.array([[place + [x, y, z] for x in along for y in along for z in along] for place in places])
        heat = np.zeros(around.shape[:2])
        for joint, state in np.ndindex(*heat.shape):
            for view, camera in enumerate(cameras):
                point = map_from_image[view] @ [*camera.project(around[joint, state]), 1]
                heat[joint, state] += sampled(maps[view, joint], point)
        energy = np.log(np.maximum(heat, settings.floor))
        tolerance = max(settings.limb_tolerance_mm, side / (bins - 1) / 2) if level == 0 else settings.limb_tolerance_mm

        def pairs(child: int, around=around, tolerance=tolerance, level=level) -> np.ndarray:
            """(parent's places, child's places) log energy of the limb."""
            distance = np.linalg.norm(around[parents[child]][:, None] - around[child][None], axis=-1)
            over = np.abs(distance - limb[child]) - tolerance
            return np.where(over > 1e-9, -np.inf if level == 0 else -1e3 * over, 0.0)

        total: dict[int, np.ndarray] = {}

        def collect(joint: int, energy=energy, total=total, pairs=pairs) -> np.ndarray:
            total[joint] = energy[joint].copy()
            for child in range(joints):
                if parents[child] == joint:
                    total[joint] += (pairs(child) + collect(child)[None]).max(axis=1)
            return total[joint]

        root = parents.index(-1)
        chosen = {root: int(collect(root).argmax())}
        waiting = [root]
        while waiting:
            joint = waiting.pop()
            for child in range(joints):
                if parents[child] == joint:
                    chosen[child] = int((pairs(child)[chosen[joint]] + total[child]).argmax())
                    waiting.append(child)
        places = np.array([around[joint, chosen[joint]] for joint in range(joints)])
        side, bins = (scale if level == 0 else side / settings.next_bins), settings.next_bins
    return places


@pytest.mark.parametrize(
    ("views", "bins", "next_bins", "depth", "tolerance"),
    [(4, 6, 2, 3, 150.0), (2, 5, 3, 2, 60.0), (3, 7, 2, 0, 100.0), (4, 6, 2, 4, 20.0)],
)
def test_the_fast_search_finds_the_body_of_the_dense_one(views, bins, next_bins, depth, tolerance):
    """Blurred and noisy maps, a tree that branches, children before and after their parents."""
    rng = np.random.default_rng(bins)
    parents = (1, 2, -1, 2, 3, 3)
    cameras = camera_ring(4)[:views]
    joints = people(5)[:, [0, 1, 6, 7, 9, 12]]
    maps, map_from_image = seen_by(cameras, np.concatenate([joints, people(5)], axis=1), side=24, sigma=2.5)
    maps = (
        maps[:, :, :6] * rng.uniform(0.2, 1, (5, views, 6, 1, 1)) + rng.normal(0, 0.1, maps[:, :, :6].shape)
    ).astype(np.float32)
    limb = np.full((5, 6), np.nan)
    for child, parent in enumerate(parents):
        if parent >= 0:
            limb[:, child] = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
    settings = replace(
        SEARCH, first_bins=bins, next_bins=next_bins, depth=depth, limb_tolerance_mm=tolerance, floor=1e-6
    )
    centres = joints[:, 2] + rng.normal(0, 30, (5, 3))
    found, status = pictorial.search(maps, map_from_image, cameras, centres, limb, parents, settings)
    for frame in range(5):
        expected = dense(maps[frame], map_from_image[frame], cameras, centres[frame], limb[frame], parents, settings)
        known = status[frame] == Status.KNOWN
        assert known.sum() >= 5
        np.testing.assert_allclose(found[frame][known], expected[known], atol=1e-9)
