"""A calibrated camera: projection, lens distortion and its inverse. For the conventions see pipeline/__init__.py."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

Convention = Literal["opencv", "h36m"]

# Newton steps of `undistort`: it converges quadratically from the observed point, 1e-10 px on real lenses in 6.
_STEPS = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Camera:
    """One camera of a rig.

    Attributes:
        name: unique in its rig.
        size: (width, height) px.
        K: (3, 3) image_from_camera, px.
        R: (3, 3) rotation, camera axes from world axes.
        centre: (3,) world mm.
        distortion: (5,) k1 k2 p1 p2 k3 on the normalised image plane.
        convention: "opencv" has the factor 2 in the tangential term; "h36m" is Human3.6M's own formula, without it.
    """

    name: str
    size: tuple[int, int]
    K: np.ndarray
    R: np.ndarray
    centre: np.ndarray
    distortion: np.ndarray
    convention: Convention = "opencv"

    def __post_init__(self) -> None:
        for field, shape in (("K", (3, 3)), ("R", (3, 3)), ("centre", (3,)), ("distortion", (5,))):
            value = np.asarray(getattr(self, field), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"camera {self.name}: {field} must be {shape} finite numbers, got {value.tolist()}")
            object.__setattr__(self, field, value)
        if not np.allclose(self.R @ self.R.T, np.eye(3), atol=1e-4) or np.linalg.det(self.R) < 0:
            raise ValueError(f"camera {self.name}: R is not a rotation matrix: {self.R.tolist()}")

    @cached_property
    def translation(self) -> np.ndarray:
        """Return (3,) mm, the t of `x_camera = R x_world + t`."""
        return -self.R @ self.centre

    @cached_property
    def image_from_world(self) -> np.ndarray:
        """Return the (3, 4) projection of world mm to *undistorted* px."""
        return self.K @ np.column_stack([self.R, self.translation])

    @cached_property
    def max_valid_radius(self) -> float:
        """Return the distance from the axis, on the normalised image plane, up to which the distortion polynomial is valid.

        Beyond it the radial term decreases, and points far outside the image would be projected inside.
        """
        k1, k2, _, _, k3 = self.distortion
        squared = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])  # where d(distorted) / d(undistorted radius) is 0
        turns = squared.real[(np.abs(squared.imag) < 1e-9) & (squared.real > 0)]
        return float(np.sqrt(turns.min())) if turns.size else float("inf")

    def camera_from_world(self, points: np.ndarray) -> np.ndarray:
        """Return (..., 3) camera mm from (..., 3) world mm."""
        return (np.asarray(points, dtype=np.float64) - self.centre) @ self.R.T

    def project(self, points: np.ndarray, distorted: bool = True) -> np.ndarray:
        """Return (..., 2) px from (..., 3) world mm.

        NaN for points behind the camera, for points beyond the `max_valid_radius` of its lens model, and for NaN.
        """
        x, y, z = np.moveaxis(self.camera_from_world(points), -1, 0)
        ahead = np.where(z > 0, z, np.nan)
        normalised = np.stack([x / ahead, y / ahead], axis=-1)
        if distorted:
            beyond = (normalised**2).sum(axis=-1) > self.max_valid_radius**2
            normalised = np.where(beyond[..., None], np.nan, self._distort(normalised))
        return self._image_from_normalised(normalised)

    def project_with_jacobian(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (..., 2) px as `project` does, and (..., 2, 3) px per mm, their derivatives by x, y, z."""
        in_camera = self.camera_from_world(points)
        ahead = np.where(in_camera[..., 2:] > 0, in_camera[..., 2:], np.nan)
        normalised = in_camera[..., :2] / ahead
        beyond = (normalised**2).sum(axis=-1, keepdims=True) > self.max_valid_radius**2
        normalised[np.broadcast_to(beyond, normalised.shape)] = np.nan
        # d(x / z) = (dx - x / z dz) / z
        rays = (self.R[:2] - normalised[..., None] * self.R[2]) / ahead[..., None]  # (..., 2, 3)
        jacobian = (self.K[:2, :2] @ self._distortion_jacobian(normalised)) @ rays
        return self._image_from_normalised(self._distort(normalised)), jacobian

    def distort(self, keypoints: np.ndarray) -> np.ndarray:
        """Return (..., 2) distorted px from (..., 2) undistorted px."""
        return self._image_from_normalised(self._distort(self._normalised_from_image(keypoints)))

    def undistort(self, keypoints: np.ndarray) -> np.ndarray:
        """Return (..., 2) undistorted px from (..., 2) distorted px, by Newton's method; NaN stays NaN."""
        observed = self._normalised_from_image(keypoints)
        undistorted = observed.copy()
        for _ in range(_STEPS):
            residual = self._distort(undistorted) - observed
            jacobian = self._distortion_jacobian(undistorted)  # (..., 2, 2)
            determinant = jacobian[..., 0, 0] * jacobian[..., 1, 1] - jacobian[..., 0, 1] * jacobian[..., 1, 0]
            safe = np.where(np.abs(determinant) > 1e-6, determinant, np.nan)
            undistorted = undistorted - np.stack(
                [
                    (jacobian[..., 1, 1] * residual[..., 0] - jacobian[..., 0, 1] * residual[..., 1]) / safe,
                    (jacobian[..., 0, 0] * residual[..., 1] - jacobian[..., 1, 0] * residual[..., 0]) / safe,
                ],
                axis=-1,
            )
        # Far outside the image the polynomial has no inverse: NaN, not an arbitrary position.
        diverged = np.linalg.norm(self._distort(undistorted) - observed, axis=-1) > 1e-6
        undistorted[diverged] = np.nan
        return self._image_from_normalised(undistorted)

    def _normalised_from_image(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=np.float64)
        y = (points[..., 1] - self.K[1, 2]) / self.K[1, 1]
        x = (points[..., 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0]
        return np.stack([x, y], axis=-1)

    def _image_from_normalised(self, points: np.ndarray) -> np.ndarray:
        return points @ self.K[:2, :2].T + self.K[:2, 2]

    @property
    def _tangential_factor(self) -> float:
        return 2.0 if self.convention == "opencv" else 1.0

    def _distort(self, points: np.ndarray) -> np.ndarray:
        k1, k2, p1, p2, k3 = self.distortion
        x, y = points[..., 0], points[..., 1]
        squared = x * x + y * y
        scale = 1 + squared * (k1 + squared * (k2 + squared * k3)) + self._tangential_factor * (p1 * y + p2 * x)
        return np.stack([x * scale + p2 * squared, y * scale + p1 * squared], axis=-1)

    def _distortion_jacobian(self, points: np.ndarray) -> np.ndarray:
        """Return the (..., 2, 2) derivative of the distorted by the undistorted point."""
        k1, k2, p1, p2, k3 = self.distortion
        factor = self._tangential_factor
        x, y = points[..., 0], points[..., 1]
        squared = x * x + y * y
        scale = 1 + squared * (k1 + squared * (k2 + squared * k3)) + factor * (p1 * y + p2 * x)
        slope = k1 + squared * (2 * k2 + squared * 3 * k3)  # d(radial) / d(squared)
        scale_x, scale_y = 2 * x * slope + factor * p2, 2 * y * slope + factor * p1
        return np.stack(
            [
                np.stack([scale + x * scale_x + 2 * p2 * x, x * scale_y + 2 * p2 * y], axis=-1),
                np.stack([y * scale_x + 2 * p1 * x, scale + y * scale_y + 2 * p1 * y], axis=-1),
            ],
            axis=-2,
        )
