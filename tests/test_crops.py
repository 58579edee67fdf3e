"""Crops: one affine for pixels and points, exact to a fraction of a pixel, in both directions."""

import cv2
import numpy as np
import pytest

from pipeline import crops
from pipeline.training.batches import network_input

BOX = np.array([10.0, 20.0, 74.0, 84.0])  # 64 px square


def test_the_corners_of_the_box_are_the_edges_of_the_crop():
    affine = crops.crop_from_image(BOX, 32)
    corners = crops.transform(affine, np.array([[10.0, 20.0], [74.0, 84.0]]))
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [31.5, 31.5]], atol=1e-12)  # px


def test_a_crop_of_half_the_size_follows_the_half_pixel_rule():
    points = np.array([[12.0, 33.0], [60.5, 21.25]])
    large = crops.transform(crops.crop_from_image(BOX, 64), points)
    small = crops.transform(crops.crop_from_image(BOX, 32), points)
    np.testing.assert_allclose(small, (large + 0.5) / 2 - 0.5, atol=1e-12)  # px


def test_there_and_back_is_the_identity_for_turned_and_mirrored_crops():
    rng = np.random.default_rng(0)
    low = rng.uniform(-50, 50, (7, 2))
    boxes = np.concatenate([low, low + rng.uniform(20, 90, (7, 1))], axis=-1)
    affine = crops.crop_from_image(boxes, (48, 64), rotation=rng.uniform(-180, 180, 7), flip=rng.random(7) < 0.5)
    points = rng.uniform(-20, 120, (7, 5, 2))
    back = crops.transform(crops.inverse(affine), crops.transform(affine, points))
    np.testing.assert_allclose(back, points, atol=1e-9)  # px
    identity = crops.compose(crops.inverse(affine), affine)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3)[:2], identity.shape), atol=1e-9)


def test_mirroring_and_a_quarter_turn_by_hand():
    right_of_centre = np.array([[52.0, 52.0]])  # 10 px to the right of the centre (42, 52)
    mirrored = crops.transform(crops.crop_from_image(BOX, 64, flip=True), right_of_centre)
    turned = crops.transform(crops.crop_from_image(BOX, 64, rotation=90), right_of_centre)
    np.testing.assert_allclose(mirrored, [[21.5, 31.5]], atol=1e-12)  # px, now to the left
    np.testing.assert_allclose(turned, [[31.5, 41.5]], atol=1e-12)  # px, clockwise: now below


def test_nan_points_and_boxes_stay_nan():
    points = np.array([[np.nan, np.nan], [42.0, 52.0]])
    moved = crops.transform(crops.crop_from_image(BOX, 64), points)
    assert np.isnan(moved[0]).all() and np.isfinite(moved[1]).all()
    assert np.isnan(crops.crop_from_image(np.full(4, np.nan), 64)).all()


@pytest.mark.parametrize("size", [16, 40, 64, 150])
@pytest.mark.parametrize("rotation", [0, 25])
def test_a_blob_lands_where_its_centre_is_said_to_land(size, rotation):
    y, x = np.mgrid[:200, :220]
    centre = np.array([100.3, 90.6])
    blob = 250 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * 6.0**2))
    picture = np.repeat(blob[..., None], 3, axis=-1).round().astype(np.uint8)
    affine = crops.crop_from_image(np.array([40.0, 30.0, 168.0, 158.0]), size, rotation=rotation)
    crop = crops.warp(picture, affine, size)[..., 0].astype(float)
    assert crop.shape == (size, size)
    rows, columns = np.mgrid[:size, :size]
    found = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
    np.testing.assert_allclose(found, crops.transform(affine, centre[None])[0], atol=0.05)  # px


def test_a_strong_reduction_averages_instead_of_skipping():
    checks = np.indices((256, 256)).sum(axis=0) % 2 * 200
    picture = np.repeat(checks[..., None], 3, axis=-1).astype(np.uint8)
    crop = crops.warp(picture, crops.crop_from_image(np.array([19.5, 19.5, 219.5, 219.5]), 25), 25)
    assert abs(crop.astype(int) - 100).max() <= 1  # grey, no moire


def test_outside_of_the_picture_is_black():
    picture = np.full((50, 50, 3), 200, dtype=np.uint8)
    for size in (8, 100):
        crop = crops.warp(picture, crops.crop_from_image(np.array([200.0, 200.0, 260.0, 260.0]), size), size)
        assert crop.shape == (size, size, 3) and not crop.any()
    half = crops.warp(picture, crops.crop_from_image(np.array([-50.5, -0.5, 49.5, 99.5]), 20), 20)
    assert not half[:, :9].any() and (half[:10, 11:] == 200).all()


def test_a_box_at_whole_pixels_and_full_size_is_copied_exactly():
    picture = np.random.default_rng(1).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    crop = crops.warp(picture, crops.crop_from_image(np.array([9.5, 4.5, 49.5, 44.5]), 40), 40)
    np.testing.assert_array_equal(crop, picture[5:45, 10:50])


def test_the_square_of_a_box_keeps_its_centre():
    np.testing.assert_allclose(crops.square(np.array([0.0, 0.0, 10.0, 40.0]), 0.25), [-20.0, -5.0, 30.0, 45.0])


@pytest.mark.parametrize(
    ("centre", "sides", "size", "crop_from_image", "image_from_map"),
    [  # golden vectors of the published affine: scale is in 200 px
        ((320.5, 240.25), (192, 320), (192, 256), [[0.8, 0, -160.4], [0, 0.8, -64.2]], [[5, 0, 200.5], [0, 5, 80.25]]),
        ((100, 50), (450, 300), (288, 384), None, [[6.25, 0, -125], [0, 6.25, -250]]),
        ((200, 200), (300, 300), (256, 256), None, [[4.6875, 0, 50], [0, 4.6875, 50]]),
    ],
)
def test_a_rectangle_is_grown_to_the_networks_shape_as_published(centre, sides, size, crop_from_image, image_from_map):
    box = np.array([*np.subtract(centre, np.array(sides) / 2), *np.add(centre, np.array(sides) / 2)])
    seen = crops.expand_to_aspect(box, size)
    np.testing.assert_allclose((seen[:2] + seen[2:]) / 2, centre)
    assert (seen[:2] <= box[:2] + 1e-9).all() and (seen[2:] >= box[2:] - 1e-9).all()
    assert np.isclose((seen[2:] - seen[:2]) / (box[2:] - box[:2]), 1).any()
    if crop_from_image is not None:
        found = crops.crop_from_image(seen, size) + [[0, 0, 0.5], [0, 0, 0.5]]
        np.testing.assert_allclose(found, crop_from_image, atol=1e-9)
    picture = np.zeros((10, 10, 3), dtype=np.uint8)
    _, found = network_input(picture, np.eye(3)[:2], box, size, stride=4, published=True)
    np.testing.assert_allclose(found, image_from_map, atol=1e-9)


def test_a_box_that_has_the_shape_stays_to_the_last_digit():
    box = np.array([[10.1, 20.3, 74.10004, 84.29998], [np.nan] * 4])
    np.testing.assert_array_equal(crops.expand_to_aspect(box, (128, 128)), box)


def test_warp_agrees_with_opencv_where_nothing_is_reduced():
    picture = np.random.default_rng(2).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    affine = crops.crop_from_image(np.array([5.0, 4.0, 45.0, 44.0]), 50, rotation=10)
    np.testing.assert_array_equal(crops.warp(picture, affine, 50), cv2.warpAffine(picture, affine, (50, 50)))
