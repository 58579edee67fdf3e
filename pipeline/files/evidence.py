"""Evidence: per-frame quality figures of a model's detections and poses, computed without labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.files import hdf5
from pipeline.files.keys import FrameKeys

KIND = "evidence"
_NUMBERS = ("disagreement", "stretch", "coverage", "swapped", "upside_down", "flipped", "limbs", "asymmetry")


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """Figures of one model, see pipeline/metrics/labelfree.py.

    Attributes:
        keys: which frames.
        views: (views,) camera names.
        disagreement: (frames, views) mm, mean over joints of the distance from what the other views agree on, truncated;
            NaN where the view has no image.
        stretch: (frames,) mean deviation of the limbs from their person's usual length, as a share of it; NaN unknown.
        coverage: (frames,) share of the joints that could be triangulated.
        swapped: (frames,) share of left and right pairs that a view exchanges; NaN unknown.
        upside_down: (frames,) 1, 0 or NaN.
        flipped: (frames,) 1 where left and right have changed places since the frame before, 0, or NaN.
        people: (people,) text.
        limbs: (people, limbs) mm, usual lengths; NaN unknown.
        asymmetry: (people,) how much left limbs differ from right ones, as a share; NaN unknown.
    """

    keys: FrameKeys
    views: tuple[str, ...]
    disagreement: np.ndarray
    stretch: np.ndarray
    coverage: np.ndarray
    swapped: np.ndarray
    upside_down: np.ndarray
    flipped: np.ndarray
    people: np.ndarray
    limbs: np.ndarray
    asymmetry: np.ndarray

    def write(self, path: Path) -> None:
        with hdf5.writing(path, KIND) as file:
            self.keys.put(file)
            hdf5.put_text(file, "views", np.array(self.views))
            hdf5.put_text(file, "people", self.people)
            for name in _NUMBERS:
                values = np.round(np.asarray(getattr(self, name), dtype=np.float64), 4) + 0.0
                file.create_dataset(name, data=values)

    @staticmethod
    def read(path: Path) -> "Evidence":
        with hdf5.reading(path, KIND) as file:
            return Evidence(
                keys=FrameKeys.get(file),
                views=tuple(hdf5.get_text(file, "views").tolist()),
                people=hdf5.get_text(file, "people"),
                **{name: file[name][...] for name in _NUMBERS},
            )
