"""Many JPEGs in one HDF5 file: their bytes end to end, and where each begins. DVC hashes one file, not a million."""

from collections.abc import Iterable

import cv2
import h5py
import numpy as np

_CHUNK = 1 << 20  # bytes; appended in whole chunks, so memory does not grow with the number of pictures


def append(file: h5py.Group, pictures: Iterable[bytes]) -> np.ndarray:
    """Write JPEGs as the dataset `jpeg` and their starts as `jpeg_start`; an absent picture is b"".

    Returns:
        (pictures + 1,) int64 starts; picture i is bytes starts[i]:starts[i + 1].
    """
    data = file.create_dataset("jpeg", shape=(0,), maxshape=(None,), chunks=(_CHUNK,), dtype=np.uint8)
    starts, buffer, written = [0], bytearray(), 0
    for picture in pictures:
        buffer += picture
        starts.append(starts[-1] + len(picture))
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


def encode(picture: np.ndarray, quality: int = 95) -> bytes:
    """(height, width, 3) uint8 BGR -> JPEG bytes."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} could not be encoded as JPEG")
    return bytes(data)


def decode(data: np.ndarray) -> np.ndarray:
    """JPEG bytes as (n,) uint8 -> (height, width, 3) uint8 BGR."""
    picture = cv2.imdecode(np.asarray(data), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise ValueError(f"{len(data)} bytes that are no JPEG")
    return picture
