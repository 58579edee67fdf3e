"""Skeletons drawn over images."""

import cv2
import numpy as np

from pipeline.skeleton import Skeleton

LEFT, RIGHT, MIDDLE = (255, 160, 40), (60, 120, 255), (90, 230, 120)  # BGR


def draw_skeleton(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton, brightness: float = 0.8) -> np.ndarray:
    """Return a new image with a skeleton over it: left limbs blue, right limbs orange, the others green.

    Args:
        image: (height, width, 3) uint8 BGR.
        keypoints: (joints, 2) px of the image; NaN if unknown.
        brightness: factor on the image below the skeleton.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    canvas = np.ascontiguousarray((brightness * image).astype(np.uint8))
    thick = max(2, round(min(image.shape[:2]) / 160))
    for parent, child in skeleton.limbs:
        limb = keypoints[[parent, child]]  # (2, 2)
        if not np.isfinite(limb).all() or np.abs(limb).max() > 1e5:
            continue
        name = skeleton.joint_names[child]
        colour = LEFT if name.startswith("left_") else RIGHT if name.startswith("right_") else MIDDLE
        ends = [tuple(int(value) for value in np.round(end * 8)) for end in limb]
        cv2.line(canvas, ends[0], ends[1], colour, thick, cv2.LINE_AA, shift=3)
    return canvas
