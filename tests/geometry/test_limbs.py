"""Limb lengths from triangulated poses."""

import numpy as np
import pytest

from pipeline.geometry.limbs import limb_lengths, sample_evenly
from pipeline.skeleton import get

MPII = get("mpii_16")
FOREARM, OTHER_FOREARM = MPII.index("left_wrist"), MPII.index("right_wrist")
ELBOW, OTHER_ELBOW = MPII.index("left_elbow"), MPII.index("right_elbow")


def poses(frames: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Somebody without shape but for 250 mm long forearms; four views agree on every joint."""
    joints = np.full((frames, len(MPII), 3), np.nan)
    joints[:, [ELBOW, OTHER_ELBOW]] = [0.0, 0, 1000]
    joints[:, [FOREARM, OTHER_FOREARM]] = [0.0, 150, 1200]
    return joints, np.full((frames, len(MPII)), 4), np.array(["ann"] * frames)


def test_a_limb_is_as_long_as_its_median_and_says_where_that_is_from():
    joints, views, person = poses()
    joints[:4, [FOREARM, OTHER_FOREARM]] += [0, 900, 900]  # four of nine are far off
    found = limb_lengths(joints, views, person, MPII)["ann"]
    assert found.length_mm[FOREARM] == pytest.approx(250)
    assert found.measurements[FOREARM] == 18
    assert found.source[FOREARM] == "three views"
    for nothing in (MPII.root, MPII.index("left_knee")):
        assert np.isnan(found.length_mm[nothing])
        assert found.measurements[nothing] == 0
        assert found.source[nothing] == ""


def test_the_spread_is_the_standard_deviation_of_good_measurements_and_bears_a_tenth_of_wild_ones():
    joints, views, person = poses(2000)
    rng = np.random.default_rng(3)
    joints[:, [FOREARM, OTHER_FOREARM]] = [0, 0, 1250]
    joints[:, [FOREARM, OTHER_FOREARM], 2] += rng.normal(0, 20, (2000, 2))
    joints[::10, FOREARM, 2] += rng.uniform(-5000, 5000, 200)
    found = limb_lengths(joints, views, person, MPII)["ann"]
    assert found.length_mm[FOREARM] == pytest.approx(250, abs=2)  # mm
    assert found.spread_mm[FOREARM] == pytest.approx(20, rel=0.15)


def test_frames_that_three_views_agree_on_outvote_all_others_if_there_are_enough():
    joints, views, person = poses(60)
    joints[3:, [FOREARM, OTHER_FOREARM], 2] += 500
    views[3:] = 2  # 114 measurements by two views, six by more
    sure = limb_lengths(joints, views, person, MPII)["ann"]
    assert sure.length_mm[FOREARM] == pytest.approx(250)
    assert (sure.source[FOREARM], sure.measurements[FOREARM]) == ("three views", 6)
    views[2:] = 2  # four are not enough
    unsure = limb_lengths(joints, views, person, MPII)["ann"]
    assert unsure.length_mm[FOREARM] > 600
    assert (unsure.source[FOREARM], unsure.measurements[FOREARM]) == ("two views", 120)


def test_left_and_right_are_measured_together_and_one_stands_in_for_the_other():
    joints, views, person = poses()
    joints[:, FOREARM] = [0, 0, 1300]  # 300 mm on the left
    both = limb_lengths(joints, views, person, MPII)["ann"].length_mm
    assert both[FOREARM] == both[OTHER_FOREARM] == pytest.approx(275)
    joints[1:, FOREARM] = np.nan  # seldom seen: it has seldom a say
    seldom = limb_lengths(joints, views, person, MPII)["ann"].length_mm
    assert seldom[FOREARM] == seldom[OTHER_FOREARM] == pytest.approx(250)
    joints[:, FOREARM] = np.nan
    one = limb_lengths(joints, views, person, MPII)["ann"].length_mm
    assert one[FOREARM] == one[OTHER_FOREARM] == pytest.approx(250)


def test_people_are_told_apart_and_who_never_shows_a_limb_gets_the_median_of_the_others():
    joints, views, _ = poses(9)
    person = np.array(["ann"] * 3 + ["bob"] * 3 + ["cem"] * 3)
    joints[3:6, [FOREARM, OTHER_FOREARM]] = [0, 0, 1200]  # bob's is shorter
    joints[6:, [FOREARM, OTHER_FOREARM]] = np.nan
    found = limb_lengths(joints, views, person, MPII)
    assert list(found) == ["ann", "bob", "cem"]
    assert found["ann"].length_mm[FOREARM] == pytest.approx(250)
    assert found["bob"].length_mm[FOREARM] == pytest.approx(200)
    assert found["cem"].length_mm[FOREARM] == pytest.approx(225)
    assert (found["cem"].source[FOREARM], found["cem"].measurements[FOREARM]) == ("others", 2)


def test_long_recordings_are_thinned_evenly_and_short_ones_are_not():
    person = np.array((["ann"] * 100 + ["bob"] * 3) * 10)
    chosen = sample_evenly(person, 100)
    assert chosen[person == "bob"].all()
    assert chosen[person == "ann"].sum() == 100
    assert chosen[person == "ann"].reshape(10, 100).sum(axis=1).tolist() == [10] * 10
