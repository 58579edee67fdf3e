"""Contact sheets: a picture of the person with what was detected, labelled and true drawn over it."""

import base64
from collections.abc import Mapping

import cv2
import numpy as np

from pipeline.skeleton import Skeleton

_MARGIN = 0.08  # of the box's side, shown around it
_QUALITY = 80


def thumbnail(picture: np.ndarray, crop_from_image: np.ndarray, box: np.ndarray, side: int) -> tuple[str, np.ndarray]:
    """Cut the box out of a stored crop, and scale it to a square.

    Args:
        picture: (height, width, 3) uint8 BGR, the stored crop.
        crop_from_image: (2, 3) px of the stored crop from px of the full picture.
        box: (4,) px of the full picture, x1 y1 x2 y2.
        side: px of the square.

    Returns:
        A `data:` address of a JPEG, and (2, 3) px of the square from px of the full picture. What the stored crop does
        not show is black.
    """
    width = max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * _MARGIN)
    corner = np.array([box[0] + box[2], box[1] + box[3]]) / 2 - width / 2
    scale = side / width
    square_from_image = np.array([[scale, 0, -corner[0] * scale - 0.5], [0, scale, -corner[1] * scale - 0.5]])
    image_from_crop = np.linalg.inv(np.vstack([crop_from_image, [0, 0, 1]]))
    square_from_crop = square_from_image @ image_from_crop
    shrinks = np.hypot(*square_from_crop[:, 0]) < 0.7
    if shrinks:  # a warp alone would alias
        picture = cv2.GaussianBlur(picture, (0, 0), 0.5 / float(np.hypot(*square_from_crop[:, 0])))
    square = cv2.warpAffine(picture, square_from_crop, (side, side), flags=cv2.INTER_LINEAR)
    done, data = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError(f"a picture of shape {square.shape} could not be encoded as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(bytes(data)).decode("ascii"), square_from_image


def overlay(layers: Mapping[str, np.ndarray], square_from_image: np.ndarray, side: int, skeleton: Skeleton) -> str:
    """Stick figures over a thumbnail, as SVG that lies on the picture.

    Args:
        layers: for each CSS class, (joints, 2) px of the full picture; NaN where there is none.
        square_from_image: (2, 3), from `thumbnail`.
    """
    parts = []
    for name, points in layers.items():
        square = points @ square_from_image[:, :2].T + square_from_image[:, 2]
        known = np.isfinite(square).all(-1) & (np.abs(square) < 10 * side).all(-1)
        limbs = "".join(
            f"M{_pair(square[parent])}L{_pair(square[child])}"
            for parent, child in skeleton.limbs
            if known[parent] and known[child]
        )
        # Round line ends make a dot of a line without length.
        dots = "".join(f"M{_pair(square[joint])}h0" for joint in np.flatnonzero(known))
        parts.append(f'<g class="{name}"><path class="limbs" d="{limbs}"/><path class="dots" d="{dots}"/></g>')
    return f'<svg viewBox="0 0 {side} {side}" aria-hidden="true">{"".join(parts)}</svg>'


def best_median_worst(values: np.ndarray) -> list[tuple[str, int]]:
    """Which entries to show: ("best", row), ("median", row), ("worst", row), fewer when fewer are known.

    Args:
        values: (frames,) lower is better; NaN entries are never chosen. Equal ones go by their order.
    """
    order = [int(row) for row in np.argsort(values, kind="stable") if np.isfinite(values[row])]
    if not order:
        return []
    picks = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    shown: dict[int, str] = {}
    for name, row in picks.items():
        shown.setdefault(row, name)
    return [(name, row) for row, name in shown.items()]


def _pair(point: np.ndarray) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
