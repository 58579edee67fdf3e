"""Calibrations that cannot be right: transposed rotations, a camera that shares no view, a person of the wrong height."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.rig.plausibility import check_agreement, check_orientations, check_person_height
from tests.conftest import camera_looking_at


def test_a_camera_that_looks_away_is_named(rig):
    away = camera_looking_at(np.array([0.0, 90000.0, 1000.0]), np.array([0.0, 60000.0, 2000.0]), "cam9")
    with pytest.raises(ValueError, match="camera cam9 sees nothing that another camera sees"):
        check_orientations((*rig, away), Path("c.toml"))


def turned(camera: Camera) -> Camera:
    return replace(camera, R=camera.R.T, centre=-camera.R @ camera.translation)


def ring(count: int) -> list[Camera]:
    """Cameras that look at (0, 0, 1000) from uneven directions, a little off level as on tripods."""
    cameras = []
    for number in range(count):
        angle = 2 * np.pi * number / count + 0.3
        centre = np.array([4000 * np.cos(angle), 4000 * np.sin(angle), 1500.0 + 90 * number])
        camera = camera_looking_at(np.array([0.0, 0.0, 1000.0]), centre, f"cam{number}")
        roll = np.deg2rad(4.0 * (-1) ** number)
        lean = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        cameras.append(replace(camera, R=lean @ camera.R))
    return cameras


def test_a_camera_that_lies_on_its_side_when_it_need_not():
    cameras = ring(5)
    check_orientations(cameras, Path("c.toml"))
    cameras[2] = turned(cameras[2])
    with pytest.raises(ValueError, match=r"c.toml: the rotation of camera cam2 seems to be transposed"):
        check_orientations(cameras, Path("c.toml"))


@pytest.mark.parametrize(("count", "wrong"), [(2, {1}), (3, {0}), (5, {0, 3}), (9, {4}), (4, {0, 1, 2, 3})])
def test_what_the_views_see_tells_who_is_transposed(count, wrong):
    cameras = ring(count)
    given = [turned(camera) if i in wrong else camera for i, camera in enumerate(cameras)]

    def agreement(rig) -> float:  # of a perfect detector: the pairs of right cameras
        right = sum(np.allclose(camera.R, known.R) for camera, known in zip(rig, cameras, strict=True))
        return right * (right - 1) / (count * (count - 1))

    check_agreement(cameras, Path("c.toml"), agreement)
    if count > 2:
        with pytest.raises(ValueError, match=r"seem.* to be transposed") as refused:
            check_agreement(given, Path("c.toml"), agreement)
        for i in range(count):
            assert (f"cam{i}" in str(refused.value)) == (i in wrong)


def test_disagreement_that_no_rotation_mends_is_no_reason_to_refuse():
    check_agreement(ring(4), Path("c.toml"), lambda rig: 0.05)


def test_how_tall_the_person_is_by_their_boxes():
    cameras = ring(4)
    ends = np.array([[100.0, 50, 0], [100.0, 50, 1700]])  # mm
    shown = np.stack([camera.project(ends) for camera in cameras])  # (views, 2, 2)
    low, high = shown.min(axis=1) - [40, 0], shown.max(axis=1) + [40, 0]
    box = np.repeat(np.concatenate([low, high], axis=-1)[None], 3, axis=0)
    assert check_person_height(box, cameras, Path("c")) == pytest.approx(1700, rel=0.05)  # mm
    small = [replace(camera, centre=camera.centre / 10) for camera in cameras]
    with pytest.raises(ValueError, match=r"the person is 0.167 m tall.*if its units were 10 times as large, 1.7 m"):
        check_person_height(box, small, Path("c"))
    box[:, 1:] = np.nan
    assert np.isnan(check_person_height(box, cameras, Path("c")))
