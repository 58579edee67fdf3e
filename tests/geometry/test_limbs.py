"""Limb lengths from triangulated poses."""

import numpy as np
import pytest

from pipeline.geometry.limbs import limb_lengths
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


def test_a_limb_is_as_long_as_its_median():
    joints, views, person = poses()
    joints[:4, [FOREARM, OTHER_FOREARM]] += [0, 900, 900]  # four of nine are far off
    found = limb_lengths(joints, views, person, MPII)["ann"]
    assert found[FOREARM] == pytest.approx(250)
    assert np.isnan(found[MPII.root])
    assert np.isnan(found[MPII.index("left_knee")])


def test_frames_that_three_views_agree_on_outvote_all_others():
    joints, views, person = poses()
    joints[1:, [FOREARM, OTHER_FOREARM], 2] += 500
    views[1:] = 2
    assert limb_lengths(joints, views, person, MPII)["ann"][FOREARM] == pytest.approx(250)
    views[:] = 2  # none is sure: all count
    assert limb_lengths(joints, views, person, MPII)["ann"][FOREARM] > 600


def test_left_and_right_are_averaged_and_one_stands_in_for_the_other():
    joints, views, person = poses()
    joints[:, FOREARM] = [0, 0, 1300]  # 300 mm on the left
    both = limb_lengths(joints, views, person, MPII)["ann"]
    assert both[FOREARM] == both[OTHER_FOREARM] == pytest.approx(275)
    joints[:, FOREARM] = np.nan
    one = limb_lengths(joints, views, person, MPII)["ann"]
    assert one[FOREARM] == one[OTHER_FOREARM] == pytest.approx(250)


def test_a_person_whose_limb_is_never_seen_gets_the_median_of_the_others():
    joints, views, _ = poses(9)
    person = np.array(["ann"] * 3 + ["bob"] * 3 + ["cem"] * 3)
    joints[3:6, [FOREARM, OTHER_FOREARM], 2] = 1000 + 200 * np.sqrt(3) / 2  # bob's is shorter
    joints[6:, [FOREARM, OTHER_FOREARM]] = np.nan
    found = limb_lengths(joints, views, person, MPII)
    assert list(found) == ["ann", "bob", "cem"]
    assert found["cem"][FOREARM] == pytest.approx((found["ann"][FOREARM] + found["bob"][FOREARM]) / 2)
