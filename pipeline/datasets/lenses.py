"""Lenses that five coefficients cannot describe, fisheyes and rational models: straightened at the door.

Everything behind the door knows one lens, k1 k2 p1 p2 k3 (geometry/camera.py). Fitting that polynomial to a fisheye misses by
several px already at 60 degrees from the axis, so such a view is instead turned into the view of a camera without distortion:
its crops are resampled and its detections moved, both by the file's own formula, and its camera has a matrix alone. What lies
farther than 70 degrees from the axis has no place in a straight picture and is left out.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from pipeline import crops
from pipeline.geometry.camera import Camera

_WIDEST = np.tan(np.deg2rad(70.0))  # of the normalised plane; a picture grows with the tangent
_STEPS = 25
_MESH = 8  # px of a crop between places where the formula is computed; linear between them is at most 0.02 px off
_LARGEST = 4.0  # how many times larger than the picture the straight one may be


@dataclass(frozen=True, eq=False)
class Lens:
    """A lens as OpenCV describes it.

    Attributes:
        K: (3, 3) px.
        coefficients: 4, 5, 8, 12 or 14 in OpenCV's order; of a fisheye 4, k1 to k4 (Kannala and Brandt 2006).
        fisheye: which formula.
        size: (width, height) px of the pictures.
    """

    K: np.ndarray
    coefficients: np.ndarray
    fisheye: bool
    size: tuple[int, int]

    def distort(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) on the normalised plane -> (..., 2) px of the picture; NaN beyond 70 degrees or the formula's reach."""
        points = np.asarray(points, dtype=np.float64)
        radius = np.linalg.norm(points, axis=-1)
        known = np.isfinite(radius) & (radius <= min(_WIDEST, self._reach) * (1 + 1e-9))
        safe = np.where(known[..., None], points, 0.0)
        if self.fisheye:
            angle = np.arctan(np.where(known, radius, 0.0))
            ratio = np.divide(
                self._bent(angle), np.where(known, radius, 0.0), out=np.ones_like(angle), where=angle > 1e-9
            )
            shown = safe * ratio[..., None]
            shown = np.concatenate([shown, np.ones((*shown.shape[:-1], 1))], axis=-1) @ self.K[:2].T
        else:
            ahead = np.concatenate([safe, np.ones((*safe.shape[:-1], 1))], axis=-1).reshape(-1, 3)
            still = np.zeros(3)
            shown = cv2.projectPoints(ahead, still, still, self.K, self.coefficients)[0].reshape(safe.shape)
        shown[~known] = np.nan
        return shown

    def undistort(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) px of the picture -> (..., 2) on the normalised plane, by Newton's method; NaN where there is none."""
        observed = np.asarray(points, dtype=np.float64)
        y = (observed[..., 1] - self.K[1, 2]) / self.K[1, 1]
        found = np.stack([(observed[..., 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0], y], axis=-1)
        if self.fisheye:
            bent = np.linalg.norm(found, axis=-1)
            angle = np.minimum(bent, np.arctan(_WIDEST))
            for _ in range(_STEPS):
                slope = np.polynomial.polynomial.polyval(angle**2, self._series * (2 * np.arange(5) + 1))
                angle = np.clip(angle - (self._bent(angle) - bent) / np.where(slope > 1e-3, slope, np.nan), 0, 1.5)
            found = found * np.divide(np.tan(angle), bent, out=np.ones_like(bent), where=bent > 1e-9)[..., None]
        else:
            step = 1e-6
            for _ in range(_STEPS):
                shown = self.distort(found)
                right, below = (self.distort(found + offset) for offset in (np.array([step, 0]), np.array([0, step])))
                a, b = (right - shown) / step, (below - shown) / step  # (..., 2) columns of the Jacobian
                off = shown - observed
                area = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
                area = np.where(np.abs(area) > 1e-3, area, np.nan)
                move = np.stack(
                    [
                        b[..., 1] * off[..., 0] - b[..., 0] * off[..., 1],
                        a[..., 0] * off[..., 1] - a[..., 1] * off[..., 0],
                    ],
                    axis=-1,
                )
                found = found - move / area[..., None]
        missed = np.linalg.norm(self.distort(found) - observed, axis=-1)  # px
        return np.where((missed < 1e-6)[..., None], found, np.nan)

    @property
    def _series(self) -> np.ndarray:
        return np.concatenate([[1.0], self.coefficients[:4]])

    def _bent(self, angle: np.ndarray) -> np.ndarray:
        """Distance from the centre on the normalised plane of what is so many radians off the axis."""
        return angle * np.polynomial.polynomial.polyval(angle**2, self._series)

    @cached_property
    def _reach(self) -> float:
        """Where the radial formula turns back, on the normalised plane."""
        radius = np.linspace(0, _WIDEST, 2001)
        if self.fisheye:
            bent = self._bent(np.arctan(radius))
        else:
            k1, k2, _, _, k3, *rational = [*self.coefficients, *np.zeros(14)][:8]
            k4, k5, k6 = rational
            r2 = radius**2
            below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
            bent = radius * (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / np.where(below > 1e-6, below, np.nan)
        grows = np.append(np.diff(bent) > 0, False)
        return float(radius[np.argmin(grows)])


@dataclass(frozen=True, eq=False)
class Straightening:
    """How a view's own pictures become those of a camera without distortion.

    Attributes:
        lens: of the view's own pictures.
        camera: without distortion; its px are what all later stages speak of.
    """

    lens: Lens
    camera: Camera

    def straight_from_image(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) px of the view's own picture -> (..., 2) px of `camera`; NaN farther than 70 degrees off the axis."""
        flat = self.lens.undistort(points)
        return flat @ self.camera.K[:2, :2].T + self.camera.K[:2, 2]

    def image_from_straight(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) px of `camera` -> (..., 2) px of the view's own picture."""
        K = self.camera.K
        return self.lens.distort((np.asarray(points) - K[:2, 2]) / np.array([K[0, 0], K[1, 1]]))

    def straight_boxes(self, box: np.ndarray) -> np.ndarray:
        """(..., 4) px, x1 y1 x2 y2, around what lies on their outline: NaN where less than half of it has a place."""
        x1, y1, x2, y2 = np.moveaxis(np.asarray(box, dtype=np.float64), -1, 0)
        along = np.linspace(0, 1, 9)
        zero, one = np.zeros(9), np.ones(9)
        outline = np.concatenate(
            [np.stack(pair, axis=-1) for pair in ((along, zero), (along, one), (zero, along), (one, along))]
        )
        points = (
            np.stack([x1, y1], axis=-1)[..., None, :] + outline * np.stack([x2 - x1, y2 - y1], axis=-1)[..., None, :]
        )
        shown = self.straight_from_image(points)
        known = np.isfinite(shown).all(axis=-1)
        low = np.where(known[..., None], shown, np.inf).min(axis=-2)
        high = np.where(known[..., None], shown, -np.inf).max(axis=-2)
        found = np.concatenate([low, high], axis=-1)
        found[known.mean(axis=-1) < 0.5] = np.nan
        return found

    def cut(
        self, picture: np.ndarray, crop_from_straight: np.ndarray, image_from_picture: np.ndarray, side: int
    ) -> np.ndarray:
        """A crop of the straight picture, made in one resampling: bilinear, reductions averaged, black outside.

        Args:
            picture: (height, width, 3) uint8, the view's own.
            crop_from_straight: (2, 3) px.
            image_from_picture: (2, 3) the calibration's px from the picture's, which a codec may have cut.
            side: px of the crop.
        """
        reduction = int(np.clip(1 / np.sqrt(abs(np.linalg.det(crop_from_straight[:, :2]))), 1, 8))
        fine = side * reduction
        coarse = (np.arange(0, fine + _MESH, _MESH) + 0.5) / reduction - 0.5  # px of the crop
        mesh = np.stack(np.meshgrid(coarse, coarse), axis=-1).reshape(-1, 2)
        straight = crops.transform(crops.inverse(crop_from_straight), mesh)
        shown = crops.transform(crops.inverse(image_from_picture), self.image_from_straight(straight))
        where = _between(shown.reshape(len(coarse), len(coarse), 2), fine)
        where = np.where(np.isfinite(where), where, -10.0).astype(np.float32)
        made = cv2.remap(picture, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return made if reduction == 1 else cv2.resize(made, (side, side), interpolation=cv2.INTER_AREA)


def _between(mesh: np.ndarray, size: int) -> np.ndarray:
    """(rows, columns, 2) values every _MESH px -> (size, size, 2), linear between them."""
    at, part = np.divmod(np.arange(size), _MESH)
    share = (part / _MESH)[:, None, None]
    down = mesh[at] * (1 - share) + mesh[at + 1] * share  # (size, columns, 2)
    share = share[:, 0]
    return down[:, at] * (1 - share) + down[:, at + 1] * share


def straighten(lens: Lens, camera: Camera) -> Straightening:
    """The straight camera that sees what a view sees, at the same scale in the middle.

    Args:
        lens: the view's.
        camera: where it stands and looks; its matrix and distortion are not used.

    Raises:
        ValueError: the lens shows nothing within 70 degrees of its axis, or its formula does not describe its own picture.
    """
    width, height = lens.size
    across, down = np.linspace(-0.5, width - 0.5, 65), np.linspace(-0.5, height - 0.5, 65)
    flat = lens.undistort(np.stack(np.meshgrid(across, down), axis=-1))
    known = np.isfinite(flat).all(axis=-1)
    middle = np.abs(np.linspace(-1, 1, 65)) < 0.5
    if known[np.ix_(middle, middle)].mean() < 0.9:
        raise ValueError(
            f"camera {camera.name}: its distortion {lens.coefficients.tolist()} does not describe its picture"
        )
    low, high = flat[known].min(axis=0), flat[known].max(axis=0)
    focal = np.array([lens.K[0, 0], lens.K[1, 1]])
    shrink = min(1.0, float((_LARGEST * np.array(lens.size) / ((high - low) * focal)).min()))
    focal = focal * shrink
    start, end = np.floor(low * focal), np.ceil(high * focal)  # px from the axis
    K = np.array([[focal[0], 0, -start[0] - 0.5], [0, focal[1], -start[1] - 0.5], [0, 0, 1]])
    size = (int(end[0] - start[0]), int(end[1] - start[1]))
    return Straightening(lens, replace(camera, K=K, size=size, distortion=np.zeros(5), convention="opencv"))
