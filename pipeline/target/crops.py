"""Cut the person out of every (frame, view) of a target's recordings. All px are the calibration's."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline import crops
from pipeline.calibration.lenses import Undistortion
from pipeline.datasets import parallel
from pipeline.files import images as stored_images
from pipeline.files.journal import Item
from pipeline.target.raw import RawTarget
from pipeline.target.recordings import Decoder, Recording, calibrated_from_image


@dataclass(frozen=True, eq=False)
class ViewImages:
    """The images of one view of a recording.

    Attributes:
        path: the view's, for messages.
        shape: of its images; an image of another shape is refused.
        calibrated_from_image: (2, 3) px, if a codec or an exporter has changed their size.
        undistortion: of a fisheye or a rational lens.
    """

    path: Path
    shape: tuple[int, ...]
    calibrated_from_image: np.ndarray
    undistortion: Undistortion | None

    def crop(self, image: np.ndarray, crop_from_calibrated: np.ndarray, side: int) -> np.ndarray:
        """Return a (side, side, 3) crop of an image, with an affine from the calibration's px."""
        if self.undistortion is not None:
            return self.undistortion.cut(image, crop_from_calibrated, self.calibrated_from_image, side)
        return crops.warp(image, crops.compose(crop_from_calibrated, self.calibrated_from_image), side)


@dataclass(frozen=True, eq=False, kw_only=True)
class CropPlan:
    """The crop of every (frame, view), before any is made.

    Attributes:
        target: the recordings and frames.
        images: per recording and view.
        crop_from_image: (frames, views, 2, 3) px.
        crop_px: (frames, views) int, the crops' sides.
        notes: sentences about images whose size differs from the calibration's.
    """

    target: RawTarget
    images: tuple[tuple[ViewImages, ...], ...]
    crop_from_image: np.ndarray
    crop_px: np.ndarray
    notes: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that decides the crops, except the JPEG settings; of files, sizes and times count."""
        digest = hashlib.sha256(self.crop_from_image.tobytes() + self.crop_px.tobytes())
        for recording, views in zip(self.target.recordings, self.images, strict=True):
            digest.update(recording.frame_numbers().tobytes())
            digest.update(repr([(each.shape, each.calibrated_from_image.tolist()) for each in views]).encode())
            for stamp in recording.file_stamps():
                digest.update(repr(stamp).encode())
        for rig in self.target.rigs.values():
            for name, made in sorted(rig.undistortions.items()):
                lens = (made.lens.fisheye, made.lens.size, made.lens.coefficients.tolist(), made.lens.K.tolist())
                digest.update(repr((name, lens, made.camera.K.tolist())).encode())
        return digest.hexdigest()

    def jpegs(self, first: int, quality: int) -> Iterator[Item]:
        """Yield the crops as JPEG, frame after frame and view after view, from the crop with the number `first`."""

        def cut(job: tuple[int, int, ViewImages, Decoder]) -> Item:
            row, view, images, decode = job
            image = decode()
            if image.shape != images.shape:
                raise ValueError(
                    f"{images.path}: frame {self.target.keys.number[row]} is {image.shape[1]}x{image.shape[0]}, the view's "
                    f"first is {images.shape[1]}x{images.shape[0]}"
                )
            crop = images.crop(image, self.crop_from_image[row, view], int(self.crop_px[row, view]))
            return stored_images.encode(crop, quality), {}

        made = parallel.in_order(cut, self._jobs(first))
        yield from tqdm(made, initial=first, total=self.crop_px.size, unit="crop", smoothing=0.05, disable=None)

    def _jobs(self, first: int) -> Iterator[tuple[int, int, ViewImages, Decoder]]:
        num_views, start = self.crop_px.shape[1], 0
        for recording, images in zip(self.target.recordings, self.images, strict=True):
            done = min(max(first // num_views - start, 0), len(recording.numbers))
            for row, decoders in enumerate(recording.decoders(recording.numbers[done:]), start=start + done):
                for view, decode in enumerate(decoders):
                    if row * num_views + view >= first:
                        yield row, view, images[view], decode
            start += len(recording.numbers)


def plan_crops(target: RawTarget, boxes: np.ndarray, sides: np.ndarray, margin: float) -> CropPlan:
    """Return the plan of a target's crops.

    Args:
        target: the recordings and frames.
        boxes: (frames, views, 4) px, square.
        sides: (frames, views) px that a box's side has in its stored crop at most; nothing is enlarged.
        margin: stored around the box, as a fraction of its side.

    Raises:
        ValueError: a view's first image cannot be read, or its size does not fit the calibration.
    """
    crop_from_image, crop_px = np.zeros((*sides.shape, 2, 3)), np.zeros(sides.shape, dtype=np.int32)
    for row, view in np.ndindex(crop_px.shape):
        crop_from_image[row, view], crop_px[row, view] = crops.stored(boxes[row, view], margin, float(sides[row, view]))
    notes: list[str] = []
    images = tuple(_view_images(recording, target, notes) for recording in target.recordings)
    return CropPlan(target=target, images=images, crop_from_image=crop_from_image, crop_px=crop_px, notes=tuple(notes))


def _view_images(recording: Recording, target: RawTarget, notes: list[str]) -> tuple[ViewImages, ...]:
    """Return every view's images by its first one; appends sentences about changed sizes to `notes`."""
    rig = target.rig_of(recording)
    by_name = {camera.name: camera for camera in rig.cameras}
    with closing(recording.decoders(recording.numbers[:1])) as first:
        decoders = next(first)
    views = []
    for view, decode in zip(recording.views, decoders, strict=True):
        image = decode()
        undistortion = rig.undistortions.get(view.camera.name)
        size = undistortion.lens.size if undistortion else by_name[view.camera.name].size
        affine, note = calibrated_from_image(image, size, view.path)
        notes += [note] if note else []
        views.append(ViewImages(view.path, image.shape, affine, undistortion))
    return tuple(views)
