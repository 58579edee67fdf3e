"""Labels: the pseudo labels of a round, with a weight each and the reason for each one that was refused."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from pipeline.files import hdf5
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get

KIND = "labels"


class Reason(IntEnum):
    """The reason why a (frame, view, joint) has a label or not."""

    ACCEPTED = 0
    VIEW_MISSING = 1  # the view has no image of this frame
    NO_POSE = 2  # the 3D joint is unknown
    LOW_CONFIDENCE = 3  # too few views with a score above pseudo.confidence_threshold
    TOO_FEW_INLIERS = 4  # fewer than pseudo.ransac_inliers views agree
    REPROJECTION = 5  # the agreeing views' error is not below pseudo.reproj_threshold_px
    RAY_ANGLE = 6  # the agreeing views look along nearly the same ray
    OUTLIER_VIEW = 7  # pseudo.label_outlier_views is off and this view disagrees
    OUTSIDE = 8  # the joint projects outside the image
    TEST_SPLIT = 9  # held-out frames are never labelled
    VIEW_HELD_OUT = 10  # nor is the camera of held_out.view


@dataclass(frozen=True, eq=False, kw_only=True)
class Labels:
    """2D labels for training a student, and the boxes to cut its input with.

    Attributes:
        keys: which frames (all of the target's; those of the test split have no label).
        views: (views,) camera names.
        skeleton: what the joints are called.
        keypoints: (frames, views, joints, 2) px of the full image, as the lens shows it; NaN where there is no label.
        weights: (frames, views, joints) float32 >= 0; 0 where there is no label.
        reason: (frames, views, joints) uint8 `Reason`.
        person_box: (frames, views, 4) px of the full image, x1 y1 x2 y2; networks see the smallest box of their own shape
            that holds it. NaN where the view is missing.
    """

    keys: FrameKeys
    views: tuple[str, ...]
    skeleton: Skeleton
    keypoints: np.ndarray
    weights: np.ndarray
    reason: np.ndarray
    person_box: np.ndarray

    def write(self, path: Path) -> None:
        with hdf5.writing(path, KIND) as file:
            file.attrs["skeleton"] = self.skeleton.name
            file.attrs["reasons"] = ", ".join(f"{reason.value} {reason.name.lower()}" for reason in Reason)
            self.keys.put(file)
            hdf5.put_text(file, "views", np.array(self.views))
            file.create_dataset("keypoints", data=np.round(np.asarray(self.keypoints, dtype=np.float64), 4) + 0.0)
            file.create_dataset("weights", data=np.asarray(self.weights, dtype=np.float32))
            file.create_dataset("reason", data=np.asarray(self.reason, dtype=np.uint8))
            file.create_dataset("person_box", data=np.round(np.asarray(self.person_box, dtype=np.float64), 4) + 0.0)

    @staticmethod
    def read(path: Path) -> "Labels":
        with hdf5.reading(path, KIND) as file:
            return Labels(
                keys=FrameKeys.get(file),
                views=tuple(hdf5.get_text(file, "views").tolist()),
                skeleton=get(file.attrs["skeleton"]),
                keypoints=file["keypoints"][...],
                weights=file["weights"][...],
                reason=file["reason"][...],
                person_box=file["person_box"][...],
            )
