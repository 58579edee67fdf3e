"""A rig's recordings on disk: which views, which sequences, which frames all views share, and their pictures.

`<views>/<camera>.mp4` or `<views>/<camera>/<number>.jpg` is one sequence, named after the folder around `<views>`;
`<views>/<sequence>/<camera>...` are many. Frames of a video are numbered from 0, those of a folder by their names.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import crops
from pipeline.datasets import images, parallel, videos
from pipeline.datasets.calibration import simplified
from pipeline.geometry.camera import Camera

# Codecs pad or cut to multiples of 16, and exporters shrink by as much. More than that is another picture format.
_SIZE_TOLERANCE = 16  # px
_LAST_NUMBER = 2**31 - 1
_BLACK = 24  # grey value that the bars of an exporter stay below on average


@dataclass(frozen=True)
class View:
    """One camera's recording of one sequence: a video, or pictures by frame number."""

    camera: Camera
    path: Path
    pictures: dict[int, Path] | None  # None for a video

    @property
    def is_video(self) -> bool:
        return self.pictures is None


@dataclass(frozen=True)
class Recording:
    """One recording: a name, the views in the calibration's order, and the frames that all of them have."""

    name: str
    views: tuple[View, ...]
    numbers: tuple[int, ...]
    notes: tuple[str, ...]


def find(folder: Path, cameras: Sequence[Camera], wanted: Sequence[str], calibration: Path) -> tuple[Recording, ...]:
    """The sequences of a folder of views, each with the frames that its views share.

    Args:
        folder: see the module's first lines.
        cameras: of the calibration.
        wanted: names of the views to use; empty for all.
        calibration: where the cameras are from, for messages.

    Raises:
        ValueError: no view, fewer than two, a view without calibration or the other way round, no common frame.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder with a video or a picture folder a camera")
    chosen = [_camera(name, cameras, calibration) for name in wanted] if wanted else list(cameras)
    twice = sorted({camera.name for camera in chosen if chosen.count(camera) > 1})
    if twice:
        raise ValueError(f"target.views: the view {twice[0]} is there twice")
    layout = _layout(folder, cameras)
    found = []
    for name, entries in layout:
        where = folder if len(layout) == 1 and name == _sequence_name(folder) else folder / name
        by_camera: dict[str, Path] = {}
        for entry in entries:
            other = by_camera.setdefault(simplified(camera_name(entry)), entry)
            if other != entry:
                raise ValueError(f"{where}: {other.name} and {entry.name} are the same camera's; expected one of them")
        unknown = sorted(set(by_camera) - {simplified(camera.name) for camera in cameras})
        if unknown and not wanted:
            raise ValueError(
                f"{by_camera[unknown[0]]}: the view has no calibration; {calibration} has "
                f"{', '.join(camera.name for camera in cameras)}; target.views chooses among views"
            )
        absent = [camera.name for camera in chosen if simplified(camera.name) not in by_camera]
        if absent:
            raise ValueError(
                f"{where}: the camera {absent[0]} of {calibration} has no pictures there; see target.views"
            )
        views = tuple(_view(camera, by_camera[simplified(camera.name)]) for camera in chosen)
        if len(views) < 2:
            raise ValueError(f"{where}: expected at least two views, got {len(views)}: one ray makes no point")
        found.append((name, views))
    every = [view for _, views in found for view in views if view.is_video]
    lengths = parallel.in_order(lambda view: videos.count(view.path), every)
    counts = dict(zip([view.path for view in every], lengths, strict=True))
    return tuple(_sequence(name, views, counts) for name, views in found)


def camera_name(path: Path) -> str:
    """The camera that a view's file or folder is named after."""
    return path.name if path.is_dir() else path.stem


def _sequence_name(folder: Path) -> str:
    return folder.resolve().parent.name or "sequence"


def _layout(folder: Path, cameras: Sequence[Camera]) -> list[tuple[str, list[Path]]]:
    """(sequence name, entries of the views), sorted."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if any(path.is_file() and path.suffix.lower() in videos.SUFFIXES for path in entries):
        return [(_sequence_name(folder), [path for path in entries if _is_view(path)])]
    folders = [path for path in entries if path.is_dir()]
    known = {simplified(camera.name) for camera in cameras}
    if any(simplified(path.name) in known for path in folders) or any(_has_pictures(path) for path in folders):
        return [(_sequence_name(folder), folders)]
    found = []
    for sequence in folders:
        views = sorted(path for path in sequence.iterdir() if not path.name.startswith(".") and _is_view(path))
        if views:
            found.append((sequence.name, views))
    if not found:
        raise ValueError(f"{folder}: expected a video or a picture folder a camera, found neither")
    return found


def _is_view(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in videos.SUFFIXES


def _has_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in images.SUFFIXES for path in folder.iterdir())


def _camera(name: str, cameras: Sequence[Camera], calibration: Path) -> Camera:
    for camera in cameras:
        if simplified(camera.name) == simplified(name):
            return camera
    have = ", ".join(camera.name for camera in cameras)
    raise ValueError(f"target.views: the view '{name}' has no calibration; {calibration} has {have}")


def _view(camera: Camera, path: Path) -> View:
    if not path.is_dir():
        return View(camera, path, None)
    pictures: dict[int, Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in images.SUFFIXES or file.name.startswith("."):
            continue
        number = frame_number(file)
        if number in pictures:
            raise ValueError(f"{path}: two pictures of frame {number}: {pictures[number].name} and {file.name}")
        pictures[number] = file
    if not pictures:
        raise ValueError(f"{path}: the view {camera.name} has no pictures")
    return View(camera, path, pictures)


def frame_number(path: Path) -> int:
    """The last run of digits of a file's name: `000012.jpg`, `cam01.0012.json`, `x_000012_keypoints.json` are 12."""
    digits = re.findall(r"\d+", path.name[: -len(path.suffix)] if path.suffix else path.name)
    if not digits:
        raise ValueError(f"{path}: expected a frame number in the name")
    if int(digits[-1]) > _LAST_NUMBER:
        raise ValueError(f"{path}: expected a frame number up to {_LAST_NUMBER} at the end of the name")
    return int(digits[-1])


def _sequence(name: str, views: tuple[View, ...], counts: dict[Path, int]) -> Recording:
    each = [set(view.pictures) if view.pictures is not None else set(range(counts[view.path])) for view in views]
    common = sorted(set.intersection(*each))
    if not common:
        spans = ", ".join(f"{v.camera.name} {min(n)}..{max(n)}" for v, n in zip(views, each, strict=True))
        raise ValueError(f"{views[0].path.parent}: no frame is in all views ({spans})")
    notes = []
    if any(len(numbers) != len(common) for numbers in each):
        lengths = ", ".join(f"{view.camera.name} {len(n)}" for view, n in zip(views, each, strict=True))
        notes.append(
            f"{views[0].path.parent}: the views have unequal frames ({lengths}); using the {len(common)} common"
        )
    return Recording(name, views, tuple(common), tuple(notes))


def pictures(sequence: Recording, numbers: Sequence[int]) -> Generator[list[Path | np.ndarray], None, None]:
    """What each frame's views hold: a file to read for folders, decoded pixels for videos, as the views come."""
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(videos.frames(view.path, list(numbers)))) if view.is_video else None
            for view in sequence.views
        ]
        for number in numbers:
            yield [
                view.pictures[number] if view.pictures is not None else next(stream)  # type: ignore[arg-type]
                for view, stream in zip(sequence.views, streams, strict=True)
            ]


def read(source: Path | np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 BGR of what `pictures` yields."""
    return images.read(source) if isinstance(source, Path) else source


def fit(picture: np.ndarray, camera: Camera, path: Path) -> tuple[np.ndarray, str]:
    """How a view's pictures lie in the px of its calibration, when their sizes differ a little.

    An exporter that keeps the aspect ratio shrinks the picture and fills up with black bars; a codec cuts at the right and
    below. Bars are seen in the pixels.

    Args:
        picture: (height, width, 3) uint8, one of the view's.
        camera: the view's.
        path: the view's, for messages.

    Returns:
        (2, 3) calibration's px from the picture's, and a sentence, empty where the sizes agree.

    Raises:
        ValueError: they differ by more than a codec or an exporter explains.
    """
    size, expected = np.array([picture.shape[1], picture.shape[0]]), np.array(camera.size)
    same = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    if (size == expected).all():
        return same, ""
    sentence = f"{path}: the pictures are {size[0]}x{size[1]}, the calibration is for {expected[0]}x{expected[1]}"
    if (np.abs(size - expected) > _SIZE_TOLERANCE).any():
        raise ValueError(sentence)
    scale = float((size / expected).min())
    bars = (size - scale * expected) / 2  # px on each side
    rows, columns = np.floor(bars[::-1] - 0.5).astype(int).clip(0)
    edges = [
        picture[:rows],
        picture[len(picture) - rows :],
        picture[:, :columns],
        picture[:, picture.shape[1] - columns :],
    ]
    if any(edge.size for edge in edges) and all(edge.mean() < _BLACK for edge in edges if edge.size):
        shrunk = crops.crop_from_image(np.array([-0.5, -0.5, *(expected - 0.5)]), tuple((scale * expected).tolist()))
        shrunk[:, 2] += bars
        return crops.inverse(shrunk), sentence + f"; black bars say that it is the whole picture, {scale:.4f} times"
    return same, sentence + "; taken to be cut at the right and below"
