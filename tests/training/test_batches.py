import numpy as np
import pytest

from pipeline import crops
from pipeline.heatmaps.decode import decode_dark
from pipeline.skeleton import get
from pipeline.training.augment import Augment
from pipeline.training.batches import Pool, batches, examples, map_from_crop, network_input

NONE = Augment(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
STRONG = Augment(20, 0.2, 0.05, 0.5, 0.1, 0.2, 0.1, 0.05, 1.0, 0.5)
SIZE = 64
INPUT = (SIZE, SIZE)


def example(pool, row, size, augment, seed, stride=4, sigma=1.5):
    """One varied picture: picture, targets, weights, image_from_map, mirrored, points, depth."""
    return [values[0] for values in examples(pool, np.array([row]), size, sigma, augment, (seed,), stride)]


@pytest.fixture
def pool():
    """Twelve black pictures of 100 px, each with one white dot where its right wrist is; the left wrist is unknown."""
    rng = np.random.default_rng(0)
    names = get("mpii_16")
    joints = np.full((12, len(names), 2), np.nan)
    joints[:, names.index("right_wrist")] = rng.integers(35, 65, (12, 2))

    def picture(row):
        found = np.zeros((100, 100, 3), dtype=np.uint8)
        x, y = joints[row, names.index("right_wrist")].astype(int)
        found[y - 1 : y + 2, x - 1 : x + 2] = 255
        return found

    identity = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (12, 1, 1))
    box = np.tile(np.array([9.5, 9.5, 89.5, 89.5]), (12, 1))
    weights = np.isfinite(joints).all(-1).astype(np.float32)
    return Pool(picture, identity, box, joints, weights, names)


@pytest.mark.parametrize(("size", "stride"), [((48, 64), 4), ((96, 64), 4), ((96, 128), 8), ((96, 128), 2)])
def test_pictures_of_any_shape_and_stride_show_the_joint_where_the_target_and_the_affine_say(pool, size, stride):
    names = get("mpii_16")
    wrists = [names.index(f"{side}_wrist") for side in ("right", "left")]
    augment = Augment(25, 0.2, 0.05, 0.5, 0, 0, 0, 0, 0, 0)
    for k in range(24):
        varied = example(pool, k % 12, size, augment, k, stride)
        picture, targets, weights, image_from_map, mirrored, points, _ = varied
        wrist = wrists[int(mirrored)]
        assert picture.shape == (size[1], size[0], 3)
        assert targets.shape[1:] == (size[1] // stride, size[0] // stride)
        if not weights[wrist]:
            continue
        bright = picture.sum(-1).astype(float)
        x, y = (bright.sum(axis) @ np.arange(len(bright.sum(axis))) / bright.sum() for axis in (0, 1))
        np.testing.assert_allclose(points[wrist], map_from_crop(np.array([x, y]), stride), atol=1.2 / stride)  # map px
        there = crops.transform(image_from_map, points[wrist, None].astype(float))[0]
        np.testing.assert_allclose(there, pool.joints[k % 12, wrists[0]], atol=1e-3)  # px


@pytest.mark.parametrize("augment", [NONE, Augment(25, 0.2, 0.05, 0.5, 0, 0, 0, 0, 0, 0)])
def test_the_target_peaks_where_the_picture_shows_the_joint_however_it_is_turned_and_mirrored(pool, augment):
    names = get("mpii_16")
    sides = set()
    for k in range(40):
        picture, targets, weights, *_ = example(pool, k % 12, INPUT, augment, k)
        (joint,) = np.flatnonzero(weights)
        sides.add(names.joints[joint])
        bright = picture[..., 0].astype(float)
        centre = (
            np.array([(bright.sum(0) * np.arange(SIZE)).sum(), (bright.sum(1) * np.arange(SIZE)).sum()]) / bright.sum()
        )
        mass = targets[joint].astype(float)
        peak = np.array([(mass.sum(0) * np.arange(16)).sum(), (mass.sum(1) * np.arange(16)).sum()]) / mass.sum()
        if (peak <= 2).any() or (peak >= 13).any():  # the Gaussian is cut off at the border
            continue
        np.testing.assert_allclose(peak, map_from_crop(centre), atol=0.12)  # map px
    assert sides == ({"right_wrist"} if augment is NONE else {"right_wrist", "left_wrist"})


def test_a_joint_outside_the_picture_counts_for_nothing(pool):
    pool.joints[3, :] = [500.0, 500.0]
    _, targets, weights, *_ = example(pool, 3, INPUT, NONE, 0)
    assert weights.sum() == 0
    assert targets.max() < 1e-3


def test_a_step_has_the_same_batch_whenever_training_starts(pool):
    whole = list(batches([pool], range(0, 7), 4, INPUT, 1.5, STRONG, seed=3))
    late = list(batches([pool], range(5, 7), 4, INPUT, 1.5, STRONG, seed=3))
    for one, other in zip(whole[5:], late, strict=True):
        np.testing.assert_array_equal(one.pictures, other.pictures)
        np.testing.assert_array_equal(one.targets, other.targets)
    other_seed = next(batches([pool], range(5, 6), 4, INPUT, 1.5, STRONG, seed=4))
    assert not np.array_equal(whole[5].pictures, other_seed.pictures)


def test_every_picture_comes_once_before_any_comes_again(pool):
    seen = []
    watched = Pool(
        lambda row: (seen.append(row), pool.picture(row))[1],
        pool.stored_from_image,
        pool.box,
        pool.joints,
        pool.weights,
        pool.skeleton,
    )
    list(batches([watched], range(3), 4, INPUT, 1.5, NONE, seed=0))
    assert sorted(seen) == list(range(12))


def test_pools_share_a_batch_as_asked(pool):
    from dataclasses import replace

    blind = replace(pool, weights=np.zeros_like(pool.weights), share=0.75)
    (batch,) = batches([replace(pool, share=0.25), blind], range(1), 8, INPUT, 1.5, NONE, seed=0)
    assert (batch.weights.sum(axis=1) > 0).sum() == 2


def test_the_views_of_a_moment_come_together_and_every_moment_comes_once(pool):
    from dataclasses import replace

    moments = [np.arange(0, 4), np.arange(4, 7), np.arange(7, 10), np.arange(10, 12)]  # some views are missing
    view = np.array([0, 1, 2, 3, 0, 2, 3, 0, 1, 2, 1, 3])
    rig = replace(pool, moments=moments, view=view, share=0.8)
    seen = []
    for batch in batches([rig, replace(pool, share=0.2)], range(2), 10, INPUT, 1.5, STRONG, seed=0):
        assert (batch.moment >= 0).sum() == len(batch.moment) - 2  # two pictures of the other pool stand alone
        for moment in set(batch.moment[batch.moment >= 0].tolist()):
            seen.append(tuple(batch.view[batch.moment == moment].tolist()))
    assert sorted(seen) == sorted(tuple(view[rows].tolist()) for rows in moments)


def test_a_varied_picture_says_where_its_map_lies_in_the_full_one(pool):
    for k in range(12):
        _, targets, weights, image_from_map, mirrored, *_ = example(pool, k, INPUT, STRONG, k, sigma=1.0)
        joint = int(np.argmax(weights))
        y, x = np.unravel_index(targets[joint].argmax(), targets[joint].shape)
        own = pool.skeleton.flipped[joint] if mirrored else joint
        back = crops.transform(image_from_map, np.array([[x, y]]))[0]
        assert np.linalg.norm(back - pool.joints[k, own]) < 5.5  # px: a map's pixel is 5 px wide


def test_the_map_leads_back_to_the_picture(pool):
    picture, image_from_map = network_input(pool.picture(0), pool.stored_from_image[0], pool.box[0], INPUT)
    crop_from_image = crops.crop_from_image(pool.box[0], INPUT)
    point = np.array([[50.0, 40.0]])
    on_map = map_from_crop(crops.transform(crop_from_image, point))
    np.testing.assert_allclose(crops.transform(image_from_map, on_map), point, atol=1e-9)
    assert picture.shape == (SIZE, SIZE, 3)


def test_a_mirrored_map_is_the_map_of_the_mirrored_picture():
    crop = np.array([[10.0, 20.0]])
    mirrored = np.array([[SIZE - 1 - 10.0, 20.0]])
    np.testing.assert_allclose(map_from_crop(mirrored)[:, 0], SIZE / 4 - 1 - map_from_crop(crop)[:, 0])


def test_a_negative_strength_is_refused():
    with pytest.raises(ValueError, match=r"augment\.noise"):
        Augment(0, 0, 0, 0, 0, 0, 0, -1, 0, 0)
    with pytest.raises(ValueError, match=r"augment\.flip"):
        Augment(0, 0, 0, 2, 0, 0, 0, 0, 0, 0)


def _person():
    """a pool of one: joints below one another, 5 px apart, in a white picture."""
    names = get("mpii_16")
    pairs = ("shoulder", "elbow", "wrist", "", "hip", "knee", "ankle")
    order = ["head_top", "upper_neck", "thorax"]
    for pair in pairs:
        order += [f"right_{pair}", f"left_{pair}"] if pair else ["pelvis"]
    joints = np.stack([[50.0 + 8 * (order.index(joint) % 3), 10 + 5.0 * order.index(joint)] for joint in names.joints])
    white = np.full((100, 100, 3), 255, dtype=np.uint8)
    identity, box = np.array([[[1.0, 0, 0], [0, 1, 0]]]), np.array([[-0.5, -0.5, 99.5, 99.5]])
    return Pool(lambda row: white, identity, box, joints[None], np.ones((1, 16), dtype=np.float32), names)


def test_half_of_a_person_fills_the_crop():
    from dataclasses import replace

    person = _person()
    names, halves = person.skeleton, []
    for seed in range(60):
        augment = replace(NONE, half_body=1.0)
        _, _, weights, image_from_map, *_ = example(person, 0, INPUT, augment, seed)
        corners = crops.transform(image_from_map, np.array([[0.0, 0.0], [15.0, 15.0]]))
        halves.append("lower" if corners.mean(axis=0)[1] > 50 else "upper")
        assert weights[names.index("left_knee" if halves[-1] == "lower" else "left_elbow")] == 1
    assert 30 <= halves.count("upper") <= 52


def test_a_hidden_part_is_not_asked_for():
    from dataclasses import replace

    from pipeline.training.occlusion import Occlusion

    augment = replace(NONE, occlusion=Occlusion(cutout=1.0, target="part", fill="black"))
    hidden = 0
    for seed in range(20):
        picture, _, weights, *_ = example(_person(), 0, INPUT, augment, seed)
        hidden += (picture == 0).any()
        assert 4 < weights.sum() < 16
    assert hidden >= 15


def test_points_are_where_the_targets_are_drawn(pool):
    for k in range(6):
        _, targets, weights, _, _, points, _ = example(pool, k, INPUT, STRONG, k)
        found = decode_dark(targets)[0]
        middle = (weights > 0) & ((points > 2) & (points < SIZE / 4 - 3)).all(-1)
        np.testing.assert_allclose(found[middle], points[middle], atol=0.05)  # map px


def test_depth_is_measured_with_the_ruler_of_the_picture(pool):
    """A joint as far behind the root as it is beside it stays so, however the crop is turned, scaled and mirrored."""
    from dataclasses import replace

    names = pool.skeleton
    joints = np.tile(np.array([50.0, 50.0]), (12, len(names), 1))
    depth = np.full((12, len(names)), np.nan)
    beside, behind = names.index("right_wrist"), names.index("right_ankle")
    joints[:, beside] += [12.0, 0.0]
    depth[:, behind], depth[:, names.index("pelvis")] = 12.0, 0.0
    deep = replace(pool, joints=joints, weights=np.ones((12, len(names)), dtype=np.float32), depth=depth)
    both = set()
    for k in range(12):
        *_, mirrored, points, found = example(deep, k, INPUT, STRONG, k)
        both.add(bool(mirrored))
        wrist, ankle = (names.flipped[joint] if mirrored else joint for joint in (beside, behind))
        away = np.linalg.norm(points[wrist] - points[names.index("pelvis")])
        np.testing.assert_allclose(found[ankle], away, rtol=1e-5)  # map px
        assert np.isfinite(found).sum() == 2
    assert both == {False, True}


@pytest.mark.parametrize("occlusion", [{}, {"cutout": 0.7, "target": "joint"}])
def test_processes_that_share_a_batch_make_the_pictures_that_one_would(pool, occlusion):
    from dataclasses import replace

    from pipeline.training.occlusion import Occlusion

    augment = replace(STRONG, half_body=0.5, occlusion=Occlusion(**occlusion))
    (whole,) = batches([pool], range(1), 6, INPUT, 1.5, augment, seed=1)
    parts = [next(batches([pool], range(1), 6, INPUT, 1.5, augment, seed=1, part=(rank, 2))) for rank in (0, 1)]
    np.testing.assert_array_equal(parts[0].pictures, whole.pictures[::2])
    np.testing.assert_array_equal(parts[1].points, whole.points[1::2])


def test_batches_made_in_turns_are_those_made_beside_the_training(pool):
    beside, turns = (list(batches([pool], range(11), 4, INPUT, 1.5, STRONG, 3, beside=each)) for each in (True, False))
    assert len(turns) == 11
    for one, other in zip(beside, turns, strict=True):
        np.testing.assert_array_equal(one.pictures, other.pictures)
