"""Human3.6M's takes as the recordings of a rig, for adapting to it without labels."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.datasets import rig
from pipeline.datasets.h36m.selection import SelectedTake
from pipeline.datasets.h36m.takes import ImageFiles, VideoFile


@dataclass(frozen=True)
class StillsView(rig.View):
    """A view whose pictures lie in a folder or a zip, by frame number."""

    stills: ImageFiles | None = None

    @property
    def is_video(self) -> bool:
        return False

    def sources(self, numbers: Sequence[int]) -> Generator[rig.Source, None, None]:
        assert self.stills is not None
        for number in numbers:
            yield partial(self.stills.images.read, self.stills.names[number])

    def stamps(self, numbers: Sequence[int]) -> list[tuple[str, int, int]]:
        assert self.stills is not None
        stamps = {self.stills.names[number]: self.stills.images.stamp(self.stills.names[number]) for number in numbers}
        absent = [name for name, stamp in stamps.items() if stamp is None]
        if absent:
            raise ValueError(
                f"{self.path}: there is no picture {absent[0]}; {len(absent)} of {len(stamps)} are missing"
            )
        return [(name, *stamp) for name, stamp in stamps.items() if stamp is not None]


def recordings(chosen: Sequence[SelectedTake], wanted: Sequence[str], place: Path) -> tuple[rig.Recording, ...]:
    """The chosen frames as recordings, one a take; moments are numbered from 1.

    Args:
        chosen: with footage.
        wanted: names of the views to use; empty for all.
        place: of the pictures, for messages.
    """
    names = [camera.name for camera in chosen[0].take.cameras]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise ValueError(f"target.views: there is no camera '{unknown[0]}'; there are {', '.join(names)}")
    found = []
    for each in chosen:
        views: list[rig.View] = []
        for camera, footage in zip(each.take.cameras, each.take.footage, strict=True):
            if wanted and camera.name not in wanted:
                continue
            if isinstance(footage, VideoFile):
                views.append(rig.View(camera, footage.path, None, offset=-1))
            else:
                views.append(StillsView(camera, place, None, stills=footage))
        found.append(rig.Recording(each.take.name, tuple(views), tuple(each.numbers.tolist()), ()))
    return tuple(found)
