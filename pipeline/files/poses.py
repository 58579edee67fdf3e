"""Poses: the 3D joints of every frame, and how well the views agree on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import h5py
import numpy as np

from pipeline.files import hdf5
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get

KIND = "poses"


class JointStatus(IntEnum):
    """Why a joint is, or is not, known."""

    KNOWN = 0
    TOO_FEW_VIEWS = 1  # fewer candidate views than asked for
    NO_AGREEMENT = 2  # no hypothesis with enough inliers
    RAYS_PARALLEL = 3  # the inliers' rays meet at too small an angle
    BEHIND_CAMERA = 4
    NO_ROOT = 5  # RPSM: no triangulated root to search around
    NO_SUPPORT = 6  # RPSM: no map has any value where this joint could be


@dataclass(frozen=True, eq=False, kw_only=True)
class Poses:
    """3D joints of one model.

    Attributes:
        keys: which frames.
        views: (views,) camera names.
        skeleton: what the joints are called.
        joints: (frames, joints, 3) world mm, rounded to 1e-3; NaN where not known.
        inliers: (frames, views, joints) bool, the views that agree on the joint.
        error_px: (frames, joints) px, mean reprojection error over the inliers; NaN where not known.
        status: (frames, joints) uint8 `JointStatus`.
        covariance: (frames, joints, 3, 3) mm^2, uncertainty of the joint's position; NaN if unknown, which is everywhere
            if the method estimates none.
    """

    keys: FrameKeys
    views: tuple[str, ...]
    skeleton: Skeleton
    joints: np.ndarray
    inliers: np.ndarray
    error_px: np.ndarray
    status: np.ndarray
    covariance: np.ndarray = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        if self.covariance is None:
            object.__setattr__(self, "covariance", np.full((*self.joints.shape, 3), np.nan))

    @property
    def valid(self) -> np.ndarray:
        """Return (frames, joints) bool: the joint is known."""
        return np.isfinite(self.joints).all(axis=-1)

    @property
    def spread_mm(self) -> np.ndarray:
        """Return (frames, joints) mm, the expected distance (root mean square) from the true position; NaN if unknown."""
        return np.sqrt(np.trace(self.covariance, axis1=-2, axis2=-1))

    def write(self, path: Path) -> None:
        with writing(path, self.keys, self.views, self.skeleton) as writer:
            writer.put(slice(None), self.joints, self.inliers, self.error_px, self.status)
            if np.isfinite(self.covariance).any():
                writer.put_covariance(slice(None), self.covariance)

    @staticmethod
    def read(path: Path, rows: slice = slice(None)) -> "Poses":
        """Read a file, or some of its frames."""
        with hdf5.reading(path, KIND) as file:
            joints = file["joints"][rows]
            known = "covariance" in file
            return Poses(
                keys=FrameKeys.get(file).take(rows),
                views=tuple(hdf5.get_text(file, "views").tolist()),
                skeleton=get(file.attrs["skeleton"]),
                joints=joints,
                inliers=file["inliers"][rows],
                error_px=file["error_px"][rows],
                status=file["status"][rows],
                covariance=file["covariance"][rows].astype(np.float64)
                if known
                else np.full((*joints.shape, 3), np.nan),
            )


def read_header(path: Path) -> tuple[FrameKeys, tuple[str, ...], Skeleton]:
    """Return the keys, views and skeleton of a file, without the poses."""
    with hdf5.reading(path, KIND) as file:
        return FrameKeys.get(file), tuple(hdf5.get_text(file, "views").tolist()), get(file.attrs["skeleton"])


def joint_blocks(path: Path, frames: int = 1024) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield a file's joints in blocks of frames, so that memory does not grow with the number of frames.

    Yields:
        The rows of the frames, their joints (frames, joints, 3) world mm, and inliers (frames, views, joints).
    """
    with hdf5.reading(path, KIND) as file:
        count = len(file["joints"])
        for start in range(0, count, frames):
            rows = slice(start, min(start + frames, count))
            yield rows, file["joints"][rows], file["inliers"][rows]


class Writer:
    """Puts blocks of frames into a new file, in any order; memory does not grow with the number of frames."""

    def __init__(self, file: h5py.File, frames: int, views: int, joints: int) -> None:
        self._file = file
        file.create_dataset("joints", shape=(frames, joints, 3), dtype=np.float64)
        file.create_dataset("inliers", shape=(frames, views, joints), dtype=bool)
        file.create_dataset("error_px", shape=(frames, joints), dtype=np.float64)
        file.create_dataset("status", shape=(frames, joints), dtype=np.uint8)

    def put(
        self,
        rows: slice | np.ndarray,
        joints: np.ndarray,
        inliers: np.ndarray,
        error_px: np.ndarray,
        status: np.ndarray,
    ) -> None:
        """Write the fields of some frames, as in `Poses`; an index must be ascending."""
        # Rounded so that other BLAS and instruction sets give the same bytes.
        self._file["joints"][rows] = np.round(np.asarray(joints, dtype=np.float64), 3) + 0.0
        self._file["inliers"][rows] = np.asarray(inliers, dtype=bool)
        self._file["error_px"][rows] = np.round(np.asarray(error_px, dtype=np.float64), 4) + 0.0
        self._file["status"][rows] = np.asarray(status, dtype=np.uint8)

    def put_covariance(self, rows: slice | np.ndarray, covariance: np.ndarray) -> None:
        """Write `Poses.covariance` of some frames; a file without any covariance has no such dataset."""
        if "covariance" not in self._file:
            shape = (*self._file["joints"].shape, 3)
            self._file.create_dataset("covariance", shape=shape, dtype=np.float32, fillvalue=np.nan)
        self._file["covariance"][rows] = np.round(covariance, 3) + 0.0

    def get(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return joints and inliers of frames that were written before."""
        return self._file["joints"][rows], self._file["inliers"][rows]


@contextmanager
def writing(path: Path, keys: FrameKeys, views: tuple[str, ...], skeleton: Skeleton) -> Iterator[Writer]:
    """Open a new file of poses, which appears only when it is complete."""
    with hdf5.writing(path, KIND) as file:
        file.attrs["skeleton"] = skeleton.name
        keys.put(file)
        hdf5.put_text(file, "views", np.array(views))
        yield Writer(file, len(keys), len(views), len(skeleton))
