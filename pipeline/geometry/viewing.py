"""What a camera shows, and the camera that a misread calibration file would describe."""

from dataclasses import replace

import numpy as np

from pipeline.geometry.camera import Camera


def inside_image(camera: Camera, joints: np.ndarray) -> np.ndarray:
    """Return whether an ideal lens shows each position inside the image.

    The distortion is left out, because its polynomial folds back into the image far outside of it.

    Args:
        camera: any camera.
        joints: (..., 3) world mm; NaN if unknown.

    Returns:
        (...) bool; False where unknown or behind the camera.
    """
    keypoints = camera.project(joints, distorted=False)
    with np.errstate(invalid="ignore"):
        return np.asarray(((keypoints >= -0.5) & (keypoints <= np.array(camera.size) - 0.5)).all(axis=-1))


def transposed(camera: Camera) -> Camera:
    """Return the camera whose file meant the inverse rotation, with the same translation."""
    return replace(camera, R=camera.R.T, centre=-camera.R @ camera.translation)
