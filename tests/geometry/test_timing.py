"""Views out of step: a person who walks tells which view is early, one who stands does not."""

import numpy as np
import pytest

from pipeline.geometry.timing import offsets
from tests.raw_world import people
from tests.tiny_world import camera_ring

JOINTS = ("right_ankle", "right_hip", "left_hip", "left_ankle", "head_top", "right_wrist", "left_wrist", "left_elbow")
CAMERAS = camera_ring(4)


def seen(frames: int, shifts: tuple[int, ...], noise: float = 2.0) -> np.ndarray:
    """(frames, views, joints, 2) px: a person on a circle; a view with the shift 3 shows everything 3 frames later."""
    walk = people(JOINTS, frames + 40)
    shown = np.stack(
        [camera.project(walk[20 - shift : 20 - shift + frames]) for camera, shift in zip(CAMERAS, shifts, strict=True)],
        axis=1,
    )
    return shown + np.random.default_rng(1).normal(0, noise, shown.shape)


@pytest.mark.parametrize("shifts", [(0, 0, 0, 0), (0, 3, 0, 0), (0, 0, -4, 1), (2, 2, 2, 0)])
def test_the_view_that_is_out_of_step_is_found(shifts):
    found, before, after = offsets(seen(80, shifts), CAMERAS)
    usual = max(set(shifts), key=shifts.count)
    assert found.tolist() == [shift - usual for shift in shifts]
    assert after < 3  # px
    assert before > 3 or not found.any()


def test_a_person_who_stands_still_says_nothing():
    shown = np.repeat(seen(1, (0, 0, 0, 0), 0.0), 60, axis=0)
    shown += np.random.default_rng(2).normal(0, 2, shown.shape)
    assert not offsets(shown, CAMERAS)[0].any()


def test_nothing_is_known_where_nothing_is_seen():
    shown = np.full((50, 4, 8, 2), np.nan)
    found, before, _ = offsets(shown, CAMERAS)
    assert not found.any()
    assert np.isnan(before)
