"""Images of a contact sheet: the person's box as a small JPEG, and stick figures as SVG paths over it."""

import base64
from collections.abc import Mapping

import cv2
import numpy as np

from pipeline.report.page import OverlayLayer
from pipeline.skeleton import Skeleton

_MARGIN = 0.08  # around the box, of its side
_QUALITY = 80


def thumbnail(image: np.ndarray, crop_from_image: np.ndarray, box: np.ndarray, side: int) -> tuple[str, np.ndarray]:
    """Return the box of a stored crop as a square JPEG, and the square's coordinates.

    Args:
        image: (height, width, 3) uint8 BGR, the stored crop.
        crop_from_image: (2, 3) px of the stored crop from px of the full image.
        box: (4,) px of the full image, x1 y1 x2 y2.
        side: px of the square.

    Returns:
        A `data:` URL of a JPEG, and (2, 3) px of the square from px of the full image. Pixels outside of the stored
        crop are black.
    """
    width = max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * _MARGIN)
    corner = np.array([box[0] + box[2], box[1] + box[3]]) / 2 - width / 2
    scale = side / width
    square_from_image = np.array([[scale, 0, -corner[0] * scale - 0.5], [0, scale, -corner[1] * scale - 0.5]])
    image_from_crop = np.linalg.inv(np.vstack([crop_from_image, [0, 0, 1]]))
    square_from_crop = square_from_image @ image_from_crop
    shrinks = np.hypot(*square_from_crop[:, 0]) < 0.7
    if shrinks:  # a warp alone would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.5 / float(np.hypot(*square_from_crop[:, 0])))
    square = cv2.warpAffine(image, square_from_crop, (side, side), flags=cv2.INTER_LINEAR)
    done, data = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError(f"an image of shape {square.shape} could not be encoded as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(bytes(data)).decode("ascii"), square_from_image


def overlay(
    keypoints: Mapping[str, np.ndarray], square_from_image: np.ndarray, side: int, skeleton: Skeleton
) -> tuple[OverlayLayer, ...]:
    """Return the stick figures over a thumbnail, as SVG paths in px of the square.

    Args:
        keypoints: for each CSS class, (joints, 2) px of the full image; NaN if unknown.
        square_from_image: (2, 3), from `thumbnail`.
        side: px of the square; keypoints more than ten sides away are left out.
    """
    layers = []
    for name, in_image in keypoints.items():
        square = in_image @ square_from_image[:, :2].T + square_from_image[:, 2]
        known = np.isfinite(square).all(-1) & (np.abs(square) < 10 * side).all(-1)
        limbs = "".join(
            f"M{_pair(square[parent])}L{_pair(square[child])}"
            for parent, child in skeleton.limbs
            if known[parent] and known[child]
        )
        # With round line ends, a line without length is a dot.
        dots = "".join(f"M{_pair(square[joint])}h0" for joint in np.flatnonzero(known))
        layers.append(OverlayLayer(name, limbs, dots))
    return tuple(layers)


def best_median_worst(values: np.ndarray) -> list[tuple[str, int]]:
    """Return the rows to show: ("best", row), ("median", row), ("worst", row); fewer if fewer values are known.

    Args:
        values: (frames,) lower is better; NaN is never chosen. Equal values keep their order.
    """
    order = [int(row) for row in np.argsort(values, kind="stable") if np.isfinite(values[row])]
    if not order:
        return []
    picks = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    chosen: dict[int, str] = {}
    for name, row in picks.items():
        chosen.setdefault(row, name)
    return [(name, row) for row, name in chosen.items()]


def _pair(keypoint: np.ndarray) -> str:
    return f"{keypoint[0]:.1f} {keypoint[1]:.1f}"
