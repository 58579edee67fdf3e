"""The published person: a COCO pose in a crop of 192 x 256 px, and the places of its parts."""

import numpy as np
import pytest

from pipeline import params
from pipeline.skeleton import get
from pipeline.training.occlusion import Occlusion, exchange, hide, occlude, rectangle, region, unlabel

COCO = get("coco_17")
KEYPOINTS = np.array(
    [
        (96, 30), (100, 26), (92, 26), (106, 30), (86, 30), (120, 60), (72, 60), (130, 95), (62, 95), (134, 130), (58, 130),
        (112, 135), (80, 135), (114, 185), (78, 185), (115, 235), (77, 235),
    ],
    dtype=float,
)  # fmt: skip


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (256, 192, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("part", "centre", "widths"),
    [
        ("head", (96, 28), (24, 4.8)),
        ("left_arm", (127, 95), (14, 70)),
        ("right_arm", (65, 95), (14, 70)),
        ("hip", (96, 135), (64, 16)),
        ("left_leg", (113.5, 185), (3, 100)),
        ("right_leg", (78.5, 185), (3, 100)),
        ("left_side", (117, 130.5), (34, 209)),
        ("right_side", (75, 130.5), (34, 209)),
        ("upper_body", (96, 80.5), (76, 109)),
        ("lower_body", (96, 185), (38, 100)),
        ("corpus", (96, 97.5), (48, 75)),
    ],
)
def test_parts_are_at_their_published_places(part, centre, widths):
    found = region(part, KEYPOINTS, COCO)
    np.testing.assert_allclose(found[0], centre)
    np.testing.assert_allclose(found[1], widths)


@pytest.mark.parametrize(
    ("missing", "centre", "widths"),
    [
        ("left_wrist", (130, 95), (20, 70)),
        ("left_shoulder", (130, 95), (17.5, 70)),
        ("left_elbow", (127, 95), (17.5, 70)),
    ],
)
def test_an_arm_with_a_joint_missing_is_guessed_from_the_other_two(missing, centre, widths):
    keypoints = KEYPOINTS.copy()
    keypoints[COCO.index(missing)] = np.nan
    found = region("left_arm", keypoints, COCO)
    np.testing.assert_allclose(found[0], centre)
    np.testing.assert_allclose(found[1], widths)


@pytest.mark.parametrize(
    ("part", "rows", "columns"),
    [
        ("head", (25, 30), (84, 108)),
        ("left_arm", (60, 130), (120, 134)),
        ("hip", (127, 143), (64, 128)),
        ("left_leg", (135, 235), (112, 115)),
        ("corpus", (60, 135), (72, 120)),
    ],
)
def test_rectangles_are_the_published_ones(image, part, rows, columns):
    found = rectangle(*region(part, KEYPOINTS, COCO), image)
    assert found == (slice(*rows), slice(*columns))


def test_a_part_with_one_keypoint_has_no_region(image):
    keypoints = np.full_like(KEYPOINTS, np.nan)
    keypoints[COCO.index("left_wrist")] = KEYPOINTS[COCO.index("left_wrist")]
    assert region("left_arm", keypoints, COCO) is None
    assert hide(image, keypoints, COCO, "left_arm", how="cutout", settings=Occlusion()) is image


def test_a_disc_or_a_rectangle_is_painted_over_and_nothing_else(image):
    disc = hide(image, KEYPOINTS, COCO, "left_knee", how="cutout", settings=Occlusion(fill="black"))
    rows, columns = np.nonzero((disc != image).any(axis=-1))
    assert np.hypot(columns - 114, rows - 185).max() <= 6
    assert 100 <= len(rows) <= np.pi * 36 + 8
    part = hide(image, KEYPOINTS, COCO, "corpus", how="blur", settings=Occlusion())
    rows, columns = np.nonzero((part != image).any(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (60, 134, 72, 119)
    assert part[60:135, 72:120].std() < 0.5 * image[60:135, 72:120].std()


def test_the_published_defect_spares_the_feet(image):
    settings = Occlusion(published_axis_bug=True)
    assert hide(image, KEYPOINTS, COCO, "left_ankle", how="cutout", settings=settings) is image  # y 235 >= width 192
    assert (hide(image, KEYPOINTS, COCO, "left_elbow", how="cutout", settings=settings) != image).any()


def test_keypoints_of_a_hidden_part_lose_their_label_within_twice_its_size():
    kept = np.isfinite(unlabel(KEYPOINTS, *region("left_arm", KEYPOINTS, COCO))).all(-1)
    gone = {joint for joint, keep in zip(COCO.joint_names, kept, strict=True) if not keep}
    assert gone == {"left_shoulder", "left_elbow", "left_wrist"}


def test_a_part_of_another_person_replaces_one(image):
    donor = np.full((300, 300, 3), 7, dtype=np.uint8)
    changed = 0
    for seed in range(12):
        mixed, keypoints = exchange(
            image,
            KEYPOINTS,
            COCO,
            donor=lambda: (donor, KEYPOINTS + 40.0),
            settings=Occlusion(),
            rng=np.random.default_rng(seed),
        )
        same = (mixed == image).all(-1)
        assert (mixed[~same] == 7).all()
        changed += not same.all()
        assert np.isnan(keypoints).any() or same.all()
    assert changed >= 10


def test_probabilities_are_kept_and_zero_draws_nothing(image):
    rng = np.random.default_rng(5)
    before = rng.bit_generator.state
    same, keypoints = occlude(image, KEYPOINTS, COCO, Occlusion(), rng)
    assert same is image and keypoints is KEYPOINTS and rng.bit_generator.state == before
    settings = Occlusion(blur=0.5, target="part")
    hidden = [occlude(image, KEYPOINTS, COCO, settings, rng)[0] is not image for _ in range(200)]
    assert 75 < sum(hidden) < 125
    many, _ = occlude(image, KEYPOINTS, COCO, Occlusion(multiple=1.0), rng)
    assert (many != image).any(-1).sum() > 3 * 100


def test_a_probability_above_one_is_refused():
    with pytest.raises(ValueError, match=r"occlusion\.blur"):
        params.build(Occlusion, {"blur": 1.5}, "occlusion")
    with pytest.raises(ValueError, match="left_tail"):
        region("left_tail", KEYPOINTS, COCO)
