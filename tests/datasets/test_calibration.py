"""Calibrations from elsewhere: units by the rig's size, and rotations the wrong way round."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets import calibration
from pipeline.geometry.camera import Camera
from tests import raw_world
from tests.conftest import camera_looking_at
from tests.tiny_world import camera_ring


def written(folder: Path, cameras: tuple[Camera, ...], **options: object) -> Path:
    path = folder / "calibration.toml"
    raw_world.write_calibration(path, cameras, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(("scale", "units"), [(0.001, ""), (0.001, "m"), (1.0, ""), (1.0, "mm"), (1.0, "millimeters")])
def test_any_units_come_out_as_millimetres(tmp_path, scale, units):
    cameras = camera_ring(3)
    found = calibration.read(written(tmp_path, cameras, scale=scale, units=units))
    for camera, known in zip(found.cameras, cameras, strict=True):
        np.testing.assert_allclose(camera.centre, known.centre, atol=1e-3)  # mm
        np.testing.assert_allclose(camera.distortion, [*known.distortion[:4], 0])
        assert camera.size == known.size
    assert "apart" in " ".join(found.notes)


def test_the_asked_units_win_over_the_stated(tmp_path):
    path = written(tmp_path, camera_ring(3), scale=0.01, units="mm")  # a small model of a rig, 59 mm
    with pytest.raises(ValueError, match=r"metadata.units says mm"):
        calibration.read(path)
    assert np.linalg.norm(calibration.read(path, calibration.Settings("m")).cameras[0].centre) > 40000  # mm


def test_a_camera_that_is_there_twice(tmp_path):
    first, second = camera_ring(2)
    path = written(tmp_path, (first, second))
    path.write_text(path.read_text().replace("Cam_02", "cam01"))
    with pytest.raises(ValueError, match="the camera 'cam01' is there twice"):
        calibration.read(path)


def test_the_place_that_all_cameras_look_at(rig):
    place, seen = calibration.common_place(rig)
    np.testing.assert_allclose(place, [0, 0, 1000], atol=1e-6)  # mm
    assert seen.all()


def test_a_camera_that_looks_away_is_named(rig):
    away = camera_looking_at(np.array([0.0, 90000.0, 1000.0]), np.array([0.0, 60000.0, 2000.0]), "cam9")
    with pytest.raises(ValueError, match="camera cam9 sees nothing that another camera sees"):
        calibration.check_looks((*rig, away), Path("c.toml"))


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
    calibration.check_looks(cameras, Path("c.toml"))
    cameras[2] = turned(cameras[2])
    with pytest.raises(ValueError, match=r"c.toml: the rotation of camera cam2 seems to be transposed"):
        calibration.check_looks(cameras, Path("c.toml"))


@pytest.mark.parametrize(("count", "wrong"), [(2, {1}), (3, {0}), (5, {0, 3}), (9, {4}), (4, {0, 1, 2, 3})])
def test_what_the_views_see_tells_who_is_transposed(count, wrong):
    cameras = ring(count)
    given = [turned(camera) if i in wrong else camera for i, camera in enumerate(cameras)]

    def agreement(rig) -> float:  # of a perfect detector: the pairs of right cameras
        right = sum(np.allclose(camera.R, known.R) for camera, known in zip(rig, cameras, strict=True))
        return right * (right - 1) / (count * (count - 1))

    calibration.check_agreement(cameras, Path("c.toml"), agreement)
    if count > 2:
        with pytest.raises(ValueError, match=r"seem.* to be transposed") as refused:
            calibration.check_agreement(given, Path("c.toml"), agreement)
        for i in range(count):
            assert (f"cam{i}" in str(refused.value)) == (i in wrong)


def test_disagreement_that_no_rotation_mends_is_no_reason_to_refuse():
    calibration.check_agreement(ring(4), Path("c.toml"), lambda rig: 0.05)


def test_cameras_along_a_corridor_need_no_place_that_all_see():
    middles = np.arange(5) * 3000.0
    cameras = [
        camera_looking_at(np.array([x, 0.0, 1000.0]), np.array([x, -4000.0, 1800.0]), f"cam{i}")
        for i, x in enumerate(middles)
    ]
    assert not calibration.common_place(cameras)[1].all()
    calibration.check_looks(cameras, Path("c.toml"))


def test_a_name_that_would_break_the_file_is_refused(tmp_path):
    path = written(tmp_path, camera_ring(2))
    path.write_text(path.read_text().replace('name = "Cam_01"', 'name = "cam\\n[metadata]"'))
    with pytest.raises(ValueError, match="expected text with a letter or digit"):
        calibration.read(path)


def test_how_tall_the_person_is_by_their_boxes():
    cameras = ring(4)
    ends = np.array([[100.0, 50, 0], [100.0, 50, 1700]])  # mm
    shown = np.stack([camera.project(ends) for camera in cameras])  # (views, 2, 2)
    low, high = shown.min(axis=1) - [40, 0], shown.max(axis=1) + [40, 0]
    box = np.repeat(np.concatenate([low, high], axis=-1)[None], 3, axis=0)
    assert calibration.check_person(box, cameras, Path("c")) == pytest.approx(1700, rel=0.05)  # mm
    small = [replace(camera, centre=camera.centre / 10) for camera in cameras]
    with pytest.raises(ValueError, match=r"the person is 0.167 m tall.*if its units were 10 times as large, 1.7 m"):
        calibration.check_person(box, small, Path("c"))
    box[:, 1:] = np.nan
    assert np.isnan(calibration.check_person(box, cameras, Path("c")))
