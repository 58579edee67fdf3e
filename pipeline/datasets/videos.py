"""Videos, decoded frame by frame: nothing that the header says is believed, and memory stays the same at any length."""

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
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what is wrong is said here, in one sentence
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
    """Which decoder makes the pictures: others differ by a grey value here and there."""
    lines = [line for line in cv2.getBuildInformation().splitlines() if "avcodec:" in line and "YES" in line]
    return f"OpenCV {cv2.__version__}" + "".join(f", avcodec {line.split('YES')[1].strip(' ()')}" for line in lines[:1])


def announced(path: Path) -> int:
    """How many frames the header announces, which costs nothing, and may be wrong: `count` decodes them."""
    with _open(path) as capture:
        return max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)


def rate(path: Path) -> float:
    """Frames per second as the header says; 0 where it does not."""
    with _open(path) as capture:
        said = float(capture.get(cv2.CAP_PROP_FPS))
    return said if 0 < said < 10000 else 0.0


def count(path: Path) -> int:
    """How many frames can be decoded, by decoding them.

    Raises:
        ValueError: there is not one.
    """
    with _open(path) as capture:
        frames = 0
        while capture.grab():
            frames += 1
    if frames == 0:
        raise ValueError(f"{path}: the video has no frame that can be decoded")
    return frames


def frames(path: Path, numbers: list[int]) -> Generator[np.ndarray, None, None]:
    """Some frames of a video.

    Args:
        path: the video.
        numbers: which frames, ascending, from 0.

    Yields:
        (height, width, 3) uint8 BGR, one a number.
    """
    with _open(path) as capture:
        at = -1
        for number in numbers:
            while at < number:
                if not capture.grab():
                    raise ValueError(f"{path}: the video ends at frame {at + 1}, frame {number} was expected")
                at += 1
            decoded, picture = capture.retrieve()
            if not decoded:
                raise ValueError(f"{path}: frame {number} cannot be decoded")
            yield picture
