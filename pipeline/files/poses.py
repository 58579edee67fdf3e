"""Poses: the 3D joints of every frame, and how well the views agree on them."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from pipeline.files import hdf5
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get

KIND = "poses"


class Status(IntEnum):
    """Why a joint is, or is not, known."""

    KNOWN = 0
    TOO_FEW_VIEWS = 1  # fewer candidate views than asked for
    NO_AGREEMENT = 2  # no hypothesis with enough inliers
    RAYS_PARALLEL = 3  # the inliers' rays meet at too small an angle
    BEHIND_CAMERA = 4
    NO_ROOT = 5  # RPSM: no triangulated root to search around
    NO_SUPPORT = 6  # RPSM: no map has any value where this joint could be


@dataclass(frozen=True, eq=False)
class Poses:
    """3D joints of one model.

    Attributes:
        keys: which frames.
        views: (views,) camera names.
        skeleton: what the joints are called.
        joints: (frames, joints, 3) world mm, rounded to 1e-3; NaN where not known.
        inliers: (frames, views, joints) bool, the views that agree on the joint.
        error: (frames, joints) px, mean reprojection error over the inliers; NaN where not known.
        status: (frames, joints) uint8 `Status`.
    """

    keys: FrameKeys
    views: tuple[str, ...]
    skeleton: Skeleton
    joints: np.ndarray
    inliers: np.ndarray
    error: np.ndarray
    status: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(frames, joints) bool."""
        return np.isfinite(self.joints).all(axis=-1)

    def write(self, path: Path) -> None:
        with hdf5.writing(path, KIND) as file:
            file.attrs["skeleton"] = self.skeleton.name
            self.keys.put(file)
            hdf5.put_text(file, "views", np.array(self.views))
            # Rounded so that other BLAS and instruction sets give the same bytes.
            file.create_dataset("joints", data=np.round(np.asarray(self.joints, dtype=np.float64), 3) + 0.0)
            file.create_dataset("inliers", data=np.asarray(self.inliers, dtype=bool))
            file.create_dataset("error", data=np.round(np.asarray(self.error, dtype=np.float64), 4) + 0.0)
            file.create_dataset("status", data=np.asarray(self.status, dtype=np.uint8))

    @staticmethod
    def read(path: Path) -> "Poses":
        with hdf5.reading(path, KIND) as file:
            return Poses(
                FrameKeys.get(file),
                tuple(hdf5.get_text(file, "views").tolist()),
                get(file.attrs["skeleton"]),
                file["joints"][...],
                file["inliers"][...],
                file["error"][...],
                file["status"][...],
            )
