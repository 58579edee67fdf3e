"""A labelled set, in any layout."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.datasets import coco, mpii
from pipeline.datasets.h36m import challenge, persons
from pipeline.datasets.h36m.selection import H36m
from pipeline.datasets.records import Records


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Section `sources.<name>` of params.yaml: one labelled set. A key that is left out has its layout's default.

    Attributes:
        path: the set's folder.
        layout: of the folder.
        train: parts to train on: train (mpii), train2017 (coco).
        valid: parts to validate on: valid (mpii), val2017 (coco).
        detections: coco and h36m_challenge: a file in the folder with a detector's results; coco: its boxes replace `valid`'s.
        min_score: of such a box.
        single_person: mpii, its .mat: only people who stand apart from others.
        h36m: which subjects and frames of Human3.6M.
    """

    path: str
    layout: Literal["mpii", "coco", "h36m", "h36m_challenge"]
    train: tuple[str, ...] | None = None
    valid: tuple[str, ...] | None = None
    detections: str | None = None
    min_score: float = 0.0
    single_person: bool = False
    h36m: H36m = field(default_factory=H36m)

    def read(self, folder: Path) -> Records:
        """Return the set's persons.

        Args:
            folder: `path`, resolved from the repository.

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
