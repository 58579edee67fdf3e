"""Lenses that five coefficients cannot describe, fisheyes and rational models: undistorted when they are read.

All later code knows one lens model, k1 k2 p1 p2 k3 (geometry/camera.py). A fit of that polynomial to a fisheye is several px off
already at 60 degrees from the axis, so such a view is turned into the view of a camera without distortion: its crops are
resampled and its detections moved, both by the file's own formula, and its camera has only a matrix. Whatever lies farther than
70 degrees from the axis is left out of an undistorted image.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from pipeline import crops
from pipeline.geometry.camera import Camera

_MAX_RADIUS = np.tan(np.deg2rad(70.0))  # on the normalised plane; an image grows with the tangent
_NEWTON_STEPS = 25
_GRID_PX = (
    8  # of a crop, between the positions where the formula is computed; linear between them is at most 0.02 px off
)
_MAX_GROWTH = 4.0  # ratio of the undistorted image's side to the image's


@dataclass(frozen=True, eq=False)
class Lens:
    """A lens as OpenCV describes it.

    Attributes:
        K: (3, 3) px.
        coefficients: 4, 5, 8, 12 or 14 in OpenCV's order; of a fisheye 4, k1 to k4 (Kannala and Brandt 2006).
        fisheye: which formula.
        size: (width, height) px of the images.
    """

    K: np.ndarray
    coefficients: np.ndarray
    fisheye: bool
    size: tuple[int, int]

    def distort(self, points: np.ndarray) -> np.ndarray:
        """Return (..., 2) image px of (..., 2) on the normalised plane; NaN beyond 70 degrees or the formula's range."""
        points = np.asarray(points, dtype=np.float64)
        radius = np.linalg.norm(points, axis=-1)
        valid = np.isfinite(radius) & (radius <= min(_MAX_RADIUS, self._max_valid_radius) * (1 + 1e-9))
        safe = np.where(valid[..., None], points, 0.0)
        if self.fisheye:
            angle = np.arctan(np.where(valid, radius, 0.0))
            ratio = np.divide(
                self._distorted_radius(angle), np.where(valid, radius, 0.0), out=np.ones_like(angle), where=angle > 1e-9
            )
            distorted = safe * ratio[..., None]
            distorted = np.concatenate([distorted, np.ones((*distorted.shape[:-1], 1))], axis=-1) @ self.K[:2].T
        else:
            camera_points = np.concatenate([safe, np.ones((*safe.shape[:-1], 1))], axis=-1).reshape(-1, 3)
            zero = np.zeros(3)
            distorted = cv2.projectPoints(camera_points, zero, zero, self.K, self.coefficients)[0].reshape(safe.shape)
        distorted[~valid] = np.nan
        return distorted

    def undistort(self, points: np.ndarray) -> np.ndarray:
        """Return (..., 2) on the normalised plane of (..., 2) image px, by Newton's method; NaN where there is no solution."""
        observed = np.asarray(points, dtype=np.float64)
        y = (observed[..., 1] - self.K[1, 2]) / self.K[1, 1]
        solution = np.stack([(observed[..., 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0], y], axis=-1)
        if self.fisheye:
            radius = np.linalg.norm(solution, axis=-1)
            angle = np.minimum(radius, np.arctan(_MAX_RADIUS))
            for _ in range(_NEWTON_STEPS):
                slope = np.polynomial.polynomial.polyval(angle**2, self._series * (2 * np.arange(5) + 1))
                excess = self._distorted_radius(angle) - radius
                angle = np.clip(angle - excess / np.where(slope > 1e-3, slope, np.nan), 0, 1.5)
            ratio = np.divide(np.tan(angle), radius, out=np.ones_like(radius), where=radius > 1e-9)
            solution = solution * ratio[..., None]
        else:
            step = 1e-6
            steps = (np.array([step, 0]), np.array([0, step]))
            for _ in range(_NEWTON_STEPS):
                distorted = self.distort(solution)
                right, below = (self.distort(solution + each) for each in steps)
                a, b = (right - distorted) / step, (below - distorted) / step  # (..., 2) columns of the Jacobian
                residual = distorted - observed
                determinant = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
                determinant = np.where(np.abs(determinant) > 1e-3, determinant, np.nan)
                numerator = np.stack(
                    [
                        b[..., 1] * residual[..., 0] - b[..., 0] * residual[..., 1],
                        a[..., 0] * residual[..., 1] - a[..., 1] * residual[..., 0],
                    ],
                    axis=-1,
                )
                solution = solution - numerator / determinant[..., None]
        residual_px = np.linalg.norm(self.distort(solution) - observed, axis=-1)
        return np.where((residual_px < 1e-6)[..., None], solution, np.nan)

    @property
    def _series(self) -> np.ndarray:
        return np.concatenate([[1.0], self.coefficients[:4]])

    def _distorted_radius(self, angle: np.ndarray) -> np.ndarray:
        """Return a fisheye's distance from the centre on the normalised plane at an angle from the axis, in radians."""
        return angle * np.polynomial.polynomial.polyval(angle**2, self._series)

    @cached_property
    def _max_valid_radius(self) -> float:
        """Return the radius on the normalised plane beyond which the radial formula decreases."""
        radius = np.linspace(0, _MAX_RADIUS, 2001)
        if self.fisheye:
            distorted = self._distorted_radius(np.arctan(radius))
        else:
            k1, k2, _, _, k3, *rational = [*self.coefficients, *np.zeros(14)][:8]
            k4, k5, k6 = rational
            r2 = radius**2
            denominator = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
            numerator = radius * (1 + r2 * (k1 + r2 * (k2 + r2 * k3)))
            distorted = numerator / np.where(denominator > 1e-6, denominator, np.nan)
        grows = np.append(np.diff(distorted) > 0, False)
        return float(radius[np.argmin(grows)])


@dataclass(frozen=True, eq=False)
class Undistortion:
    """How a view's images become those of a camera without distortion.

    Attributes:
        lens: of the view's images.
        camera: without distortion; all later stages use its px.
    """

    lens: Lens
    camera: Camera

    def undistorted_from_image(self, keypoints: np.ndarray) -> np.ndarray:
        """Return (..., 2) px of `camera` from (..., 2) px of the view's image; NaN beyond 70 degrees from the axis."""
        normalised = self.lens.undistort(keypoints)
        return normalised @ self.camera.K[:2, :2].T + self.camera.K[:2, 2]

    def image_from_undistorted(self, keypoints: np.ndarray) -> np.ndarray:
        """Return (..., 2) px of the view's image from (..., 2) px of `camera`."""
        K = self.camera.K
        return self.lens.distort((np.asarray(keypoints) - K[:2, 2]) / np.array([K[0, 0], K[1, 1]]))

    def undistorted_boxes(self, box: np.ndarray) -> np.ndarray:
        """Return (..., 4) px of `camera` around the outlines of (..., 4) px boxes, x1 y1 x2 y2, of the view's image.

        NaN where less than half of the outline is within 70 degrees of the axis.
        """
        x1, y1, x2, y2 = np.moveaxis(np.asarray(box, dtype=np.float64), -1, 0)
        along = np.linspace(0, 1, 9)
        zero, one = np.zeros(9), np.ones(9)
        outline = np.concatenate(
            [np.stack(pair, axis=-1) for pair in ((along, zero), (along, one), (zero, along), (one, along))]
        )
        points = (
            np.stack([x1, y1], axis=-1)[..., None, :] + outline * np.stack([x2 - x1, y2 - y1], axis=-1)[..., None, :]
        )
        undistorted = self.undistorted_from_image(points)
        valid = np.isfinite(undistorted).all(axis=-1)
        low = np.where(valid[..., None], undistorted, np.inf).min(axis=-2)
        high = np.where(valid[..., None], undistorted, -np.inf).max(axis=-2)
        boxes = np.concatenate([low, high], axis=-1)
        boxes[valid.mean(axis=-1) < 0.5] = np.nan
        return boxes

    def cut(
        self, image: np.ndarray, crop_from_undistorted: np.ndarray, calibrated_from_image: np.ndarray, side: int
    ) -> np.ndarray:
        """Return a crop of the undistorted image, made in one resampling: bilinear, reductions averaged, black outside.

        Args:
            image: (height, width, 3) uint8, the view's.
            crop_from_undistorted: (2, 3) px.
            calibrated_from_image: (2, 3) the calibration's px from the image's, which a codec may have cropped.
            side: px of the crop.

        Returns:
            (side, side, 3) uint8.
        """
        reduction = int(np.clip(1 / np.sqrt(abs(np.linalg.det(crop_from_undistorted[:, :2]))), 1, 8))
        fine_side = side * reduction
        coarse = (np.arange(0, fine_side + _GRID_PX, _GRID_PX) + 0.5) / reduction - 0.5  # px of the crop
        grid = np.stack(np.meshgrid(coarse, coarse), axis=-1).reshape(-1, 2)
        undistorted = crops.transform(crops.inverse(crop_from_undistorted), grid)
        positions = crops.transform(crops.inverse(calibrated_from_image), self.image_from_undistorted(undistorted))
        positions = _interpolated(positions.reshape(len(coarse), len(coarse), 2), fine_side)
        positions = np.where(np.isfinite(positions), positions, -10.0).astype(np.float32)
        crop = cv2.remap(image, positions[..., 0], positions[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return crop if reduction == 1 else cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)


def _interpolated(grid: np.ndarray, size: int) -> np.ndarray:
    """Return (size, size, 2) values, linear between the (rows, columns, 2) values every _GRID_PX px."""
    cell, remainder = np.divmod(np.arange(size), _GRID_PX)
    weight = (remainder / _GRID_PX)[:, None, None]
    rows = grid[cell] * (1 - weight) + grid[cell + 1] * weight  # (size, columns, 2)
    weight = weight[:, 0]
    return rows[:, cell] * (1 - weight) + rows[:, cell + 1] * weight


def undistortion(lens: Lens, camera: Camera) -> Undistortion:
    """Return the undistortion to a camera that shows all of a view, at the same scale in the middle.

    Args:
        lens: the view's.
        camera: the view's pose; its matrix and distortion are not used.

    Raises:
        ValueError: the lens shows nothing within 70 degrees of its axis, or its formula does not describe its own image.
    """
    width, height = lens.size
    columns, rows = np.linspace(-0.5, width - 0.5, 65), np.linspace(-0.5, height - 0.5, 65)
    normalised = lens.undistort(np.stack(np.meshgrid(columns, rows), axis=-1))
    valid = np.isfinite(normalised).all(axis=-1)
    middle = np.abs(np.linspace(-1, 1, 65)) < 0.5
    if valid[np.ix_(middle, middle)].mean() < 0.9:
        raise ValueError(
            f"camera {camera.name}: its distortion {lens.coefficients.tolist()} does not describe its image"
        )
    low, high = normalised[valid].min(axis=0), normalised[valid].max(axis=0)
    focal = np.array([lens.K[0, 0], lens.K[1, 1]])
    shrink = min(1.0, float((_MAX_GROWTH * np.array(lens.size) / ((high - low) * focal)).min()))
    focal = focal * shrink
    start, end = np.floor(low * focal), np.ceil(high * focal)  # px from the axis
    K = np.array([[focal[0], 0, -start[0] - 0.5], [0, focal[1], -start[1] - 0.5], [0, 0, 1]])
    size = (int(end[0] - start[0]), int(end[1] - start[1]))
    return Undistortion(lens, replace(camera, K=K, size=size, distortion=np.zeros(5), convention="opencv"))
