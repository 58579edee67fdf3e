"""Four cameras around a person who walks about; then something goes wrong, and each figure sees it or does not."""

import numpy as np
import pytest

from pipeline.geometry import agreement
from pipeline.geometry.consensus import pair_epipolar_px
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.metrics import labelfree
from pipeline.skeleton import get
from tests.worlds.tiny_world import STANDING, camera_ring

NAMES = get("mpii_16")
RIG = camera_ring(4)
SETTINGS = AgreementThresholds(confidence_threshold=0.1, reproj_threshold_px=15.0, min_ray_angle_deg=5.0)


def _turning(frames):
    """(frames, joints, 3) mm: a stiff person who turns round while walking a circle."""
    angle = np.linspace(0, 2 * np.pi, frames)
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y, z = STANDING.T
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y, np.broadcast_to(z, (frames, len(z)))], axis=-1)
    return turned + 300 * np.stack([cosine, sine, 0 * sine], axis=-1)


@pytest.fixture
def world():
    joints = _turning(60)
    points = agreement.project(joints, RIG)
    return joints, points, np.ones(points.shape[:-1])


def test_views_that_agree_are_nowhere_from_what_the_others_say(world):
    _, points, scores = world
    px, mm = labelfree.leave_one_view_out(points, scores, RIG, SETTINGS)
    assert np.nanmax(px) < 1e-3
    assert np.isfinite(mm).all()


def test_a_view_that_is_wrong_is_as_far_off_as_it_is_wrong(world):
    joints, points, scores = world
    points[:, 2, 5, 0] += 12.0
    px, mm = labelfree.leave_one_view_out(points, scores, RIG, SETTINGS)
    np.testing.assert_allclose(px[:, 2, 5], 12, atol=0.01)
    depth = RIG[2].camera_from_world(joints[:, 5])[:, 2]
    np.testing.assert_allclose(mm[:, 2, 5], 12 * depth / RIG[2].K[0, 0], rtol=0.01)
    shares = labelfree.camera_shares(labelfree.clip_errors(mm, np.ones(points.shape[:2], dtype=bool), 150.0))
    assert shares.argmax() == 2
    assert shares.sum() == pytest.approx(100)


def test_a_mistake_that_all_views_share_is_not_seen(world):
    joints, _, scores = world
    wrong = joints.copy()
    wrong[:, 5] += [0, 0, 300.0]
    px, _ = labelfree.leave_one_view_out(agreement.project(wrong, RIG), scores, RIG, SETTINGS)
    assert np.nanmax(px) < 1e-3


def test_silence_counts_as_the_worst_and_a_missing_picture_as_nothing():
    errors = np.array([[[10.0, np.nan], [200.0, 3.0], [5.0, 5.0], [5.0, 5.0]]])  # one frame, four views, two joints
    found = labelfree.clip_errors(errors, np.array([[True, False, True, True]]), 150.0)
    np.testing.assert_array_equal(found, [[[10, 150], [np.nan, np.nan], [5, 5], [5, 5]]])


def test_of_two_pictures_neither_can_be_compared_with_what_two_others_say():
    errors = np.full((1, 3, 2), np.nan)
    assert np.isnan(labelfree.clip_errors(errors, np.array([[True, True, False]]), 150.0)).all()


def test_the_histogram_of_agreeing_views():
    inliers = np.array([[[1, 1, 0], [1, 1, 0], [1, 0, 0]]], dtype=bool)  # one frame, three views, three joints
    np.testing.assert_allclose(labelfree.agreeing_views(inliers), [100 / 3, 0, 100 / 3, 100 / 3])


def test_pairs_are_told_apart(world):
    _, points, scores = world
    points[:, 0, :, 1] += 20.0
    distances = pair_epipolar_px(points, scores > 0.1, RIG)  # (frames, pairs, joints)
    median = np.median(distances, axis=(0, 2))
    assert (median[:3] > 2).all()  # pairs with the first camera
    assert (median[3:] < 1e-6).all()


def test_bones_that_stretch_are_seen_and_collapse_is_told_by_their_length(world):
    joints, _, _ = world
    person = np.array(["a"] * 60)
    assert np.nanmax(labelfree.limb_deviations(joints, person, NAMES)) < 1e-9
    rng = np.random.default_rng(0)
    noisy = joints + rng.normal(0, 30, joints.shape)
    assert np.nanmean(labelfree.limb_deviations(noisy, person, NAMES)) > 0.05
    half = 0.5 * joints
    assert np.nanmax(labelfree.limb_deviations(half, person, NAMES)) < 1e-9
    before, after = (labelfree.limb_medians(each, person, NAMES)["a"] for each in (joints, half))
    np.testing.assert_allclose(after / before, 0.5)


def test_a_short_left_arm_is_an_asymmetry(world):
    joints, _, _ = world
    person = np.array(["a"] * 60)

    def asymmetry(poses):
        return labelfree.asymmetry(labelfree.limb_medians(poses, person, NAMES)["a"][None], NAMES)[0]

    assert asymmetry(joints) < 0.01
    bent = joints.copy()
    elbow, wrist = NAMES.index("left_elbow"), NAMES.index("left_wrist")
    bent[:, wrist] = (joints[:, wrist] + joints[:, elbow]) / 2
    assert asymmetry(bent) == pytest.approx(0.5 / 0.75 / 6, abs=0.02)  # one of six pairs is half as long


def test_sides_that_change_places_in_all_views_are_seen_in_time(world):
    joints, _, _ = world
    sequence, number = np.array(["a"] * 60), np.arange(60)
    assert np.nansum(labelfree.side_flips(joints, sequence, number, NAMES)) == 0
    joints[20:23] = joints[20:23][:, list(NAMES.flipped)]
    assert np.flatnonzero(labelfree.side_flips(joints, sequence, number, NAMES) == 1).tolist() == [20, 23]
    assert np.isnan(labelfree.side_flips(joints, sequence, number, NAMES)[0])


def test_left_taken_for_right_in_one_view_is_seen_in_all_views_not(world):
    joints, points, _ = world
    left, right = NAMES.index("left_ankle"), NAMES.index("right_ankle")
    points[:, 1][:, [left, right]] = points[:, 1][:, [right, left]]
    found = labelfree.left_right_swaps(points, joints, RIG, NAMES)
    assert np.nanmean(found[:, 1]) == pytest.approx(1 / 6, abs=0.02)  # one of six pairs
    assert np.nansum(found[:, [0, 2, 3]]) == 0
    everywhere = joints[:, list(NAMES.flipped)]
    assert np.nansum(labelfree.left_right_swaps(agreement.project(everywhere, RIG), everywhere, RIG, NAMES)) == 0


def test_jerk_is_known_where_frames_follow_each_other():
    time = np.arange(8.0)
    joints = np.stack([time**3, time, 0 * time], axis=-1)[:, None]  # x''' = 6
    sequence = np.array(["a"] * 8)
    found = labelfree.jerk(joints, sequence, np.arange(8))
    np.testing.assert_allclose(found[3:], 6)
    assert np.isnan(found[:3]).all()
    gap = labelfree.jerk(joints, sequence, np.array([0, 1, 2, 3, 10, 11, 12, 13]))
    assert np.isfinite(gap[:, 0]).tolist() == [False] * 3 + [True] + [False] * 3 + [True]
    every_second = labelfree.jerk(8 * joints, sequence, 2 * np.arange(8))  # the same motion, at half the rate
    np.testing.assert_allclose(every_second[3:], 6)
    two = labelfree.jerk(joints, np.array(list("aaaabbbb")), np.arange(8))
    assert np.isfinite(two[:, 0]).tolist() == [False] * 3 + [True] + [False] * 3 + [True]


def test_feet_in_the_ground_and_heads_below_them(world):
    joints, _, _ = world
    assert labelfree.below_floor(joints, NAMES).max() < 200
    assert labelfree.upside_down(joints, NAMES).sum() == 0
    turned = joints.copy()
    turned[7, :, 2] = 1800 - turned[7, :, 2]
    assert labelfree.upside_down(turned, NAMES).nonzero()[0].tolist() == [7]
    sunk = joints.copy()
    sunk[3, NAMES.index("left_ankle"), 2] = -500
    assert labelfree.below_floor(sunk, NAMES).argmax() == 3
    assert labelfree.below_floor(sunk, NAMES)[3] > 400


def test_churn_counts_what_moved_came_and_went():
    before = np.zeros((1, 5, 3))
    after = before.copy()
    before[0, 4] = np.nan  # known to neither
    after[0, 4] = np.nan
    after[0, 0, 0] = 60  # moved
    after[0, 1] = np.nan  # went
    assert labelfree.label_churn(before, after, 50.0) == 50
    assert np.isnan(labelfree.label_churn(np.full((1, 2, 3), np.nan), np.full((1, 2, 3), np.nan), 50.0))
