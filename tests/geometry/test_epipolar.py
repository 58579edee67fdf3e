"""Epipolar geometry from calibration alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import epipolar
from pipeline.geometry.camera import Camera
from tests.worlds.tiny_world import camera_ring

POINTS = np.random.default_rng(4).uniform([-600, -600, 0], [600, 600, 1800], (30, 3))


def test_two_images_of_a_point_satisfy_the_fundamental_matrix():
    a, b, *_ = camera_ring(4)
    F = epipolar.fundamental_matrix(a, b)
    seen_a, seen_b = a.project(POINTS, distorted=False), b.project(POINTS, distorted=False)
    assert epipolar.sampson_distance(seen_a, seen_b, F).max() < 1e-9  # px
    np.testing.assert_allclose(np.abs(epipolar.fundamental_matrix(b, a)), np.abs(F.T), atol=1e-12)


def test_side_by_side_cameras_measure_the_difference_of_the_rows():
    # For a rectified pair the epipolar lines are the rows: a point 3 px too low, shared by both, is 3 / sqrt(2) off.
    K = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]])
    left = Camera(name="left", size=(640, 480), K=K, R=np.eye(3), centre=np.zeros(3), distortion=np.zeros(5))
    right = replace(left, name="right", centre=np.array([200.0, 0, 0]))
    F = epipolar.fundamental_matrix(left, right)
    point = np.array([100.0, 50, 2000])
    off = right.project(point) + [17, 3]
    assert epipolar.sampson_distance(left.project(point), off, F) == pytest.approx(3 / np.sqrt(2))


def test_cameras_at_one_place_have_no_epipolar_geometry():
    a = camera_ring(4)[0]
    with pytest.raises(ValueError, match="cameras cam01 and twin have the same position"):
        epipolar.fundamental_matrix(a, replace(a, name="twin"))


def test_the_median_distance_singles_out_the_view_that_disagrees():
    cameras = camera_ring(5)
    seen = np.stack([camera.project(POINTS) for camera in cameras])[None]  # (1, views, points, 2)
    seen[0, 3] += [25, 25]
    seen[0, 1, 0] = np.nan
    candidates = np.isfinite(seen).all(axis=-1)
    distances = epipolar.median_epipolar_px(seen, candidates, cameras)
    assert distances.shape == (1, 5, 30)
    assert np.isnan(distances[0, 1, 0])
    others = np.delete(distances[0, :, 1:], 3, axis=0)
    assert others.max() < 1e-6
    assert np.median(distances[0, 3]) > 5


def test_a_view_alone_has_no_median():
    cameras = camera_ring(3)
    seen = np.stack([camera.project(POINTS) for camera in cameras])[None]
    candidates = np.zeros(seen.shape[:-1], dtype=bool)
    candidates[:, 0] = True
    distances = epipolar.median_epipolar_px(seen, candidates, cameras)
    assert np.isnan(distances[0, 0]).all()  # no other candidate
    assert np.isfinite(distances[0, 1]).all()


def test_three_views_of_which_one_is_wrong_cannot_tell_which():
    cameras = camera_ring(3)
    seen = np.stack([camera.project(POINTS) for camera in cameras])[None]
    seen[0, 1] += [0, 40]
    distances = epipolar.median_epipolar_px(seen, np.ones(seen.shape[:-1], dtype=bool), cameras)
    assert np.median(distances, axis=-1).min() > 5  # px


@given(first=st.integers(0, 8), step=st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_any_pair_of_a_rig_has_its_matrix_and_distance_is_mutual(first, step):
    cameras = camera_ring(9)
    a, b = cameras[first], cameras[(first + step) % 9]
    F = epipolar.fundamental_matrix(a, b)
    assert np.linalg.svd(F)[1][2] < 1e-12  # of rank 2
    rng = np.random.default_rng(first)
    seen_a = a.project(POINTS, distorted=False) + rng.normal(0, 3, (30, 2))
    seen_b = b.project(POINTS, distorted=False) + rng.normal(0, 3, (30, 2))
    distances = epipolar.sampson_distance(seen_a, seen_b, F)
    np.testing.assert_allclose(epipolar.sampson_distance(seen_b, seen_a, epipolar.fundamental_matrix(b, a)), distances)
    for point_a, point_b, distance in zip(seen_a, seen_b, distances, strict=True):
        theirs = cv2.sampsonDistance(np.append(point_a, 1), np.append(point_b, 1), F)  # squared
        assert distance == pytest.approx(np.sqrt(theirs), rel=1e-9)


def test_noise_of_one_px_is_as_far_off_in_every_pair_unlike_the_algebraic_residual():
    """The published loss's x_b^T F x_a is 18 times larger in some pairs than in others."""
    cameras = camera_ring(6)
    rng = np.random.default_rng(0)
    truth = rng.uniform([-600, -600, 0], [600, 600, 1800], (2000, 3))
    means = []
    for b in range(1, 6):
        seen = [cameras[v].project(truth, distorted=False) + rng.normal(0, 1, (2000, 2)) for v in (0, b)]
        means.append(epipolar.sampson_distance(*seen, F=epipolar.fundamental_matrix(cameras[0], cameras[b])).mean())
    assert np.ptp(means) < 0.1 * np.mean(means)
    assert np.mean(means) == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)  # of a normal distribution's size
