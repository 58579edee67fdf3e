"""Truth: where the target's joints really were. Only `evaluate*` and the report's truth column may read it."""

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
        origin: "truth", or "peer" for another tool's result, which is no truth and is reported as a distance.
        recipe: which frames a number on this truth is about, where a published set is used in several ways
            ("damaged_excluded"); a part of the names of metrics. Empty otherwise.
    """

    keys: FrameKeys
    skeleton: Skeleton
    joints: np.ndarray
    head: np.ndarray
    origin: str
    recipe: str = ""

    def arranged(self, keys: FrameKeys, skeleton: Skeleton) -> "Truth":
        """The same truth for these frames and joints, found by their names; NaN where it says nothing of them."""
        rows = self.keys.rows_of(keys)
        joints = reorder(self.joints, skeleton, self.skeleton)[rows]
        head = np.asarray(self.head, dtype=np.float64)[rows]
        joints[rows < 0], head[rows < 0] = np.nan, np.nan
        return Truth(keys=keys, skeleton=skeleton, joints=joints, head=head, origin=self.origin, recipe=self.recipe)

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        """Metrics on this truth, with the recipe in each one's name: `damaged_excluded.mpjpe_abs_mm`."""
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
