"""Views out of step: a person who walks shows which view is early, a person who stands does not."""

import numpy as np
import pytest

from benchmarks.evidence import Mistakes, scene
from benchmarks.rig_check import checked, late
from benchmarks.rig_check import observed as detected
from pipeline.rig.observations import Observations
from pipeline.rig.offsets import FrameOffsets, estimate_frame_offsets
from pipeline.skeleton import get
from tests.worlds.raw_world import people
from tests.worlds.tiny_world import camera_ring

SKELETON = get("mpii_16")
JOINTS = ("right_ankle", "right_hip", "left_hip", "left_ankle", "head_top", "right_wrist", "left_wrist", "left_elbow")
CAMERAS = camera_ring(4)


def observed(frames: int, shifts: tuple[int, ...], noise: float = 2.0) -> np.ndarray:
    """(frames, views, joints, 2) px: a person on a circle; a view with the shift 3 shows everything 3 frames later."""
    walk = people(JOINTS, frames + 40)
    keypoints = np.stack(
        [camera.project(walk[20 - shift : 20 - shift + frames]) for camera, shift in zip(CAMERAS, shifts, strict=True)],
        axis=1,
    )
    return keypoints + np.random.default_rng(1).normal(0, noise, keypoints.shape)


def estimated(keypoints: np.ndarray) -> FrameOffsets:
    every = np.full((*keypoints.shape[:2], len(SKELETON), 2), np.nan)
    every[:, :, [SKELETON.index(name) for name in JOINTS]] = keypoints
    observations = Observations(
        keypoints=every,
        scores=np.full(every.shape[:3], 0.9),
        sequence=np.full(len(every), "take"),
        number=np.arange(len(every)),
        skeleton=SKELETON,
    )
    return estimate_frame_offsets(observations, CAMERAS)


@pytest.mark.slow
@pytest.mark.parametrize("shifts", [(0, 0, 0, 0), (0, 3, 0, 0), (0, 0, -4, 1), (2, 2, 2, 0)])
def test_the_view_that_is_out_of_step_is_found(shifts):
    estimate = estimated(observed(80, shifts))
    usual = max(set(shifts), key=shifts.count)
    assert estimate.frames.tolist() == [shift - usual for shift in shifts]
    assert estimate.corrected_px < 3  # px
    assert estimate.epipolar_px > 3 or not estimate.frames.any()


def test_a_person_who_stands_still_says_nothing():
    keypoints = np.repeat(observed(1, (0, 0, 0, 0), 0.0), 60, axis=0)
    keypoints += np.random.default_rng(2).normal(0, 2, keypoints.shape)
    assert not estimated(keypoints).frames.any()


def test_nothing_is_known_where_nothing_is_seen():
    estimate = estimated(np.full((50, 4, 8, 2), np.nan))
    assert not estimate.frames.any()
    assert np.isnan(estimate.epipolar_px)


@pytest.mark.slow
@pytest.mark.parametrize(("noise_px", "seed"), [(3.0, 500), (8.0, 503)])
def test_all_programs_find_a_camera_that_is_one_frame_late(noise_px, seed):
    """prepare_target and check_data ask `estimate_frame_offsets`, check_rig asks `check`."""
    world = scene(seed, 4, test=300)
    observations = late(detected(world, Mistakes(noise_px=noise_px)), 1, 1)
    assert estimate_frame_offsets(observations, world.cameras).frames.tolist() == [0, 1, 0, 0]
    findings = checked(observations, world.cameras).findings
    assert [(each.kind, each.camera, each.figures["frames"]) for each in findings if each.serious] == [
        ("time", world.cameras[1].name, 1)
    ]
