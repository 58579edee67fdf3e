"""PCKh on cases that one can work out by hand."""

import numpy as np
import pytest

from pipeline import skeleton
from pipeline.geometry.camera import Camera
from pipeline.metrics import pck

NAN = np.nan
MPII = skeleton.get("mpii_16")


@pytest.fixture
def camera() -> Camera:
    """Looks along world y from 4 m behind the origin; focal length 1000 px, 800 x 600 px, no distortion."""
    K = np.array([[1000.0, 0, 400], [0, 1000, 300], [0, 0, 1]])
    R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return Camera(name="front", size=(800, 600), K=K, R=R, centre=np.array([0.0, -4000, 0]), distortion=np.zeros(5))


def test_half_a_head_away_is_right_and_a_bit_more_is_wrong():
    truth = np.zeros((1, 3, 2))
    found = np.array([[[5.0, 0], [5.1, 0], [0, -5]]])
    distances = pck.head_distances(found, truth, np.array([10.0]))
    np.testing.assert_allclose(distances, [[0.5, 0.51, 0.5]])
    assert pck.pckh(distances, 0.5) == pytest.approx(200 / 3)


def test_a_missing_detection_is_wrong_and_a_joint_without_truth_does_not_count():
    truth = np.array([[[0.0, 0], [NAN, NAN], [0, 0]]])
    found = np.array([[[NAN, NAN], [0.0, 0], [0, 0]]])
    distances = pck.head_distances(found, truth, np.array([10.0]))
    assert np.isinf(distances[0, 0]) and np.isnan(distances[0, 1])
    assert pck.pckh(distances, 0.5) == 50.0
    np.testing.assert_array_equal(pck.pckh_by_joint(distances, 0.5), [0, NAN, 100])


def test_a_person_without_a_head_size_does_not_count():
    distances = pck.head_distances(np.zeros((2, 1, 2)), np.zeros((2, 1, 2)), np.array([NAN, 10.0]))
    np.testing.assert_array_equal(distances, [[NAN], [0.0]])
    assert np.isnan(pck.pckh(distances[:1], 0.5))


def test_a_head_of_200_mm_four_metres_away_is_50_px(camera):
    joints = np.full((1, 16, 3), NAN)
    joints[0, MPII.index("upper_neck")] = [0, 0, -100]
    joints[0, MPII.index("head_top")] = [0, 0, 100]
    joints[0, MPII.index("pelvis")] = [0, 3000, -100]  # is farther away, and has no say in it
    np.testing.assert_allclose(pck.head_sizes(np.array([200.0]), joints, (camera,), MPII), [[50.0]])


def test_without_head_joints_the_known_joints_tell_where_the_head_is(camera):
    joints = np.full((1, 16, 3), NAN)
    joints[0, MPII.index("pelvis")] = [0, -2000, 0]
    np.testing.assert_allclose(pck.head_sizes(np.array([200.0]), joints, (camera,), MPII), [[100.0]])


def test_a_joint_outside_the_picture_is_not_shown(camera):
    joints = np.array([[[0.0, 0, 0], [1700.0, 0, 0], [0, -5000, 0], [NAN, NAN, NAN]]])
    shown = pck.visible_keypoints(joints, (camera,))
    np.testing.assert_allclose(shown[0, 0, 0], [400, 300])
    assert np.isnan(shown[0, 0, 1:]).all()


def test_the_area_under_a_straight_line_is_its_middle():
    thresholds = np.linspace(0, 0.5, 11)
    assert pck.area_under(thresholds, thresholds * 200) == pytest.approx(50.0)


def test_perfect_detections_fill_the_whole_area():
    thresholds = np.linspace(0, 0.5, 51)
    curve = pck.pckh_curve(np.zeros((3, 4)), thresholds)
    assert pck.area_under(thresholds, curve) == pytest.approx(100.0)


def test_mpii_leaves_pelvis_and_thorax_out_of_the_mean_and_weighs_joints_by_how_often_they_are_labelled():
    truth = np.zeros((2, 16, 2))
    truth[1, :9] = NAN  # the second person shows joints 9..15 alone
    found = truth.copy()
    found[0, MPII.index("pelvis")] = found[0, MPII.index("thorax")] = [100, 0]
    found[:, MPII.index("left_wrist")] = [100, 0]
    mean, joints = pck.mpii_pckh(found, truth, np.array([10.0, 10.0]), MPII)
    labelled = (16 - 2) + 7
    assert mean == pytest.approx(100 * (labelled - 2) / labelled)
    assert joints[MPII.index("pelvis")] == 0 and joints[MPII.index("left_wrist")] == 0
    assert joints[MPII.index("head_top")] == 100
