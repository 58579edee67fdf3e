"""Annotated persons of a data set, whatever files they came from, and what is to be told about them."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.archives import Pictures
from pipeline.files.space import Space
from pipeline.skeleton import Skeleton

_FAR = 1e5  # px; no picture is so large, and a box beyond it would take all memory


@dataclass(frozen=True, eq=False)
class Records:
    """The persons of a data set's splits, in file order.

    Attributes:
        skeleton: what the joints are called.
        image: (persons,) text, the name that `pictures` knows the picture by.
        key: (persons,) text, unique: the picture's name and the person's number in it.
        split: (persons,) text, "train" or "valid".
        joints: (persons, joints, 2) px; NaN where there is no label.
        box: (persons, 4) px, square.
        head: (persons,) px, the head size that PCKh is measured in; NaN where not known.
        score: (persons,) of a detected box; 1 for an annotated person.
        pictures: where they lie.
        files: the annotation files that all this was read from.
        notes: sentences about what was left out or decided.
        extent: (persons, 2) px, width and height of the person's rectangle about the box's centre, with the box's margin; None
            where the set speaks of squares.
        space: where the joints are in 3D; None where the set was labelled in pictures alone.
        size: (persons, 2) px, width and height of the picture that the annotations speak of; None where they do not say.
        decoder: what takes the pictures out of videos; empty for picture files.
    """

    skeleton: Skeleton
    image: np.ndarray
    key: np.ndarray
    split: np.ndarray
    joints: np.ndarray
    box: np.ndarray
    head: np.ndarray
    score: np.ndarray
    pictures: Pictures
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    size: np.ndarray | None = None
    decoder: str = ""
    extent: np.ndarray | None = None
    space: Space | None = None

    def __post_init__(self) -> None:
        count = len(self.key)
        if count == 0:
            raise ValueError(f"{self.files[0]}: there is no annotated person")
        twice = [key for key, times in Counter(self.key.tolist()).items() if times > 1]
        if twice:
            raise ValueError(f"{self.files[0]}: {len(twice)} persons are there twice, the first is '{twice[0]}'")
        side = self.box[:, 2] - self.box[:, 0]
        with np.errstate(invalid="ignore"):
            good = (abs(self.box) < _FAR).all(axis=1) & (side >= 1)
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            raise ValueError(f"{self.files[0]}: {self.key[row]}: a box {self.box[row].tolist()} px of no person")

    def __len__(self) -> int:
        return len(self.key)

    def picture(self, row: int) -> np.ndarray:
        """A person's full picture, (height, width, 3) uint8 BGR.

        Raises:
            ValueError: it is absent, damaged, or not of the size that the annotations speak of.
        """
        name = str(self.image[row])
        found = self.pictures.read(name)
        size = (found.shape[1], found.shape[0])
        if self.size is not None and size != tuple(self.size[row].tolist()):
            expected = "x".join(map(str, self.size[row].tolist()))
            raise ValueError(f"{name}: is {size[0]}x{size[1]} px, the annotations speak of {expected}")
        return found


@dataclass(frozen=True)
class Census:
    """What is there, for a person to compare with what should be.

    Attributes:
        persons, pictures, absent_pictures: how many of each split; absent ones are annotated, but not on the disk.
        joints: how often each joint is labelled, of each split.
        shared_pictures: pictures with persons of both splits.
    """

    persons: dict[str, int]
    pictures: dict[str, int]
    absent_pictures: dict[str, int]
    joints: dict[str, dict[str, int]]
    shared_pictures: int


def census(records: Records) -> Census:
    """Count. Looks at every picture's directory entry, and opens none."""
    persons, pictures, absent, joints = {}, {}, {}, {}
    labelled = np.isfinite(records.joints).all(axis=-1)  # (persons, joints)
    names = {}
    for split in sorted(set(records.split.tolist())):
        rows = records.split == split
        names[split] = set(records.image[rows].tolist())
        persons[split], pictures[split] = int(rows.sum()), len(names[split])
        absent[split] = sum(records.pictures.stamp(name) is None for name in names[split])
        joints[split] = dict(zip(records.skeleton.joints, labelled[rows].sum(axis=0).tolist(), strict=True))
    shared = names.get("train", set()) & names.get("valid", set())
    return Census(persons, pictures, absent, joints, len(shared))


def load_json(path: Path, what: str) -> Any:
    """Raises ValueError: absent or no json; `what` is expected there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; expected {what}") from None
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8, and numbers of a thousand digits
        raise ValueError(f"{path}: not readable as json ({error})") from None


def numbers(value: Any, shape: tuple[int, ...], name: str, what: str) -> np.ndarray:
    """Numbers of a record as an array of this shape, which must be finite.

    Raises:
        ValueError: text, truth values, nothing, NaN, or another shape.
    """
    try:
        found = np.array(value)
    except (TypeError, ValueError, OverflowError):  # rows of different lengths
        raise ValueError(f"{what}: '{name}' holds something that is no number") from None
    if found.size and found.dtype.kind not in "iuf":
        raise ValueError(f"{what}: '{name}' holds something that is no number")
    if found.shape != shape:
        raise ValueError(f"{what}: expected '{name}' of shape {shape}, got {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{what}: '{name}' holds NaN or infinity; what is not known must be marked as such")
    return found.astype(np.float64)


def whole(value: Any, name: str, what: str) -> int:
    """A whole number that a float could hold, or a ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 2**53 and value == int(value):
        return int(value)
    raise ValueError(f"{what}: expected a whole number as '{name}', got {value!r}")
