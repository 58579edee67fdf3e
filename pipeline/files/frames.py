"""Frames: the rig's images of the person, per frame and view. They hold no label, by design."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.files import hdf5, images
from pipeline.files.images import Jpegs, decode
from pipeline.files.keys import FrameKeys

KIND = "frames"


@dataclass(frozen=True, eq=False, kw_only=True)
class Frames:
    """Person crops of every (frame, view) of an unlabelled rig, with generous margins, so that boxes can be refined.

    Attributes:
        keys: the keys of the frames.
        views: (views,) camera names, in the order of cameras.toml.
        box: (frames, views, 4) px of the full image, x1 y1 x2 y2: the square that the network should see;
            NaN where the view is missing.
        crop_from_image: (frames, views, 2, 3) px of the stored crop from px of the full image; NaN where missing.
        person_size: (frames, views, 2) px, width and height of the person's own rectangle, centred in the box and with its
            margin; the longer one is the box's side. None where only squares are known.
        jpeg: (bytes,) uint8, sliced, and jpeg_start: (frames * views + 1,) int64, view after view; empty where missing. The
            images are read on demand.
    """

    keys: FrameKeys
    views: tuple[str, ...]
    box: np.ndarray
    crop_from_image: np.ndarray
    jpeg: Jpegs
    jpeg_start: np.ndarray
    person_size: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def present(self) -> np.ndarray:
        """Return (frames, views) bool: the view has an image."""
        return (np.diff(self.jpeg_start) > 0).reshape(len(self), len(self.views))

    @cached_property
    def person_box(self) -> np.ndarray:
        """Return (frames, views, 4) px, the person's box; networks see the smallest box of their own shape around it."""
        if self.person_size is None:
            return self.box
        centre = (self.box[..., :2] + self.box[..., 2:]) / 2
        return np.concatenate([centre - self.person_size / 2, centre + self.person_size / 2], axis=-1)

    def image(self, frame: int, view: int) -> np.ndarray:
        """Return the stored crop, (height, width, 3) uint8 BGR."""
        row = frame * len(self.views) + view
        return decode(self.jpeg[self.jpeg_start[row] : self.jpeg_start[row + 1]])

    @staticmethod
    def read(path: Path) -> "Frames":
        with hdf5.reading(path, KIND) as file:
            return Frames(
                keys=FrameKeys.get(file),
                views=tuple(hdf5.get_text(file, "views").tolist()),
                box=file["box"][...],
                crop_from_image=file["crop_from_image"][...],
                jpeg=Jpegs(path, file["jpeg"]),
                jpeg_start=file["jpeg_start"][...],
                person_size=file["person_size"][...] if "person_size" in file else None,
            )


def read_keys(path: Path) -> FrameKeys:
    """Return the keys of a file's frames, without its images."""
    with hdf5.reading(path, KIND) as file:
        return FrameKeys.get(file)


def write(
    path: Path,
    *,
    keys: FrameKeys,
    views: tuple[str, ...],
    box: np.ndarray,
    crop_from_image: np.ndarray,
    jpegs: Iterable[bytes],
    decoder: str = "",
    person_size: np.ndarray | None = None,
) -> None:
    """Write frames; `jpegs` come view after view, b"" where a view is missing.

    They are consumed one by one, and before the arrays are read, so that the generator of the images may fill the arrays.
    `decoder` names the program that decoded the videos; it is kept as an attribute.
    """
    with hdf5.writing(path, KIND) as file:
        if decoder:
            file.attrs["decoder"] = decoder
        starts = images.append(file, jpegs)
        if len(starts) != len(keys) * len(views) + 1:
            raise ValueError(f"{path}: {len(starts) - 1} images for {len(keys)} frames of {len(views)} views")
        keys.put(file)
        hdf5.put_text(file, "views", np.array(views))
        file.create_dataset("box", data=np.asarray(box, dtype=np.float64))
        file.create_dataset("crop_from_image", data=np.asarray(crop_from_image, dtype=np.float64))
        if person_size is not None:
            file.create_dataset("person_size", data=np.asarray(person_size, dtype=np.float64))
