"""A rig's recordings on disk: which views, which sequences, which frames all views share, and their pictures.

`<views>/<camera>.mp4` or `<views>/<camera>/<number>.jpg` is one sequence, named after the folder around `<views>`;
`<views>/<sequence>/<camera>...` are many. Frames of a video are numbered from 0, those of a folder by their names.

A moment is what all views see at one time. Its number is the frame's number in a view that runs at the slowest rate and
without an offset; other views have numbers of their own for it.
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
from pipeline.datasets import calibration as calibrations
from pipeline.datasets import calibration_formats, images, parallel, videos
from pipeline.datasets.calibration import Calibration, simplified
from pipeline.geometry.camera import Camera
from pipeline.rig.plausibility import check_orientations

# Codecs pad or cut to multiples of 16, and exporters shrink by as much. More than that is another picture format.
_SIZE_TOLERANCE = 16  # px
_LAST_NUMBER = 2**31 - 1
_BLACK = 24  # grey value that the bars of an exporter stay below on average


_ALIKE = 0.02  # relative; frame rates that differ by less are the same, rounded otherwise

Source = Callable[[], np.ndarray]  # decodes a picture: (height, width, 3) uint8 BGR
Numbering = Literal["auto", "names", "order"]


@dataclass(frozen=True)
class Timing:
    """How the views' frames belong together.

    Attributes:
        frame_rates: frames per second by view, where they differ; empty: as the videos say, which must be alike.
        offsets: how much earlier than the others a view began, by view: its own frames or seconds.
        offsets_in: which of the two.
        numbering: of picture folders. names: equal numbers are one moment. order: the first pictures are one moment, and so
            on. auto: by names, but folders with equally many pictures under other numbers are refused.
    """

    frame_rates: dict[str, float] = field(default_factory=dict)
    offsets: dict[str, float] = field(default_factory=dict)
    offsets_in: Literal["frames", "seconds"] = "frames"
    numbering: Numbering = "auto"


@dataclass(frozen=True)
class View:
    """One camera's recording of one sequence: a video, or pictures by frame number.

    Attributes:
        camera: the view's.
        path: the video or the folder.
        pictures: their names in the folder by the view's own numbers; None for a video.
        ratio: own frames a moment.
        offset: own frames before moment 0.
        order: own numbers by place, where places rather than numbers are the same moments.
    """

    camera: Camera
    path: Path
    pictures: dict[int, str] | None
    ratio: float = 1.0
    offset: int = 0
    order: tuple[int, ...] | None = None

    @property
    def is_video(self) -> bool:
        return self.pictures is None

    def own(self, moment: int) -> int:
        """The view's own number of a moment, -1 where its folder ends before."""
        at = int(np.floor(moment * self.ratio + 0.5)) + self.offset
        if self.order is None:
            return at
        return self.order[at] if 0 <= at < len(self.order) else -1

    def moments(self, own: set[int]) -> set[int]:
        """The moments whose frames are among the view's own numbers."""
        places = own if self.order is None else set(range(len(self.order)))
        near = {int(np.floor((at - self.offset) / self.ratio)) + more for at in places for more in (0, 1)}
        return {moment for moment in near if moment >= 0 and self.own(moment) in own}

    def sources(self, numbers: Sequence[int]) -> Generator[Source, None, None]:
        """What decodes the pictures of some own numbers, ascending; a video is decoded here."""
        if self.pictures is None:
            for picture in videos.frames(self.path, list(numbers)):
                yield partial(np.asarray, picture)
        else:
            for number in numbers:
                yield partial(images.read, self.path / self.pictures[number])

    def stamps(self, numbers: Sequence[int]) -> list[tuple[str, int, int]]:
        """Name, bytes and time of the files that hold the pictures of some own numbers."""
        files = [""] if self.pictures is None else [self.pictures[number] for number in numbers]
        stats = ((self.path / name).stat() for name in files)
        return [
            (name or self.path.name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(files, stats, strict=True)
        ]


@dataclass(frozen=True)
class Recording:
    """One recording: a name, the views in the calibration's order, and the moments that all of them have."""

    name: str
    views: tuple[View, ...]
    numbers: tuple[int, ...]
    notes: tuple[str, ...]

    def own_numbers(self) -> np.ndarray:
        """(moments, views) int: the views' own numbers."""
        return np.array([[view.own(moment) for view in self.views] for moment in self.numbers])

    def stamps(self) -> list[tuple[str, int, int]]:
        """Name, bytes and time of every file that the moments come from: another value says that a picture may differ."""
        own = [[view.own(moment) for moment in self.numbers] for view in self.views]
        return [stamp for view, numbers in zip(self.views, own, strict=True) for stamp in view.stamps(numbers)]


def find(
    folder: Path,
    cameras: Sequence[Camera],
    wanted: Sequence[str],
    calibration: Path,
    timing: Timing = Timing(),
) -> tuple[Recording, ...]:
    """The sequences of a folder of views, each with the frames that its views share.

    Args:
        folder: see the module's first lines.
        cameras: of the calibration.
        wanted: names of the views to use; empty for all.
        calibration: where the cameras are from, for messages.
        timing: frame rates and offsets.

    Raises:
        ValueError: no view, fewer than two, a view without calibration or the other way round, no common frame, frame rates
            that differ and were not given.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder with a video or a picture folder a camera")
    chosen = [_camera(name, cameras, calibration) for name in wanted] if wanted else list(cameras)
    twice = sorted({camera.name for camera in chosen if chosen.count(camera) > 1})
    if twice:
        raise ValueError(f"target.views: the view {twice[0]} is there twice")
    for name in (*timing.frame_rates, *timing.offsets):
        if simplified(name) not in {simplified(camera.name) for camera in chosen}:
            which = "frame_rates" if name in timing.frame_rates else "offsets"
            raise ValueError(
                f"target.{which}: there is no view '{name}'; there are {', '.join(c.name for c in chosen)}"
            )
    layout = _layout(folder, cameras)
    found = []
    for name, entries in layout:
        where = folder if len(layout) == 1 and name == _sequence_name(folder) else folder / name
        by_camera = _by_camera(entries, cameras, where)
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
    return tuple(_sequence(name, _timed(views, counts, timing), counts) for name, views in found)


def calibrated(
    calibration: Path,
    folder: Path,
    wanted: Sequence[str],
    settings: calibrations.Settings,
    timing: Timing,
) -> tuple[dict[str, Calibration], tuple[Recording, ...]]:
    """Calibration and recordings together.

    Args:
        calibration: one rig's, or a folder of rigs, a sequence each.
        folder: of the views, as for `find`.
        wanted: names of the views to use; empty for all.
        settings: what is known of the calibration.
        timing: of the views.

    Returns:
        The rig of every sequence, "" where all have one, with the cameras of the views, in their order; and the recordings.

    Raises:
        ValueError: as `calibration.read` and `find`; or cameras that cannot stand so, a sequence without a rig.
    """
    paths = calibration_formats.rigs(calibration) if calibration_formats.is_rig_per_sequence(calibration) else {}
    files = paths or {"": calibration}
    whole = {
        name: calibrations.read(path, settings, lambda camera: picture_size(folder, camera))
        for name, path in files.items()
    }
    path, some = next(iter(files.values())), next(iter(whole.values()))
    recordings = find(folder, some.cameras, wanted, path, timing)
    if paths:
        absent = [recording.name for recording in recordings if recording.name not in whole]
        if absent:
            raise ValueError(f"{calibration}: no calibration of the sequence {absent[0]}; there are {', '.join(whole)}")
        whole = {recording.name: whole[recording.name] for recording in recordings}
    names = [view.camera.name for view in recordings[0].views]
    rigs = {}
    for name, found in whole.items():
        rigs[name] = replace(found, cameras=calibrations.chosen(found.cameras, names, files[name]))
        check_orientations(rigs[name].cameras, files[name])
    return rigs, recordings


def _by_camera(entries: Sequence[Path], cameras: Sequence[Camera], where: Path) -> dict[str, Path]:
    """Whose each video or folder is: by simplified name; `hd_00_03.mp4` or `Miqus_2_26580.avi` by how it ends."""
    known = {simplified(camera.name) for camera in cameras}
    names = {entry: simplified(camera_name(entry)) for entry in entries}
    if not known & set(names.values()):
        ends = {entry: [camera for camera in known if name.endswith(camera)] for entry, name in names.items()}
        if all(len(some) == 1 for some in ends.values()):
            names = {entry: some[0] for entry, some in ends.items()}
    found: dict[str, Path] = {}
    for entry in entries:
        other = found.setdefault(names[entry], entry)
        if other != entry:
            raise ValueError(f"{where}: {other.name} and {entry.name} are the same camera's; expected one of them")
    return found


def picture_size(folder: Path, camera: str) -> tuple[int, int] | None:
    """(width, height) px of a camera's first picture under a folder of views; None where it has none."""
    if not folder.is_dir():
        return None
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    inner = [path for entry in entries if entry.is_dir() for path in sorted(entry.iterdir())]
    fitting = [entry for entry in (*entries, *inner) if _is_view(entry)]
    exact = [entry for entry in fitting if simplified(camera_name(entry)) == simplified(camera)]
    for entry in [*exact, *fitting]:
        if simplified(camera_name(entry)).endswith(simplified(camera)):
            if entry.is_dir():
                files = sorted(path for path in entry.iterdir() if path.suffix.lower() in images.SUFFIXES)
                if not files:
                    continue
                picture = images.read(files[0])
            else:
                with closing(videos.frames(entry, [0])) as stream:
                    picture = next(stream)
            return picture.shape[1], picture.shape[0]
    return None


def _timed(views: tuple[View, ...], counts: dict[Path, int], timing: Timing) -> tuple[View, ...]:
    """The views with their frame rates, offsets and numbering."""
    given = {simplified(name): rate for name, rate in timing.frame_rates.items()}
    rates = {
        view.camera.name: given.get(simplified(view.camera.name), videos.rate(view.path) if view.is_video else 0.0)
        for view in views
    }
    known = [rate for rate in rates.values() if rate > 0]
    if not given and known and max(known) > (1 + _ALIKE) * min(known):
        said = ", ".join(f"{name}: {rate:g}" for name, rate in rates.items() if rate > 0)
        raise ValueError(
            f"{views[0].path.parent}: the videos say that their frame rates differ; give target.frame_rates, {{{said}}} if "
            "that is right, equal ones if it is not"
        )
    if given and len(known) < len(views):
        absent = next(name for name, rate in rates.items() if rate <= 0)
        raise ValueError(f"target.frame_rates: the rate of the view {absent} is needed as well")
    slowest = min(known) if given else 1.0
    offsets = {simplified(name): value for name, value in timing.offsets.items()}
    timed = []
    for view in views:
        offset = offsets.get(simplified(view.camera.name), 0.0)
        if offset and timing.offsets_in == "seconds":
            if rates[view.camera.name] <= 0:
                raise ValueError(f"target.offsets: seconds need the rate of {view.camera.name} in target.frame_rates")
            offset = offset * rates[view.camera.name]
        ratio = rates[view.camera.name] / slowest if given else 1.0
        order = tuple(sorted(view.pictures)) if timing.numbering == "order" and view.pictures is not None else None
        timed.append(replace(view, ratio=ratio, offset=int(np.floor(offset + 0.5)), order=order))
    if timing.numbering == "auto":
        _check_numbering(timed)
    return tuple(timed)


def _check_numbering(views: Sequence[View]) -> None:
    """Refuse folders that look as if each began to count elsewhere: equally many pictures, none missing, other numbers."""
    own = [sorted(view.pictures) for view in views if view.pictures is not None and view.ratio == 1 and not view.offset]
    spans = {(numbers[0], numbers[-1]) for numbers in own if numbers[-1] - numbers[0] + 1 == len(numbers)}
    if len(spans) > 1 and len({len(numbers) for numbers in own}) == 1 and len(own[0]) > 1:
        said = ", ".join(
            f"{view.camera.name} {min(view.pictures)}..{max(view.pictures)}" for view in views if view.pictures
        )
        raise ValueError(
            f"{views[0].path.parent}: the views have equally many pictures under other numbers ({said}); set "
            "target.numbering: order if the first ones are one moment, names if equal numbers are"
        )


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
    pictures: dict[int, str] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in images.SUFFIXES or file.name.startswith("."):
            continue
        number = frame_number(file)
        if number in pictures:
            raise ValueError(f"{path}: two pictures of frame {number}: {pictures[number]} and {file.name}")
        pictures[number] = file.name
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
    own = [set(view.pictures) if view.pictures is not None else set(range(counts[view.path])) for view in views]
    each = [view.moments(numbers) for view, numbers in zip(views, own, strict=True)]
    common = sorted(set.intersection(*each))
    if not common:
        spans = ", ".join(f"{v.camera.name} {min(n)}..{max(n)}" for v, n in zip(views, own, strict=True))
        raise ValueError(
            f"{views[0].path.parent}: no frame is in all views ({spans}); see target.numbering, target.offsets"
        )
    notes = []
    if any(view.ratio != 1 or view.offset for view in views):
        starts = ", ".join(f"{view.camera.name} {view.own(0)}, {view.own(1)}, {view.own(2)}" for view in views)
        notes.append(f"{views[0].path.parent}: the first moments are the views' own frames {starts}")
    if any(len(numbers) != len(common) for numbers in each):
        lengths = ", ".join(f"{view.camera.name} {len(n)}" for view, n in zip(views, each, strict=True))
        notes.append(
            f"{views[0].path.parent}: the views have unequal frames ({lengths}); using the {len(common)} common"
        )
    return Recording(name, views, tuple(common), tuple(notes))


def pictures(sequence: Recording, moments: Sequence[int]) -> Generator[list[Source], None, None]:
    """For each moment what decodes the views' pictures, for workers to call.

    Videos are decoded here, in order, every view in a thread of its own and one moment ahead.
    """
    with ExitStack() as stack:
        own = [[view.own(moment) for moment in moments] for view in sequence.views]
        streams = [
            stack.enter_context(closing(view.sources(numbers)))
            for view, numbers in zip(sequence.views, own, strict=True)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(len(streams)))  # its threads end before the streams are closed
        ahead = [pool.submit(next, stream) for stream in streams] if moments else []
        for number in range(len(moments)):
            sources = [each.result() for each in ahead]
            if number + 1 < len(moments):
                ahead = [pool.submit(next, stream) for stream in streams]
            yield sources


def fit(picture: np.ndarray, calibrated: tuple[int, int], path: Path) -> tuple[np.ndarray, str]:
    """How a view's pictures lie in the px of its calibration, when their sizes differ a little.

    An exporter that keeps the aspect ratio shrinks the picture and fills up with black bars; a codec cuts at the right and
    below. Bars are seen in the pixels.

    Args:
        picture: (height, width, 3) uint8, one of the view's.
        calibrated: (width, height) px that the calibration is for.
        path: the view's, for messages.

    Returns:
        (2, 3) calibration's px from the picture's, and a sentence, empty where the sizes agree.

    Raises:
        ValueError: they differ by more than a codec or an exporter explains.
    """
    size, expected = np.array([picture.shape[1], picture.shape[0]]), np.array(calibrated)
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
