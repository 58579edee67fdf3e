"""Distances between poses whose answer is known."""

import numpy as np
import pytest

from pipeline import nanstats
from pipeline.metrics import mpjpe

NAN = np.nan


@pytest.fixture
def pose(rng: np.random.Generator) -> np.ndarray:
    """Six frames of five joints, about a metre wide."""
    return rng.normal(0, 500, (6, 5, 3))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_pose_that_is_30_mm_beside_itself_is_30_mm_wrong_in_the_world_and_right_once_moved(pose):
    beside = pose + [30, 0, 0]
    assert nanstats.mean(mpjpe.joint_distances(beside, pose)) == pytest.approx(30)
    assert nanstats.mean(mpjpe.relative_distances(beside, pose, root=2)) == pytest.approx(0, abs=1e-9)
    assert nanstats.mean(mpjpe.aligned_distances(beside, pose)) == pytest.approx(0, abs=1e-9)


def test_the_root_is_not_averaged_into_the_relative_distance(pose):
    distances = mpjpe.relative_distances(pose, pose, root=2)
    assert np.isnan(distances[:, 2]).all() and np.isfinite(np.delete(distances, 2, axis=1)).all()


def test_alignment_undoes_turning_and_scaling_but_no_mirror(pose):
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert mpjpe.aligned_distances(1.3 * pose @ turn.T + 100, pose).max() < 1e-9
    assert nanstats.mean(mpjpe.aligned_distances(pose * [-1, 1, 1], pose)) > 50


def test_unknown_joints_are_left_out_of_the_distance_and_show_in_the_coverage(pose):
    found = pose + [0, 0, 12.0]
    found[0, 0] = NAN
    found[3] = NAN
    distances = mpjpe.joint_distances(found, pose)
    assert nanstats.mean(distances) == pytest.approx(12)
    assert mpjpe.coverage(found, pose) == pytest.approx(100 * 24 / 30)
    assert np.isnan(mpjpe.aligned_distances(found, pose)[3]).all()


def test_joints_without_truth_do_not_count_as_covered_or_missed(pose):
    truth = pose.copy()
    truth[:, 1] = NAN
    assert mpjpe.coverage(pose, truth) == 100
    assert np.isnan(mpjpe.coverage(pose, np.full_like(pose, NAN)))
    assert np.isnan(nanstats.mean(mpjpe.joint_distances(pose, np.full_like(pose, NAN))))


def test_the_median_forgives_one_bad_joint():
    truth = np.zeros((1, 3, 3))
    found = truth + [[[1, 0, 0], [2, 0, 0], [900, 0, 0]]]
    distances = mpjpe.joint_distances(found, truth)
    assert nanstats.median(distances) == 2 and nanstats.mean(distances) == pytest.approx(301)
