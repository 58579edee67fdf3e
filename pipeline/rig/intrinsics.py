"""What a calibration says of itself: lenses, image sizes, and cameras that stand in one place."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.rig.observations import Observations
from pipeline.rig.report import Finding
from pipeline.rig.residuals import MIN_KEYPOINTS
from pipeline.rig.sentences import finding


def check_intrinsics(cameras: Sequence[Camera]) -> Iterator[Finding]:
    """Yield lenses that cannot be."""
    for camera in cameras:
        width, height = camera.size
        fx, fy, (cx, cy) = camera.K[0, 0], camera.K[1, 1], camera.K[:2, 2]
        centre_off = max(abs(cx - (width - 1) / 2) / width, abs(cy - (height - 1) / 2) / height)
        if centre_off > 0.15:
            turned = max(abs(cx - (height - 1) / 2) / height, abs(cy - (width - 1) / 2) / width) < 0.1
            name = "centre_turned" if turned else "centre_off"
            yield finding(name, camera.name, {"centre_off": centre_off}, cx=cx, cy=cy, width=width, height=height)
        degrees = float(np.degrees(2 * np.arctan(width / 2 / fx)))
        if not 8 < degrees < 150:
            yield finding("field_of_view", camera.name, {"degrees": degrees}, fx=fx)
        if abs(fx / fy - 1) > 0.05:
            yield finding("stretched", camera.name, {"ratio": fx / fy}, serious=False, fx=fx, fy=fy)
        rim = _rim(width, height)
        undistorted = camera.undistort(rim)
        lost = ~np.isfinite(undistorted).all(axis=-1)
        moved = np.linalg.norm(undistorted - rim, axis=-1) / (np.hypot(width, height) / 2)
        distortion = np.round(camera.distortion, 3).tolist()
        if lost.mean() > 0.02:
            share = float(lost.mean())
            yield finding("distortion_folds", camera.name, {"rim_lost": share}, distortion=distortion, share=share)
        elif np.nanmax(moved) > 0.5:
            share = float(np.nanmax(moved))
            yield finding("distortion_large", camera.name, {"corner_moved": share}, distortion=distortion, share=share)


def check_placement(cameras: Sequence[Camera]) -> Iterator[Finding]:
    """Yield cameras that stand where another one stands."""
    between = {(a.name, b.name): float(np.linalg.norm(a.centre - b.centre)) for a, b in combinations(cameras, 2)}
    usual = float(np.median(list(between.values()))) if between else 0.0
    for a, b in combinations(cameras, 2):
        if between[a.name, b.name] < min(10.0, 0.02 * usual):
            yield finding("same_place", a.name, other=b.name)


def check_image_sizes(observations: Observations, cameras: Sequence[Camera]) -> Iterator[Finding]:
    """Yield cameras with many keypoints outside of their image."""
    for view, camera in enumerate(cameras):
        keypoints = observations.keypoints[:, view]
        keypoints = keypoints[np.isfinite(keypoints).all(axis=-1)]
        if len(keypoints) < MIN_KEYPOINTS:
            continue
        outside = float(((keypoints < -1) | (keypoints > np.array(camera.size))).any(axis=-1).mean())
        if outside > 0.05:
            width, height = camera.size
            figures = {"outside": outside}
            yield finding("keypoints_outside", camera.name, figures, share=outside, width=width, height=height)


def _rim(width: int, height: int) -> np.ndarray:
    """Return (n, 2) px around an image."""
    along = np.linspace(0, 1, 25)
    x, y = along * (width - 1), along * (height - 1)
    sides = [
        np.stack([x, np.zeros(25)], axis=-1),
        np.stack([x, np.full(25, height - 1.0)], axis=-1),
        np.stack([np.zeros(25), y], axis=-1),
        np.stack([np.full(25, width - 1.0), y], axis=-1),
    ]
    return np.concatenate(sides)
