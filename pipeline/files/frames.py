"""Frames: what the rig's cameras saw of the person, moment by moment. No label is in here, by design."""

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
        keys: which frames.
        views: (views,) camera names, in the order of cameras.toml.
        box: (frames, views, 4) px of the full picture, x1 y1 x2 y2: the square that the network should see;
            NaN where the view is missing.
        crop_from_image: (frames, views, 2, 3) px of the stored crop from px of the full picture; NaN where missing.
        person_size: (frames, views, 2) px, width and height of the person's own rectangle, centred in the box and with its
            margin; the longer one is the box's side. None where only squares are known.
        jpeg: (bytes,) uint8, sliced, and jpeg_start: (frames * views + 1,) int64, view after view; empty where missing. The
            pictures stay in the file until they are asked for.
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
        """(frames, views) bool: the view has a picture."""
        return (np.diff(self.jpeg_start) > 0).reshape(len(self), len(self.views))

    @cached_property
    def person_box(self) -> np.ndarray:
        """(frames, views, 4) px: where the person is; networks see the smallest box of their own shape that holds it."""
        if self.person_size is None:
            return self.box
        centre = (self.box[..., :2] + self.box[..., 2:]) / 2
        return np.concatenate([centre - self.person_size / 2, centre + self.person_size / 2], axis=-1)

    def image(self, frame: int, view: int) -> np.ndarray:
        """The stored crop, (height, width, 3) uint8 BGR."""
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
    """Which frames a file is about, without its pictures."""
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

    They are consumed one by one, and before the arrays are looked at, so that who makes the pictures may fill the arrays
    on the way. `decoder` is what took the pictures out of videos; it is kept as an attribute.
    """
    with hdf5.writing(path, KIND) as file:
        if decoder:
            file.attrs["decoder"] = decoder
        starts = images.append(file, jpegs)
        if len(starts) != len(keys) * len(views) + 1:
            raise ValueError(f"{path}: {len(starts) - 1} pictures for {len(keys)} frames of {len(views)} views")
        keys.put(file)
        hdf5.put_text(file, "views", np.array(views))
        file.create_dataset("box", data=np.asarray(box, dtype=np.float64))
        file.create_dataset("crop_from_image", data=np.asarray(crop_from_image, dtype=np.float64))
        if person_size is not None:
            file.create_dataset("person_size", data=np.asarray(person_size, dtype=np.float64))
