"""The published protocols, on numbers that one can follow by hand."""

import numpy as np
import pytest

from pipeline import nanstats
from pipeline.metrics import mpjpe, pck
from pipeline.skeleton import get

MPII = get("mpii_16")


@pytest.fixture
def four_people():
    """Heads of 100 px; everybody's right wrist is 10.5 px off, one left wrist is 60 px off and another unlabelled."""
    truth = np.random.default_rng(0).uniform(0, 500, (4, 16, 2))
    found = truth.copy()
    found[:, MPII.index("right_wrist"), 0] += 10.5
    found[0, MPII.index("left_wrist"), 1] -= 60
    truth[1, MPII.index("left_wrist")] = np.nan
    return found, truth, np.full(4, 100.0)


def test_the_two_published_means_and_the_one_that_is_read_an_entry_too_late(four_people):
    table = pck.mpii_table(*four_people, skeleton=MPII)
    labelled = 14 * 4 - 1
    assert table["wrist"] == pytest.approx((100 + 100 * 2 / 3) / 2)
    assert table["head"] == table["ankle"] == 100
    assert table["pckh_50"] == pytest.approx(100 * (labelled - 1) / labelled)
    assert table["pckh_50_by_joint"] == pytest.approx((13 * 100 + 100 * 2 / 3) / 14)
    assert table["pckh_10"] == pytest.approx(100 * (labelled - 5) / labelled)
    assert table["pckh_11"] == pytest.approx(100 * (labelled - 1) / labelled)


def test_pelvis_and_thorax_are_in_no_mean_of_mpii(four_people):
    found, truth, head = four_people
    before = pck.mpii_table(found, truth, head, MPII)
    found[:, [MPII.index("pelvis"), MPII.index("thorax")]] += 1000
    assert pck.mpii_table(found, truth, head, MPII) == before


def test_the_box_flavour_is_a_plain_mean_over_the_joints_that_one_names(four_people):
    found, truth, _ = four_people
    joints = np.array([joint for joint in range(16) if joint != MPII.index("head_top")])
    side = np.full(4, 200.0)  # a head of 20 px: 10 px at 0.5
    assert pck.box_pckh(found, truth, side, 0.5, joints) == pytest.approx((13 * 100 + 0 + 100 * 2 / 3) / 15)
    assert pck.box_pckh(found, truth, side, 0.5, np.arange(16)) == pytest.approx((14 * 100 + 100 * 2 / 3) / 16)


def test_the_detection_rate_allows_a_twentieth_of_the_networks_input():
    truth = np.zeros((2, 2, 2))
    found = truth + np.array([[[12.8, 0], [0, 0]], [[12.81, 0], [0, 15.9]]])
    assert pck.joint_detection_rate(found, truth, 256) == 50
    assert pck.joint_detection_rate(found, truth, 320) == 100


def _poses():
    return np.random.default_rng(1).normal(0, 300, (6, 17, 3))


def test_a_pose_of_the_wrong_size_is_right_but_for_its_scale():
    truth = _poses()
    found = 1.3 * truth + [500.0, 0, 0]
    assert nanstats.mean(mpjpe.scaled_distances(found, truth, 0)) == pytest.approx(0, abs=1e-9)
    assert nanstats.mean(mpjpe.aligned_distances(found, truth)) == pytest.approx(0, abs=1e-9)
    assert nanstats.mean(mpjpe.aligned_distances(found, truth, scale=False)) > 50
    assert nanstats.mean(mpjpe.relative_distances(found, truth, 0)) > 50


def test_the_challenge_scales_the_limbs_to_a_known_length():
    parents = get("h36m_17").parents
    truth = _poses()
    children = [joint for joint, parent in enumerate(parents) if parent >= 0]
    length = np.linalg.norm(truth[:, children] - truth[:, [parents[c] for c in children]], axis=-1).sum(-1)
    truth *= (4502.881 / length)[:, None, None]
    distances = mpjpe.challenge_distances(0.7 * truth + 100.0, truth, 0, parents, 4502.881)
    np.testing.assert_allclose(distances, 0, atol=1e-9)
    assert distances.shape == (6, 17)


def test_3dpck_and_the_area_under_it():
    distances = np.array([0.0, 75.0, 150.0, 151.0, np.nan])
    assert mpjpe.pck_3d(distances) == 75
    # 31 thresholds: 0 mm is reached at all of them, 75 at 16, 150 at the last
    assert mpjpe.area_under_pck_3d(distances) == pytest.approx(100 * (31 + 16 + 1) / (4 * 31))


def test_a_table_by_action():
    distances = np.array([[1.0, 3.0], [5.0, np.nan], [7.0, 7.0]])
    assert mpjpe.by_group(distances, np.array(["Eating", "Eating", "Sitting"])) == {"Eating": 3.0, "Sitting": 7.0}
