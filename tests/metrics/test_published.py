"""The published Human3.6M tables of two images, computed by hand."""

import numpy as np
import pytest

from pipeline.datasets.h36m.takes import published_box
from pipeline.geometry.camera import Camera
from pipeline.metrics import published
from pipeline.skeleton import get
from tests.worlds.tiny_world import camera_ring

HUMAN36M = get("h36m_17")


def two_images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and true keypoints (frames 1, views 2, joints 17, 2) px, and boxes of 200 and 400 px: heads of 20 and 40 px.

    In the first image the left wrist is 12.8 px off and the head 30, in the second the left wrist 12.9 and the spine 100.
    """
    truth = np.zeros((1, 2, 17, 2))
    predicted = truth.copy()
    predicted[0, 0, HUMAN36M.index("left_wrist"), 0] = 12.8
    predicted[0, 0, HUMAN36M.index("head"), 1] = 30
    predicted[0, 1, HUMAN36M.index("left_wrist"), 1] = -12.9
    predicted[0, 1, HUMAN36M.index("spine"), 0] = 100
    return predicted, truth, np.array([[200.0, 400.0]])


def test_the_detection_rate_allows_the_same_px_however_far_the_person_is():
    predicted, truth, side = two_images()
    values = published.detection_numbers(predicted, HUMAN36M, truth, side, 256)
    assert values["jdr_px"] == 12.8
    assert list(values["jdr"]) == list(HUMAN36M.joint_names)  # from the root to the wrists
    wrong = {"left_wrist": 50, "head": 50, "spine": 50}
    assert values["jdr"] == {name: wrong.get(name, 100) for name in HUMAN36M.joint_names}
    assert values["jdr_17j"] == pytest.approx((14 * 100 + 3 * 50) / 17)
    assert values["jdr_16j"] == pytest.approx((14 * 100 + 2 * 50) / 16)


def test_box_pckh_is_in_tenths_of_the_box():
    predicted, truth, side = two_images()
    values = published.detection_numbers(predicted, HUMAN36M, truth, side, 256)
    # Left wrist: 0.64 and 0.3225 head sizes. Head: 1.5 and 0. The spine counts in neither.
    assert values["box_pckh_50_16j"] == pytest.approx((14 * 100 + 50 + 50) / 16)
    assert values["box_pckh_50_15j"] == pytest.approx((14 * 100 + 50) / 15)
    assert values["box_pckh_40_15j"] == values["box_pckh_50_15j"]
    assert values["box_pckh_30_16j"] == pytest.approx((14 * 100 + 50) / 16)
    assert values["box_pckh_30_15j"] == pytest.approx(14 * 100 / 15)
    assert values["box_pckh_10_15j"] == values["box_pckh_20_15j"] == values["box_pckh_30_15j"]


def test_what_is_not_detected_is_wrong_and_what_has_no_image_does_not_count():
    predicted, truth, side = two_images()
    predicted[0, 0, HUMAN36M.index("left_knee")] = np.nan
    truth[0, 1] = np.nan
    values = published.detection_numbers(predicted, HUMAN36M, truth, side, 256)
    assert values["jdr"]["left_knee"] == values["jdr"]["head"] == 0
    assert values["jdr"]["spine"] == values["jdr"]["left_wrist"] == 100
    assert values["box_pckh_50_16j"] == pytest.approx(13 * 100 / 16)


def test_the_joints_of_the_compatible_training_have_16_and_no_17():
    predicted, truth, side = two_images()
    compatible = get("compatible_16")
    # its right_ankle ... left_wrist, as published: the number of each in Human3.6M's order
    order = [3, 2, 1, 4, 5, 6, 0, 8, 9, 10, 16, 15, 14, 11, 12, 13]
    values = published.detection_numbers(predicted[..., order, :], compatible, truth, side, 256)
    assert values["box_pckh_50_16j"] == pytest.approx((14 * 100 + 50 + 50) / 16)
    assert values["box_pckh_50_15j"] == pytest.approx((14 * 100 + 50) / 15)
    assert "jdr_17j" not in values and len(values["jdr"]) == 16 and "spine" not in values["jdr"]
    distances = np.arange(17.0)[None, order]
    assert published.position_numbers(distances, compatible, "dlt") == {"mpjpe_abs_dlt_16j_mm": (136 - 7) / 16}


def test_mpjpe_of_16_and_17_joints():
    distances = np.array([[0.0] * 7 + [34.0] + [0.0] * 9, [np.nan] * 7 + [0.0] + [np.nan] * 9])  # the spine is joint 7
    values = published.position_numbers(distances, HUMAN36M, "rpsm")
    assert values == {"mpjpe_abs_rpsm_16j_mm": 0, "mpjpe_abs_rpsm_17j_mm": pytest.approx(34 / 18)}


@pytest.mark.parametrize("name", ["mpii_16", "coco_17"])
def test_a_network_of_other_joints_has_only_the_rates_of_the_common_ones(name):
    predicted, truth, side = two_images()
    skeleton = get(name)
    values = published.detection_numbers(predicted[..., : len(skeleton), :] * 0, skeleton, truth, side, 256)
    assert set(values) == {"jdr", "jdr_px"}
    assert 12 <= len(values["jdr"]) <= 14
    assert published.position_numbers(np.zeros((1, len(skeleton))), skeleton, "dlt") == {}


def test_the_box_is_2_m_at_the_depth_of_the_root():
    camera = Camera(
        name="a",
        size=(1000, 1000),
        K=np.array([[1000.0, 0, 500], [0, 1100, 500], [0, 0, 1]]),
        R=np.eye(3),
        centre=np.zeros(3),
        distortion=np.zeros(5),
    )
    joints = np.zeros((1, 17, 3))
    joints[..., 2] = 5000
    joints[0, HUMAN36M.root] = [100, 0, 4000]
    keypoints, side = published.keypoints_and_box_sides((camera,), joints)
    assert side.tolist() == [[2000 * 1100 / 4000]]
    assert keypoints[0, 0, HUMAN36M.root].tolist() == [525, 500]
    behind, no_side = published.keypoints_and_box_sides((camera,), -joints)
    assert np.isnan(behind).all() and np.isnan(no_side).all()
    for each in camera_ring(4):
        pelvis = np.array([[200.0, -300.0, 900.0]])
        box = published_box(each, pelvis)
        _, side = published.keypoints_and_box_sides((each,), np.tile(pelvis[:, None], (1, 17, 1)))
        assert side[0, 0] == pytest.approx(max(box[0, 2] - box[0, 0], box[0, 3] - box[0, 1]))


def test_labels_count_together_and_the_visible_ones_are_a_share_of_the_images():
    predicted, truth, side = two_images()
    accepted = np.ones((1, 2, 17), dtype=bool)
    accepted[0, 0, HUMAN36M.index("head")] = accepted[0, 1, :2] = False
    accepted[0, 1, HUMAN36M.index("spine")] = False  # no joint of the table
    values = published.label_numbers(
        predicted, accepted, np.ones_like(accepted), HUMAN36M, true_keypoints=truth, side_px=side
    )
    assert values["visible_percent"] == pytest.approx(100 * 29 / 32)
    assert values["box_pckh_50_16j"] == pytest.approx(100 * 28 / 29)  # the left wrist of the first image is wrong
    other = get("coco_17")
    assert published.label_numbers(predicted, accepted, accepted, other, true_keypoints=truth, side_px=side) == {}
