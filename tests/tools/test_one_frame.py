"""The tutorial's geometry: what it draws is what it says."""

import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from tools import one_frame


@pytest.fixture
def cameras() -> tuple[Camera, ...]:
    """Three cameras with distortion, 3 m around the origin, all looking at it."""
    made = []
    for number, angle in enumerate((0.0, 1.0, 2.5)):
        forward = -np.array([np.cos(angle), np.sin(angle), 0.0])
        right = np.array([-np.sin(angle), np.cos(angle), 0.0])
        R = np.stack([right, np.cross(forward, right), forward])
        K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
        distortion = np.array([-0.1, 0.01, 1e-3, -1e-3, 0])
        made.append(
            Camera(name=f"cam_{number}", size=(640, 480), K=K, R=R, centre=-3000 * forward, distortion=distortion)
        )
    return tuple(made)


def walk(cameras: tuple[Camera, ...], keypoints: np.ndarray, position: np.ndarray) -> one_frame.Walk:
    views = len(cameras)
    square = np.tile(np.array([[0.4, 0, 0], [0, 0.4, 0]]), (views, 1, 1))
    return one_frame.Walk(
        name="frame 1 of sequence s1, left wrist",
        joint=0,
        cameras=cameras,
        images=np.zeros((views, 256, 256, 3), np.uint8),
        square_from_image=square,
        maps=np.ones((views, 32, 32), np.float32),
        square_from_map=square,
        keypoints=keypoints,
        scores=np.full(views, 0.5),
        position=position,
        inliers=np.array([True, True, False]),
        labels=np.stack([camera.project(position) for camera in cameras]),
    )


def test_a_ray_is_seen_as_its_keypoint_and_meets_the_others_in_the_joint(cameras: tuple[Camera, ...]) -> None:
    position = np.array([120.0, -200.0, 300.0])
    keypoints = np.stack([camera.project(position) for camera in cameras])
    for camera, keypoint in zip(cameras, keypoints, strict=True):
        np.testing.assert_allclose(
            camera.project(one_frame.ray(camera, keypoint)), np.tile(keypoint, (400, 1)), atol=1e-6
        )
    np.testing.assert_allclose(one_frame._meeting(walk(cameras, keypoints, position), 0, 1), position, atol=1e-3)  # mm


def test_the_page_names_the_view_that_disagrees(cameras: tuple[Camera, ...], tmp_path) -> None:
    position = np.array([0.0, 0.0, 100.0])
    keypoints = np.stack([camera.project(position) for camera in cameras])
    keypoints[2] += (30, 40)
    made = walk(cameras, keypoints, position)
    text = one_frame.page(made)
    assert "cam_0, cam_1 agree" in text
    assert "That of cam_2 lies 50 px away" in " ".join(text.split())
    one_frame.write_images(made, tmp_path / "one_frame")
    shown = {name.split(")")[0] for name in text.split("](")[1:]}
    assert {f"one_frame/{path.name}" for path in (tmp_path / "one_frame").iterdir()} == shown
