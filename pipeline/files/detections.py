"""Detections: another program's 2D keypoints on the target, already associated with the person of interest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.files import hdf5
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get

KIND = "detections"


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections:
    """Keypoints of the person of interest in every view.

    Attributes:
        keys: which frames.
        views: (views,) camera names.
        skeleton: what the joints are called.
        keypoints: (frames, views, joints, 2) px of the full image; NaN where not detected. All NaN if there is no
            detector.
        scores: (frames, views, joints) in [0, 1]; 0 where not detected.
    """

    keys: FrameKeys
    views: tuple[str, ...]
    skeleton: Skeleton
    keypoints: np.ndarray
    scores: np.ndarray

    def write(self, path: Path) -> None:
        with hdf5.writing(path, KIND) as file:
            file.attrs["skeleton"] = self.skeleton.name
            self.keys.put(file)
            hdf5.put_text(file, "views", np.array(self.views))
            file.create_dataset("keypoints", data=np.asarray(self.keypoints, dtype=np.float64))
            file.create_dataset("scores", data=np.asarray(self.scores, dtype=np.float32))

    @staticmethod
    def read(path: Path) -> "Detections":
        with hdf5.reading(path, KIND) as file:
            return Detections(
                keys=FrameKeys.get(file),
                views=tuple(hdf5.get_text(file, "views").tolist()),
                skeleton=get(file.attrs["skeleton"]),
                keypoints=file["keypoints"][...],
                scores=file["scores"][...],
            )
