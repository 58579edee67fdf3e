"""Cameras: projection and lens, against OpenCV and by hand."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera, Convention
from tests.worlds.tiny_world import camera_ring

LENS = np.array([-0.21, 0.24, 0.0011, -0.0009, -0.02])  # as strong as Human3.6M's


def camera(convention: Convention = "opencv", distortion: np.ndarray = LENS) -> Camera:
    """A camera 5 m from the origin and 1.5 m high, that looks at the middle of a person; its pixels are not square."""
    K = np.array([[1145.0, 0.7, 512.5], [0, 1143.8, 515.4], [0, 0, 1]])
    return replace(camera_ring(4)[1], K=K, size=(1000, 1002), distortion=distortion, convention=convention)


def people(count: int = 50) -> np.ndarray:
    """Points of a volume of 3 x 3 x 1.8 m on the floor."""
    return np.random.default_rng(0).uniform([-1500, -1500, 0], [1500, 1500, 1800], (count, 3))


def test_projection_is_opencvs():
    eye = camera()
    K = eye.K.copy()
    K[0, 1] = 0  # OpenCV knows no skew
    eye = replace(eye, K=K)
    rotation = Rotation.from_matrix(eye.R).as_rotvec()
    theirs, _ = cv2.projectPoints(people(), rotation, eye.translation, eye.K, eye.distortion)
    np.testing.assert_allclose(eye.project(people()), theirs[:, 0], atol=1e-8)  # px


def test_undistortion_is_opencvs():
    eye = replace(camera(), K=camera_ring(4)[0].K)
    seen = np.random.default_rng(1).uniform(50, 450, (40, 1, 2))
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-14)
    theirs = cv2.undistortImagePoints(seen, eye.K, eye.distortion, arg1=criteria)
    np.testing.assert_allclose(eye.undistort(seen), theirs, atol=1e-5)  # px


def test_the_two_tangential_conventions_by_hand():
    def shown(convention: Convention) -> np.ndarray:
        lens = np.array([0, 0, 0.1, 0, 0])  # p1 alone
        eye = Camera(
            name="a", size=(9, 9), K=np.eye(3), R=np.eye(3), centre=np.zeros(3), distortion=lens, convention=convention
        )
        return eye.project(np.array([0.5, 0.2, 1.0]))

    # x' = x + f p1 x y, y' = y + f p1 y^2 + p1 (x^2 + y^2), where f is 2 for OpenCV and 1 for Human3.6M.
    np.testing.assert_allclose(shown("opencv"), [0.5 + 0.02, 0.2 + 0.008 + 0.029])
    np.testing.assert_allclose(shown("h36m"), [0.5 + 0.01, 0.2 + 0.004 + 0.029])


@pytest.mark.parametrize("convention", ["opencv", "h36m"])
@settings(max_examples=40, deadline=None)
@given(x=st.floats(0, 999), y=st.floats(0, 1001))
def test_distorting_an_undistorted_pixel_gives_it_back(convention, x, y):
    eye, seen = camera(convention), np.array([x, y])
    np.testing.assert_allclose(eye.distort(eye.undistort(seen)), seen, atol=1e-6)  # px


@pytest.mark.parametrize("convention", ["opencv", "h36m"])
def test_undistorted_pixels_lie_where_the_linear_projection_puts_them(convention):
    eye = camera(convention)
    homogeneous = np.column_stack([people(), np.ones(50)]) @ eye.image_from_world.T
    linear = homogeneous[:, :2] / homogeneous[:, 2:]
    np.testing.assert_allclose(eye.undistort(eye.project(people())), linear, atol=1e-6)
    np.testing.assert_allclose(eye.project(people(), distorted=False), linear, atol=1e-9)


def test_what_is_behind_the_camera_or_not_known_is_not_seen():
    eye = camera()
    behind = eye.centre + eye.R[2] * -1000
    assert np.isnan(eye.project(np.stack([behind, np.full(3, np.nan)]))).all()
    assert np.isfinite(eye.project(eye.centre + eye.R[2] * 1000)).all()
    assert np.isnan(eye.undistort(np.array([np.nan, 3.0]))).all()


def test_the_lens_model_does_not_fold_the_surroundings_into_the_picture():
    # x' = x (1 - 0.3 x^2) rises up to x = sqrt(1 / 0.9) = 1.054 and falls again: at x = 1.6 it is back at 0.37.
    eye = Camera(
        name="a", size=(9, 9), K=np.eye(3), R=np.eye(3), centre=np.zeros(3), distortion=np.array([-0.3, 0, 0, 0, 0])
    )
    assert eye.max_valid_radius == pytest.approx(np.sqrt(1 / 0.9))
    shown = eye.project(np.array([[0.9, 0, 1], [1.6, 0, 1]]))
    np.testing.assert_allclose(shown[0], [0.9 * (1 - 0.3 * 0.81), 0])
    assert np.isnan(shown[1]).all()
    assert camera(distortion=np.zeros(5)).max_valid_radius == np.inf


def test_a_pixel_that_no_point_is_shown_at_has_no_undistorted_place():
    eye = Camera(
        name="a", size=(9, 9), K=np.eye(3), R=np.eye(3), centre=np.zeros(3), distortion=np.array([-0.3, 0, 0, 0, 0])
    )
    seen = np.array([[0.6, 0.0], [0.8, 0.0]])  # the polynomial's greatest value is 0.703
    found = eye.undistort(seen)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_a_mirrored_or_stretched_rotation_is_refused_by_name():
    eye = camera()
    with pytest.raises(ValueError, match="camera cam02: R is not a rotation"):
        replace(eye, R=-eye.R)
    with pytest.raises(ValueError, match="camera cam02: R is not a rotation"):
        replace(eye, R=1.01 * eye.R)
    with pytest.raises(ValueError, match="camera cam02: distortion must be"):
        replace(eye, distortion=np.zeros(4))
