"""Prepare target: a calibrated rig's recordings -> person crops of every frame and view, cameras in mm, detections.

Nothing here is a label: where the person is comes from a detector's boxes or from the capture volume, and units, views and
frames are checked against one another. The truth of the target, where there is one, is prepare_truth's affair.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from pipeline import cli, crops
from pipeline.datasets import boxes, openpose, parallel, rig
from pipeline.datasets import calibration as calibrations
from pipeline.datasets.calibration import check_agreement, check_looks
from pipeline.files import atomic, frames, pictures
from pipeline.files.cameras import write_cameras
from pipeline.files.detections import Detections
from pipeline.files.keys import FrameKeys
from pipeline.geometry.association import agreement, associate
from pipeline.geometry.camera import Camera
from pipeline.skeleton import get

# How far off an epipolar line one person's detections may be, as a fraction of the person's size: joints; boxes, of which
# only gross errors are to be refused; and boxes when the calibration is doubted.
_JOINT_SLACK, _BOX_SLACK, _BOX_AGREEMENT_SLACK = 0.04, 0.2, 0.08
_DOUBTS = 200  # (frame, view)s, spread over all, that the calibration is compared with


@dataclass(frozen=True)
class Target:
    """Section `target` of params.yaml."""

    views: tuple[str, ...]  # the cameras to use; empty for all
    units: Literal["auto", "m", "mm"]  # of the calibration; auto: what it says, or what the rig's size tells
    stride: int  # every so many frames
    first_frame: int  # frame numbers below it are left out
    last_frame: int | None  # frame numbers above it are left out
    test_sequences: tuple[str, ...]  # held out as a whole
    test_last_frames: int  # of every other sequence, so many frames at the end are held out
    detector: Literal["none", "openpose_body_25", "openpose_body_25b"]  # what the detections folder holds beside boxes
    boxes: Literal["detections", "volume"]  # where the person is
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
        if len(self.views) == 1:
            raise ValueError("target.views: expected at least two views or none for all; one ray makes no point")
        if self.volume_mm is not None:
            volume = np.array(self.volume_mm)
            if len(volume) != 6 or (volume[1::2] <= volume[::2]).any():
                raise ValueError(
                    f"target.volume_mm: expected xmin xmax ymin ymax zmin zmax, got {list(self.volume_mm)}"
                )


def main(
    calibration: Path,
    views: Path,
    detections: Path,
    out: Path,
    cameras: Path,
    joints: Path,
    metrics: Path,
    config: Target,
) -> None:
    calibrated = calibrations.read(calibration, calibrations.Settings(config.units))
    print("\n".join(calibrated.notes))
    recordings = rig.find(views, calibrated.cameras, config.views, calibration)
    used = tuple(view.camera for view in recordings[0].views)
    check_looks(used, calibration)
    keys, recordings = _keys(recordings, config)
    for note in (note for recording in recordings for note in recording.notes):
        print(note)
    seen = _detections(calibration, detections, keys, used, config)
    box, source = _boxes(calibration, detections, seen, keys, used, config)
    _write_frames(out, recordings, keys, used, box, _stored_sides(box, source, used, config), config)
    write_cameras(cameras, used)
    seen.write(joints)
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
            "detected_joints_percent": 100 * np.isfinite(seen.points[..., 0]).mean(),
        },
    )
    print(f"{out}: {count['train']} frames to adapt on and {count['test']} held out, {len(used)} views each")


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
    calibration: Path, folder: Path, keys: FrameKeys, used: tuple[Camera, ...], config: Target
) -> Detections:
    """What a foreign detector said of the person of interest; all NaN where there is none."""
    names = tuple(camera.name for camera in used)
    if config.detector == "none":
        skeleton = get("mpii_16")
        shape = (len(keys), len(used), len(skeleton))
        return Detections(keys, names, skeleton, np.full((*shape, 2), np.nan), np.zeros(shape))
    skeleton = get(config.detector.removeprefix("openpose_"))
    points, scores = openpose.read(folder, keys, names, skeleton)
    person = _same_person(calibration, points, scores, keys, used, _JOINT_SLACK, _JOINT_SLACK)
    print(f"{folder}: the same person found in {(person >= 0).sum(axis=1).mean():.2f} of {len(used)} views on average")
    return Detections(keys, names, skeleton, _of(person, points, np.nan), _of(person, scores, 0.0))


def _same_person(
    calibration: Path,
    points: np.ndarray,
    scores: np.ndarray,
    keys: FrameKeys,
    used: tuple[Camera, ...],
    slack: float,
    agreement_slack: float,
) -> np.ndarray:
    """Who of the detected people is the person of interest: (frames, views), -1 for nobody. Doubts the calibration too."""
    some = np.unique(np.linspace(0, len(keys) - 1, max(_DOUBTS // len(used), 8)).round().astype(int))
    check_agreement(used, calibration, lambda rig: agreement(points[some], scores[some], rig, agreement_slack))
    person = np.full((len(keys), len(used)), -1)
    for sequence in np.unique(keys.sequence):
        rows = np.flatnonzero(keys.sequence == sequence)  # in the order of their numbers
        person[rows] = associate(points[rows], scores[rows], used, slack)
    return person


def _of(person: np.ndarray, values: np.ndarray, absent: float) -> np.ndarray:
    """(frames, views, people, ...) values of one person a view: (frames, views, ...)."""
    index = np.maximum(person, 0).reshape(*person.shape, *[1] * (values.ndim - 2))
    chosen = np.take_along_axis(values, index, axis=2)[:, :, 0]
    chosen[person < 0] = absent
    return chosen


def _boxes(
    calibration: Path, folder: Path, seen: Detections, keys: FrameKeys, used: tuple[Camera, ...], config: Target
) -> tuple[np.ndarray, np.ndarray]:
    """The person's square in every (frame, view): (frames, views, 4) px, and (frames, views) text, where it is from."""
    if config.boxes == "volume":
        box = np.repeat(boxes.outlines(used, _volume(used, config))[None], len(keys), axis=0)
        return box, np.full(box.shape[:2], "volume")
    if (folder / "boxes.json").is_file():
        found, score = boxes.read_coco(folder / "boxes.json", keys, seen.views, config.min_box_score)
        marks, scores = boxes.marks(found), np.repeat(score[..., None], 3, axis=-1)
        person = _same_person(calibration, marks, scores, keys, used, _BOX_SLACK, _BOX_AGREEMENT_SLACK)
        box = _of(person, found, np.nan)
    else:
        box = boxes.around(seen.points)
    if not np.isfinite(box).any():
        raise ValueError(
            f"{folder}: no box of a person in any frame (looked for boxes.json, target.detector: {config.detector}); "
            "target.boxes: volume needs none"
        )
    filled, kept = boxes.repair(crops.square(box, config.box_margin), keys)
    source = np.where(kept, "detection", "filled")
    blank = ~np.isfinite(filled).all(axis=-1)
    if blank.any():  # a view without one box in the whole sequence
        filled = np.where(blank[..., None], boxes.outlines(used, _volume(used, config)), filled)
        source[blank] = "volume"
    return filled, source


def _volume(used: tuple[Camera, ...], config: Target) -> np.ndarray:
    return boxes.volume(used) if config.volume_mm is None else np.array(config.volume_mm)


def _stored_sides(box: np.ndarray, source: np.ndarray, used: tuple[Camera, ...], config: Target) -> np.ndarray:
    """(frames, views) px of a box's side in its stored crop. The volume's is larger: a person in it is to be as large."""
    sides = np.full(source.shape, float(config.cache_size))
    if (source == "volume").any():
        larger = (box[..., 2] - box[..., 0]) / boxes.person_sides(used, _volume(used, config))
        sides = np.where(source == "volume", sides * np.fmax(larger, 1.0), sides)
    return sides


def _write_frames(
    out: Path,
    recordings: tuple[rig.Recording, ...],
    keys: FrameKeys,
    used: tuple[Camera, ...],
    box: np.ndarray,
    sides: np.ndarray,
    config: Target,
) -> None:
    """Cut every (frame, view) out of its picture. All px are the calibration's, also where a video's own differ."""
    affines = np.full((len(keys), len(used), 2, 3), np.nan)

    def cut(job: tuple[int, int, rig.View, Fit, Path | np.ndarray]) -> bytes:
        frame, column, view, (size, calibrated_from_picture), source = job
        picture = rig.read(source)
        if picture.shape != size:
            raise ValueError(
                f"{source if isinstance(source, Path) else view.path}: frame {keys.number[frame]} is "
                f"{picture.shape[1]}x{picture.shape[0]}, the view's first is {size[1]}x{size[0]}"
            )
        affine, side = crops.stored(box[frame, column], config.cache_margin, sides[frame, column])
        affines[frame, column] = affine
        crop = crops.warp(picture, crops.compose(affine, calibrated_from_picture), side)
        return pictures.encode(crop, config.jpeg_quality)

    def jobs() -> Iterator[tuple[int, int, rig.View, Fit, Path | np.ndarray]]:
        row = 0
        for recording in recordings:
            fits: list[Fit] = []
            for sources in rig.pictures(recording, recording.numbers):
                fits = fits or [_fit(view, source) for view, source in zip(recording.views, sources, strict=True)]
                for column, source in enumerate(sources):
                    yield row, column, recording.views[column], fits[column], source
                row += 1

    jpegs = tqdm(parallel.in_order(cut, jobs()), total=len(keys) * len(used), unit="crop", disable=None)
    frames.write(out, keys, tuple(camera.name for camera in used), box, affines, jpegs)


Fit = tuple[tuple[int, ...], np.ndarray]  # a view's picture shape, and (2, 3) the calibration's px from the picture's


def _fit(view: rig.View, source: Path | np.ndarray) -> Fit:
    picture = rig.read(source)
    calibrated_from_picture, note = rig.fit(picture, view.camera, view.path)
    if note:
        print(note)
    return picture.shape, calibrated_from_picture


if __name__ == "__main__":
    cli.run(main, Target)
