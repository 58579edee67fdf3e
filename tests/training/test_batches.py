from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline import crops, params
from pipeline.heatmaps.decode import decode_dark
from pipeline.skeleton import get
from pipeline.training.augment import Augment
from pipeline.training.batches import Pool, batches, examples, map_from_crop, network_input
from pipeline.training.occlusion import Occlusion
from tests.training.strengths import NONE, STRONG

SIZE = 64
INPUT = (SIZE, SIZE)
MOVED = replace(NONE, rotation_std_deg=25, scale_std=0.2, shift=0.05, flip_prob=0.5)


def example(pool, row, size, augment, seed, *, stride=4, sigma=1.5):
    """Return one varied image as the fields of a batch."""
    batch = examples(pool, np.array([row]), size=size, sigma=sigma, augment=augment, seed=(seed,), stride=stride)
    return SimpleNamespace(**{name: values[0] for name, values in vars(batch).items()})


def steps_of(pools, steps, batch_size, augment, seed=0, **options):
    """Yield the batches of some steps for a network of 64 px."""
    return batches(pools, steps, batch_size=batch_size, size=INPUT, sigma=1.5, augment=augment, seed=seed, **options)


@pytest.fixture
def pool():
    """Twelve black images of 100 px, each with a white dot at its right wrist; the left wrist is unknown."""
    rng = np.random.default_rng(0)
    names = get("mpii_16")
    keypoints = np.full((12, len(names), 2), np.nan)
    keypoints[:, names.index("right_wrist")] = rng.integers(35, 65, (12, 2))

    def image(row):
        drawn = np.zeros((100, 100, 3), dtype=np.uint8)
        x, y = keypoints[row, names.index("right_wrist")].astype(int)
        drawn[y - 1 : y + 2, x - 1 : x + 2] = 255
        return drawn

    identity = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (12, 1, 1))
    box = np.tile(np.array([9.5, 9.5, 89.5, 89.5]), (12, 1))
    weights = np.isfinite(keypoints).all(-1).astype(np.float32)
    return Pool(image=image, stored_from_image=identity, box=box, keypoints=keypoints, weights=weights, skeleton=names)


@pytest.mark.parametrize(("size", "stride"), [((48, 64), 4), ((96, 64), 4), ((96, 128), 8), ((96, 128), 2)])
def test_images_of_any_shape_and_stride_have_the_joint_at_the_target_and_by_the_affine(pool, size, stride):
    names = get("mpii_16")
    wrists = [names.index(f"{side}_wrist") for side in ("right", "left")]
    for k in range(24):
        varied = example(pool, k % 12, size, MOVED, k, stride=stride)
        wrist = wrists[int(varied.mirrored)]
        assert varied.images.shape == (size[1], size[0], 3)
        assert varied.targets.shape[1:] == (size[1] // stride, size[0] // stride)
        if not varied.weights[wrist]:
            continue
        bright = varied.images.sum(-1).astype(float)
        x, y = (bright.sum(axis) @ np.arange(len(bright.sum(axis))) / bright.sum() for axis in (0, 1))
        keypoint = varied.keypoints[wrist]
        np.testing.assert_allclose(keypoint, map_from_crop(np.array([x, y]), stride), atol=1.2 / stride)  # map px
        in_image = crops.transform(varied.image_from_map, keypoint[None].astype(float))[0]
        np.testing.assert_allclose(in_image, pool.keypoints[k % 12, wrists[0]], atol=1e-3)  # px


@pytest.mark.parametrize("augment", [NONE, MOVED])
def test_the_target_peaks_at_the_joint_however_the_image_is_rotated_and_mirrored(pool, augment):
    names = get("mpii_16")
    sides = set()
    for k in range(40):
        varied = example(pool, k % 12, INPUT, augment, k)
        (joint,) = np.flatnonzero(varied.weights)
        sides.add(names.joint_names[joint])
        bright = varied.images[..., 0].astype(float)
        centre = (
            np.array([(bright.sum(0) * np.arange(SIZE)).sum(), (bright.sum(1) * np.arange(SIZE)).sum()]) / bright.sum()
        )
        mass = varied.targets[joint].astype(float)
        peak = np.array([(mass.sum(0) * np.arange(16)).sum(), (mass.sum(1) * np.arange(16)).sum()]) / mass.sum()
        if (peak <= 2).any() or (peak >= 13).any():  # the Gaussian is cut off at the border
            continue
        np.testing.assert_allclose(peak, map_from_crop(centre), atol=0.12)  # map px
    assert sides == ({"right_wrist"} if augment is NONE else {"right_wrist", "left_wrist"})


def test_a_keypoint_outside_the_image_has_weight_0(pool):
    pool.keypoints[3, :] = [500.0, 500.0]
    varied = example(pool, 3, INPUT, NONE, 0)
    assert varied.weights.sum() == 0
    assert varied.targets.max() < 1e-3


def test_a_step_has_the_same_batch_whenever_training_starts(pool):
    whole = list(steps_of([pool], range(0, 7), 4, STRONG, seed=3))
    late = list(steps_of([pool], range(5, 7), 4, STRONG, seed=3))
    for one, other in zip(whole[5:], late, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.targets, other.targets)
    other_seed = next(steps_of([pool], range(5, 6), 4, STRONG, seed=4))
    assert not np.array_equal(whole[5].images, other_seed.images)


def test_every_image_comes_once_before_any_comes_again(pool):
    seen = []
    watched = replace(pool, image=lambda row: (seen.append(row), pool.image(row))[1])
    list(steps_of([watched], range(3), 4, NONE, seed=0))
    assert sorted(seen) == list(range(12))


def test_pools_share_a_batch_as_asked(pool):
    blind = replace(pool, weights=np.zeros_like(pool.weights), share=0.75)
    (batch,) = steps_of([replace(pool, share=0.25), blind], range(1), 8, NONE, seed=0)
    assert (batch.weights.sum(axis=1) > 0).sum() == 2


def test_the_views_of_a_frame_group_come_together_and_every_group_comes_once(pool):
    frame_groups = [np.arange(0, 4), np.arange(4, 7), np.arange(7, 10), np.arange(10, 12)]  # some views are missing
    view = np.array([0, 1, 2, 3, 0, 2, 3, 0, 1, 2, 1, 3])
    rig = replace(pool, frame_groups=frame_groups, view=view, share=0.8)
    seen = []
    for batch in steps_of([rig, replace(pool, share=0.2)], range(2), 10, STRONG, seed=0):
        assert (batch.frame_group >= 0).sum() == len(batch.frame_group) - 2  # two images of the other pool stand alone
        for group in set(batch.frame_group[batch.frame_group >= 0].tolist()):
            seen.append(tuple(batch.view[batch.frame_group == group].tolist()))
    assert sorted(seen) == sorted(tuple(view[rows].tolist()) for rows in frame_groups)


def test_a_varied_image_has_the_affine_of_its_map(pool):
    for k in range(12):
        varied = example(pool, k, INPUT, STRONG, k, sigma=1.0)
        joint = int(np.argmax(varied.weights))
        y, x = np.unravel_index(varied.targets[joint].argmax(), varied.targets[joint].shape)
        own = pool.skeleton.flipped[joint] if varied.mirrored else joint
        back = crops.transform(varied.image_from_map, np.array([[x, y]]))[0]
        assert np.linalg.norm(back - pool.keypoints[k, own]) < 5.5  # px: a map's pixel is 5 px wide


def test_the_map_leads_back_to_the_image(pool):
    image, image_from_map = network_input(pool.image(0), pool.stored_from_image[0], pool.box[0], INPUT)
    crop_from_image = crops.crop_from_image(pool.box[0], INPUT)
    point = np.array([[50.0, 40.0]])
    on_map = map_from_crop(crops.transform(crop_from_image, point))
    np.testing.assert_allclose(crops.transform(image_from_map, on_map), point, atol=1e-9)
    assert image.shape == (SIZE, SIZE, 3)


def test_a_mirrored_map_is_the_map_of_the_mirrored_image():
    crop = np.array([[10.0, 20.0]])
    mirrored = np.array([[SIZE - 1 - 10.0, 20.0]])
    np.testing.assert_allclose(map_from_crop(mirrored)[:, 0], SIZE / 4 - 1 - map_from_crop(crop)[:, 0])


@pytest.mark.parametrize(("key", "value"), [("noise", -1), ("flip_prob", 2)])
def test_a_strength_out_of_its_range_is_refused(key, value):
    values = {name: each for name, each in vars(NONE).items() if name != "occlusion"}
    with pytest.raises(ValueError, match=rf"augment\.{key}"):
        params.build(Augment, values | {key: value}, "augment")


def _person():
    """Return a pool of one person: keypoints below one another, 5 px apart, in a white image."""
    names = get("mpii_16")
    pairs = ("shoulder", "elbow", "wrist", "", "hip", "knee", "ankle")
    order = ["head_top", "upper_neck", "thorax"]
    for pair in pairs:
        order += [f"right_{pair}", f"left_{pair}"] if pair else ["pelvis"]
    keypoints = np.stack(
        [[50.0 + 8 * (order.index(joint) % 3), 10 + 5.0 * order.index(joint)] for joint in names.joint_names]
    )
    white = np.full((100, 100, 3), 255, dtype=np.uint8)
    identity, box = np.array([[[1.0, 0, 0], [0, 1, 0]]]), np.array([[-0.5, -0.5, 99.5, 99.5]])
    return Pool(
        image=lambda row: white,
        stored_from_image=identity,
        box=box,
        keypoints=keypoints[None],
        weights=np.ones((1, 16), dtype=np.float32),
        skeleton=names,
    )


def test_half_of_a_person_fills_the_crop():
    person = _person()
    names, halves = person.skeleton, []
    for seed in range(60):
        augment = replace(NONE, half_body=1.0)
        varied = example(person, 0, INPUT, augment, seed)
        corners = crops.transform(varied.image_from_map, np.array([[0.0, 0.0], [15.0, 15.0]]))
        halves.append("lower" if corners.mean(axis=0)[1] > 50 else "upper")
        assert varied.weights[names.index("left_knee" if halves[-1] == "lower" else "left_elbow")] == 1
    assert 30 <= halves.count("upper") <= 52


def test_a_hidden_part_has_no_label():
    augment = replace(NONE, occlusion=Occlusion(cutout=1.0, target="part", fill="black"))
    hidden = 0
    for seed in range(20):
        varied = example(_person(), 0, INPUT, augment, seed)
        hidden += (varied.images == 0).any()
        assert 4 < varied.weights.sum() < 16
    assert hidden >= 15


def test_keypoints_are_the_centres_of_the_targets(pool):
    for k in range(6):
        varied = example(pool, k, INPUT, STRONG, k)
        decoded, keypoints = decode_dark(varied.targets)[0], varied.keypoints
        middle = (varied.weights > 0) & ((keypoints > 2) & (keypoints < SIZE / 4 - 3)).all(-1)
        np.testing.assert_allclose(decoded[middle], keypoints[middle], atol=0.05)  # map px


def test_depth_has_the_scale_of_the_image(pool):
    """A joint as far behind the root as it is beside it stays so, however the crop is turned, scaled and mirrored."""
    names = pool.skeleton
    keypoints = np.tile(np.array([50.0, 50.0]), (12, len(names), 1))
    depth = np.full((12, len(names)), np.nan)
    beside, behind = names.index("right_wrist"), names.index("right_ankle")
    keypoints[:, beside] += [12.0, 0.0]
    depth[:, behind], depth[:, names.index("pelvis")] = 12.0, 0.0
    deep = replace(pool, keypoints=keypoints, weights=np.ones((12, len(names)), dtype=np.float32), depth=depth)
    both = set()
    for k in range(12):
        varied = example(deep, k, INPUT, STRONG, k)
        both.add(bool(varied.mirrored))
        wrist, ankle = (names.flipped[joint] if varied.mirrored else joint for joint in (beside, behind))
        distance = np.linalg.norm(varied.keypoints[wrist] - varied.keypoints[names.index("pelvis")])
        np.testing.assert_allclose(varied.depth[ankle], distance, rtol=1e-5)  # map px
        assert np.isfinite(varied.depth).sum() == 2
    assert both == {False, True}


@pytest.mark.parametrize("occlusion", [{}, {"cutout": 0.7, "target": "joint"}])
def test_processes_that_share_a_batch_prepare_the_images_that_one_would(pool, occlusion):
    augment = replace(STRONG, half_body=0.5, occlusion=Occlusion(**occlusion))
    (whole,) = steps_of([pool], range(1), 6, augment, seed=1)
    parts = [next(steps_of([pool], range(1), 6, augment, seed=1, part=(rank, 2))) for rank in (0, 1)]
    np.testing.assert_array_equal(parts[0].images, whole.images[::2])
    np.testing.assert_array_equal(parts[1].keypoints, whole.keypoints[1::2])


def test_batches_prepared_in_turns_are_those_prefetched(pool):
    beside, turns = (list(steps_of([pool], range(11), 4, STRONG, seed=3, prefetch=each)) for each in (True, False))
    assert len(turns) == 11
    for one, other in zip(beside, turns, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
