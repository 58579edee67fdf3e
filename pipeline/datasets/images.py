"""Image files from elsewhere: names that stay inside their folder, and a sentence for files that are not whole."""

from pathlib import Path, PurePosixPath

import cv2
import numpy as np

_MAX_PX = 150_000_000  # a larger size is announced by files that are made to fill the memory
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def inside(folder: Path, name: str, what: str) -> Path:
    """Return the path of a file that an annotation names, if it lies inside the folder.

    Raises:
        ValueError: the name is absolute or climbs out ('../x.jpg'); `what` names the annotation in the message.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    outside = pure.is_absolute() or ".." in pure.parts or not pure.parts or ":" in pure.parts[0]
    if outside or "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):  # no file system takes these
        raise ValueError(f"{what}: expected the name of a file inside {folder}, got {name!r}")
    return folder / pure


def read(path: Path) -> np.ndarray:
    """Decode an image file, EXIF orientation ignored (annotations are in the file's own px).

    Returns:
        (height, width, 3) uint8 BGR.

    Raises:
        ValueError: the file is absent, truncated or no image. OpenCV alone would fill the rest with grey.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such image") from None
    except OSError as error:
        raise ValueError(f"{path}: not readable ({error.strerror})") from None
    return decode(data, path)


def decode(data: bytes, path: Path | str) -> np.ndarray:
    """Decode an image from its file's bytes; see `read`."""
    if not data:
        raise ValueError(f"{path}: the image is empty (0 bytes)")
    if not _is_whole(data):
        raise ValueError(f"{path}: the image is truncated ({len(data)} bytes, and its end is missing)")
    width, height = size(data)
    if width * height > _MAX_PX:
        raise ValueError(f"{path}: announces {width}x{height} px, more than any camera has")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # e.g. a header that announces more pixels than OpenCV allows
        image = None
    if image is None:
        raise ValueError(f"{path}: not an image that OpenCV can decode ({len(data)} bytes)")
    return image


def size(data: bytes) -> tuple[int, int]:
    """Return the width and height that a JPEG or PNG file announces, in the file's own orientation; 0, 0 for other kinds."""
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    position = 2
    while data.startswith(b"\xff\xd8") and position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of a frame
            return int.from_bytes(data[position + 7 : position + 9], "big"), int.from_bytes(
                data[position + 5 : position + 7], "big"
            )
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0, 0


def _is_whole(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data[-64:] or b"IEND" in data
    if not data.startswith(b"\xff\xd8"):
        return True  # left to the decoder
    # A JPEG: walk the header's segments (a thumbnail inside one has an end marker of its own), then look for the end.
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA:  # the scan begins: in it, FF D9 can only be the end
            return data.find(b"\xff\xd9", position) >= 0
    return False
