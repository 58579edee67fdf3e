"""Scenes that several tests share. One line describes each."""

import os

# pytest-xdist's workers share the processors; set before torch is imported. A limit on OpenMP's threads (OMP_THREAD_LIMIT)
# would leave oneDNN's loops waiting for threads that never come.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}

import numpy as np
import pytest

from pipeline.geometry.camera import Camera


def camera_looking_at(target: np.ndarray, centre: np.ndarray, name: str) -> Camera:
    """A 512 x 512 px camera with a 700 px focal length and no distortion, upright, that sees `target` (mm) in its middle."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    K = np.array([[700.0, 0, 255.5], [0, 700.0, 255.5], [0, 0, 1]])
    return Camera(name=name, size=(512, 512), K=K, R=R, centre=centre, distortion=np.zeros(5))


@pytest.fixture
def rig() -> tuple[Camera, ...]:
    """Four cameras on the corners of a 6 m square, 2 m high, all looking at (0, 0, 1000)."""
    corners = [(3000.0, 3000.0), (-3000.0, 3000.0), (-3000.0, -3000.0), (3000.0, -3000.0)]
    target = np.array([0.0, 0.0, 1000.0])
    return tuple(
        camera_looking_at(target, np.array([x, y, 2000.0]), f"cam{number}")
        for number, (x, y) in enumerate(corners, start=1)
    )
