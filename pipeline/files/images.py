"""Many JPEGs in one HDF5 file: their bytes end to end, and the start of each. DVC hashes one file, not a million."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import cv2
import h5py
import numpy as np

_CHUNK = 1 << 20  # bytes; appended in whole chunks, so memory does not grow with the number of images


def append(file: h5py.Group, images: Iterable[bytes]) -> np.ndarray:
    """Write JPEGs as the dataset `jpeg` and their starts as `jpeg_start`; an absent image is b"".

    Returns:
        (images + 1,) int64 starts; image i is bytes starts[i]:starts[i + 1].
    """
    data = file.create_dataset("jpeg", shape=(0,), maxshape=(None,), chunks=(_CHUNK,), dtype=np.uint8)
    starts, buffer, written = [0], bytearray(), 0
    for image in images:
        buffer += image
        starts.append(starts[-1] + len(image))
        if len(buffer) >= _CHUNK:
            data.resize((written + len(buffer),))
            data[written:] = np.frombuffer(bytes(buffer), dtype=np.uint8)
            written += len(buffer)
            buffer.clear()
    if buffer:
        data.resize((written + len(buffer),))
        data[written:] = np.frombuffer(bytes(buffer), dtype=np.uint8)
    found = np.array(starts, dtype=np.int64)
    file.create_dataset("jpeg_start", data=found)
    return found


class Jpegs:
    """The bytes that `append` wrote, left in the file: `[start:stop]` reads that part as (n,) uint8.

    Nothing else is held in memory, any number of threads may read at once, and none of them waits for the interpreter's
    lock meanwhile. (h5py would read a whole chunk for one image, with all other threads waiting.) The file may be
    replaced or removed; what was opened stays readable.
    """

    def __init__(self, path: Path, dataset: h5py.Dataset) -> None:
        """`dataset` is `jpeg` in the open file `path`.

        Raises:
            ValueError: it is not what `append` writes.
        """
        if dataset.ndim != 1 or dataset.dtype != np.uint8 or dataset.chunks is None or dataset.compression is not None:
            raise ValueError(f"{path}: '{dataset.name}' does not hold images as this program writes them")
        self._path, self._length, self._chunk = path, dataset.shape[0], dataset.chunks[0]
        self._starts = np.full(-(-self._length // self._chunk), -1, dtype=np.int64)  # in the file, of each chunk

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            self._starts[chunk.chunk_offset[0] // self._chunk] = chunk.byte_offset

        dataset.id.chunk_iter(note)
        self._lock, self._file = threading.Lock(), path.open("rb")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, span: slice) -> np.ndarray:
        start, stop, _ = span.indices(self._length)
        parts = []
        while start < stop:
            chunk, within = divmod(start, self._chunk)
            count = min(stop - start, self._chunk - within)
            part = self._read(count, int(self._starts[chunk]) + within)
            if len(part) < count:
                raise ValueError(f"{self._path}: the file is cut off")
            parts.append(part)
            start += count
        return np.frombuffer(b"".join(parts), dtype=np.uint8)

    def _read(self, count: int, start: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), count, start)
        with self._lock:  # Windows: one thread at a time
            self._file.seek(start)
            return self._file.read(count)


def encode(image: np.ndarray, quality: int = 95) -> bytes:
    """Return the JPEG bytes of a (height, width, 3) uint8 BGR image."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"an image of shape {image.shape} could not be encoded as JPEG")
    return bytes(data)


def decode(data: np.ndarray) -> np.ndarray:
    """Return the (height, width, 3) uint8 BGR image of JPEG bytes, (n,) uint8."""
    image = cv2.imdecode(np.asarray(data), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError(f"{len(data)} bytes that are no JPEG")
    return image
