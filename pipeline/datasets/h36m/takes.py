"""Human3.6M in any layout: its names and numbers, and a take.

A take is one subject doing one action once, recorded by four cameras. The cameras were calibrated anew for every subject.
Frames are numbered from 1, as in the field's image names.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import archives
from pipeline.geometry.camera import Camera
from pipeline.skeleton import Skeleton, get

SKELETON: Skeleton = get("h36m_17")
TRAIN_SUBJECTS, TEST_SUBJECTS = (1, 5, 6, 7, 8), (9, 11)
SIZE = (1000, 1002)  # px, without an image; two of the cameras have 1000 x 1000
CAMERAS = ("54138969", "55011271", "58860488", "60457274")
# As metadata.xml numbers them. Published code has another table, which is wrong from 7 to 12 and at 14 and 15.
ACTIONS = {
    2: "Directions", 3: "Discussion", 4: "Eating", 5: "Greeting", 6: "Phoning", 7: "Posing", 8: "Purchases", 9: "Sitting",
    10: "SittingDown", 11: "Smoking", 12: "TakingPhoto", 13: "Waiting", 14: "Walking", 15: "WalkingDog",
    16: "WalkingTogether",
}  # fmt: skip
RECORDED_JOINTS = 32
# The 17 commonly used joints of the 32 recorded ones, in the order of the skeleton h36m_17. 16 has the position of 13.
JOINTS_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 16, 14, 15, 17, 18, 19, 25, 26, 27)
# Subject, action, subaction: the poses of S9 are offset from the person by up to some 100 mm.
DAMAGED = ((9, 5, 2), (9, 10, 2), (9, 13, 1))
NO_VIDEO = ((11, 2, 2),)  # the first camera's is missing or broken in many copies
HEAD_MM = 200.0  # a tenth of the published box; the head size of PCKh on this set
BOX_MM = (-1000.0, -900.0, 1000.0, 1100.0)  # the published box about the pelvis, at its depth: x1 y1 x2 y2

IMAGE_NAME = re.compile(
    r"s_(\d{2})_act_(\d{2})_subact_(\d{2})_ca_(\d{2})(?:_(\d{6}))?(?:\.jpe?g|\.png)?", re.IGNORECASE
)


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of a take's frames.

    Attributes:
        keypoints: (frames, views, 17, 2) px of the full image; NaN if unknown.
        joints: (frames, 17, 3) world mm; NaN if unknown.
    """

    keypoints: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """One view's images as files: their names by frame number."""

    images: archives.Images
    names: Mapping[int, str]


@dataclass(frozen=True)
class VideoFile:
    """One view's images as a video, whose first image is frame 1."""

    path: Path


Footage = ImageFiles | VideoFile


@dataclass(frozen=True, eq=False, kw_only=True)
class Take:
    """One subject doing one action once.

    Attributes:
        key: subject (1 to 11), action (2 to 16, see ACTIONS), subaction (1 or 2).
        cameras: (views,) of the subject, in the order of CAMERAS.
        numbers: (frames,) int from 1, ascending: the frames that all views have.
        footage: (views,); empty if only labels are read.
        labels: reads the labels of all `numbers`.
    """

    key: tuple[int, int, int]
    cameras: tuple[Camera, ...]
    numbers: np.ndarray
    footage: tuple[Footage, ...]
    labels: Callable[[], Labels]

    @property
    def name(self) -> str:
        return take_name(*self.key)

    @property
    def subject(self) -> int:
        return self.key[0]

    @property
    def person(self) -> str:
        return f"S{self.subject}"


def take_name(subject: int, action: int, subaction: int) -> str:
    return f"s_{subject:02}_act_{action:02}_subact_{subaction:02}"


def subject_number(value: Any, what: str) -> int:
    """Return 9 from 9, "9", "S9", b"S9" or an array of one."""
    if isinstance(value, bytes):
        value = value.decode("latin1")
    if isinstance(value, str):
        value = value.strip().upper().removeprefix("S")
        value = int(value) if value.isdecimal() else -1
    return whole(value, what, 1, 11)


def whole(value: Any, what: str, low: int, high: int) -> int:
    """Return a whole number in [low, high], also from an array of one or a text."""
    try:
        number = float(np.asarray(value, dtype=np.float64).reshape(()) if np.size(value) != 1 else np.ravel(value)[0])
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if not low <= number <= high or number != int(number):
        raise ValueError(f"{what}: expected a whole number from {low} to {high}, got {value!r:.80}")
    return int(number)


def numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return finite numbers of a shape, up to axes of length 1: a (1, 3, 3) is a (3, 3)."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what}: expected numbers, got {value!r:.80}") from None
    if tuple(side for side in array.shape if side != 1) != tuple(side for side in shape if side != 1):
        raise ValueError(f"{what}: expected numbers of the shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: expected finite numbers, got {array.tolist()!r:.80}")
    return array.reshape(shape)


def published_box(camera: Camera, roots: np.ndarray) -> np.ndarray:
    """Return the box of this set's published systems: 2 m x 2 m at the depth of the pelvis, 100 mm lower than it.

    Args:
        camera: of the view; its distortion is ignored, as published.
        roots: (frames, 3) world mm, the pelvis.

    Returns:
        (frames, 4) px, x1 y1 x2 y2.
    """
    offset = np.array(BOX_MM).reshape(2, 2)
    root = camera.camera_from_world(roots)
    corners = np.stack([root + [*corner, 0.0] for corner in offset], axis=-2)  # (frames, 2, 3) camera mm
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = corners[..., :2] / corners[..., 2:]
    return (normalised * np.diag(camera.K)[:2] + camera.K[:2, 2]).reshape(*roots.shape[:-1], 4)
