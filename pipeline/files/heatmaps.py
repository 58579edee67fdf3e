"""Heatmaps of every view: each joint's peak, and the map itself as small windows around its two best peaks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from pipeline.files import hdf5
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get

KIND = "heatmaps"
WINDOW = 16  # map px; two of them hold what RPSM reads of a trained network's map


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """Detections of one model (or of a foreign detector) in every view of a target.

    Attributes:
        keys: which frames.
        views: (views,) camera names.
        skeleton: what the joints are called.
        points: (frames, views, joints, 2) px of the full picture, sub-pixel peaks; NaN where nothing was seen.
        scores: (frames, views, joints) in [0, 1]; 0 where nothing was seen.
        image_from_map: (frames, views, 2, 3) px of the full picture from px of the map; NaN where the view is missing.
        map_size: (width, height) px of a map.
        windows: (frames, views, joints, 2, WINDOW, WINDOW) float16, or fewer along the last axes for small maps:
            values of the map around its best peak and around the best of the rest; zero elsewhere.
        corners: (frames, views, joints, 2, 2) int16, x y of each window's top-left px in the map.
    """

    keys: FrameKeys
    views: tuple[str, ...]
    skeleton: Skeleton
    points: np.ndarray
    scores: np.ndarray
    image_from_map: np.ndarray
    map_size: tuple[int, int]
    windows: np.ndarray
    corners: np.ndarray

    def maps(self, frames: slice) -> np.ndarray:
        """Whole maps again, (frames, views, joints, height, width) float32, zero outside the windows."""
        from pipeline.heatmaps import whole  # compiles; most readers want no maps

        return whole(self.windows[frames], self.corners[frames], self.map_size)

    @staticmethod
    def read(path: Path, windows: bool = True) -> "Heatmaps":
        """Read a file; without windows (they are the bulk), `windows` and `corners` are empty."""
        with hdf5.reading(path, KIND) as file:
            rows = slice(None) if windows else slice(0)
            width, height = file.attrs["map_size"]
            return Heatmaps(
                FrameKeys.get(file),
                tuple(hdf5.get_text(file, "views").tolist()),
                get(file.attrs["skeleton"]),
                file["points"][...],
                file["scores"][...],
                file["image_from_map"][...],
                (int(width), int(height)),
                file["windows"][rows],
                file["corners"][rows],
            )


def read_header(path: Path) -> tuple[FrameKeys, tuple[str, ...], Skeleton]:
    """Which frames, views and joints a file is about, without what was seen."""
    with hdf5.reading(path, KIND) as file:
        return FrameKeys.get(file), tuple(hdf5.get_text(file, "views").tolist()), get(file.attrs["skeleton"])


def point_blocks(path: Path, frames: int = 1024) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """The peaks of a file, some frames at a time, so that memory does not grow with the number of frames.

    Yields:
        Which frames, their points (frames, views, joints, 2) px of the full picture, and scores (frames, views, joints).
    """
    with hdf5.reading(path, KIND) as file:
        count = len(file["scores"])
        for start in range(0, count, frames):
            rows = slice(start, min(start + frames, count))
            yield rows, file["points"][rows], file["scores"][rows]


def blocks(path: Path, frames: int = 256) -> Iterator[tuple[slice, Heatmaps]]:
    """A file some frames at a time, so that memory does not grow with the number of frames.

    Yields:
        Which frames, and all that the file holds of them.
    """
    with hdf5.reading(path, KIND) as file:
        keys, views, skeleton = (
            FrameKeys.get(file),
            tuple(hdf5.get_text(file, "views").tolist()),
            file.attrs["skeleton"],
        )
        width, height = (int(side) for side in file.attrs["map_size"])
        for start in range(0, len(keys), frames):
            rows = slice(start, min(start + frames, len(keys)))
            yield (
                rows,
                Heatmaps(
                    keys.take(np.arange(rows.start, rows.stop)),
                    views,
                    get(skeleton),
                    file["points"][rows],
                    file["scores"][rows],
                    file["image_from_map"][rows],
                    (width, height),
                    file["windows"][rows],
                    file["corners"][rows],
                ),
            )


class MapReader:
    """The whole maps of any frames of a file, read when they are asked for."""

    def __init__(self, file: h5py.File) -> None:
        self._windows, self._corners = file["windows"], file["corners"]
        width, height = file.attrs["map_size"]
        self._size = int(width), int(height)

    def __len__(self) -> int:
        return len(self._windows)

    def maps(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Maps of frames in any order, (frames, views, joints, height, width) float32; neighbours are read at once.

        Raises:
            IndexError: there is no such frame.
        """
        from pipeline.heatmaps import whole  # compiles; most readers of these files want no maps

        rows = np.asarray(frames, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"heatmaps of {len(self)} frames, asked for {rows.min()} to {rows.max()}")
        windows = np.empty((len(rows), *self._windows.shape[1:]), dtype=np.float16)
        corners = np.empty((len(rows), *self._corners.shape[1:]), dtype=np.int16)
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        start = 0
        for end in ends:
            if end > start:
                there, here = slice(int(rows[start]), int(rows[end - 1]) + 1), slice(start, end)
                windows[here], corners[here] = self._windows[there], self._corners[there]
            start = end
        return whole(windows, corners, self._size)


@contextmanager
def reading_maps(path: Path) -> Iterator[MapReader]:
    """Open a file for its maps, of any frames in any order."""
    with hdf5.reading(path, KIND) as file:
        yield MapReader(file)


def map_blocks(path: Path, frames: int = 16) -> Iterator[tuple[slice, np.ndarray]]:
    """The whole maps of a file, some frames at a time, so that memory does not grow with the number of frames.

    Yields:
        Which frames, and their maps, (frames, views, joints, height, width) float32.
    """
    with reading_maps(path) as reader:
        for start in range(0, len(reader), frames):
            rows = slice(start, min(start + frames, len(reader)))
            yield rows, reader.maps(range(rows.start, rows.stop))


class Writer:
    """Appends blocks of frames, in order; memory does not grow with the number of frames."""

    def __init__(self, file: h5py.File, shape: tuple[int, int, int], window: tuple[int, int]) -> None:
        frames, views, joints = shape
        self._done, self._frames = 0, frames
        # One piece each, a row a frame: a frame is found without an index, and blocks are written as they come.
        self._points = file.create_dataset("points", shape=(frames, views, joints, 2), dtype=np.float64)
        self._scores = file.create_dataset("scores", shape=(frames, views, joints), dtype=np.float32)
        self._image_from_map = file.create_dataset("image_from_map", shape=(frames, views, 2, 3), dtype=np.float64)
        self._windows = file.create_dataset("windows", shape=(frames, views, joints, 2, *window), dtype=np.float16)
        self._corners = file.create_dataset("corners", shape=(frames, views, joints, 2, 2), dtype=np.int16)

    def append(
        self,
        points: np.ndarray,
        scores: np.ndarray,
        image_from_map: np.ndarray,
        windows: np.ndarray,
        corners: np.ndarray,
    ) -> None:
        """The next block of frames; fields as in `Heatmaps`."""
        rows = slice(self._done, self._done + len(points))
        self._points[rows] = points
        self._scores[rows] = scores
        self._image_from_map[rows] = image_from_map
        self._windows[rows] = windows
        self._corners[rows] = corners
        self._done += len(points)

    def finish(self) -> None:
        if self._done != self._frames:
            raise ValueError(f"heatmaps of {self._done} frames were written, {self._frames} were announced")


@contextmanager
def writing(
    path: Path, keys: FrameKeys, views: tuple[str, ...], skeleton: Skeleton, map_size: tuple[int, int]
) -> Iterator[Writer]:
    """A new heatmap file, complete or absent."""
    width, height = map_size
    with hdf5.writing(path, KIND) as file:
        file.attrs["skeleton"] = skeleton.name
        file.attrs["map_size"] = map_size
        keys.put(file)
        hdf5.put_text(file, "views", np.array(views))
        window = (min(WINDOW, height), min(WINDOW, width))
        writer = Writer(file, (len(keys), len(views), len(skeleton)), window)
        yield writer
        writer.finish()
