"""Human3.6M's images in a folder, a zip or videos, read by name."""

import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np

from pipeline.datasets import archives, parallel, videos
from pipeline.datasets.h36m.takes import Footage, VideoFile


def open_store(place: Path, example: str) -> archives.Store:
    """Return the folder or zip that holds the images, with or without an inner `images/`.

    Args:
        place: a zip, or a folder that has the images, `images/`, or a zip.
        example: one image's name.

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
    raise ValueError(f"{place}: there is no image {example} in it, nor in images/ or a zip there")


def image_size(footage: Footage, number: int) -> tuple[int, int]:
    """Return (width, height) px of one image."""
    if isinstance(footage, VideoFile):
        with closing(videos.frames(footage.path, [number - 1])) as frames:
            height, width = next(frames).shape[:2]
    else:
        height, width = footage.images.read(footage.names[number]).shape[:2]
    return width, height


class VideoImages:
    """Images by name, `<video>#<frame>`, from videos whose frames are read about in order.

    Any number of threads may read. A video is decoded from the first requested frame on; frames before a later requested one
    are kept for a while.
    """

    def __init__(self, numbers: dict[str, list[int]], paths: dict[str, Path], keep: object = None) -> None:
        """Take the frames to read.

        Args:
            numbers: video -> its frames from 1, ascending; each is read once.
            paths: video -> its file.
            keep: an object that lives as long as this one, such as the folder that the videos were unpacked to.
        """
        self._numbers, self._paths, self._keep = numbers, paths, keep
        self._streams: dict[str, Generator[tuple[str, np.ndarray], None, None]] = {}
        self._passed: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()
        self._most = 4 * parallel.workers()  # as many as are in flight at a time

    def read(self, image: str) -> np.ndarray:
        """Return an image, (height, width, 3) uint8 BGR."""
        video, _, number = image.rpartition("#")
        with self._lock:
            if image not in self._passed and video not in self._streams:
                at = self._numbers[video].index(int(number))
                self._streams[video] = self._decoded(video, max(at - self._most, 0))
            while image not in self._passed:
                if video not in self._streams:
                    raise ValueError(f"{self._paths[video]}: frame {number} was read twice, or long after later ones")
                name, decoded = next(self._streams[video])
                self._passed[name] = decoded
                if name == f"{video}#{self._numbers[video][-1]}":
                    self._streams.pop(video).close()
                if len(self._passed) > 2 * self._most:
                    self._passed.pop(next(iter(self._passed)))
            return self._passed.pop(image)

    def _decoded(self, video: str, at: int) -> Generator[tuple[str, np.ndarray], None, None]:
        numbers = self._numbers[video][at:]
        frames = videos.frames(self._paths[video], [number - 1 for number in numbers])
        for number, frame in zip(numbers, frames, strict=True):
            yield f"{video}#{number}", frame

    def stamp(self, image: str) -> tuple[int, int] | None:
        """Return the video's size in bytes and a number that changes with it; None if it is absent."""
        try:
            stat = self._paths[image.rpartition("#")[0]].stat()
        except OSError:
            return None
        return stat.st_size, stat.st_mtime_ns
