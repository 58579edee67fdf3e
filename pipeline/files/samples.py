"""Samples: labelled person crops, cut out once so that training never decodes a full image."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.files import hdf5, images
from pipeline.files.images import Jpegs, decode
from pipeline.files.space import Space
from pipeline.skeleton import Skeleton, get

KIND = "samples"


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """Labelled persons. Their images are read on demand, so a set may be larger than memory.

    Attributes:
        skeleton: what the joints are called.
        key: (samples,) text, unique: the image's name and the person's number in it.
        split: (samples,) text, "train" or "valid".
        keypoints: (samples, joints, 2) px of the full image; NaN where there is no label.
        visible: (samples, joints) bool, the data set's own visibility flag.
        box: (samples, 4) px of the full image, x1 y1 x2 y2: the square that a network should see.
        head: (samples,) px, the head size that PCKh is measured in; NaN where not known.
        score: (samples,) of a detected box; 1 for an annotated person.
        crop_from_image: (samples, 2, 3) px of the stored crop from px of the full image.
        person_size: (samples, 2) px, width and height of the person's own rectangle, centred in the box and with its margin; the
            longer one is the box's side. None where a set has squares of its own, such as MPII.
        space: where the joints are in 3D; None where the set was labelled in images alone.
        jpeg: (bytes,) uint8, sliced, and jpeg_start: (samples + 1,) int64, see files/images.py.
    """

    skeleton: Skeleton
    key: np.ndarray
    split: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    box: np.ndarray
    head: np.ndarray
    score: np.ndarray
    crop_from_image: np.ndarray
    jpeg: Jpegs
    jpeg_start: np.ndarray
    person_size: np.ndarray | None = None
    space: Space | None = None

    def __len__(self) -> int:
        return len(self.key)

    def image(self, row: int) -> np.ndarray:
        """Return the stored crop, (height, width, 3) uint8 BGR."""
        return decode(self.jpeg[self.jpeg_start[row] : self.jpeg_start[row + 1]])

    @cached_property
    def person_box(self) -> np.ndarray:
        """Return (samples, 4) px, the person's box; networks see the smallest box of their own shape around it."""
        if self.person_size is None:
            return self.box
        centre = (self.box[:, :2] + self.box[:, 2:]) / 2
        return np.concatenate([centre - self.person_size / 2, centre + self.person_size / 2], axis=-1)

    @staticmethod
    def read(path: Path) -> "Samples":
        with hdf5.reading(path, KIND) as file:
            return Samples(
                skeleton=get(file.attrs["skeleton"]),
                key=hdf5.get_text(file, "key"),
                split=hdf5.get_text(file, "split"),
                keypoints=file["keypoints"][...],
                visible=file["visible"][...],
                box=file["box"][...],
                head=file["head"][...],
                score=file["score"][...],
                crop_from_image=file["crop_from_image"][...],
                jpeg=Jpegs(path, file["jpeg"]),
                jpeg_start=file["jpeg_start"][...],
                person_size=file["person_size"][...] if "person_size" in file else None,
                space=Space.read(file),
            )


def write(
    path: Path,
    *,
    skeleton: Skeleton,
    key: np.ndarray,
    split: np.ndarray,
    keypoints: np.ndarray,
    visible: np.ndarray,
    box: np.ndarray,
    head: np.ndarray,
    crop_from_image: np.ndarray,
    jpegs: Iterable[bytes],
    score: np.ndarray | None = None,
    decoder: str = "",
    person_size: np.ndarray | None = None,
    space: Space | None = None,
) -> None:
    """Write samples; fields as in `Samples`, no score for all 1.

    `decoder` names the program that decoded the videos; it is kept as an attribute.

    `jpegs` is consumed one by one, so memory does not grow with them, and before the arrays are read, so that the
    generator of the images may fill the arrays.
    """
    with hdf5.writing(path, KIND) as file:
        starts = images.append(file, jpegs)
        if len(starts) != len(key) + 1:
            raise ValueError(f"{path}: {len(starts) - 1} images for {len(key)} samples")
        file.attrs["skeleton"] = skeleton.name
        if decoder:
            file.attrs["decoder"] = decoder
        hdf5.put_text(file, "key", key)
        hdf5.put_text(file, "split", split)
        file.create_dataset("keypoints", data=np.asarray(keypoints, dtype=np.float64))
        file.create_dataset("visible", data=np.asarray(visible, dtype=bool))
        file.create_dataset("box", data=np.asarray(box, dtype=np.float64))
        file.create_dataset("head", data=np.asarray(head, dtype=np.float64))
        scores = np.ones(len(key)) if score is None else score
        file.create_dataset("score", data=np.asarray(scores, dtype=np.float64))
        file.create_dataset("crop_from_image", data=np.asarray(crop_from_image, dtype=np.float64))
        if person_size is not None:
            file.create_dataset("person_size", data=np.asarray(person_size, dtype=np.float64))
        if space is not None:
            space.write(file)
