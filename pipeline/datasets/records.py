"""Annotated persons of a data set, in any layout, and a census of them."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.archives import Images
from pipeline.files.space import Space
from pipeline.skeleton import Skeleton

_FAR = 1e5  # px; no image is so large, and a box beyond it would take all memory


@dataclass(frozen=True, eq=False, kw_only=True)
class Records:
    """The persons of a data set's splits, in file order.

    Attributes:
        skeleton: names of the joints.
        image_name: (persons,) text, the name of the image in `images`.
        key: (persons,) text, unique: the image's name and the person's number in it.
        split: (persons,) text, "train" or "valid".
        keypoints: (persons, joints, 2) px of the full image; NaN without a label.
        box: (persons, 4) px, square.
        head: (persons,) px, the head size of PCKh; NaN if unknown.
        score: (persons,) of a detected box; 1 for an annotated person.
        images: reads the images.
        files: the annotation files.
        notes: sentences on persons left out and decisions made.
        size: (persons, 2) px, the image's width and height in the annotations; None if they do not state it.
        decoder: which decoder reads the images out of videos; empty for image files.
        extent: (persons, 2) px, width and height of the person's rectangle about the box's centre, with the box's margin; None
            if the set has squares of its own.
        space: the joints in 3D; None if the set was labelled in images alone.
    """

    skeleton: Skeleton
    image_name: np.ndarray
    key: np.ndarray
    split: np.ndarray
    keypoints: np.ndarray
    box: np.ndarray
    head: np.ndarray
    score: np.ndarray
    images: Images
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

    def read_image(self, row: int) -> np.ndarray:
        """Return a person's full image, (height, width, 3) uint8 BGR.

        Raises:
            ValueError: the image is absent, damaged, or not of the annotated size.
        """
        name = str(self.image_name[row])
        image = self.images.read(name)
        size = (image.shape[1], image.shape[0])
        if self.size is not None and size != tuple(self.size[row].tolist()):
            expected = "x".join(map(str, self.size[row].tolist()))
            raise ValueError(f"{name}: is {size[0]}x{size[1]} px, the annotations speak of {expected}")
        return image


@dataclass(frozen=True, kw_only=True)
class Census:
    """Counts per split, to compare with the published ones.

    Attributes:
        persons: annotated persons.
        images: annotated images.
        absent_images: annotated images that are not on the disk.
        labelled: for each joint how many persons have it labelled.
        shared_images: images with persons of both splits.
    """

    persons: dict[str, int]
    images: dict[str, int]
    absent_images: dict[str, int]
    labelled: dict[str, dict[str, int]]
    shared_images: int


def census(records: Records) -> Census:
    """Count persons, images and labels. Looks at every image's directory entry, and opens none."""
    persons, images, absent, labelled = {}, {}, {}, {}
    known = np.isfinite(records.keypoints).all(axis=-1)  # (persons, joints)
    names = {}
    for split in sorted(set(records.split.tolist())):
        rows = records.split == split
        names[split] = set(records.image_name[rows].tolist())
        persons[split], images[split] = int(rows.sum()), len(names[split])
        absent[split] = sum(records.images.stamp(name) is None for name in names[split])
        labelled[split] = dict(zip(records.skeleton.joint_names, known[rows].sum(axis=0).tolist(), strict=True))
    shared = names.get("train", set()) & names.get("valid", set())
    return Census(persons=persons, images=images, absent_images=absent, labelled=labelled, shared_images=len(shared))


def load_json(path: Path, what: str) -> Any:
    """Return a json file's content; `what` names the expected content in errors.

    Raises:
        ValueError: the file is absent or not json.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; expected {what}") from None
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8, and numbers of a thousand digits
        raise ValueError(f"{path}: not readable as json ({error})") from None


def numbers(value: Any, shape: tuple[int, ...], name: str, what: str) -> np.ndarray:
    """Return a record's numbers as a finite float64 array of this shape.

    Raises:
        ValueError: text, true or false, nothing, NaN, or another shape.
    """
    try:
        array = np.array(value)
    except (TypeError, ValueError, OverflowError):  # rows of different lengths
        raise ValueError(f"{what}: '{name}' holds something that is no number") from None
    if array.size and array.dtype.kind not in "iuf":
        raise ValueError(f"{what}: '{name}' holds something that is no number")
    if array.shape != shape:
        raise ValueError(f"{what}: expected '{name}' of shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: '{name}' holds NaN or infinity; an unknown value must be marked as such")
    return array.astype(np.float64)


def whole(value: Any, name: str, what: str) -> int:
    """Return a whole number that a float holds exactly.

    Raises:
        ValueError: the value is not one.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 2**53 and value == int(value):
        return int(value)
    raise ValueError(f"{what}: expected a whole number as '{name}', got {value!r}")
