"""Where Human3.6M's pictures are, a folder, a zip or videos, and how they are read by name."""

import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np

from pipeline.datasets import archives, parallel, videos
from pipeline.datasets.h36m.takes import Film, Footage


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
    if isinstance(footage, Film):
        with closing(videos.frames(footage.path, [number - 1])) as pictures:
            height, width = next(pictures).shape[:2]
    else:
        height, width = footage.pictures.read(footage.names[number]).shape[:2]
    return width, height


class Films:
    """Pictures by name, `<video>#<frame>`, out of videos that are asked for their frames about in order.

    Any number of threads may ask. A video is decoded from the first frame that is asked for on; frames that are passed on the
    way to a later one are kept for a while.
    """

    def __init__(self, wanted: dict[str, list[int]], paths: dict[str, Path], keep: object = None) -> None:
        """
        Args:
            wanted: video -> its frames from 1, ascending; each is asked for once.
            paths: video -> its file.
            keep: something that lives as long as this, such as the folder that the videos were unpacked to.
        """
        self._wanted, self._paths, self._keep = wanted, paths, keep
        self._streams: dict[str, Generator[tuple[str, np.ndarray], None, None]] = {}
        self._passed: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()
        self._most = 4 * parallel.workers()  # as many as are asked for at a time

    def read(self, image: str) -> np.ndarray:
        video, _, number = image.rpartition("#")
        with self._lock:
            if image not in self._passed and video not in self._streams:
                at = self._wanted[video].index(int(number))
                self._streams[video] = self._decoded(video, max(at - self._most, 0))
            while image not in self._passed:
                if video not in self._streams:
                    raise ValueError(
                        f"{self._paths[video]}: frame {number} was asked for twice, or long after later ones"
                    )
                name, picture = next(self._streams[video])
                self._passed[name] = picture
                if name == f"{video}#{self._wanted[video][-1]}":
                    self._streams.pop(video).close()
                if len(self._passed) > 2 * self._most:
                    self._passed.pop(next(iter(self._passed)))
            return self._passed.pop(image)

    def _decoded(self, video: str, at: int) -> Generator[tuple[str, np.ndarray], None, None]:
        numbers = self._wanted[video][at:]
        pictures = videos.frames(self._paths[video], [number - 1 for number in numbers])
        for number, picture in zip(numbers, pictures, strict=True):
            yield f"{video}#{number}", picture

    def stamp(self, image: str) -> tuple[int, int] | None:
        """Bytes and a number that changes with the video; None where it is absent."""
        try:
            found = self._paths[image.rpartition("#")[0]].stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
