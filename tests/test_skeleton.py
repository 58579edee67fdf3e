"""Vocabularies: joints are mapped by name, and what is not the same point is not taken for it in silence."""

import numpy as np
import pytest

from pipeline.skeleton import SKELETONS, differences, get, mapping, reorder

# Published tables of the multiview code: where a joint of the union lies in each set, -1 where it does not.
UNION_FROM_H36M = [0, 1, 2, 3, 4, 5, 6, 7, -1, 8, -1, 9, 10, -1, 11, 12, 13, 14, 15, 16]
UNION_FROM_MPII = [6, 2, 1, 0, 3, 4, 5, -1, 7, -1, 8, -1, -1, 9, 13, 14, 15, 12, 11, 10]
COMPATIBLE_FROM_H36M = [3, 2, 1, 4, 5, 6, 0, 8, 9, 10, 16, 15, 14, 11, 12, 13]
COMPATIBLE_FROM_COCO = [16, 14, 12, 11, 13, 15, -1, -1, -1, -1, 10, 8, 6, 5, 7, 9]


@pytest.mark.parametrize(
    ("target", "source", "expected"),
    [
        ("union_20", "h36m_17", UNION_FROM_H36M),
        ("union_20", "mpii_16", UNION_FROM_MPII),
        ("compatible_16", "h36m_17", COMPATIBLE_FROM_H36M),
        ("compatible_16", "coco_17", COMPATIBLE_FROM_COCO),
        ("compatible_16", "mpii_16", list(range(16))),
    ],
)
def test_the_published_tables(target, source, expected):
    assert mapping(get(target), get(source)).tolist() == expected


def test_compatible_16_alone_merges_and_says_so():
    h36m = get("h36m_17")
    for name in SKELETONS:
        head = (
            mapping(get(name), h36m)[get(name).joint_names.index("head_top")]
            if "head_top" in get(name).joint_names
            else -1
        )
        assert head == (h36m.index("head") if name == "compatible_16" else -1)
    sentences = differences(get("compatible_16"), h36m)
    assert len(sentences) == 3
    assert all("another point" in sentence for sentence in sentences)


def test_necks_of_one_name_are_kept_apart_with_a_sentence():
    body, h36m = get("body_25"), get("h36m_17")
    assert mapping(h36m, body)[h36m.index("neck")] == -1
    assert mapping(body, h36m)[body.index("neck")] == -1
    assert "h36m_17's neck and body_25's are different points, and are kept apart" in differences(h36m, body)


def test_a_vocabulary_is_its_own_and_has_nothing_to_say_of_itself():
    for skeleton in SKELETONS.values():
        assert mapping(skeleton, skeleton).tolist() == list(range(len(skeleton)))
        assert differences(skeleton, skeleton) == []


def test_every_vocabulary_is_one_tree_with_mirror_images():
    for skeleton in SKELETONS.values():
        assert len(skeleton.limbs) == len(skeleton) - 1
        assert len(set(skeleton.joint_names)) == len(skeleton)
        assert [skeleton.flipped[other] for other in skeleton.flipped] == list(range(len(skeleton)))
        for joint in range(len(skeleton)):
            steps = 0
            while skeleton.parents[joint] >= 0:
                joint, steps = skeleton.parents[joint], steps + 1
                assert steps < len(skeleton)
            assert joint == skeleton.root


def test_there_and_back_the_joints_of_both_come_again():
    values = np.arange(17 * 2, dtype=float).reshape(17, 2)
    there = reorder(values, get("union_20"), get("h36m_17"))
    np.testing.assert_array_equal(reorder(there, get("h36m_17"), get("union_20")), values)
    assert np.isnan(there[get("union_20").index("head_top")]).all()
