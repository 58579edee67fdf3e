"""Human3.6M as folders with a `matlab_meta.txt` each: `annot/s_01_act_02_subact_01_ca_01/matlab_meta.txt`, and `images/`.

Lines: the number of frames; the sequence's name, width and height; rotation (column by column), position, focal lengths,
principal point, radial and tangential distortion; which 17 of the 32 joints (from 1); then 32 joints in world mm per frame. The
first word of every line but the first is a label.
"""

from collections.abc import Collection
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.datasets import archives
from pipeline.datasets.h36m import images as h36m_images
from pipeline.datasets.h36m.cameras import RawCamera, settle
from pipeline.datasets.h36m.takes import (
    ACTIONS,
    CAMERAS,
    IMAGE_NAME,
    JOINTS_OF_32,
    RECORDED_JOINTS,
    ImageFiles,
    Labels,
    Take,
    numbers,
    take_name,
    whole,
)
from pipeline.geometry.camera import Camera

FILE = "matlab_meta.txt"
_HEADER = 9  # lines
_LONGEST = 50_000  # frames
_COMPARED_FRAMES = 24  # of a subject


def find(place: Path) -> dict[tuple[int, int, int], dict[int, Path]]:
    """Return (subject, action, subaction) -> view -> its file, of a folder of such folders or its `annot/`."""
    files: dict[tuple[int, int, int], dict[int, Path]] = {}
    if not place.is_dir():
        return files
    for path in sorted([*place.glob(f"s_*/{FILE}"), *place.glob(f"annot/s_*/{FILE}")]):
        matched = IMAGE_NAME.fullmatch(path.parent.name)
        if matched and not matched[5]:
            subject, action, subaction, camera = (int(part) for part in matched.groups()[:4])
            if action in ACTIONS and 1 <= camera <= len(CAMERAS):
                files.setdefault((subject, action, subaction), {})[camera - 1] = path
    return files


def read(annotations: Path, place: Path | None, subjects: Collection[int]) -> tuple[list[Take], list[str]]:
    """Return the takes of the folders, and sentences on corrections and omissions.

    Args:
        annotations: the folder, see the module's first lines.
        place: the folder or zip of the images; None if only labels are read.
        subjects: their numbers.

    Raises:
        ValueError: a file is damaged or inconsistent; the sentence names file and line.
    """
    notes: list[str] = []
    files = {key: views for key, views in find(annotations).items() if key[0] in subjects}
    expected = sorted({view for views in files.values() for view in views})
    images: archives.Images | None = None
    takes: list[Take] = []
    rigs: dict[int, tuple[Camera, ...]] = {}
    raws_of: dict[int, list[RawCamera]] = {}
    for key, views in sorted(files.items()):
        name = take_name(*key)
        if sorted(views) != expected:
            notes.append(f"{name}: no folder of camera {min(set(expected) - set(views)) + 1}, left out")
            continue
        heads = [_head(views[view], view) for view in expected]
        counts = [count for _, count in heads]
        if place is not None and images is None:
            images = archives.Images({"": h36m_images.open_store(place, _image_path(*key, expected[0], 1))})
        frames = np.arange(1, min(counts) + 1)
        if images is not None:
            there = np.array(
                [
                    all(images.stamp(_image_path(*key, view, n)) is not None for view in expected)
                    for n in frames.tolist()
                ]
            )
            if not there.all():
                notes.append(f"{name}: {(~there).sum()} of {len(frames)} frame groups lack an image and are left out")
            frames = frames[there]
        if len(set(counts)) > 1:
            notes.append(
                f"{name}: the views have {', '.join(map(str, counts))} frames; the first {min(counts)} are used"
            )
        if not len(frames):
            continue
        raws = [raw for raw, _ in heads]
        if key[0] not in rigs:
            some = np.unique(np.linspace(0, min(counts) - 1, _COMPARED_FRAMES).round().astype(int))
            joints = np.stack([_joints(views[view], some) for view in expected], axis=1)
            rigs[key[0]], mended = settle(raws, None, joints, True, f"{annotations}: S{key[0]}")
            raws_of[key[0]] = raws
            notes += mended
        elif not all(raw.equals(first) for raw, first in zip(raws, raws_of[key[0]], strict=True)):
            raise ValueError(f"{views[expected[0]]}: the cameras of S{key[0]} differ from those of earlier folders")
        cameras = rigs[key[0]]
        footage: tuple[ImageFiles, ...] = ()
        if images is not None:
            footage = tuple(
                ImageFiles(images, {n: _image_path(*key, view, n) for n in frames.tolist()}) for view in expected
            )
        labels = _Reader(views[expected[0]], frames, cameras)
        takes.append(Take(key=key, cameras=cameras, numbers=frames, footage=footage, labels=labels))
    if not takes:
        names = ", ".join(f"S{subject}" for subject in sorted(subjects))
        raise ValueError(f"{annotations}: no take of {names} is there with all its cameras and images")
    return takes, notes


class _Reader:
    def __init__(self, path: Path, frames: np.ndarray, cameras: tuple[Camera, ...]) -> None:
        self._path, self._frames, self._cameras = path, frames, cameras

    def __call__(self) -> Labels:
        joints = _joints(self._path, self._frames - 1)
        return Labels(np.stack([camera.project(joints) for camera in self._cameras], axis=1), joints)


def _image_path(subject: int, action: int, subaction: int, view: int, number: int) -> str:
    folder = f"{take_name(subject, action, subaction)}_ca_{view + 1:02}"
    return f"{folder}/{folder}_{number:06}.jpg"


def _head(path: Path, view: int) -> tuple[RawCamera, int]:
    """Return the camera, and the number of frames."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line.split() for line in islice(file, _HEADER)]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not readable as text; expected {FILE}") from None
    if len(lines) < _HEADER or not lines[0]:
        raise ValueError(f"{path}: expected {_HEADER} lines before the first pose, got {len(lines)}")
    count = whole(lines[0][-1], f"{path}: line 1: number of frames", 1, _LONGEST)

    def values(line: int, number: int) -> np.ndarray:
        return numbers(_floats(lines[line - 1][1:], f"{path}: line {line}"), (number,), f"{path}: line {line}")

    size = values(2, 2) if len(lines[1]) == 3 else numbers([], (2,), f"{path}: line 2")
    used = values(9, len(JOINTS_OF_32)).astype(int) - 1
    if used.tolist() != list(JOINTS_OF_32) and used.tolist() != [j if j != 16 else 13 for j in JOINTS_OF_32]:
        raise ValueError(
            f"{path}: line 9: expected the joints {[j + 1 for j in JOINTS_OF_32]}, got {(used + 1).tolist()}"
        )
    if (size < 1).any() or (values(5, 2) <= 0).any():
        raise ValueError(f"{path}: expected an image size and focal lengths above 0")
    rotation = values(3, 9).reshape(3, 3).T
    camera = RawCamera(
        name=CAMERAS[view],
        size=(int(size[0]), int(size[1])),
        focal=values(5, 2),
        centre_px=values(6, 2),
        radial=values(7, 3),
        tangential=values(8, 2),
        rotation=rotation,
        position=values(4, 3),
    )
    return camera, count


def _joints(path: Path, rows: np.ndarray) -> np.ndarray:
    """Return (rows, 17, 3) world mm of some frames, from 0, ascending."""
    chosen = set(rows.tolist())
    poses = []
    with path.open(encoding="utf-8") as file:
        for at, line in enumerate(islice(file, _HEADER, _HEADER + int(rows[-1]) + 1)):
            if at in chosen:
                what = f"{path}: line {at + _HEADER + 1}"
                poses.append(numbers(_floats(line.split()[1:], what), (3 * RECORDED_JOINTS,), what))
    if len(poses) != len(rows):
        raise ValueError(f"{path}: ends before frame {int(rows[-1]) + 1}, which line 1 announces")
    return np.stack(poses).reshape(-1, RECORDED_JOINTS, 3)[:, list(JOINTS_OF_32)]


def _floats(words: list[str], what: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        raise ValueError(f"{what}: expected numbers after the first word, got {' '.join(words)!r:.80}") from None
