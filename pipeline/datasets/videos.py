"""Videos, decoded frame by frame: the header is not trusted, and memory does not grow with the length."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


@contextmanager
def _open(path: Path) -> Iterator[cv2.VideoCapture]:
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the video is empty (0 bytes)")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: errors are raised here, in one sentence
    ffmpeg = cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG if ffmpeg else cv2.CAP_ANY)
    cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise ValueError(f"{path}: not a video that OpenCV can open; it may be truncated")
        yield capture
    finally:
        capture.release()


def decoder() -> str:
    """Return the decoder's name and version: others differ by a grey value here and there."""
    lines = [line for line in cv2.getBuildInformation().splitlines() if "avcodec:" in line and "YES" in line]
    return f"OpenCV {cv2.__version__}" + "".join(f", avcodec {line.split('YES')[1].strip(' ()')}" for line in lines[:1])


def announced(path: Path) -> int:
    """Return the number of frames that the header announces, which may be wrong: `count` decodes them."""
    with _open(path) as capture:
        return max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)


def rate(path: Path) -> float:
    """Return the frames per second that the header states; 0 where it states none."""
    with _open(path) as capture:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps < 10000 else 0.0


def count(path: Path) -> int:
    """Return how many frames can be decoded, by decoding them.

    Raises:
        ValueError: no frame can be decoded.
    """
    with _open(path) as capture:
        frames = 0
        while capture.grab():
            frames += 1
    if frames == 0:
        raise ValueError(f"{path}: the video has no frame that can be decoded")
    return frames


def frames(path: Path, numbers: list[int]) -> Generator[np.ndarray, None, None]:
    """Yield some frames of a video.

    Args:
        path: the video.
        numbers: of the frames, ascending, from 0.

    Yields:
        (height, width, 3) uint8 BGR, one per number.
    """
    with _open(path) as capture:
        position = -1
        for number in numbers:
            while position < number:
                if not capture.grab():
                    raise ValueError(f"{path}: the video ends at frame {position + 1}, frame {number} was expected")
                position += 1
            decoded, image = capture.retrieve()
            if not decoded:
                raise ValueError(f"{path}: frame {number} cannot be decoded")
            yield image
