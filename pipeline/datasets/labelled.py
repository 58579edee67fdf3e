"""A labelled set, whatever its layout."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.datasets import coco, mpii
from pipeline.datasets.h36m import challenge, persons
from pipeline.datasets.h36m.selection import H36m
from pipeline.datasets.records import Records


@dataclass(frozen=True)
class LabelledSet:
    """Section `sources.<name>` of params.yaml: one labelled set. What is left out is as its layout has it."""

    path: str  # its folder
    layout: Literal["mpii", "coco", "h36m", "h36m_challenge"]  # how the folder is laid out
    train: tuple[str, ...] | None = None  # its parts to learn from: train (mpii), train2017 (coco)
    valid: tuple[str, ...] | None = None  # its parts to measure on: valid, val2017
    detections: str | None = None  # coco: a file in the folder with a detector's boxes, in place of `valid`'s own
    min_score: float = 0.0  # of such a box
    single_person: bool = False  # mpii, its .mat: only people who stand apart from others
    h36m: H36m = field(default_factory=H36m)  # which subjects and moments of Human3.6M

    def read(self, folder: Path) -> Records:
        """The set's persons; `folder` is where `path` leads from the repository.

        Raises:
            ValueError: see the layouts' modules; or a parameter that the layout does not have.
        """
        parts = {name: part for name in ("train", "valid") if (part := getattr(self, name)) is not None}
        match self.layout:
            case "mpii":
                if self.detections is not None:
                    raise ValueError("detections: MPII's persons come with boxes; expected null")
                return mpii.read(folder, **parts, single_person=self.single_person)
            case "coco":
                return coco.read(folder, **parts, detections=self.detections, min_score=self.min_score)
            case "h36m" if parts or self.detections is not None:
                raise ValueError("train, valid, detections: Human3.6M's parts are chosen in h36m; expected null")
            case "h36m":
                return persons.read_labelled(folder, self.h36m)
            case "h36m_challenge":
                return challenge.read(folder, self.detections or "detections.json")
