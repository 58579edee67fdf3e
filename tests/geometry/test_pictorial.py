"""RPSM: one body in all heatmaps, held against a plain dense implementation."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline import crops
from pipeline.files.poses import JointStatus
from pipeline.geometry import agreement, pictorial, ransac
from pipeline.geometry.camera import Camera
from pipeline.geometry.pictorial import Bodies
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.heatmaps.decode import decode_quarter
from pipeline.heatmaps.render import render
from pipeline.skeleton import Skeleton, get
from tests.plain import pictorial as plain_pictorial
from tests.worlds.tiny_world import camera_ring

SEARCH = pictorial.Search(
    cube_mm=2000, coarse_bins=16, refine_bins=2, refine_steps=10, limb_tolerance_mm=150, min_heat=1e-3
)
THRESHOLDS = AgreementThresholds(confidence_threshold=0.5, reproj_threshold_px=20, min_ray_angle_deg=5)
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
    on_map = crops.transform(map_from_image, shown)
    return render(np.floor(on_map + 0.5) if rounded else on_map, (side, side), sigma), map_from_image


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


def bodies_of(centres: np.ndarray, limb_mm: np.ndarray, parents: tuple[int, ...] = MPII.parents) -> Bodies:
    return Bodies(centres=centres, limb_mm=limb_mm, parents=parents)


def test_statuses_are_those_of_the_poses_file():
    ours = [pictorial.KNOWN, pictorial.NO_ROOT, pictorial.NO_SUPPORT]
    assert ours == [JointStatus.KNOWN, JointStatus.NO_ROOT, JointStatus.NO_SUPPORT]


@pytest.mark.slow
def test_perfect_rounded_maps_of_64_px_give_15_mm_by_rays_and_20_mm_by_bodies():
    joints, cameras = people(), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints, rounded=True)
    peaks, scores = decode_quarter(maps)
    points = crops.transform(crops.inverse(map_from_image), peaks)
    rays = ransac.triangulate_ransac(points, scores, cameras, THRESHOLDS)
    assert np.linalg.norm(rays.joints - joints, axis=-1).mean() < 15  # mm
    found, status = pictorial.search(
        maps, map_from_image, cameras, bodies_of(rays.joints[:, 6], limbs_of(joints, MPII)), SEARCH
    )
    assert np.linalg.norm(found - joints, axis=-1).mean() < 20  # mm
    assert (status == JointStatus.KNOWN).all()


def test_limbs_8_per_cent_too_long_change_next_to_nothing():
    joints, cameras = people(), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    found = [
        pictorial.search(maps, map_from_image, cameras, bodies_of(joints[:, 6] + 15, factor * limb), SEARCH)[0]
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
    found, _ = pictorial.search(maps, map_from_image, cameras, bodies_of(joints[:, 6], limbs_of(joints, MPII)), SEARCH)
    assert np.linalg.norm(found[:, wrist] - joints[:, wrist], axis=-1).max() < 40  # mm
    free = np.full((4, 16), np.nan)  # limbs of any length: the higher peak wins
    found, _ = pictorial.search(maps, map_from_image, cameras, bodies_of(joints[:, 6], free), SEARCH)
    assert np.linalg.norm(found[:, wrist] - joints[:, ankle], axis=-1).max() < 40


def test_without_a_root_nothing_is_searched_and_without_heat_nothing_is_found():
    joints, cameras = people(3), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    knee, root = MPII.index("left_knee"), joints[:, 6].copy()
    root[0] = np.nan
    maps[1, :, knee] = 0
    map_from_image[2, 1] = np.nan  # a view is missing
    found, status = pictorial.search(maps, map_from_image, cameras, bodies_of(root, limbs_of(joints, MPII)), SEARCH)
    assert (status[0] == JointStatus.NO_ROOT).all()
    assert np.isnan(found[0]).all()
    assert np.flatnonzero(status[1]).tolist() == [knee]
    assert status[1, knee] == JointStatus.NO_SUPPORT
    assert np.isnan(found[1, knee]).all()
    assert np.linalg.norm(found[2] - joints[2], axis=-1).mean() < 20
    dark = np.zeros_like(maps)
    found, status = pictorial.search(
        dark, map_from_image, cameras, bodies_of(joints[:, 6], limbs_of(joints, MPII)), SEARCH
    )
    assert (status == JointStatus.NO_SUPPORT).all()


def test_negative_values_count_as_none():
    joints, cameras = people(2), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    arguments = (map_from_image, cameras, bodies_of(joints[:, 6], limbs_of(joints, MPII)), SEARCH)
    plain, _ = pictorial.search(maps, *arguments)
    sunk, _ = pictorial.search(np.where(maps < 1e-3, -5.0, maps), *arguments)
    cut, _ = pictorial.search(np.where(maps < 1e-3, 0.0, maps), *arguments)
    np.testing.assert_array_equal(sunk, cut)
    np.testing.assert_allclose(cut, plain, atol=1)


def test_the_order_of_the_views_changes_nothing():
    joints, cameras = people(3), camera_ring(5)
    maps, map_from_image = seen_by(cameras, joints)
    limb, order = limbs_of(joints, MPII), [4, 2, 0, 1, 3]
    plain, _ = pictorial.search(maps, map_from_image, cameras, bodies_of(joints[:, 6], limb), SEARCH)
    shuffled, _ = pictorial.search(
        maps[:, order],
        map_from_image[:, order],
        tuple(cameras[view] for view in order),
        bodies_of(joints[:, 6], limb),
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


def random_bodies(skeleton: Skeleton, frames: int, rng: np.random.Generator) -> np.ndarray:
    """(frames, joints, 3) mm: trees of the skeleton near (0, 0, 1000) with limbs of 80 to 400 mm in any direction."""
    joints = np.zeros((frames, len(skeleton), 3))
    lengths = rng.uniform(80, 400, len(skeleton))
    for joint in pictorial.leaves_first(skeleton.parents)[::-1]:
        parent = skeleton.parents[joint]
        if parent < 0:
            joints[:, joint] = [0, 0, 1000] + rng.uniform(-300, 300, (frames, 3))
        else:
            ways = rng.normal(0, 1, (frames, 3))
            joints[:, joint] = joints[:, parent] + lengths[joint] * ways / np.linalg.norm(ways, axis=-1, keepdims=True)
    return joints


def noisy(skeleton: Skeleton, views: int, size: tuple[int, int], frames: int, rng: np.random.Generator) -> tuple:
    """Random bodies, and the arguments of a search in maps of them, blurred and with noise everywhere."""
    joints, cameras = random_bodies(skeleton, frames, rng), camera_ring(views)
    shown = agreement.project(joints, cameras)
    map_from_image = np.empty((frames, views, 2, 3))
    map_from_image[:] = [[size[0] / 512, 0, -0.5], [0, size[1] / 512, -0.5]]
    maps = render(crops.transform(map_from_image, shown), size, 2.5)
    maps = maps * rng.uniform(0.2, 1, (frames, views, len(skeleton), 1, 1)) + rng.uniform(-0.02, 0.08, maps.shape)
    centres = joints[:, skeleton.root] + rng.normal(0, 30, (frames, 3))
    limb = np.repeat(np.median(limbs_of(joints, skeleton), axis=0)[None], frames, axis=0)
    return joints, (maps.astype(np.float32), map_from_image, cameras, bodies_of(centres, limb, skeleton.parents))


def one(arguments: tuple, frame: int) -> tuple:
    maps, map_from_image, cameras, bodies = arguments
    return maps[frame], map_from_image[frame], cameras, bodies.take(frame)


WORLDS = [
    ("mpii_16", 2, (40, 40)),
    ("mpii_16", 4, (64, 48)),
    ("h36m_17", 4, (64, 64)),
    ("coco_17", 3, (36, 48)),
    ("h36m_17", 8, (48, 48)),
    ("body_25", 5, (48, 48)),
]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["published", "robust"])
def test_the_bodies_are_those_of_the_plain_search_for_any_skeleton_views_and_maps(variant):
    rng = np.random.default_rng(11)
    off = []
    for name, views, size in WORLDS:
        skeleton = get(name)
        _, arguments = noisy(skeleton, views, size, 20, rng)
        settings = replace(SEARCH, coarse_bins=8 if variant == "published" else 6, variant=variant, min_heat=1e-6)
        found, status = pictorial.search(*arguments, settings=settings)
        for frame in range(20):
            expected = plain_pictorial.search(*one(arguments, frame), settings=settings)
            known = status[frame] == JointStatus.KNOWN
            off += np.linalg.norm(found[frame] - expected, axis=-1)[known].tolist()
            assert known.mean() > 0.9
    assert len(off) > 1900
    assert np.mean(np.array(off) < 1e-6) >= 0.999  # mm


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bins", "refine_bins", "steps", "tolerance"),
    [(5, 3, 2, 60.0), (7, 2, 0, 100.0), (6, 2, 4, 20.0), (9, 2, 3, 150.0)],
)
@pytest.mark.parametrize("variant", ["published", "robust"])
def test_so_they_are_for_any_grid_and_tolerance(bins, refine_bins, steps, tolerance, variant):
    rng = np.random.default_rng(bins)
    _, arguments = noisy(get("mpii_16"), 3, (32, 32), 3, rng)
    limb = arguments[3].limb_mm
    limb[1, 3], limb[2, 7] = np.nan, np.nan  # unknown lengths
    settings = replace(
        SEARCH,
        coarse_bins=bins,
        refine_bins=refine_bins,
        refine_steps=steps,
        limb_tolerance_mm=tolerance,
        variant=variant,
    )
    found, status = pictorial.search(*arguments, settings=settings)
    for frame in range(3):
        known = status[frame] == JointStatus.KNOWN
        assert known.any() or variant == "published"  # which has no body where the grid is too coarse for the limbs
        expected = plain_pictorial.search(*one(arguments, frame), settings=settings)
        np.testing.assert_allclose(found[frame][known], expected[known], atol=1e-9)


def test_any_number_of_threads_gives_the_same_bytes():
    _, arguments = noisy(get("h36m_17"), 4, (64, 64), 40, np.random.default_rng(2))
    alone = pictorial.search(*arguments, settings=SEARCH, threads=1)
    for threads in (2, 3, 7):
        many = pictorial.search(*arguments, settings=SEARCH, threads=threads)
        assert [each.tobytes() for each in many] == [each.tobytes() for each in alone]


def test_maps_may_be_asked_for_when_they_are_needed():
    _, (maps, *others) = noisy(get("mpii_16"), 4, (32, 32), 20, np.random.default_rng(2))
    asked = []

    def some(rows: slice) -> np.ndarray:
        asked.append(rows)
        return maps[rows]

    found, _ = pictorial.search(some, *others, settings=SEARCH, threads=2)
    assert max(rows.stop - rows.start for rows in asked) <= 16
    np.testing.assert_array_equal(found, pictorial.search(maps, *others, settings=SEARCH)[0])


def turned_away(camera: Camera) -> Camera:
    """The same place, looking the other way, upside down: what is behind it would be shown where it was."""
    return replace(camera, R=np.diag([1.0, -1, -1]) @ camera.R)


def test_what_is_behind_a_camera_is_not_seen_by_it():
    joints, cameras = people(3), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    away = (*cameras[:3], turned_away(cameras[3]))
    rest = (bodies_of(joints[:, 6], limbs_of(joints, MPII)), SEARCH)
    found, status = pictorial.search(maps, map_from_image, away, *rest)
    without, _ = pictorial.search(maps[:, :3], map_from_image[:, :3], cameras[:3], *rest)
    np.testing.assert_array_equal(found, without)
    assert (status == JointStatus.KNOWN).all()
    nowhere = tuple(turned_away(camera) for camera in cameras)
    found, status = pictorial.search(maps, map_from_image, nowhere, *rest)
    assert (status == JointStatus.NO_SUPPORT).all()
    assert np.isnan(found).all()


def test_what_is_beyond_the_reach_of_a_lens_model_is_not_seen_by_it():
    """A barrel distortion that turns back 30 degrees off the axis: beyond, its formula shows people a second time."""
    joints, cameras = people(3), camera_ring(4)
    bent = tuple(replace(camera, distortion=np.array([-1.0, 0, 0, 0, 0])) for camera in cameras)
    assert bent[0].max_valid_radius < 0.6
    maps = np.ones((3, 4, 16, 64, 64), dtype=np.float32)  # heat wherever the lens shows anything
    map_from_image = np.broadcast_to([[1 / 8, 0, 0], [0, 1 / 8, 0]], (3, 4, 2, 3))
    for metres, expected in ((0, JointStatus.KNOWN), (4.5, JointStatus.NO_SUPPORT)):  # above the middle of the images
        pelvis = joints[:, 6] + [0, 0, 1000 * metres]
        _, status = pictorial.search(
            maps, map_from_image, bent, bodies_of(pelvis, np.full((3, 16), np.nan)), replace(SEARCH, cube_mm=10)
        )
        assert (status == expected).all()


def test_a_joint_outside_of_all_pictures_has_no_place_and_the_others_have_theirs():
    joints, cameras = people(3), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    ankle = MPII.index("left_ankle")
    for view in range(4):  # the lower part of every map is not in the image
        foot = crops.transform(map_from_image[:, view], agreement.project(joints, cameras)[:, view])[:, ankle, 1]
        for frame in range(3):
            maps[frame, view, :, int(foot[frame]) - 9 :] = 0
    found, status = pictorial.search(
        maps, map_from_image, cameras, bodies_of(joints[:, 6], limbs_of(joints, MPII)), SEARCH
    )
    assert (status[:, ankle] == JointStatus.NO_SUPPORT).all()
    assert np.isnan(found[:, ankle]).all()
    above = [MPII.index(name) for name in ("pelvis", "thorax", "left_wrist", "right_elbow", "head_top", "left_hip")]
    assert (status[:, above] == JointStatus.KNOWN).all()
    assert np.linalg.norm(found[:, above] - joints[:, above], axis=-1).mean() < 20  # mm


def test_values_that_are_no_numbers_count_as_none():
    joints, cameras = people(2), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    rest = (map_from_image, cameras, bodies_of(joints[:, 6], limbs_of(joints, MPII)), SEARCH)
    holes, zeros = maps.copy(), maps.copy()
    holes[:, 1, :, :20], zeros[:, 1, :, :20] = np.nan, 0
    np.testing.assert_array_equal(pictorial.search(holes, *rest)[0], pictorial.search(zeros, *rest)[0])


@pytest.mark.parametrize("variant", ["published", "robust"])
def test_a_limb_that_does_not_fit_into_the_cube_leaves_no_body_rather_than_its_corner(variant):
    joints, cameras = people(3), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    limb = limbs_of(joints, MPII)
    limb[1, 0] = 9000
    found, status = pictorial.search(
        maps, map_from_image, cameras, bodies_of(joints[:, 6], limb), replace(SEARCH, variant=variant)
    )
    assert (status[1] == JointStatus.NO_SUPPORT).all()
    assert np.isnan(found[1]).all()
    assert (status[[0, 2]] == JointStatus.KNOWN).all()


def test_in_the_published_variant_a_joint_without_heat_rules_the_body_out():
    joints, cameras = people(2), camera_ring(4)
    maps, map_from_image = seen_by(cameras, joints)
    maps[0, :, 10] = 0
    rest = (map_from_image, cameras, bodies_of(joints[:, 6], limbs_of(joints, MPII)))
    _, status = pictorial.search(maps, *rest, replace(SEARCH, variant="published"))
    assert (status[0] == JointStatus.NO_SUPPORT).all()
    assert (status[1] == JointStatus.KNOWN).all()
    _, status = pictorial.search(maps, *rest, settings=SEARCH)
    assert np.flatnonzero(status[0]).tolist() == [10]


def test_of_equals_the_first_is_taken_in_the_order_that_the_variant_says():
    """Two joints see heat at two places alone, as high as each other: (-100, 100, z) and (100, -100, z)."""
    camera = Camera(
        name="above", size=(201, 201), K=np.array([[5000.0, 0, 100], [0, 5000.0, 100], [0, 0, 1]]), R=np.diag([1.0, -1, -1]),
        centre=np.array([0.0, 0, 5000]), distortion=np.zeros(5),
    )  # fmt: skip
    maps = np.zeros((1, 1, 1, 201, 201), dtype=np.float32)
    where = camera.project(np.array([[-100.0, 100, -100], [100, -100, -100]]))
    for x, y in np.round(where).astype(int):
        maps[0, 0, 0, y - 1 : y + 2, x - 1 : x + 2] = 1
    identity = np.array([[[[1.0, 0, 0], [0, 1, 0]]]])
    settings = pictorial.Search(
        cube_mm=200, coarse_bins=3, refine_bins=2, refine_steps=0, limb_tolerance_mm=50, min_heat=1e-3
    )
    rest = (maps, identity, (camera,), bodies_of(np.zeros((1, 3)), np.full((1, 1), np.nan), (-1,)))
    ours, _ = pictorial.search(*rest, settings=settings)
    theirs, _ = pictorial.search(*rest, replace(settings, variant="published"))
    assert ours[0, 0].tolist() == [-100, 100, -100]  # x first
    assert theirs[0, 0].tolist() == [100, -100, -100]  # y first
