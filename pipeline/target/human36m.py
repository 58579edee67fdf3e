"""Human3.6M's takes as the recordings of a rig, for adapting to it without labels."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.calibration.reading import Calibration
from pipeline.datasets.h36m import selection
from pipeline.datasets.h36m.selection import SelectedTake
from pipeline.datasets.h36m.takes import ImageFiles, VideoFile
from pipeline.target.raw import RawTarget
from pipeline.target.recordings import Decoder, Recording, View


@dataclass(frozen=True, kw_only=True)
class ImageFilesView(View):
    """A view whose images lie in a folder or a zip, by frame number."""

    image_files: ImageFiles

    @property
    def is_video(self) -> bool:
        return False

    def decoders(self, frame_numbers: Sequence[int]) -> Generator[Decoder, None, None]:
        for number in frame_numbers:
            yield partial(self.image_files.images.read, self.image_files.names[number])

    def file_stamps(self, frame_numbers: Sequence[int]) -> list[tuple[str, int, int]]:
        names = [self.image_files.names[number] for number in frame_numbers]
        stamps = {name: self.image_files.images.stamp(name) for name in names}
        missing = [name for name, stamp in stamps.items() if stamp is None]
        if missing:
            raise ValueError(
                f"{self.path}: there is no image {missing[0]}; {len(missing)} of {len(stamps)} are missing"
            )
        return [(name, *stamp) for name, stamp in stamps.items() if stamp is not None]


def raw_target(
    takes: Sequence[SelectedTake], notes: Sequence[str], view_names: Sequence[str], folder: Path
) -> RawTarget:
    """Return the selected frames of Human3.6M as a target: one sequence per take, one rig per sequence.

    Args:
        takes: with their images.
        notes: sentences about the takes, for the calibrations.
        view_names: the views to use; empty for all.
        folder: of the images, for messages.
    """
    found = recordings(takes, view_names, folder)
    rigs = {each.name: Calibration(tuple(view.camera for view in each.views), {}, tuple(notes)) for each in found}
    return RawTarget(rigs=rigs, recordings=found, keys=selection.frame_keys(takes))


def recordings(takes: Sequence[SelectedTake], view_names: Sequence[str], folder: Path) -> tuple[Recording, ...]:
    """Return the selected frames as recordings, one per take; frame groups are numbered from 1.

    Args:
        takes: with their images.
        view_names: the views to use; empty for all.
        folder: of the images, for messages.
    """
    names = [camera.name for camera in takes[0].take.cameras]
    for other in takes:
        own = [camera.name for camera in other.take.cameras]
        missing = sorted(set(view_names or names + own) - set(own))
        if missing and set(view_names) <= set(names):
            raise ValueError(
                f"target.views: {other.take.person} has no camera {missing[0]}, only {', '.join(own)}; select views that all"
                " subjects have"
            )
    unknown = sorted(set(view_names) - set(names))
    if unknown:
        raise ValueError(f"target.views: there is no camera '{unknown[0]}'; there are {', '.join(names)}")
    result = []
    for each in takes:
        views: list[View] = []
        for camera, footage in zip(each.take.cameras, each.take.footage, strict=True):
            if view_names and camera.name not in view_names:
                continue
            if isinstance(footage, VideoFile):
                views.append(View(camera=camera, path=footage.path, files=None, start_offset=-1))
            else:
                views.append(ImageFilesView(camera=camera, path=folder, files=None, image_files=footage))
        result.append(Recording(each.take.name, tuple(views), tuple(each.numbers.tolist()), ()))
    return tuple(result)


def published_boxes(takes: Sequence[SelectedTake], target: RawTarget) -> np.ndarray:
    """Return (frames, views, 4) px: the published boxes of the target's views, which are drawn around the true poses."""
    names = [camera.name for camera in takes[0].take.cameras]
    return selection.boxes(takes)[:, [names.index(name) for name in target.view_names]]
