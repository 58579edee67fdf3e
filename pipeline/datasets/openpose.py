"""OpenPose's json output, one file a frame, any number of people in each."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.skeleton import Skeleton


def people(loaded: dict[str, Any], path: Path, skeleton: Skeleton) -> np.ndarray:
    """The people of one frame.

    Args:
        loaded: the file's content.
        path: the file, for messages.
        skeleton: what the detector's joints are called, in its order.

    Returns:
        (people, joints, 3) x y px and score; a score of 0 says that the joint was not found.

    Raises:
        ValueError: it is not OpenPose's, or has other joints.
    """
    try:
        found = [np.array(person["pose_keypoints_2d"], dtype=np.float64) for person in loaded["people"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{path}: expected OpenPose's 'people' with 'pose_keypoints_2d', a list of numbers") from None
    for values in found:
        if values.shape != (3 * len(skeleton),):
            raise ValueError(
                f"{path}: expected {len(skeleton)} joints ({skeleton.name}) as x, y, score, got {values.size / 3:g}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: a joint is NaN or infinite")
    return np.array(found).reshape(-1, len(skeleton), 3)
