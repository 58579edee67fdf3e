"""Weighted DLT: rays that meet, rays that do not, views that have no say."""

import cv2
import numpy as np
import pytest

from pipeline.geometry.triangulation import triangulate_all_views, triangulate_dlt, triangulate_homogeneous
from tests.worlds.tiny_world import camera_ring


def scene(views: int, frames: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cameras on a ring around 5 joints of a person: joints (frames, 5, 3), undistorted px, projections."""
    cameras = camera_ring(views)
    joints = np.random.default_rng(2).uniform([-600, -600, 0], [600, 600, 1800], (frames, 5, 3))
    seen = np.stack([camera.project(joints, distorted=False) for camera in cameras], axis=1)
    return joints, seen, np.stack([camera.image_from_world for camera in cameras])


@pytest.mark.parametrize("views", [2, 3, 4, 7, 16])
def test_what_was_projected_is_found_again(views):
    joints, seen, image_from_world = scene(views)
    found = triangulate_dlt(seen, image_from_world, np.ones(seen.shape[:-1]))
    np.testing.assert_allclose(found, joints, atol=1e-6)  # mm


def test_it_agrees_with_opencv_on_two_noisy_views():
    _, seen, image_from_world = scene(2)
    seen = seen + np.random.default_rng(5).normal(0, 1, seen.shape)
    ours = triangulate_dlt(seen, image_from_world, np.ones(seen.shape[:-1]))
    theirs = cv2.triangulatePoints(*image_from_world, *np.moveaxis(seen, 1, 0).reshape(2, -1, 2).transpose(0, 2, 1))
    theirs = (theirs[:3] / theirs[3]).T.reshape(ours.shape)
    np.testing.assert_allclose(ours, theirs, atol=2)  # mm; other row scales, and noise of 1 px is 8 mm here


def test_a_view_without_weight_or_without_a_point_has_no_say():
    joints, seen, image_from_world = scene(4)
    weights = np.ones(seen.shape[:-1])
    seen[:, 1] += 100
    weights[:, 1] = 0
    seen[0, 2] = np.nan
    found = triangulate_dlt(seen, image_from_world, weights)
    np.testing.assert_allclose(found, joints, atol=1e-6)


def test_a_weight_of_2_counts_as_seeing_the_view_twice():
    _, seen, image_from_world = scene(3)
    seen = seen + np.random.default_rng(5).normal(0, 3, seen.shape)
    weights = np.ones(seen.shape[:-1])
    twice = triangulate_dlt(seen[:, [0, 1, 2, 2]], image_from_world[[0, 1, 2, 2]], np.ones((3, 4, 5)))
    weights[:, 2] = 2
    np.testing.assert_allclose(triangulate_dlt(seen, image_from_world, weights), twice, atol=1e-6)


def test_too_few_views_and_parallel_rays_make_no_point():
    _, seen, image_from_world = scene(4)
    weights = np.ones(seen.shape[:-1])
    weights[0, 1:, 0] = 0  # one view left
    weights[1, 2:, 1] = 0  # two views left
    found = triangulate_dlt(seen, image_from_world, weights, min_views=3)
    unknown = np.isnan(found).all(axis=-1)
    assert np.argwhere(unknown).tolist() == [[0, 0], [1, 1]]
    same = triangulate_dlt(seen[:, [0, 0]], image_from_world[[0, 0]], np.ones((3, 2, 5)))
    assert np.isnan(same).all()


def test_the_order_of_the_views_and_further_axes_in_front_change_nothing():
    _, seen, image_from_world = scene(4)
    seen = seen + np.random.default_rng(5).normal(0, 3, seen.shape)
    plain = triangulate_dlt(seen, image_from_world, np.ones(seen.shape[:-1]))
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(
        triangulate_dlt(seen[:, order], image_from_world[order], np.ones((3, 4, 5))), plain, atol=1e-6
    )
    nested = triangulate_dlt(np.stack([seen, seen]), image_from_world, np.ones((2, *seen.shape[:-1])))
    np.testing.assert_allclose(nested, np.stack([plain, plain]), atol=1e-9)


def test_the_plain_dlt_is_opencvs_of_two_noisy_views():
    _, seen, image_from_world = scene(2)
    seen = seen + np.random.default_rng(5).normal(0, 5, seen.shape)
    ours = triangulate_homogeneous(seen, image_from_world, np.ones(seen.shape[:-1], dtype=bool))
    theirs = cv2.triangulatePoints(*image_from_world, *np.moveaxis(seen, 1, 0).reshape(2, -1, 2).transpose(0, 2, 1))
    np.testing.assert_allclose(ours, (theirs[:3] / theirs[3]).T.reshape(ours.shape), atol=1e-4)  # mm


def test_the_plain_dlt_of_all_views_counts_every_view_however_wrong():
    cameras = camera_ring(4)
    joints = np.random.default_rng(2).uniform([-600, -600, 0], [600, 600, 1800], (3, 5, 3))
    seen = np.stack([camera.project(joints) for camera in cameras], axis=1)
    np.testing.assert_allclose(triangulate_all_views(seen, cameras), joints, atol=1e-5)  # mm
    seen[0, 1, 2] += 80
    seen[1, 2:, 3] = np.nan  # two views left
    seen[2, 1:, 4] = np.nan  # one view left
    found = triangulate_all_views(seen, cameras)
    assert np.linalg.norm(found[0, 2] - joints[0, 2]) > 100
    np.testing.assert_allclose(found[1, 3], joints[1, 3], atol=1e-5)
    assert np.isnan(found[2, 4]).all()
    assert np.isfinite(found).all(axis=-1).sum() == 14
    without = np.ones(seen.shape[:-1], dtype=bool)
    without[:, 1] = False
    np.testing.assert_allclose(triangulate_all_views(seen, cameras, without)[0, 2], joints[0, 2], atol=1e-5)
