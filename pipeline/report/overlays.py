"""Skeletons drawn into pictures."""

import cv2
import numpy as np

from pipeline.skeleton import Skeleton

_LEFT, _RIGHT, _MIDDLE = (255, 160, 40), (60, 120, 255), (90, 230, 120)  # BGR


def drawn(picture: np.ndarray, points: np.ndarray, skeleton: Skeleton, light: float = 0.8) -> np.ndarray:
    """A skeleton over a picture: left limbs blue, right ones orange.

    Args:
        picture: (height, width, 3) uint8 BGR.
        points: (joints, 2) px of the picture; NaN where there is none.
        light: of the picture below, 1 as it is.

    Returns:
        (height, width, 3) uint8, a new picture.
    """
    canvas = np.ascontiguousarray((light * picture).astype(np.uint8))
    thick = max(2, round(min(picture.shape[:2]) / 160))
    for parent, child in skeleton.limbs:
        if not np.isfinite(points[[parent, child]]).all() or np.abs(points[[parent, child]]).max() > 1e5:
            continue
        name = skeleton.joints[child]
        colour = _LEFT if name.startswith("left_") else _RIGHT if name.startswith("right_") else _MIDDLE
        ends = [tuple(int(value) for value in np.round(points[joint] * 8)) for joint in (parent, child)]
        cv2.line(canvas, ends[0], ends[1], colour, thick, cv2.LINE_AA, shift=3)
    return canvas
