"""Calibrations from elsewhere: units by the rig's size, and where its cameras look."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.calibration.conventions import Settings
from pipeline.calibration.reading import read_calibration
from pipeline.geometry.camera import Camera
from pipeline.geometry.viewing import convergence_point
from pipeline.rig.plausibility import check_orientations
from tests.conftest import camera_looking_at
from tests.worlds import raw_world
from tests.worlds.tiny_world import camera_ring


def written(folder: Path, cameras: tuple[Camera, ...], **options: object) -> Path:
    path = folder / "calibration.toml"
    raw_world.write_calibration(path, cameras, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(("scale", "units"), [(0.001, ""), (0.001, "m"), (1.0, ""), (1.0, "mm"), (1.0, "millimeters")])
def test_any_units_come_out_as_millimetres(tmp_path, scale, units):
    cameras = camera_ring(3)
    calibration = read_calibration(written(tmp_path, cameras, scale=scale, units=units))
    for camera, expected in zip(calibration.cameras, cameras, strict=True):
        np.testing.assert_allclose(camera.centre, expected.centre, atol=1e-3)  # mm
        np.testing.assert_allclose(camera.distortion, [*expected.distortion[:4], 0])
        assert camera.size == expected.size
    assert "apart" in " ".join(calibration.notes)


def test_the_asked_units_win_over_the_stated(tmp_path):
    path = written(tmp_path, camera_ring(3), scale=0.01, units="mm")  # a small model of a rig, 59 mm
    with pytest.raises(ValueError, match=r"metadata.units says mm"):
        read_calibration(path)
    assert np.linalg.norm(read_calibration(path, Settings("m")).cameras[0].centre) > 40000  # mm


def test_a_camera_that_is_there_twice(tmp_path):
    first, second = camera_ring(2)
    path = written(tmp_path, (first, second))
    path.write_text(path.read_text().replace("Cam_02", "cam01"))
    with pytest.raises(ValueError, match="the camera 'cam01' is there twice"):
        read_calibration(path)


def test_the_place_that_all_cameras_look_at(rig):
    place, seen = convergence_point(rig)
    np.testing.assert_allclose(place, [0, 0, 1000], atol=1e-6)  # mm
    assert seen.all()


def test_cameras_along_a_corridor_need_no_place_that_all_see():
    middles = np.arange(5) * 3000.0
    cameras = [
        camera_looking_at(np.array([x, 0.0, 1000.0]), np.array([x, -4000.0, 1800.0]), f"cam{i}")
        for i, x in enumerate(middles)
    ]
    assert not convergence_point(cameras)[1].all()
    check_orientations(cameras, Path("c.toml"))


def test_a_name_that_would_break_the_file_is_refused(tmp_path):
    path = written(tmp_path, camera_ring(2))
    path.write_text(path.read_text().replace('name = "Cam_01"', 'name = "cam\\n[metadata]"'))
    with pytest.raises(ValueError, match="expected text with a letter or digit"):
        read_calibration(path)
