"""Weights, images' borders and boxes of pseudo labels, by hand."""

import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.pseudo import labels


def eye(name: str = "eye") -> Camera:
    """A 640 x 480 camera at the origin that looks along z: a point at depth 1000 mm is shown 0.5 px per mm off the middle."""
    return Camera(
        name=name,
        size=(640, 480),
        K=np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]),
        R=np.eye(3),
        centre=np.zeros(3),
        distortion=np.zeros(5),
    )


def test_an_error_as_large_as_the_threshold_counts_0_61_and_unseen_views_are_left_out():
    errors = np.array([[[0.0, 10, np.nan], [10, 10, np.nan], [np.nan, 1e6, np.nan]]])  # (1 frame, 3 views, 3 joints)
    weights = labels.agreement_weights(errors, threshold_px=10)
    once = np.exp(-0.5)
    np.testing.assert_allclose(weights, [[(1 + once) / 2, 2 * once / 3, 0]])


def test_a_picture_ends_half_a_pixel_beyond_its_outermost_centres():
    points = np.array([[[[-0.5, 0], [-0.6, 0], [639.5, 479.5], [0, 479.6], [np.nan, 3]]]])
    assert labels.inside(points, (eye(),)).tolist() == [[[True, False, True, False, False]]]


def test_the_box_of_a_pose_is_about_its_middle_with_the_margin_around():
    pose = np.array([[[-100.0, -200, 1000], [100, 200, 1000], [0, 0, 1000]]])  # 100 px wide, 200 high
    np.testing.assert_allclose(labels.boxes(pose, (eye(),), margin=0.3)[0, 0], [255, 110, 385, 370])


@pytest.mark.parametrize("known", [0, 1, 2, 3, 4])
def test_half_of_a_pose_makes_a_box_and_less_makes_none(known):
    pose = np.full((1, 4, 3), np.nan)
    pose[0, :known] = np.array([[-100.0, -200, 1000], [100, 200, 1000], [0, 0, 1000], [0, 50, 1000]])[:known]
    box = labels.boxes(pose, (eye(), eye("other")), margin=0.0)
    assert box.shape == (1, 2, 4)
    assert np.isfinite(box).all() == (known >= 2)
    assert np.isnan(box).all() == (known < 2)


def test_one_joint_gone_astray_does_not_widen_the_box():
    pose = np.array([[[-100.0, -200, 1000], [100, 200, 1000], [0, 0, 1000], [4000, 0, 1000]]])
    np.testing.assert_allclose(labels.boxes(pose, (eye(),), margin=0.0)[0, 0], [270, 140, 370, 340])
