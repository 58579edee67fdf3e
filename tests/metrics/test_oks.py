import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.metrics import oks

CASE = Path(__file__).parents[3] / "shared/data/coco/eval"


@pytest.fixture
def crowd():
    """One person, and the same moved by 3, 40, 6 and 41 px in x and in y: the published golden case."""
    base = np.random.RandomState(5).rand(17, 2) * 100 + 50
    points = np.stack([base + dx for dx in (0, 3, 40, 6, 41)])
    return points, np.full(5, 15000.0), np.array([0.9, 0.8, 0.7, 0.85, 0.2])


def test_similarity_is_the_published_one(crowd):
    points, area, _ = crowd
    found = oks.oks(points[0], points[1:], area[0], area[1:], oks.COCO_SIGMAS)
    np.testing.assert_allclose(found, [0.9329344393, 0.0214279601, 0.7830332380, 0.0184402945], atol=1e-7)


def test_people_found_twice_go_in_the_published_order(crowd):
    assert oks.oks_nms(*crowd, threshold=0.9).tolist() == [0, 3, 2]
    assert oks.oks_nms(*crowd, threshold=0.5).tolist() == [0, 2]
    assert oks.soft_oks_nms(*crowd, threshold=0.9).tolist() == [0, 2, 3, 1, 4]


def test_a_persons_score_is_the_boxs_times_that_of_the_joints_one_can_see():
    scores = np.array([[0.5, 0.9, 0.1], [0.1, 0.2, 0.0]])
    np.testing.assert_allclose(oks.rescore(np.array([0.8, 0.9]), scores), [0.8 * 0.7, 0])


@pytest.mark.skipif(not CASE.exists(), reason="needs shared/data/coco/eval")
def test_a_published_evaluation_is_met_to_the_last_digit():
    case = json.loads((CASE / "mmpose_align_bbox_keypoint.json").read_text())
    annotations = json.loads((CASE / "test_coco.json").read_text())
    wanted = case["dt"][::-1]  # of equal scores the later one comes first
    keypoints = np.array([person["keypoints"] for person in wanted], dtype=np.float32).reshape(-1, 17, 3)
    images = np.array([person["image_id"] for person in wanted])
    results = oks.coco_results(
        images, keypoints[..., :2], keypoints[..., 2], np.full(len(wanted), 0.98), np.full(len(wanted), 1e4)
    )
    results.sort(key=lambda result: result["image_id"])
    assert [result["keypoints"] for result in results] == [result["keypoints"] for result in case["dt"]]
    scores = [result["score"] for result in case["dt"]]
    np.testing.assert_allclose([result["score"] for result in results], scores, rtol=3e-7)
    assert oks.coco_ap(annotations, results) == pytest.approx(case["expected"], abs=1e-12)
    assert oks.coco_ap(CASE / "test_coco.json", case["dt"])["AP"] == 0.5287458745874587


def test_a_result_for_an_unknown_picture_is_named():
    annotations = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    result = {"image_id": 7, "category_id": 1, "keypoints": [0.0] * 51, "score": 1.0}
    with pytest.raises(ValueError, match="image 7"):
        oks.coco_ap(annotations, [result])
    with pytest.raises(ValueError, match="no person was detected"):
        oks.coco_ap(annotations, [])
