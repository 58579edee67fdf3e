"""Several labelled sets in one training: each comes as often as its weight says, person by person."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.files import images, samples
from pipeline.files.samples import Samples
from pipeline.skeleton import Skeleton, get
from pipeline.training.batches import batches
from pipeline.training.pools import Mix, MixedOrder, joint_notes, pool_of_samples, pool_of_sets, set_files
from tests.training.strengths import NONE

BOTH = {"mpii": 1.0, "coco": 1.0}


def write_set(path: Path, skeleton: Skeleton, grey: list[int]) -> Samples:
    """Write one person per image, in plain grey, so that a batch shows whose it is; each keypoint is at the joint's number."""
    count = len(grey)
    joints = np.tile(np.arange(len(skeleton))[None, :, None] + 10.0, (count, 1, 2))
    samples.write(
        path,
        skeleton=skeleton,
        key=np.array([f"{path.stem}{row}" for row in range(count)]),
        split=np.array(["train"] * count),
        keypoints=joints,
        visible=np.ones(joints.shape[:2], dtype=bool),
        box=np.tile([-0.5, -0.5, 63.5, 63.5], (count, 1)),
        head=np.full(count, np.nan),
        crop_from_image=np.tile(np.eye(3)[:2], (count, 1, 1)),
        jpegs=(images.encode(np.full((64, 64, 3), value, np.uint8)) for value in grey),
    )
    return Samples.read(path)


@pytest.fixture
def sets(tmp_path):
    """Six people of MPII, dark, and thirty of COCO, bright."""
    return {
        "mpii": write_set(tmp_path / "mpii.h5", get("mpii_16"), [10 * k for k in range(6)]),
        "coco": write_set(tmp_path / "coco.h5", get("coco_17"), [100 + 5 * k for k in range(30)]),
    }


def rows_of(order: MixedOrder, places: range) -> list[int]:
    return [order[place] for place in places]


@pytest.mark.parametrize(("weights", "expected"), [((1, 1), (18, 18)), ((1, 5), (6, 30)), ((3, 1), (27, 9))])
def test_every_epoch_has_each_set_as_often_as_its_weight_says(weights, expected):
    order = MixedOrder([6, 30], weights, 36, seed=1)
    for epoch in range(4):
        rows = rows_of(order, range(36 * epoch, 36 * epoch + 36))
        assert (sum(row < 6 for row in rows), sum(row >= 6 for row in rows)) == expected


def test_no_person_of_a_set_repeats_before_all_of_it_came():
    order = MixedOrder([6, 30], (1, 1), 20, seed=1)
    rows = rows_of(order, range(400))
    for number, (first, size) in enumerate(((0, 6), (6, 30))):
        own = [row for row in rows if first <= row < first + size]
        assert len(own) == 200, number
        for start in range(0, len(own) - size + 1, size):
            assert sorted(own[start : start + size]) == list(range(first, first + size))


def test_persons_of_the_sets_are_mixed_one_by_one():
    order = MixedOrder([6, 30], (1, 1), 1000, seed=1)
    of_first = np.array([row < 6 for row in rows_of(order, range(1000))])
    changes = int((of_first[1:] != of_first[:-1]).sum())
    assert 430 < changes < 570  # of 999 neighbours; about half, as with a coin; a fourth as many in packs of four


def test_threads_that_are_far_apart_do_not_take_an_order_from_each_other():
    order, places = MixedOrder([2, 3], (1, 1), 4, seed=1), list(range(4000))
    expected = [order[place] for place in places]
    mixed = np.random.default_rng(0).permutation(places).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(mixed, pool.map(order.__getitem__, mixed, chunksize=1), strict=True))
    assert [found[place] for place in places] == expected


def test_a_share_of_zero_persons_is_refused():
    with pytest.raises(ValueError, match=r"mix: an epoch of 10 persons has none of a set with weight 0\.1"):
        MixedOrder([6, 30], (0.1, 5), 10, seed=1)


def test_an_order_is_known_from_the_place_alone():
    one, other = MixedOrder([6, 30], (2, 1), 25, seed=3), MixedOrder([6, 30], (2, 1), 25, seed=3)
    places = np.random.default_rng(0).permutation(200).tolist()
    assert [one[place] for place in places] == [rows_of(other, range(200))[place] for place in places]
    assert rows_of(MixedOrder([6, 30], (2, 1), 25, seed=4), range(200)) != rows_of(one, range(200))


def test_batches_have_the_right_person_with_the_right_joints(sets):
    names = get("union_20")
    pool = pool_of_sets(sets, Mix(BOTH, 12), names, seed=5)
    shown: Counter[bool] = Counter()
    for batch in batches([pool], range(6), batch_size=8, size=(64, 64), sigma=1.5, augment=NONE, seed=5):
        for image, weights in zip(batch.images, batch.weights, strict=True):
            coco = image.mean() > 75
            shown[bool(coco)] += 1
            known = {names.joint_names[joint] for joint in np.flatnonzero(weights)}
            assert known == set(names.joint_names) & set((get("coco_17") if coco else get("mpii_16")).joint_names)
    assert shown == {True: 24, False: 24}


def test_one_set_alone_is_drawn_without_a_mix(sets):
    names = get("mpii_16")
    alone = {"mpii": sets["mpii"]}
    plain = pool_of_samples(sets["mpii"], "train", names)
    for mix in (Mix({"mpii": 1.0}, None), Mix({"mpii": 7.0}, 3)):
        for one, other in zip(
            batches([plain], range(5), batch_size=4, size=(64, 64), sigma=1.5, augment=NONE, seed=1),
            batches(
                [pool_of_sets(alone, mix, names, seed=1)],
                range(5),
                batch_size=4,
                size=(64, 64),
                sigma=1.5,
                augment=NONE,
                seed=1,
            ),
            strict=True,
        ):
            np.testing.assert_array_equal(one.images, other.images)
            np.testing.assert_array_equal(one.targets, other.targets)


def test_only_the_sets_that_the_mix_names_are_read(sets, tmp_path):
    assert set_files(tmp_path, Mix({"coco": 1.0}, None)) == {"coco": tmp_path / "coco.h5"}
    assert set_files(tmp_path, Mix({"coco": 1.0, "mpii": 0.0}, None)) == {"coco": tmp_path / "coco.h5"}
    assert set_files(tmp_path / "mpii.h5", Mix({"coco": 1.0}, None)) == {"mpii": tmp_path / "mpii.h5"}
    with pytest.raises(ValueError, match=r"mix\.weights\.lsp: there is no such set in .*; there is coco, mpii"):
        set_files(tmp_path, Mix({"lsp": 1.0}, None))


@pytest.mark.parametrize(
    ("weights", "epoch", "sentence"),
    [
        ({}, None, r"mix\.weights: expected numbers from 0, one of them above"),
        ({"a": 0.0}, None, r"mix\.weights: expected numbers from 0, one of them above"),
        ({"a": 1.0, "b": -1.0}, None, r"mix\.weights: expected numbers from 0, one of them above"),
        (BOTH, 1, r"mix\.epoch: expected at least a person of each set, 2, got 1"),
    ],
)
def test_mixes_that_cannot_be_right(weights, epoch, sentence):
    with pytest.raises(ValueError, match=sentence):
        Mix(weights, epoch)


def test_joints_that_differ_are_named(sets, tmp_path):
    h36m = {"h36m": write_set(tmp_path / "h36m.h5", get("h36m_17"), [1, 2])}
    assert joint_notes(sets, get("mpii_16")) == []
    (kept,) = [note for note in joint_notes(h36m, get("mpii_16")) if "head_top" in note]
    assert kept == "h36m: mpii_16's head_top is not h36m_17's head: kept apart (compatible_16 would merge them)"
    (merged,) = [note for note in joint_notes(h36m, get("compatible_16")) if "head_top" in note]
    assert "compatible_16's head_top is learned from h36m_17's head, another point" in merged
