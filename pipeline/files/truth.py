"""Truth: the target's ground-truth joints. Only `evaluate*` and the report's truth column may read it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import hdf5
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get, reorder

KIND = "truth"


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """3D joints to measure against.

    Attributes:
        keys: which frames.
        skeleton: what the joints are called.
        joints: (frames, joints, 3) world mm; NaN where not known.
        head: (frames,) mm, the head size that PCKh is measured in; NaN where not known.
        origin: "truth", or "peer" for another tool's result, which is no ground truth and is reported as a distance.
        recipe: the selection of frames, for published sets that are used in several ways ("damaged_excluded"); it is part of
            the metrics' names. Empty otherwise.
    """

    keys: FrameKeys
    skeleton: Skeleton
    joints: np.ndarray
    head: np.ndarray
    origin: str
    recipe: str = ""

    def arranged(self, keys: FrameKeys, skeleton: Skeleton) -> "Truth":
        """Return the ground truth for other frames and joints, matched by name; NaN if unknown."""
        rows = self.keys.rows_of(keys)
        joints = reorder(self.joints, skeleton, self.skeleton)[rows]
        head = np.asarray(self.head, dtype=np.float64)[rows]
        joints[rows < 0], head[rows < 0] = np.nan, np.nan
        return Truth(keys=keys, skeleton=skeleton, joints=joints, head=head, origin=self.origin, recipe=self.recipe)

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return metrics with the recipe in each name: `damaged_excluded.mpjpe_abs_mm`."""
        return {"recipe": self.recipe, self.recipe: values} if self.recipe else values

    def write(self, path: Path) -> None:
        with hdf5.writing(path, KIND) as file:
            file.attrs["skeleton"] = self.skeleton.name
            file.attrs["origin"] = self.origin
            file.attrs["recipe"] = self.recipe
            self.keys.put(file)
            file.create_dataset("joints", data=np.round(np.asarray(self.joints, dtype=np.float64), 3) + 0.0)
            file.create_dataset("head", data=np.asarray(self.head, dtype=np.float64))

    @staticmethod
    def read(path: Path) -> "Truth":
        with hdf5.reading(path, KIND) as file:
            return Truth(
                keys=FrameKeys.get(file),
                skeleton=get(file.attrs["skeleton"]),
                joints=file["joints"][...],
                head=file["head"][...],
                origin=file.attrs["origin"],
                recipe=file.attrs["recipe"],
            )
