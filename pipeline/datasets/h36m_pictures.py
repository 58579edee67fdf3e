"""Where Human3.6M's pictures are, a folder, a zip or videos, and how one moment after the other comes out of them."""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.datasets import archives, images, videos
from pipeline.datasets.h36m_takes import Film, Footage, Stills, Take

Source = Callable[[], np.ndarray]  # decodes a picture: (height, width, 3) uint8 BGR


def store(place: Path, example: str) -> archives.Store:
    """The folder or zip that holds pictures, with or without an inner `images/`.

    Args:
        place: a zip, or a folder that has the pictures, `images/`, or a zip.
        example: one picture's name.

    Raises:
        ValueError: the example is in none of them.
    """
    tried: list[archives.Store] = []
    if place.is_dir():
        inner = archives.find(place, "images")
        tried.append(archives.Folder(place))
        if inner is not None and inner.is_dir():
            tried.append(archives.Folder(inner))
    for archive in [place] if place.is_file() else sorted(place.glob("*.zip")):
        tried.append(archives.Archive(archive, ("images",)))
    for each in tried:
        if each.stamp(example) is not None:
            return each
    raise ValueError(f"{place}: there is no picture {example} in it, nor in images/ or a zip there")


def size(footage: Footage, number: int) -> tuple[int, int]:
    """(width, height) px of one picture."""
    with closing(_stream(footage, [number])) as stream:
        height, width = next(stream)().shape[:2]
    return width, height


def sources(take: Take, numbers: Sequence[int]) -> Generator[list[Source], None, None]:
    """For each frame what decodes the views' pictures, for workers to call; videos are decoded here, in order.

    Raises:
        ValueError: a picture is missing, or a video is shorter than its poses.
    """
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(_stream(each, numbers))) for each in take.footage]
        for _ in numbers:
            yield [next(stream) for stream in streams]


def _stream(footage: Footage, numbers: Sequence[int]) -> Generator[Source, None, None]:
    if isinstance(footage, Film):
        for picture in videos.frames(footage.path, [number - 1 for number in numbers]):
            yield partial(np.asarray, picture)
    else:
        for number in numbers:
            yield partial(footage.pictures.read, footage.names[number])


class Films:
    """Pictures by name, `<video>#<frame>`, out of videos that are asked for their frames about in order.

    Any number of threads may ask. A video is decoded once from its beginning: frames that are passed on the way to a later
    one are kept until they are asked for.
    """

    def __init__(self, wanted: dict[str, list[int]], paths: dict[str, Path]) -> None:
        """
        Args:
            wanted: video -> its frames from 1, ascending; each is asked for once.
            paths: video -> its file.
        """
        self._wanted, self._paths = wanted, paths
        self._streams: dict[str, Generator[np.ndarray, None, None]] = {}
        self._kept: dict[str, np.ndarray] = {}
        self._at: dict[str, int] = {}
        self._lock = threading.Lock()

    def read(self, image: str) -> np.ndarray:
        video, _, number = image.rpartition("#")
        with self._lock:
            while image not in self._kept:
                at = self._at.get(video, 0)
                if at == 0:
                    self._streams[video] = videos.frames(self._paths[video], [n - 1 for n in self._wanted[video]])
                if at == len(self._wanted[video]):
                    raise ValueError(f"{self._paths[video]}: frame {number} was asked for twice or is none")
                self._kept[f"{video}#{self._wanted[video][at]}"] = next(self._streams[video])
                self._at[video] = at + 1
                if at + 1 == len(self._wanted[video]):
                    self._streams.pop(video).close()
            return self._kept.pop(image)

    def stamp(self, image: str) -> tuple[int, int] | None:
        """Bytes and a number that changes with the video; None where it is absent."""
        try:
            found = self._paths[image.rpartition("#")[0]].stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def stills(place: Path, names: Sequence[dict[int, str]]) -> tuple[Stills, ...]:
    """The views' pictures in one folder or zip: names by frame number, a view each."""
    example = next(iter(names[0].values()))
    for each in names:
        for name in each.values():
            images.inside(place, name, str(place))
    pictures = archives.Pictures({"": store(place, example)})
    return tuple(Stills(pictures, each) for each in names)
