"""Association: the same person in every view, whoever else stands about and in whatever order the detector lists them."""

import numpy as np
import pytest

from pipeline.geometry.association import associate, epipolar_agreement
from pipeline.skeleton import get
from tests.worlds import raw_world
from tests.worlds.tiny_world import camera_ring

JOINTS = get("body_25b").joint_names


def crowd(
    views: int, frames: int = 5, seen_by: tuple[tuple[int, ...], ...] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    """The person of interest in every view, bystander k in the views `seen_by[k]`, shuffled in every frame and view.

    Returns:
        (frames, views, people, joints, 2) px, scores, (frames, views) where the person of interest is, cameras.
    """
    rng = np.random.default_rng(5)
    cameras = camera_ring(views)
    everybody = [((0.0, 0.0), tuple(range(views)))]
    everybody += [((1100.0 * np.cos(k + 1), 1100.0 * np.sin(k + 1)), where) for k, where in enumerate(seen_by)]
    points = np.full((frames, views, len(everybody), len(JOINTS), 2), np.nan)
    where = np.zeros((frames, views), dtype=int)
    shown = [np.stack([c.project(raw_world.people(JOINTS, frames, at)) for c in cameras], 1) for at, _ in everybody]
    for frame in range(frames):
        for view in range(views):
            order = rng.permutation(len(everybody))
            for place, person in enumerate(order):
                if view in everybody[person][1]:
                    points[frame, view, place] = shown[person][frame, view]
            where[frame, view] = int(np.flatnonzero(order == 0)[0])
    points += rng.normal(0, 2, points.shape)  # px
    scores = np.where(np.isfinite(points[..., 0]), 0.8, 0.0)
    return points, scores, where, cameras


@pytest.mark.parametrize("views", [3, 4, 8])
def test_bystanders_in_some_views_are_left_out(views):
    points, scores, where, cameras = crowd(views, seen_by=((0, 1), (1,), (0, 2)))
    np.testing.assert_array_equal(associate(points, scores, cameras), where)


def test_a_view_that_sees_somebody_else_alone_has_nobody():
    points, scores, where, cameras = crowd(4, seen_by=((2,),))
    gone = points[np.arange(5), 2, where[:, 2]]
    gone[:] = np.nan
    points[np.arange(5), 2, where[:, 2]] = gone
    expected = where.copy()
    expected[:, 2] = -1
    np.testing.assert_array_equal(associate(points, scores, cameras), expected)


def test_half_of_the_joints_missing_or_wrong_does_not_matter_much():
    points, scores, where, cameras = crowd(4, seen_by=((0, 1, 2),))
    rng = np.random.default_rng(1)
    unsure = rng.random(scores.shape) < 0.3
    scores[unsure] = 0.05
    points[unsure] = 0.0  # px: they have no say, wherever they are
    points[rng.random(scores.shape) < 0.1] += 150.0  # px
    assert (associate(points, scores, cameras) == where).mean() > 0.95


def test_of_two_people_in_all_views_the_same_one_is_followed():
    points, scores, where, cameras = crowd(4, frames=12, seen_by=((0, 1, 2, 3),))
    found = associate(points, scores, cameras)
    same = found == where
    assert same.all() or not same.any()
    np.testing.assert_array_equal(found, associate(points, scores, cameras))


def test_nobody_in_no_view_and_no_frame():
    points, scores, _, cameras = crowd(3)
    assert (associate(np.full_like(points, np.nan), np.zeros_like(scores), cameras) == -1).all()
    assert associate(points[:0], scores[:0], cameras).shape == (0, 3)


def test_many_people_in_many_views_take_no_combinations():
    points, scores, where, cameras = crowd(10, frames=2, seen_by=(tuple(range(0, 10, 2)),) * 6)
    np.testing.assert_array_equal(associate(points, scores, cameras), where)  # 7^10 combinations


def test_agreement_is_full_for_the_right_rig_and_little_for_another():
    points, scores, _, cameras = crowd(4)
    right = epipolar_agreement(points, scores, cameras)
    assert right > 0.8
    assert epipolar_agreement(points, scores, (cameras[1], cameras[0], *cameras[2:])) < 0.5 * right
