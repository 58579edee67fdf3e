"""A rig's recordings on disk: the views, the sequences, the frame groups that all views share, and their images.

`<views>/<camera>.mp4` or `<views>/<camera>/<number>.jpg` is one sequence, named after the folder around `<views>`;
`<views>/<sequence>/<camera>...` are many. Frames of a video are numbered from 0, those of a folder by their names.

A frame group is the same instant in all views. Its number is the frame's number in a view that runs at the slowest rate and
without an offset; other views have frame numbers of their own for it.
"""

import re
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import crops
from pipeline.calibration.description import simplified
from pipeline.datasets import images, parallel, videos
from pipeline.geometry.camera import Camera

# Codecs pad or crop to multiples of 16, and exporters shrink by as much. A larger difference is another image format.
_SIZE_TOLERANCE = 16  # px
_LAST_NUMBER = 2**31 - 1
_BLACK = 24  # mean grey value that an exporter's bars stay below
_RATE_TOLERANCE = 0.02  # relative; frame rates that differ by less are equal, and rounded otherwise

Decoder = Callable[[], np.ndarray]  # decodes an image: (height, width, 3) uint8 BGR
FrameMatching = Literal["auto", "names", "order"]


@dataclass(frozen=True)
class Timing:
    """How the views' frames form frame groups.

    Attributes:
        frame_rates: frames per second by view, where they differ; empty: as the videos state, which must be equal.
        start_offsets: how much earlier than the others a view began, by view, in its own frames or in seconds.
        start_offsets_in: frames or seconds.
        frame_matching: of image folders. names: equal numbers are one frame group. order: the first images are one frame
            group, and so on. auto: by names, but folders with equally many images under other numbers are refused.
    """

    frame_rates: dict[str, float] = field(default_factory=dict)
    start_offsets: dict[str, float] = field(default_factory=dict)
    start_offsets_in: Literal["frames", "seconds"] = "frames"
    frame_matching: FrameMatching = "auto"


@dataclass(frozen=True, kw_only=True)
class View:
    """One camera's recording of one sequence: a video, or images by frame number.

    Attributes:
        camera: the view's.
        path: the video or the folder.
        files: image names in the folder by frame number; None for a video.
        frames_per_group: ratio of the view's frame rate to the slowest one.
        start_offset: the view's frames before frame group 0.
        order: frame numbers by position, if positions rather than numbers match between views.
    """

    camera: Camera
    path: Path
    files: dict[int, str] | None
    frames_per_group: float = 1.0
    start_offset: int = 0
    order: tuple[int, ...] | None = None

    @property
    def is_video(self) -> bool:
        return self.files is None

    def frame_number(self, group: int) -> int:
        """Return the view's frame number in a frame group; -1 after the end of an ordered folder."""
        position = int(np.floor(group * self.frames_per_group + 0.5)) + self.start_offset
        if self.order is None:
            return position
        return self.order[position] if 0 <= position < len(self.order) else -1

    def groups(self, frame_numbers: set[int]) -> set[int]:
        """Return the frame groups whose frames are among the view's frame numbers."""
        positions = frame_numbers if self.order is None else set(range(len(self.order)))
        candidates = {
            int(np.floor((position - self.start_offset) / self.frames_per_group)) + step
            for position in positions
            for step in (0, 1)
        }
        return {group for group in candidates if group >= 0 and self.frame_number(group) in frame_numbers}

    def decoders(self, frame_numbers: Sequence[int]) -> Generator[Decoder, None, None]:
        """Yield a decoder per frame number, ascending; a video is decoded while this runs."""
        if self.files is None:
            for image in videos.frames(self.path, list(frame_numbers)):
                yield partial(np.asarray, image)
        else:
            for number in frame_numbers:
                yield partial(images.read, self.path / self.files[number])

    def file_stamps(self, frame_numbers: Sequence[int]) -> list[tuple[str, int, int]]:
        """Return name, bytes and modification time of the files that hold these frames."""
        names = [""] if self.files is None else [self.files[number] for number in frame_numbers]
        stats = ((self.path / name).stat() for name in names)
        return [
            (name or self.path.name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(names, stats, strict=True)
        ]


@dataclass(frozen=True)
class Recording:
    """One sequence: a name, the views in the calibration's order, the frame groups that all views have, and sentences."""

    name: str
    views: tuple[View, ...]
    numbers: tuple[int, ...]
    notes: tuple[str, ...]

    def frame_numbers(self) -> np.ndarray:
        """Return (frames, views) int: every view's frame number in every frame group."""
        return np.array([[view.frame_number(group) for view in self.views] for group in self.numbers])

    def file_stamps(self) -> list[tuple[str, int, int]]:
        """Return name, bytes and time of every file that the frame groups come from: they change if an image changes."""
        own = [[view.frame_number(group) for group in self.numbers] for view in self.views]
        return [stamp for view, numbers in zip(self.views, own, strict=True) for stamp in view.file_stamps(numbers)]

    def decoders(self, groups: Sequence[int]) -> Generator[list[Decoder], None, None]:
        """Yield per frame group the decoders of the views' images, for workers to call.

        Videos are decoded here, in order, every view in a thread of its own and one frame group ahead.
        """
        with ExitStack() as stack:
            own = [[view.frame_number(group) for group in groups] for view in self.views]
            streams = [
                stack.enter_context(closing(view.decoders(numbers)))
                for view, numbers in zip(self.views, own, strict=True)
            ]
            pool = stack.enter_context(
                ThreadPoolExecutor(len(streams))
            )  # its threads end before the streams are closed
            ahead = [pool.submit(next, stream) for stream in streams] if groups else []
            for number in range(len(groups)):
                decoders = [each.result() for each in ahead]
                if number + 1 < len(groups):
                    ahead = [pool.submit(next, stream) for stream in streams]
                yield decoders


def find_recordings(
    folder: Path,
    cameras: Sequence[Camera],
    view_names: Sequence[str],
    calibration: Path,
    timing: Timing = Timing(),
) -> tuple[Recording, ...]:
    """Return the sequences of a folder of views, each with the frame groups that its views share.

    Args:
        folder: see the module's first lines.
        cameras: of the calibration.
        view_names: the views to use; empty for all.
        calibration: the cameras' file, for messages.
        timing: frame rates and offsets.

    Raises:
        ValueError: no view, fewer than two, a view without calibration or the other way round, no common frame, frame rates
            that differ and were not given.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder with a video or an image folder per camera")
    selected = [_camera(name, cameras, calibration) for name in view_names] if view_names else list(cameras)
    twice = sorted({camera.name for camera in selected if selected.count(camera) > 1})
    if twice:
        raise ValueError(f"target.views: the view {twice[0]} is there twice")
    for name in (*timing.frame_rates, *timing.start_offsets):
        if simplified(name) not in {simplified(camera.name) for camera in selected}:
            key = "frame_rates" if name in timing.frame_rates else "start_offsets"
            raise ValueError(
                f"target.rig.{key}: there is no view '{name}'; there are {', '.join(c.name for c in selected)}"
            )
    layout = _layout(folder, cameras)
    views_by_sequence = []
    for name, entries in layout:
        sequence_folder = folder if len(layout) == 1 and name == _sequence_name(folder) else folder / name
        by_camera = _by_camera(entries, cameras, sequence_folder)
        unknown = sorted(set(by_camera) - {simplified(camera.name) for camera in cameras})
        if unknown and not view_names:
            raise ValueError(
                f"{by_camera[unknown[0]]}: the view has no calibration; {calibration} has "
                f"{', '.join(camera.name for camera in cameras)}; target.views selects views"
            )
        missing = [camera.name for camera in selected if simplified(camera.name) not in by_camera]
        if missing:
            raise ValueError(
                f"{sequence_folder}: the camera {missing[0]} of {calibration} has no images there; see target.views"
            )
        views = tuple(_view(camera, by_camera[simplified(camera.name)]) for camera in selected)
        if len(views) < 2:
            raise ValueError(
                f"{sequence_folder}: expected at least two views, got {len(views)}: one ray makes no point"
            )
        views_by_sequence.append((name, views))
    recorded = [view for _, views in views_by_sequence for view in views if view.is_video]
    lengths = parallel.in_order(lambda view: videos.count(view.path), recorded)
    counts = dict(zip([view.path for view in recorded], lengths, strict=True))
    return tuple(_recording(name, _timed(views, counts, timing), counts) for name, views in views_by_sequence)


def image_size(folder: Path, camera: str) -> tuple[int, int] | None:
    """Return (width, height) px of a camera's first image under a folder of views; None where it has none."""
    if not folder.is_dir():
        return None
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    inner = [path for entry in entries if entry.is_dir() for path in sorted(entry.iterdir())]
    candidates = [entry for entry in (*entries, *inner) if _is_view(entry)]
    exact = [entry for entry in candidates if simplified(camera_name(entry)) == simplified(camera)]
    for entry in [*exact, *candidates]:
        if simplified(camera_name(entry)).endswith(simplified(camera)):
            if entry.is_dir():
                files = sorted(path for path in entry.iterdir() if path.suffix.lower() in images.SUFFIXES)
                if not files:
                    continue
                image = images.read(files[0])
            else:
                with closing(videos.frames(entry, [0])) as stream:
                    image = next(stream)
            return image.shape[1], image.shape[0]
    return None


def camera_name(path: Path) -> str:
    """Return the camera that a view's file or folder is named after."""
    return path.name if path.is_dir() else path.stem


def frame_number_in_name(path: Path) -> int:
    """Return the last run of digits of a file's name: `000012.jpg`, `cam01.0012.json`, `x_000012_keypoints.json` are 12."""
    digits = re.findall(r"\d+", path.name[: -len(path.suffix)] if path.suffix else path.name)
    if not digits:
        raise ValueError(f"{path}: expected a frame number in the name")
    if int(digits[-1]) > _LAST_NUMBER:
        raise ValueError(f"{path}: expected a frame number up to {_LAST_NUMBER} at the end of the name")
    return int(digits[-1])


def calibrated_from_image(image: np.ndarray, calibrated_size: tuple[int, int], path: Path) -> tuple[np.ndarray, str]:
    """Return the affine from a view's images to the px of its calibration, if their sizes differ a little.

    An exporter that keeps the aspect ratio shrinks the image and fills up with black bars; a codec crops at the right and
    below. Bars are recognised by their grey values.

    Args:
        image: (height, width, 3) uint8, one of the view's.
        calibrated_size: (width, height) px that the calibration is for.
        path: the view's, for messages.

    Returns:
        (2, 3) the calibration's px from the image's, and a sentence, empty where the sizes are equal.

    Raises:
        ValueError: they differ by more than a codec or an exporter explains.
    """
    size, expected = np.array([image.shape[1], image.shape[0]]), np.array(calibrated_size)
    identity = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    if (size == expected).all():
        return identity, ""
    sentence = f"{path}: the images are {size[0]}x{size[1]}, the calibration is for {expected[0]}x{expected[1]}"
    if (np.abs(size - expected) > _SIZE_TOLERANCE).any():
        raise ValueError(sentence)
    scale = float((size / expected).min())
    bars = (size - scale * expected) / 2  # px on each side
    rows, columns = np.floor(bars[::-1] - 0.5).astype(int).clip(0)
    edges = [image[:rows], image[len(image) - rows :], image[:, :columns], image[:, image.shape[1] - columns :]]
    if any(edge.size for edge in edges) and all(edge.mean() < _BLACK for edge in edges if edge.size):
        shrunk = crops.crop_from_image(np.array([-0.5, -0.5, *(expected - 0.5)]), tuple((scale * expected).tolist()))
        shrunk[:, 2] += bars
        return crops.inverse(shrunk), sentence + f"; black bars show that it is the whole image, {scale:.4f} times"
    return identity, sentence + "; taken to be cropped at the right and below"


def _by_camera(entries: Sequence[Path], cameras: Sequence[Camera], folder: Path) -> dict[str, Path]:
    """Return videos or folders by simplified camera name; `hd_00_03.mp4` or `Miqus_2_26580.avi` match by their ends."""
    known = {simplified(camera.name) for camera in cameras}
    names = {entry: simplified(camera_name(entry)) for entry in entries}
    if not known & set(names.values()):
        ends = {entry: [camera for camera in known if name.endswith(camera)] for entry, name in names.items()}
        if all(len(matches) == 1 for matches in ends.values()):
            names = {entry: matches[0] for entry, matches in ends.items()}
    by_camera: dict[str, Path] = {}
    for entry in entries:
        other = by_camera.setdefault(names[entry], entry)
        if other != entry:
            raise ValueError(f"{folder}: {other.name} and {entry.name} are the same camera's; expected one of them")
    return by_camera


def _timed(views: tuple[View, ...], counts: dict[Path, int], timing: Timing) -> tuple[View, ...]:
    """Return the views with their frame rates, offsets and frame matching."""
    given = {simplified(name): rate for name, rate in timing.frame_rates.items()}
    rates = {
        view.camera.name: given.get(simplified(view.camera.name), videos.rate(view.path) if view.is_video else 0.0)
        for view in views
    }
    known = [rate for rate in rates.values() if rate > 0]
    if not given and known and max(known) > (1 + _RATE_TOLERANCE) * min(known):
        stated = ", ".join(f"{name}: {rate:g}" for name, rate in rates.items() if rate > 0)
        raise ValueError(
            f"{views[0].path.parent}: the videos state that their frame rates differ; give target.rig.frame_rates, "
            f"{{{stated}}} if that is right, equal ones if it is not"
        )
    if given and len(known) < len(views):
        missing = next(name for name, rate in rates.items() if rate <= 0)
        raise ValueError(f"target.rig.frame_rates: the rate of the view {missing} is needed as well")
    slowest = min(known) if given else 1.0
    offsets = {simplified(name): value for name, value in timing.start_offsets.items()}
    timed = []
    for view in views:
        offset = offsets.get(simplified(view.camera.name), 0.0)
        if offset and timing.start_offsets_in == "seconds":
            if rates[view.camera.name] <= 0:
                raise ValueError(
                    f"target.rig.start_offsets: seconds need the rate of {view.camera.name} in target.rig.frame_rates"
                )
            offset = offset * rates[view.camera.name]
        ratio = rates[view.camera.name] / slowest if given else 1.0
        order = tuple(sorted(view.files)) if timing.frame_matching == "order" and view.files is not None else None
        timed.append(replace(view, frames_per_group=ratio, start_offset=int(np.floor(offset + 0.5)), order=order))
    if timing.frame_matching == "auto":
        _check_numbers(timed)
    return tuple(timed)


def _check_numbers(views: Sequence[View]) -> None:
    """Refuse folders that look as if each began to count elsewhere: equally many images, none missing, other numbers."""
    own = [
        sorted(view.files)
        for view in views
        if view.files is not None and view.frames_per_group == 1 and not view.start_offset
    ]
    spans = {(numbers[0], numbers[-1]) for numbers in own if numbers[-1] - numbers[0] + 1 == len(numbers)}
    if len(spans) > 1 and len({len(numbers) for numbers in own}) == 1 and len(own[0]) > 1:
        listed = ", ".join(f"{view.camera.name} {min(view.files)}..{max(view.files)}" for view in views if view.files)
        raise ValueError(
            f"{views[0].path.parent}: the views have equally many images under other numbers ({listed}); set "
            "target.rig.frame_matching: order if the first ones are one frame group, names if equal numbers are"
        )


def _sequence_name(folder: Path) -> str:
    return folder.resolve().parent.name or "sequence"


def _layout(folder: Path, cameras: Sequence[Camera]) -> list[tuple[str, list[Path]]]:
    """Return (sequence name, entries of the views), sorted."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if any(path.is_file() and path.suffix.lower() in videos.SUFFIXES for path in entries):
        return [(_sequence_name(folder), [path for path in entries if _is_view(path)])]
    folders = [path for path in entries if path.is_dir()]
    known = {simplified(camera.name) for camera in cameras}
    if any(simplified(path.name) in known for path in folders) or any(_has_images(path) for path in folders):
        return [(_sequence_name(folder), folders)]
    layout = []
    for sequence in folders:
        views = sorted(path for path in sequence.iterdir() if not path.name.startswith(".") and _is_view(path))
        if views:
            layout.append((sequence.name, views))
    if not layout:
        raise ValueError(f"{folder}: expected a video or an image folder per camera, found neither")
    return layout


def _is_view(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in videos.SUFFIXES


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in images.SUFFIXES for path in folder.iterdir())


def _camera(name: str, cameras: Sequence[Camera], calibration: Path) -> Camera:
    for camera in cameras:
        if simplified(camera.name) == simplified(name):
            return camera
    have = ", ".join(camera.name for camera in cameras)
    raise ValueError(f"target.views: the view '{name}' has no calibration; {calibration} has {have}")


def _view(camera: Camera, path: Path) -> View:
    if not path.is_dir():
        return View(camera=camera, path=path, files=None)
    files: dict[int, str] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in images.SUFFIXES or file.name.startswith("."):
            continue
        number = frame_number_in_name(file)
        if number in files:
            raise ValueError(f"{path}: two images of frame {number}: {files[number]} and {file.name}")
        files[number] = file.name
    if not files:
        raise ValueError(f"{path}: the view {camera.name} has no images")
    return View(camera=camera, path=path, files=files)


def _recording(name: str, views: tuple[View, ...], counts: dict[Path, int]) -> Recording:
    """Return a sequence with the frame groups that its views share; `counts` are the videos' frames."""
    own = [set(view.files) if view.files is not None else set(range(counts[view.path])) for view in views]
    groups = [view.groups(numbers) for view, numbers in zip(views, own, strict=True)]
    common = sorted(set.intersection(*groups))
    folder = views[0].path.parent
    if not common:
        spans = ", ".join(f"{v.camera.name} {min(n)}..{max(n)}" for v, n in zip(views, own, strict=True))
        raise ValueError(
            f"{folder}: no frame is in all views ({spans}); see target.rig.frame_matching, target.rig.start_offsets"
        )
    notes = []
    if any(view.frames_per_group != 1 or view.start_offset for view in views):
        starts = ", ".join(
            f"{v.camera.name} {', '.join(str(v.frame_number(group)) for group in range(3))}" for v in views
        )
        notes.append(f"{folder}: the first frame groups are the views' own frames {starts}")
    if any(len(numbers) != len(common) for numbers in groups):
        lengths = ", ".join(f"{view.camera.name} {len(n)}" for view, n in zip(views, groups, strict=True))
        notes.append(f"{folder}: the views have unequal frames ({lengths}); using the {len(common)} common")
    return Recording(name, views, tuple(common), tuple(notes))
