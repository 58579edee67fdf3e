"""OpenPose's json output: one file per frame, any number of people in each."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.skeleton import Skeleton


def people(loaded: dict[str, Any], path: Path, skeleton: Skeleton) -> np.ndarray:
    """Return the people of one frame.

    Args:
        loaded: the file's content.
        path: the file, for messages.
        skeleton: the detector's joints, in its order.

    Returns:
        (people, joints, 3) x y px and score; 0 for a joint that was not detected.

    Raises:
        ValueError: the content is not OpenPose's, or has other joints.
    """
    try:
        values_of_people = [np.array(person["pose_keypoints_2d"], dtype=np.float64) for person in loaded["people"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{path}: expected OpenPose's 'people' with 'pose_keypoints_2d', a list of numbers") from None
    for values in values_of_people:
        if values.shape != (3 * len(skeleton),):
            raise ValueError(
                f"{path}: expected {len(skeleton)} joints ({skeleton.name}) as x, y, score, got {values.size / 3:g}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: a joint is NaN or infinite")
    return np.array(values_of_people).reshape(-1, len(skeleton), 3)
