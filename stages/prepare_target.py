"""Prepare target: a calibrated rig's recordings -> person crops of every frame and view, cameras in mm, detections.

Nothing here is a label: where the person is comes from a detector's boxes or from the capture volume, and units, views and
frames are checked against one another. The truth of the target, where there is one, is prepare_truth's affair. The one
exception must be asked for twice: Human3.6M's published boxes are drawn about its true poses.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from pipeline import cli, crops
from pipeline.datasets import boxes, h36m_target, keypoints, parallel, rig, videos
from pipeline.datasets import calibration as calibrations
from pipeline.datasets.calibration import Calibration
from pipeline.datasets.h36m import layouts, selection
from pipeline.datasets.h36m.selection import H36m
from pipeline.datasets.lenses import Straightening
from pipeline.files import atomic, frames, images, journal, scratch
from pipeline.files.cameras import write_rigs
from pipeline.files.detections import Detections
from pipeline.files.journal import Item
from pipeline.files.keys import FrameKeys
from pipeline.geometry.association import associate, epipolar_agreement
from pipeline.geometry.camera import Camera
from pipeline.rig.observations import Observations
from pipeline.rig.offsets import estimate_frame_offsets, person_or_surest
from pipeline.rig.plausibility import check_agreement, check_person_height
from pipeline.skeleton import get

# How far off an epipolar line one person's detections may be, as a fraction of the person's size: joints; boxes, of which
# only gross errors are to be refused; and boxes when the calibration is doubted.
_JOINT_SLACK, _BOX_SLACK, _BOX_AGREEMENT_SLACK = 0.04, 0.2, 0.08
_DOUBTS = 200  # (frame, view)s, spread over all, that the calibration is compared with

Detector = Literal[
    "none",
    "body_25",
    "body_25b",
    "coco_17",
    "halpe_26",
    "wholebody_23",
    "mpii_16",
    "h36m_17",
    "openpose_body_25",
    "openpose_body_25b",
]


@dataclass(frozen=True)
class Target:
    """Section `target` of params.yaml."""

    layout: Literal["rig", "h36m"]  # a rig's folder, or Human3.6M in any of its layouts
    h36m: H36m  # which subjects and moments of it; takes the place of stride, first_ and last_frame and test_
    views: tuple[str, ...]  # the cameras to use; empty for all
    units: Literal["auto", "m", "cm", "mm"]  # of the calibration; auto: what it says, or what the rig's size tells
    extrinsics: Literal["auto", "camera_from_world", "world_from_camera"]  # which way the calibration's rotations go
    up: Literal["auto", "x", "y", "z", "-x", "-y", "-z"]  # the axis of the calibration's world that points up
    lens: Literal["auto", "pinhole", "fisheye"]
    stride: int  # every so many frames
    first_frame: int  # frame numbers below it are left out
    last_frame: int | None  # frame numbers above it are left out
    frame_rates: dict[str, float]  # frames per second by view, where they differ
    offsets: dict[str, float]  # how much earlier than the others a view began, by view
    offsets_in: Literal["frames", "seconds"]
    numbering: Literal["auto", "names", "order"]  # of picture folders: what says that pictures are of one moment
    test_sequences: tuple[str, ...]  # held out as a whole
    test_last_frames: int  # of every other sequence, so many frames at the end are held out
    detector: Detector  # what the joints in the detections folder are called, in their order; none: there are none
    detections_offset: int  # added to the detector's frame numbers gives the views'
    boxes: Literal["detections", "volume", "truth"]  # where the person is; truth: as published for Human3.6M, a label
    truth_boxes_allowed: bool  # says that a target with such boxes is no unlabelled one
    box_margin: float  # around a detection, as a fraction of its longer side
    min_box_score: float  # in [0, 1]; a box below it counts as missing
    volume_mm: tuple[float, ...] | None  # xmin xmax ymin ymax zmin zmax, world; null: derived from the rig
    cache_size: int  # px that the side of a person's box has in its stored crop, at most: nothing is enlarged
    cache_margin: float  # how much more than the box is stored, as a fraction of its side
    jpeg_quality: int  # of the stored crops, 1 to 100

    def __post_init__(self) -> None:
        for name, low, high in (
            ("stride", 1, None),
            ("first_frame", 0, None),
            ("test_last_frames", 0, None),
            ("box_margin", 0, 4),
            ("min_box_score", 0, 1),
            ("cache_size", 16, None),
            ("cache_margin", 0, 4),
            ("jpeg_quality", 1, 100),
        ):
            value = getattr(self, name)
            if value < low or (high is not None and value > high):
                expected = f"{low} to {high}" if high is not None else f"at least {low}"
                raise ValueError(f"target.{name}: expected {expected}, got {value}")
        if self.last_frame is not None and self.last_frame < self.first_frame:
            raise ValueError(f"target.last_frame: {self.last_frame} is before target.first_frame, {self.first_frame}")
        if self.boxes == "truth" and self.layout != "h36m":
            raise ValueError("target.boxes: truth is for the layout h36m; expected detections or volume")
        if self.boxes == "truth" and not self.truth_boxes_allowed:
            raise ValueError(
                "target.boxes: truth takes the boxes from the true poses, which an unlabelled target does not have; "
                "detections and volume need no label, target.truth_boxes_allowed: true says that this is meant"
            )
        whole = self.stride == 1 and self.first_frame == 0 and self.last_frame is None
        if self.layout == "h36m" and not (whole and not self.test_sequences and self.test_last_frames == 0):
            raise ValueError(
                "target: Human3.6M's frames are chosen in target.h36m; expected stride 1, first_frame 0, last_frame null, "
                "test_sequences [] and test_last_frames 0"
            )
        if len(self.views) == 1:
            raise ValueError("target.views: expected at least two views or none for all; one ray makes no point")
        if self.volume_mm is not None:
            volume = np.array(self.volume_mm)
            if len(volume) != 6 or (volume[1::2] <= volume[::2]).any():
                raise ValueError(
                    f"target.volume_mm: expected xmin xmax ymin ymax zmin zmax, got {list(self.volume_mm)}"
                )


def main(
    *,
    calibration: Path,
    views: Path,
    detections: Path,
    out: Path,
    cameras: Path,
    joints: Path,
    metrics: Path,
    frame_list: Path,
    config: Target,
) -> None:
    with ExitStack() as unpacked:
        if config.layout == "h36m":
            target = _human36m(calibration, views, config, unpacked)
        else:
            target = _rig(calibration, views, config)
        _prepare(target, calibration, detections, out, cameras, joints, metrics, frame_list, config)


@dataclass(frozen=True, eq=False)
class Found:
    """A target as it lies on the disk.

    Attributes:
        rigs: of every sequence, "" where all have one.
        recordings: with the moments to use.
        keys: of these.
        truth_boxes: (frames, views, 4) px; None where they are not asked for.
    """

    rigs: dict[str, Calibration]
    recordings: tuple[rig.Recording, ...]
    keys: FrameKeys
    truth_boxes: np.ndarray | None


def _prepare(
    target: Found,
    calibration: Path,
    detections: Path,
    out: Path,
    cameras: Path,
    joints: Path,
    metrics: Path,
    frame_list: Path,
    config: Target,
) -> None:
    rigs, recordings, keys = target.rigs, target.recordings, target.keys
    for note in (note for recording in recordings for note in recording.notes):
        print(note)
    numbers = np.concatenate([recording.own_numbers() for recording in recordings]) - config.detections_offset
    seen = _detections(calibration, detections, keys, numbers, rigs, config)
    extent = None
    if target.truth_boxes is None:
        box, extent, source = _boxes(calibration, detections, seen, keys, numbers, rigs, config)
    else:
        known = np.isfinite(target.truth_boxes).all(axis=-1)
        box = target.truth_boxes if known.all() else _volume_boxes(keys, rigs, config)
        box, source = np.where(known[..., None], target.truth_boxes, box), np.where(known, "truth", "volume")
    for found in rigs.values():
        for doubt in found.doubts:
            raise ValueError(doubt)
    used = recordings[0].views
    _write_frames(out, recordings, keys, rigs, box, extent, _stored_sides(box, source, keys, rigs, config), config)
    notes = [note.replace(str(calibration), calibration.name) for found in rigs.values() for note in found.notes]
    write_rigs(cameras, {sequence: found.cameras for sequence, found in rigs.items()}, list(dict.fromkeys(notes)))
    seen.write(joints)
    listed = keys.listing()
    atomic.write_text(frame_list, listed)
    count = {split: int((keys.split == split).sum()) for split in ("train", "test")}
    atomic.write_json(
        metrics,
        {
            "frames": len(keys),
            "views": len(used),
            "sequences": len(recordings),
            **count,
            "box_px": np.mean(box[..., 2] - box[..., 0]),
            "boxes": {name: int((source == name).sum()) for name in np.unique(source).tolist()},
            "frame_list_sha256": hashlib.sha256(listed.encode()).hexdigest(),
            "detected_joints_percent": 100 * np.isfinite(seen.points[..., 0]).mean(),
        },
    )
    print(f"{out}: {count['train']} frames to adapt on and {count['test']} held out, {len(used)} views each")


def _human36m(annotations: Path, place: Path, config: Target, unpacked: ExitStack) -> Found:
    """Human3.6M, a take a sequence; every subject has a rig of its own."""
    takes, notes = unpacked.enter_context(layouts.open_takes(annotations, place, config.h36m.subjects))
    chosen, left = selection.select_frames(takes, config.h36m)
    for note in (*notes, *left):
        print(note)
    recordings = h36m_target.recordings(chosen, config.views, place)
    rigs = {each.name: Calibration(tuple(view.camera for view in each.views), {}, tuple(notes)) for each in recordings}
    truth_boxes = None
    if config.boxes == "truth":
        names = [camera.name for camera in chosen[0].take.cameras]
        used = [names.index(view.camera.name) for view in recordings[0].views]
        truth_boxes = selection.boxes(chosen)[:, used]
    return Found(rigs, recordings, selection.frame_keys(chosen), truth_boxes)


def _rig(calibration: Path, views: Path, config: Target) -> Found:
    settings = calibrations.Settings(config.units, config.extrinsics, config.up, config.lens)
    timing = rig.Timing(config.frame_rates, config.offsets, config.offsets_in, config.numbering)
    rigs, recordings = rig.calibrated(calibration, views, config.views, settings, timing)
    for found in rigs.values():
        print("\n".join(found.notes))
    keys, recordings = _keys(recordings, config)
    return Found(rigs, recordings, keys, None)


def _of_rigs(rigs: dict[str, Calibration], keys: FrameKeys) -> list[tuple[np.ndarray, Calibration]]:
    """Which frames were seen by which rig: (rows, rig), a pair a rig."""
    if "" in rigs:
        return [(np.arange(len(keys)), rigs[""])]
    return [(np.flatnonzero(keys.sequence == sequence), found) for sequence, found in rigs.items()]


def _keys(recordings: tuple[rig.Recording, ...], config: Target) -> tuple[FrameKeys, tuple[rig.Recording, ...]]:
    """The frames to use, and the recordings with just these."""
    names = [recording.name for recording in recordings]
    unknown = sorted(set(config.test_sequences) - set(names))
    if unknown:
        raise ValueError(f"target.test_sequences: there is no sequence '{unknown[0]}'; there are {', '.join(names)}")
    kept, split = [], []
    for recording in recordings:
        last = recording.numbers[-1] if config.last_frame is None else config.last_frame
        numbers = tuple(n for n in recording.numbers if config.first_frame <= n <= last)[:: config.stride]
        if not numbers:
            raise ValueError(
                f"target: no frame of the sequence '{recording.name}' is left by first_frame and last_frame"
            )
        held_out = len(numbers) if recording.name in config.test_sequences else config.test_last_frames
        held_out = min(held_out, len(numbers))
        split += ["train"] * (len(numbers) - held_out) + ["test"] * held_out
        kept.append(replace(recording, numbers=numbers))
    sequence = np.array([recording.name for recording in kept for _ in recording.numbers])
    number = np.array([number for recording in kept for number in recording.numbers], dtype=np.int32)
    return FrameKeys(sequence, number, np.array(split), sequence), tuple(kept)


def _detections(
    calibration: Path, folder: Path, keys: FrameKeys, numbers: np.ndarray, rigs: dict[str, Calibration], config: Target
) -> Detections:
    """What a foreign detector said of the person of interest; all NaN where there is none."""
    names = tuple(camera.name for camera in next(iter(rigs.values())).cameras)
    if config.detector == "none":
        skeleton = get("mpii_16")
        shape = (len(keys), len(names), len(skeleton))
        return Detections(
            keys=keys, views=names, skeleton=skeleton, points=np.full((*shape, 2), np.nan), scores=np.zeros(shape)
        )
    skeleton = get(config.detector.removeprefix("openpose_"))
    points, scores = keypoints.read(folder, keys, numbers, names, skeleton)
    for rows, found in _of_rigs(rigs, keys):
        for view, name in enumerate(names):
            if name in found.straightenings:
                points[rows, view] = found.straightenings[name].straight_from_image(points[rows, view])
    scores = np.where(np.isfinite(points[..., 0]), scores, 0.0)
    person = _same_person(calibration, points, scores, keys, rigs, _JOINT_SLACK, _JOINT_SLACK)
    print(f"{folder}: the same person found in {(person >= 0).sum(axis=1).mean():.2f} of {len(names)} views on average")
    surest, surest_scores = person_or_surest(points, scores, person)
    observations = Observations(
        keypoints=surest, scores=surest_scores, sequence=keys.sequence, number=keys.number, skeleton=skeleton
    )
    _print_frame_offsets(observations, rigs, keys)
    return Detections(
        keys=keys, views=names, skeleton=skeleton, points=_of(person, points, np.nan), scores=_of(person, scores, 0.0)
    )


def _print_frame_offsets(observations: Observations, rigs: dict[str, Calibration], keys: FrameKeys) -> None:
    """Print which views seem to be early or late. Nothing is shifted here; target.offsets does that."""
    for rows, found in _of_rigs(rigs, keys):
        for sequence in np.unique(keys.sequence[rows]).tolist():
            own = observations.take(rows[keys.sequence[rows] == sequence])
            for sentence in estimate_frame_offsets(own, found.cameras).sentences(found.cameras):
                print(f"{sequence}: {sentence}. Nothing was shifted")


def _same_person(
    calibration: Path,
    points: np.ndarray,
    scores: np.ndarray,
    keys: FrameKeys,
    rigs: dict[str, Calibration],
    slack: float,
    agreement_slack: float,
) -> np.ndarray:
    """Who of the detected people is the person of interest: (frames, views), -1 for nobody. Doubts the calibration too."""
    person = np.full(points.shape[:2], -1)
    for rows, found in _of_rigs(rigs, keys):
        used = found.cameras
        some = rows[np.unique(np.linspace(0, len(rows) - 1, max(_DOUBTS // len(used), 8)).round().astype(int))]
        views, seen = points[some], scores[some]
        check_agreement(used, calibration, lambda rig, v=views, s=seen: epipolar_agreement(v, s, rig, agreement_slack))  # type: ignore[misc]
        for sequence in np.unique(keys.sequence[rows]):
            own = rows[keys.sequence[rows] == sequence]  # in the order of their numbers
            person[own] = associate(points[own], scores[own], used, slack)
    return person


def _of(person: np.ndarray, values: np.ndarray, absent: float) -> np.ndarray:
    """(frames, views, people, ...) values of one person a view: (frames, views, ...)."""
    index = np.maximum(person, 0).reshape(*person.shape, *[1] * (values.ndim - 2))
    chosen = np.take_along_axis(values, index, axis=2)[:, :, 0]
    chosen[person < 0] = absent
    return chosen


def _boxes(
    calibration: Path,
    folder: Path,
    seen: Detections,
    keys: FrameKeys,
    numbers: np.ndarray,
    rigs: dict[str, Calibration],
    config: Target,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The person's square in every (frame, view), and where it is from.

    Returns:
        (frames, views, 4) px; (frames, views, 2) px, width and height of the person's own rectangle, None where nobody knows
        it; and (frames, views) text.
    """
    if config.boxes == "volume":
        box = _volume_boxes(keys, rigs, config)
        return box, None, np.full(box.shape[:2], "volume")
    if (folder / "boxes.json").is_file():
        found, score = boxes.read_coco(folder / "boxes.json", keys, seen.views, config.min_box_score, numbers)
        for rows, calibrated in _of_rigs(rigs, keys):
            for view, name in enumerate(seen.views):
                if name in calibrated.straightenings:
                    found[rows, view] = calibrated.straightenings[name].straight_boxes(found[rows, view])
        marks, scores = boxes.marks(found), np.repeat(score[..., None], 3, axis=-1)
        person = _same_person(calibration, marks, scores, keys, rigs, _BOX_SLACK, _BOX_AGREEMENT_SLACK)
        box = _of(person, found, np.nan)
    else:
        box = boxes.around(seen.points)
    if not np.isfinite(box).any():
        raise ValueError(
            f"{folder}: no box of a person in any frame (looked for boxes.json, target.detector: {config.detector}); "
            "target.boxes: volume needs none"
        )
    tall = [
        check_person_height(box[rows], calibrated.cameras, calibration) / 1000
        for rows, calibrated in _of_rigs(rigs, keys)
    ]
    if np.isfinite(tall).any():
        print(
            f"{calibration}: by their boxes the person is {np.nanmin(tall):.2f} to {np.nanmax(tall):.2f} m tall (median)"
        )
    filled, kept = boxes.repair(crops.square(box, config.box_margin), keys)
    source = np.where(kept, "detection", "filled")
    blank = ~np.isfinite(filled).all(axis=-1)
    if blank.any():  # a view without one box in the whole sequence
        filled = np.where(blank[..., None], _volume_boxes(keys, rigs, config), filled)
        source[blank] = "volume"
    return filled, boxes.shares(box, kept, keys) * (filled[..., 2:] - filled[..., :2]), source


def _volume_boxes(keys: FrameKeys, rigs: dict[str, Calibration], config: Target) -> np.ndarray:
    """(frames, views, 4) px."""
    box = np.zeros((len(keys), len(next(iter(rigs.values())).cameras), 4))
    for rows, found in _of_rigs(rigs, keys):
        box[rows] = boxes.outlines(found.cameras, _volume(found.cameras, config))
    return box


def _volume(used: Sequence[Camera], config: Target) -> np.ndarray:
    return boxes.volume(used) if config.volume_mm is None else np.array(config.volume_mm)


def _stored_sides(
    box: np.ndarray, source: np.ndarray, keys: FrameKeys, rigs: dict[str, Calibration], config: Target
) -> np.ndarray:
    """(frames, views) px of a box's side in its stored crop. The volume's is larger: a person in it is to be as large."""
    sides = np.full(source.shape, float(config.cache_size))
    for rows, found in _of_rigs(rigs, keys):
        if (source[rows] == "volume").any():
            person = boxes.person_sides(found.cameras, _volume(found.cameras, config))
            larger = (box[rows, :, 2] - box[rows, :, 0]) / person
            sides[rows] = np.where(source[rows] == "volume", sides[rows] * np.fmax(larger, 1.0), sides[rows])
    return sides


@dataclass(frozen=True, eq=False)
class Cut:
    """How a view's pictures lie in the px that the rest of the pipeline speaks of.

    Attributes:
        path: the view's, for messages.
        shape: of its pictures; another one is refused.
        calibrated_from_picture: (2, 3), where a codec or an exporter has changed their size.
        straightening: of a fisheye or a rational lens.
    """

    path: Path
    shape: tuple[int, ...]
    calibrated_from_picture: np.ndarray
    straightening: Straightening | None


def _write_frames(
    out: Path,
    recordings: tuple[rig.Recording, ...],
    keys: FrameKeys,
    rigs: dict[str, Calibration],
    box: np.ndarray,
    extent: np.ndarray | None,
    sides: np.ndarray,
    config: Target,
) -> None:
    """Cut every (frame, view) out of its picture, and store it. All px are the calibration's, also where a video's differ.

    What was cut before the stage was killed is not cut again.
    """
    views = box.shape[1]
    affines, crop_px = np.zeros((len(keys), views, 2, 3)), np.zeros((len(keys), views), dtype=np.int32)
    for row, view in np.ndindex(crop_px.shape):
        affines[row, view], crop_px[row, view] = crops.stored(
            box[row, view], config.cache_margin, float(sides[row, view])
        )
    starts = np.cumsum([0, *(len(recording.numbers) for recording in recordings)])
    cuts = [_cuts(recording, rigs.get("", rigs.get(recording.name)), config) for recording in recordings]

    def cut(job: tuple[int, int, Cut, rig.Source]) -> Item:
        row, view, how, source = job
        picture = source()
        if picture.shape != how.shape:
            raise ValueError(
                f"{how.path}: frame {keys.number[row]} is {picture.shape[1]}x{picture.shape[0]}, the view's first is "
                f"{how.shape[1]}x{how.shape[0]}"
            )
        affine, side = affines[row, view], int(crop_px[row, view])
        if how.straightening is not None:
            crop = how.straightening.cut(picture, affine, how.calibrated_from_picture, side)
        else:
            crop = crops.warp(picture, crops.compose(affine, how.calibrated_from_picture), side)
        return images.encode(crop, config.jpeg_quality), {}

    def jobs(first: int) -> Iterator[tuple[int, int, Cut, rig.Source]]:
        for number, recording in enumerate(recordings):
            done = min(max(first // views - starts[number], 0), len(recording.numbers))
            moments = recording.numbers[done:]
            for row, sources in enumerate(rig.pictures(recording, moments), start=starts[number] + done):
                for view, source in enumerate(sources):
                    if row * views + view >= first:
                        yield row, view, cuts[number][view], source

    def make(first: int) -> Iterator[Item]:
        made, total = parallel.in_order(cut, jobs(first)), len(keys) * views
        yield from tqdm(made, initial=first, total=total, unit="crop", smoothing=0.05, disable=None)

    decoder = videos.decoder() if any(view.is_video for recording in recordings for view in recording.views) else ""
    known = _fingerprint(recordings, rigs, cuts, affines, crop_px)
    with scratch.resumable_folder(__file__, [], known, config.jpeg_quality, decoder) as folder:
        jpegs = (jpeg for jpeg, _ in journal.kept(folder / "crops", make))
        frames.write(
            out,
            keys=keys,
            views=tuple(view.camera.name for view in recordings[0].views),
            box=box,
            crop_from_image=affines,
            jpegs=jpegs,
            decoder=decoder,
            extent=extent,
        )


def _fingerprint(
    recordings: Sequence[rig.Recording],
    rigs: dict[str, Calibration],
    cuts: list[list[Cut]],
    affines: np.ndarray,
    crop_px: np.ndarray,
) -> str:
    """Of all that decides the crops, but for the JPEG encoder's settings: of files their sizes and times."""
    digest = hashlib.sha256(affines.tobytes() + crop_px.tobytes())
    for recording, some in zip(recordings, cuts, strict=True):
        digest.update(recording.own_numbers().tobytes())
        digest.update(repr([(each.shape, each.calibrated_from_picture.tolist()) for each in some]).encode())
        for stamp in recording.stamps():
            digest.update(repr(stamp).encode())
    for found in rigs.values():
        for name, made in sorted(found.straightenings.items()):
            lens = (made.lens.fisheye, made.lens.size, made.lens.coefficients.tolist(), made.lens.K.tolist())
            digest.update(repr((name, lens, made.camera.K.tolist())).encode())
    return digest.hexdigest()


def _cuts(recording: rig.Recording, found: Calibration | None, config: Target) -> list[Cut]:
    """How each view of a recording is cut, by its first picture."""
    if found is None:
        raise ValueError(f"there is no calibration of the sequence {recording.name}")
    by_name = {camera.name: camera for camera in found.cameras}
    with closing(rig.pictures(recording, recording.numbers[:1])) as first:
        sources = next(first)
    cuts = []
    for view, source in zip(recording.views, sources, strict=True):
        picture = source()
        straightening = found.straightenings.get(view.camera.name)
        size = straightening.lens.size if straightening else by_name[view.camera.name].size
        calibrated_from_picture, note = rig.fit(picture, size, view.path)
        if note:
            print(note)
        cuts.append(Cut(view.path, picture.shape, calibrated_from_picture, straightening))
    return cuts


if __name__ == "__main__":
    cli.run(main, Target)
