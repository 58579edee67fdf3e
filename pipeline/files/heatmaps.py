"""Heatmaps of every view: each joint's peak, and the map itself, as small patches around its two best peaks."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from pipeline.files import hdf5
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get

KIND = "heatmaps"
_AT_ONCE = 2**30  # bytes; Linux reads less than 2 GiB in one call


def _descriptor(file: h5py.File) -> int | None:
    """Return the descriptor to read and write datasets with, past h5py; None on systems without such calls."""
    return int(file.id.get_vfd_handle()) if hasattr(os, "preadv") and hasattr(os, "pwrite") else None


def patch_side(map_size: tuple[int, int]) -> int:
    """Return the side of a peak patch in map px.

    It grows with maps of 64 px and more; a file takes at most 1/14 of the maps' bytes.

    benchmarks/geometry_heatmaps.py measures it on maps of trained networks.
    """
    return max(14, 2 * int(max(map_size) * 14 / 128))


class CompressedMaps(NamedTuple):
    """Maps of some frames as a file holds them; fields as in `Heatmaps`."""

    peak_patches: np.ndarray
    patch_corners: np.ndarray
    coarse_map: np.ndarray
    coarse_scale: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Heatmaps:
    """Detections of one model (or of a foreign detector) in every view of a target.

    Attributes:
        keys: which frames.
        views: (views,) camera names.
        skeleton: what the joints are called.
        keypoints: (frames, views, joints, 2) px of the full image, sub-pixel peaks; NaN where not detected.
        scores: (frames, views, joints) in [0, 1]; 0 where not detected.
        image_from_map: (frames, views, 2, 3) px of the full image from px of the map; NaN where the view is missing.
        map_size: (width, height) px of a map.
        peak_patches: (frames, views, joints, 2, rows, columns) float16, values of the map around its best peak and around
            the best of the rest; `patch_side` px, or the map's where that is less.
        patch_corners: (frames, views, joints, 2, 2) int16, x y of each patch's top-left px in the map.
        coarse_map: (frames, views, joints, height / 4, width / 4) uint8, the map outside of the patches; 255
            is `coarse_scale`.
        coarse_scale: (frames, views, joints) float32, the heat of 255 in `coarse_map`.
    """

    keys: FrameKeys
    views: tuple[str, ...]
    skeleton: Skeleton
    keypoints: np.ndarray
    scores: np.ndarray
    image_from_map: np.ndarray
    map_size: tuple[int, int]
    peak_patches: np.ndarray
    patch_corners: np.ndarray
    coarse_map: np.ndarray
    coarse_scale: np.ndarray

    def maps(self, frames: slice | np.ndarray) -> np.ndarray:
        """Return decompressed maps, (frames, views, joints, height, width) float32, coarse outside of the patches."""
        from pipeline.heatmaps.compress import decompress  # compiles; most readers want no maps

        behind = self.coarse_map[frames], self.coarse_scale[frames]
        return decompress(self.peak_patches[frames], self.patch_corners[frames], *behind, self.map_size)

    @staticmethod
    def read(path: Path, maps: bool = True) -> "Heatmaps":
        """Read a file; without `maps` (the bulk) the fields of the compressed maps are empty."""
        with hdf5.reading(path, KIND) as file:
            rows = slice(None) if maps else slice(0)
            width, height = file.attrs["map_size"]
            return Heatmaps(
                keys=FrameKeys.get(file),
                views=tuple(hdf5.get_text(file, "views").tolist()),
                skeleton=get(file.attrs["skeleton"]),
                keypoints=file["keypoints"][...],
                scores=file["scores"][...],
                image_from_map=file["image_from_map"][...],
                map_size=(int(width), int(height)),
                **_Stored(file).read(rows)._asdict(),
            )


def read_header(path: Path) -> tuple[FrameKeys, tuple[str, ...], Skeleton]:
    """Return the keys, views and skeleton of a file, without its keypoints and maps."""
    with hdf5.reading(path, KIND) as file:
        return FrameKeys.get(file), tuple(hdf5.get_text(file, "views").tolist()), get(file.attrs["skeleton"])


def keypoint_blocks(path: Path, frames: int = 1024) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield a file's keypoints in blocks of frames, so that memory does not grow with the number of frames.

    Yields:
        The rows, keypoints (frames, views, joints, 2) px of the full image, and scores (frames, views, joints).
    """
    with hdf5.reading(path, KIND) as file:
        count = len(file["scores"])
        for start in range(0, count, frames):
            rows = slice(start, min(start + frames, count))
            yield rows, file["keypoints"][rows], file["scores"][rows]


def blocks(path: Path, frames: int = 256) -> Iterator[tuple[slice, Heatmaps]]:
    """Yield a file in blocks of frames, so that memory does not grow with the number of frames.

    Yields:
        The rows of the frames, and their heatmaps.
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
                    keys=keys.take(np.arange(rows.start, rows.stop)),
                    views=views,
                    skeleton=get(skeleton),
                    keypoints=file["keypoints"][rows],
                    scores=file["scores"][rows],
                    image_from_map=file["image_from_map"][rows],
                    map_size=(width, height),
                    **_Stored(file).read(rows)._asdict(),
                ),
            )


class _Rows:
    """Rows of one dataset. Contiguous data is read without h5py, whose calls take longer than the reading."""

    def __init__(self, file: h5py.File, name: str, descriptor: int | None) -> None:
        dataset = file[name]
        self._dataset, self._descriptor, self._start = dataset, descriptor, dataset.id.get_offset()
        self._type, self._shape, self._path = dataset.dtype, dataset.shape[1:], file.filename
        self._count = len(dataset)
        self._bytes = dataset.dtype.itemsize * math.prod(self._shape)
        # Plain numbers, as this machine has them: bytes of anything else (references to text, say) are no values.
        plain = dataset.dtype.kind in "fiu" and dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype))
        self._direct = self._start is not None and plain

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self._count)
        if self._descriptor is None or not self._direct or (stop - start) * self._bytes > _AT_ONCE:
            return np.asarray(self._dataset[rows])
        values = np.empty((max(stop - start, 0), *self._shape), self._type)
        if values.nbytes:
            found = os.preadv(self._descriptor, [values.data], self._start + start * self._bytes)
            if found < values.nbytes:
                raise ValueError(f"{self._path}: the file is cut off")
        return values


class _Stored:
    """The compressed maps of a file."""

    def __init__(self, file: h5py.File) -> None:
        descriptor = _descriptor(file)
        names = ("peak_patches", "patch_corners", "coarse_map", "coarse_scale")  # the order of CompressedMaps
        self._columns = [_Rows(file, name, descriptor) for name in names]

    def __len__(self) -> int:
        return len(self._columns[0])

    def read(self, rows: slice) -> CompressedMaps:
        """Return the compressed maps of some frames."""
        return CompressedMaps(*(column[rows] for column in self._columns))


class MapReader:
    """The decompressed maps of any frames of a file, read on demand."""

    def __init__(self, file: h5py.File) -> None:
        self._datasets = _Stored(file)
        self._count = len(self._datasets)
        width, height = file.attrs["map_size"]
        self._size = int(width), int(height)

    def __len__(self) -> int:
        return self._count

    def maps(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return maps of frames in any order, (frames, views, joints, height, width) float32; neighbours are read at once.

        Raises:
            IndexError: there is no such frame.
        """
        from pipeline.heatmaps.compress import decompress  # compiles; most readers want no maps

        return decompress(*self.stored(frames), self._size)

    def stored(self, frames: Sequence[int] | np.ndarray) -> CompressedMaps:
        """Return the compressed maps of frames in any order.

        Raises:
            IndexError: there is no such frame.
        """
        rows = [int(frame) for frame in frames]
        if rows and not (min(rows) >= 0 and max(rows) < len(self)):
            raise IndexError(f"heatmaps of {len(self)} frames, asked for {min(rows)} to {max(rows)}")
        runs: list[slice] = [] if rows else [slice(0)]
        for row in rows:
            if runs and runs[-1].stop == row:
                runs[-1] = slice(runs[-1].start, row + 1)
            else:
                runs.append(slice(row, row + 1))
        blocks = [self._datasets.read(run) for run in runs]
        if len(blocks) == 1:
            return blocks[0]
        return CompressedMaps(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


@contextmanager
def reading_maps(path: Path) -> Iterator[MapReader]:
    """Open a file to read maps of any frames in any order."""
    with hdf5.reading(path, KIND) as file:
        yield MapReader(file)


def map_blocks(path: Path, frames: int = 16) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield a file's maps in blocks of frames, so that memory does not grow with the number of frames.

    Yields:
        The rows of the frames, and their maps, (frames, views, joints, height, width) float32.
    """
    with reading_maps(path) as reader:
        for start in range(0, len(reader), frames):
            rows = slice(start, min(start + frames, len(reader)))
            yield rows, reader.maps(range(rows.start, rows.stop))


class _Column:
    """A contiguous dataset with one row per frame, so that no index is needed.

    Its space in the file is allocated first, and rows are written there without h5py, which would fill the space with
    zeros before: twice the bytes.
    """

    def __init__(self, file: h5py.File, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> None:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        dataset = file.create_dataset(name, shape=shape, dtype=kind, dcpl=layout, fill_time="never")
        self.shape, self._name, self._type = shape[1:], name, np.dtype(kind)
        self._dataset, self._descriptor, self._start = (
            dataset,
            _descriptor(file),
            dataset.id.get_offset(),
        )  # none of no bytes
        self._bytes = self._type.itemsize * math.prod(self.shape)

    def put(self, first: int, rows: np.ndarray) -> None:
        if rows.shape[1:] != self.shape:
            raise ValueError(f"heatmaps: expected {self._name} of {self.shape} a frame, got {rows.shape[1:]}")
        if self._descriptor is None:
            self._dataset[first : first + len(rows)] = rows
            return
        values = np.ascontiguousarray(rows, dtype=self._type).reshape(-1).view(np.uint8)
        written = 0
        while written < len(values):
            part = values[written : written + _AT_ONCE].data
            written += os.pwrite(self._descriptor, part, self._start + first * self._bytes + written)


class Writer:
    """Appends blocks of frames, in order; memory does not grow with the number of frames."""

    def __init__(self, file: h5py.File, shape: tuple[int, int, int], map_size: tuple[int, int]) -> None:
        frames, views, joints = shape
        width, height = map_size
        self.patch_side = patch_side(map_size)  # px, for `compress`
        window, coarse = (min(self.patch_side, height), min(self.patch_side, width)), (-(-height // 4), -(-width // 4))
        self._done, self._frames = 0, frames
        self._columns = [
            _Column(file, "keypoints", (frames, views, joints, 2), np.float64),
            _Column(file, "scores", (frames, views, joints), np.float32),
            _Column(file, "image_from_map", (frames, views, 2, 3), np.float64),
            _Column(file, "peak_patches", (frames, views, joints, 2, *window), np.float16),
            _Column(file, "patch_corners", (frames, views, joints, 2, 2), np.int16),
            _Column(file, "coarse_map", (frames, views, joints, *coarse), np.uint8),
            _Column(file, "coarse_scale", (frames, views, joints), np.float32),
        ]

    def append(
        self, keypoints: np.ndarray, scores: np.ndarray, image_from_map: np.ndarray, compressed: Sequence[np.ndarray]
    ) -> None:
        """Write the next block of frames; fields as in `Heatmaps`.

        Args:
            compressed: the fields of `CompressedMaps`, or the first two only: then maps are zero outside of the patches.
        """
        end = self._done + len(keypoints)
        if end > self._frames:
            raise ValueError(f"heatmaps of {self._frames} frames were announced, and there are {end}")
        block = [keypoints, scores, image_from_map, *compressed]
        block += [np.zeros((len(keypoints), *column.shape)) for column in self._columns[len(block) :]]
        for column, values in zip(self._columns, block, strict=True):
            column.put(self._done, values)
        self._done = end

    def finish(self) -> None:
        if self._done != self._frames:
            raise ValueError(f"heatmaps of {self._done} frames were written, {self._frames} were announced")


@contextmanager
def writing(
    path: Path, keys: FrameKeys, views: tuple[str, ...], skeleton: Skeleton, map_size: tuple[int, int]
) -> Iterator[Writer]:
    """Open a new heatmap file, which appears only when it is complete."""
    with hdf5.writing(path, KIND) as file:
        file.attrs["skeleton"] = skeleton.name
        file.attrs["map_size"] = map_size
        keys.put(file)
        hdf5.put_text(file, "views", np.array(views))
        writer = Writer(file, (len(keys), len(views), len(skeleton)), map_size)
        yield writer
        writer.finish()
