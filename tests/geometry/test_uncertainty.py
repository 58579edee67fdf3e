"""Covariances of triangulated joints: what they predict is how far off the joints are."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.geometry import agreement, ransac, uncertainty
from pipeline.geometry.camera import Camera
from pipeline.geometry.thresholds import AgreementThresholds
from tests.worlds.tiny_world import camera_ring

THRESHOLD = 15.0  # px


def ring(views: int, distance: float) -> tuple[Camera, ...]:
    """Cameras on a ring so far from the middle, mm, that a person fills the image; all look at (0, 0, 1000)."""
    cameras = []
    for camera in camera_ring(max(views, 3))[:views]:
        centre = camera.centre * [distance / 4200, distance / 4200, 1]
        forward = (np.array([0, 0, 1000.0]) - centre) / np.linalg.norm(np.array([0, 0, 1000.0]) - centre)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        cameras.append(replace(camera, centre=centre, R=R, K=camera.K * [[distance / 4200], [distance / 4200], [1]]))
    return tuple(cameras)


def estimated(
    cameras: tuple[Camera, ...], sigma: float | np.ndarray, frames: int = 150, threshold: float = THRESHOLD
) -> tuple[np.ndarray, np.ndarray]:
    """Errors (known joints, 3) mm and covariances (known joints, 3, 3) of 16 joints seen with noise of sigma px."""
    rng = np.random.default_rng(0)
    truth = rng.uniform([-500, -500, 100], [500, 500, 1800], (frames, 16, 3))
    points = agreement.project(truth, cameras)
    points += rng.normal(0, 1, points.shape) * np.broadcast_to(sigma, points.shape[:-1])[..., None]
    thresholds = AgreementThresholds(confidence_threshold=0.1, reproj_threshold_px=threshold, min_ray_angle_deg=5)
    found = ransac.triangulate_ransac(points, np.ones(points.shape[:-1]), cameras, thresholds)
    run = uncertainty.tally(found.joints, found.inliers, points, cameras, threshold)
    noise = uncertainty.estimate_noise(run, threshold)
    covariances = uncertainty.covariances(found.joints, found.inliers, points, cameras, noise)
    np.testing.assert_array_equal(np.isfinite(covariances[..., 0, 0]), found.status == ransac.KNOWN)
    known = found.status == ransac.KNOWN
    return (found.joints - truth)[known], covariances[known]


@pytest.mark.parametrize("views", [3, 4, 6, 8])
@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("distance", [2500.0, 4200.0, 8000.0])
def test_predicted_and_true_spread_agree_within_a_fifth(views: int, sigma: float, distance: float) -> None:
    errors, covariances = estimated(ring(views, distance), sigma)
    spread = np.sqrt(np.trace(covariances, axis1=-2, axis2=-1).mean())
    assert spread == pytest.approx(np.sqrt((errors**2).sum(axis=-1).mean()), rel=0.2)
    # In every direction, in units of what was predicted for it: 1 each.
    surprise = np.einsum("ni,nik,nk->n", errors, np.linalg.inv(covariances), errors) / 3
    assert np.sqrt(surprise.mean()) == pytest.approx(1, abs=0.2)


def test_two_views_are_enough_to_pool_over_joints() -> None:
    errors, covariances = estimated(ring(2, 4200.0), 3.0)
    spread = np.sqrt(np.trace(covariances, axis1=-2, axis2=-1).mean())
    assert spread == pytest.approx(np.sqrt((errors**2).sum(axis=-1).mean()), rel=0.1)


def test_a_joint_that_is_harder_to_see_is_less_certain() -> None:
    sigma = np.ones((150, 4, 16))
    sigma[:, :, :4] = 4.0
    errors, covariances = estimated(ring(4, 4200.0), sigma)
    errors, covariances = errors.reshape(150, 16, 3), covariances.reshape(150, 16, 3, 3)
    for joints in (slice(0, 4), slice(4, 16)):
        spread = np.sqrt(np.trace(covariances[:, joints], axis1=-2, axis2=-1).mean())
        assert spread == pytest.approx(np.sqrt((errors[:, joints] ** 2).sum(axis=-1).mean()), rel=0.15)


def test_moments_that_are_worse_are_less_certain_when_there_are_such_moments() -> None:
    sigma = np.ones((150, 8, 16))
    sigma[::5] = 4.0
    _, covariances = estimated(ring(8, 4200.0), sigma)
    spread = np.sqrt(np.trace(covariances, axis1=-2, axis2=-1)).reshape(150, 16)
    bad = np.arange(150) % 5 == 0
    assert np.median(spread[bad]) > 2 * np.median(spread[~bad])
    alike = np.sqrt(np.trace(estimated(ring(8, 4200.0), 2.0)[1], axis1=-2, axis2=-1))
    assert np.percentile(alike, 99) < 1.6 * np.percentile(alike, 1)  # by where in the rig they are


def test_tallies_of_parts_add_up() -> None:
    cameras = ring(4, 4200.0)
    rng = np.random.default_rng(1)
    truth = rng.uniform([-500, -500, 100], [500, 500, 1800], (20, 5, 3))
    points = agreement.project(truth, cameras) + rng.normal(0, 2, (20, 4, 5, 2))
    inliers = np.ones((20, 4, 5), dtype=bool)
    inliers[3, 1, 2] = False
    truth[7, 3] = np.nan
    whole = uncertainty.tally(truth, inliers, points, cameras, THRESHOLD)
    parts = uncertainty.tally(truth[:6], inliers[:6], points[:6], cameras, THRESHOLD) + uncertainty.tally(
        truth[6:], inliers[6:], points[6:], cameras, THRESHOLD
    )
    for name in ("near", "squared", "freedom", "known", "scale_squared"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name))
    assert whole.known.tolist() == [20, 20, 20, 19, 20]


def test_the_slopes_are_those_of_the_projection() -> None:
    for camera in (camera_ring(4)[1], replace(camera_ring(4)[2], convention="h36m")):
        place = np.array([[200.0, -300, 1400], [0, 100, 300]])
        shown, slopes = camera.project_with_jacobian(place)
        np.testing.assert_array_equal(shown, camera.project(place))
        for axis, step in enumerate(1e-3 * np.eye(3)):
            numeric = (camera.project(place + step) - camera.project(place - step)) / 2e-3
            np.testing.assert_allclose(slopes[..., axis], numeric, atol=1e-6)
    behind = camera_ring(4)[0].project_with_jacobian(camera_ring(4)[0].centre * 2)
    assert np.isnan(behind[0]).all()
    assert np.isnan(behind[1]).all()


def test_nothing_known_is_nothing_predicted() -> None:
    cameras = ring(3, 4200.0)
    unknown = np.full((2, 5, 3), np.nan)
    inliers = np.zeros((2, 3, 5), dtype=bool)
    points = np.full((2, 3, 5, 2), np.nan)
    run = uncertainty.tally(unknown, inliers, points, cameras, THRESHOLD)
    noise = uncertainty.estimate_noise(run, THRESHOLD)
    assert np.isnan(uncertainty.covariances(unknown, inliers, points, cameras, noise)).all()
