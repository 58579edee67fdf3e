"""Agreement of the views, with what is known and without."""

import numpy as np
import pytest

from pipeline.geometry import agreement
from tests.worlds.tiny_world import camera_ring

CAMERAS = camera_ring(4)
JOINTS = np.random.default_rng(6).uniform([-600, -600, 0], [600, 600, 1800], (3, 5, 3))


def test_a_detection_3_px_right_and_4_px_down_is_5_px_off():
    seen = agreement.project(JOINTS, CAMERAS)
    assert seen.shape == (3, 4, 5, 2)
    seen[1, 2, 3] += [3, 4]
    seen[0, 0, 0] = np.nan
    errors = agreement.reprojection_errors(JOINTS, seen, CAMERAS)
    assert errors[1, 2, 3] == pytest.approx(5)
    assert np.isnan(errors[0, 0, 0])
    assert np.nansum(errors) == pytest.approx(5)


def test_the_view_that_lies_is_far_from_what_the_others_say():
    seen = agreement.project(JOINTS, CAMERAS)
    seen[:, 2] += [30, 0]
    errors = agreement.leave_one_out_errors(seen, np.ones(seen.shape[:-1]), CAMERAS)
    np.testing.assert_allclose(errors[:, 2], 30, atol=1e-6)  # the other three meet exactly
    assert errors[:, [0, 1, 3]].mean() > 5  # they are led astray by the lie


def test_leaving_one_out_needs_two_others():
    seen = agreement.project(JOINTS, CAMERAS)
    weights = np.ones(seen.shape[:-1])
    weights[:, 2:] = 0
    errors = agreement.leave_one_out_errors(seen, weights, CAMERAS)
    assert np.isnan(errors[:, :2]).all()
    np.testing.assert_allclose(errors[:, 2:], 0, atol=1e-6)


def test_rays_from_the_corners_of_a_square_meet_at_right_angles_in_its_middle():
    middle = np.array([[[0.0, 0, 1800]]])  # at the height of the cameras
    chosen = np.zeros((1, 4, 1), dtype=bool)
    chosen[0, [0, 2]] = True  # opposite corners: 180 degrees, as bad as 0
    assert agreement.widest_ray_sines(middle, chosen, CAMERAS)[0, 0] == pytest.approx(0, abs=1e-9)
    chosen[0, 1] = True
    assert agreement.widest_ray_sines(middle, chosen, CAMERAS)[0, 0] == pytest.approx(1)
    assert agreement.widest_ray_sines(np.full((1, 1, 3), np.nan), chosen, CAMERAS)[0, 0] == 0
