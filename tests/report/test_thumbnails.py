"""Images of contact sheets: stick figures lie where the image shows the joints."""

import base64

import cv2
import numpy as np
import pytest

from pipeline.report.thumbnails import best_median_worst, overlay, thumbnail
from pipeline.skeleton import get

NAN = np.nan


def test_a_dot_in_the_full_image_lies_under_its_mark():
    """A white disc at (300, 200) px; the stored crop is half as large and begins at (240, 140)."""
    crop_from_image = np.array([[0.5, 0, -120], [0, 0.5, -70]])
    crop = np.zeros((80, 80, 3), dtype=np.uint8)
    cv2.circle(crop, (30, 30), 4, (255, 255, 255), -1)
    address, square_from_image = thumbnail(crop, crop_from_image, np.array([250.0, 150, 370, 270]), 120)
    data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
    square = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert square.shape == (120, 120)
    rows, columns = np.nonzero(square > 128)
    expected = square_from_image[:, :2] @ [300, 200] + square_from_image[:, 2]
    np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=0.5)  # px


def test_unknown_keypoints_have_no_mark():
    skeleton = get("mpii_16")
    keypoints = np.full((16, 2), NAN)
    keypoints[skeleton.index("left_knee")] = [10, 20]
    keypoints[skeleton.index("left_ankle")] = [10, 40]
    (layer,) = overlay({"m0": keypoints}, np.eye(2, 3), 64, skeleton)
    assert layer.name == "m0" and layer.limbs == "M10.0 20.0L10.0 40.0"
    assert layer.dots.count("h0") == 2 and "nan" not in layer.limbs + layer.dots


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0, NAN, 2.0], [("best", 1), ("median", 3), ("worst", 0)]),
        ([3.0, 1.0], [("best", 1), ("worst", 0)]),
        ([NAN, 1.0], [("best", 1)]),
        ([NAN, NAN], []),
    ],
)
def test_the_best_the_median_and_the_worst_are_chosen_once_each(values, expected):
    assert best_median_worst(np.array(values)) == expected
