"""Prepare target: a calibrated rig's recordings -> person crops of every frame and view, cameras in mm, detections.

Nothing here is a label: the person's box comes from a detector or from the capture volume, and units, views and frames are
checked against one another. The target's ground truth, if there is one, belongs to prepare_truth. One exception has to be
requested twice: Human3.6M's published boxes are drawn around its true poses.
"""

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from pipeline import cli
from pipeline.calibration.conventions import Settings
from pipeline.datasets import videos
from pipeline.datasets.h36m import layouts, selection
from pipeline.datasets.h36m.selection import H36m
from pipeline.files import atomic, frames, journal, scratch
from pipeline.files.cameras import write_rigs
from pipeline.files.detections import Detections
from pipeline.target import boxes, human36m, locations, people, raw
from pipeline.target.boxes import PersonBoxes
from pipeline.target.crops import plan_crops
from pipeline.target.raw import FrameSelection, RawTarget
from pipeline.target.recordings import Timing

DetectionsFormat = Literal[
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
class Rig(Settings, Timing, FrameSelection):
    """Section `target.rig`: the calibration's conventions, the views' timing, and the frames to use."""


@dataclass(frozen=True)
class TargetH36m(H36m):
    """Section `target.h36m`: the part of Human3.6M to use, instead of `target.rig`."""

    truth_boxes_allowed: bool = False  # boxes: truth is meant; such a target is not unlabelled


@dataclass(frozen=True, kw_only=True)
class Target:
    """Section `target` of params.yaml."""

    layout: Literal["rig", "h36m"]  # a rig's folder, or Human3.6M in any of its layouts
    rig: Rig
    h36m: TargetH36m
    views: tuple[str, ...]  # the cameras to use; empty for all
    detections_format: DetectionsFormat  # the skeleton of the keypoints in the detections folder; none: there are none
    detections_offset: int  # added to the detector's frame numbers gives the views'
    boxes: Literal["detections", "volume", "truth"]  # of the person; truth: as published for Human3.6M, a label
    box_margin: Annotated[float, Ge(0), Le(4)]  # around a detection, as a fraction of its longer side
    min_box_score: Annotated[float, Ge(0), Le(1)]  # a box with a lower score counts as missing
    volume_mm: tuple[float, ...] | None  # xmin xmax ymin ymax zmin zmax, world; null: derived from the rig
    cache_size: Annotated[int, Ge(16)]  # px of a box's side in its stored crop, at most: nothing is enlarged
    cache_margin: Annotated[float, Ge(0), Le(4)]  # stored around the box, as a fraction of its side
    jpeg_quality: Annotated[int, Ge(1), Le(100)]  # of the stored crops

    def __post_init__(self) -> None:
        if self.boxes == "truth" and self.layout != "h36m":
            raise ValueError("target.boxes: truth is for the layout h36m; expected detections or volume")
        if self.boxes == "truth" and not self.h36m.truth_boxes_allowed:
            raise ValueError(
                "target.boxes: truth takes the boxes from the true poses, which an unlabelled target does not have; "
                "detections and volume need no label, target.h36m.truth_boxes_allowed: true confirms that this is meant"
            )
        rig = self.rig
        chosen = FrameSelection(
            frame_stride=rig.frame_stride,
            first_frame=rig.first_frame,
            last_frame=rig.last_frame,
            test_sequences=rig.test_sequences,
            test_last_frames=rig.test_last_frames,
        )
        if self.layout == "h36m" and chosen != FrameSelection():
            raise ValueError(
                "target: Human3.6M's frames are chosen in target.h36m; expected in target.rig frame_stride 1, first_frame 0, "
                "last_frame null, test_sequences [] and test_last_frames 0"
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
    """Write the frames, cameras and detections of the target.

    Args:
        calibration: the calibration, a file or a folder.
        views: the folder of the recordings.
        detections: the folder of a 2D detector's files; not read if `target` needs none. Of Human3.6M also the released HDF5
            file of heatmaps of a published network, whose frame groups must be those of the target.
        out: the frames, written as HDF5.
        cameras: the rigs, written as TOML.
        joints: the detector's keypoints, written as HDF5.
        metrics: counts, written as JSON.
        frame_list: the keys of all frames, written as text.
    """
    with ExitStack() as unpacked:  # what is unpacked here is read until the crops are written
        target, published = _open(calibration, views, config, unpacked)
        numbers = target.frame_numbers() - config.detections_offset
        if config.detections_format == "none":
            detected = people.no_detections(target)
        elif config.layout == "h36m" and locations.is_released(detections):
            detected = locations.read_locations(detections, target)
        else:
            skeleton = config.detections_format.removeprefix("openpose_")
            detected, notes = people.read_detections(detections, target, numbers, skeleton, calibration)
            _print(notes)
        if published is not None:
            person = boxes.given_boxes(published, target, config.volume_mm)
        elif config.boxes == "volume":
            person = boxes.volume_boxes(target, config.volume_mm)
        else:
            box, note = boxes.detected_boxes(
                detections,
                target,
                numbers,
                keypoints=detected.keypoints,
                min_score=config.min_box_score,
                calibration=calibration,
            )
            _print([note])
            person = boxes.complete_boxes(box, config.box_margin, target, config.volume_mm)
        for rig in target.rigs.values():
            for doubt in rig.doubts:
                raise ValueError(doubt)
        _write_frames(out, target, person, config)
    notes = [note.replace(str(calibration), calibration.name) for rig in target.rigs.values() for note in rig.notes]
    write_rigs(cameras, {sequence: rig.cameras for sequence, rig in target.rigs.items()}, list(dict.fromkeys(notes)))
    detected.write(joints)
    atomic.write_text(frame_list, target.keys.listing())
    atomic.write_json(metrics, _metrics(target, person, detected))
    count = {split: int((target.keys.split == split).sum()) for split in ("train", "test")}
    print(
        f"{out}: {count['train']} frames to adapt on and {count['test']} held out, {len(target.view_names)} views each"
    )


def _open(calibration: Path, views: Path, config: Target, unpacked: ExitStack) -> tuple[RawTarget, np.ndarray | None]:
    """Return the target, and Human3.6M's published boxes, (frames, views, 4) px, if they are used."""
    published = None
    if config.layout == "h36m":
        takes, notes = unpacked.enter_context(layouts.open_takes(calibration, views, config.h36m.subjects))
        selected, left_out = selection.select_frames(takes, config.h36m)
        _print([*notes, *left_out])
        target = human36m.raw_target(selected, notes, config.views, views)
        if config.boxes == "truth":
            published = human36m.published_boxes(selected, target)
    else:
        rigs, recordings = raw.open_rig(calibration, views, config.views, config.rig, config.rig)
        _print(note for rig in rigs.values() for note in rig.notes)
        target = raw.select_frames(rigs, recordings, config.rig)
    _print(note for recording in target.recordings for note in recording.notes)
    return target, published


def _write_frames(out: Path, target: RawTarget, person: PersonBoxes, config: Target) -> None:
    """Write the crops. Crops that were made before the stage was killed are not made again."""
    sides = boxes.stored_sides(person, target, config.volume_mm, config.cache_size)
    plan = plan_crops(target, person.square, sides, config.cache_margin)
    _print(plan.notes)
    recorded = any(view.is_video for recording in target.recordings for view in recording.views)
    decoder = videos.decoder() if recorded else ""
    with scratch.resumable_folder(__file__, [], plan.fingerprint, config.jpeg_quality, decoder) as folder:
        made = journal.kept(folder / "crops", lambda first: plan.jpegs(first, config.jpeg_quality))
        frames.write(
            out,
            keys=target.keys,
            views=target.view_names,
            box=person.square,
            crop_from_image=plan.crop_from_image,
            jpegs=(jpeg for jpeg, _ in made),
            decoder=decoder,
            person_size=person.person_size,
        )


def _metrics(target: RawTarget, person: PersonBoxes, detected: Detections) -> dict[str, object]:
    keys, box = target.keys, person.square
    return {
        "frames": len(keys),
        "views": len(target.view_names),
        "sequences": len(target.recordings),
        **{split: int((keys.split == split).sum()) for split in ("train", "test")},
        "box_px": np.mean(box[..., 2] - box[..., 0]),
        "boxes": {name: int((person.source == name).sum()) for name in np.unique(person.source).tolist()},
        "frame_list_sha256": hashlib.sha256(keys.listing().encode()).hexdigest(),
        "detected_joints_percent": 100 * np.isfinite(detected.keypoints[..., 0]).mean(),
    }


def _print(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        if sentence:
            print(sentence)


if __name__ == "__main__":
    cli.run(main, Target)
