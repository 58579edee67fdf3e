"""A target as it lies on disk: calibrations, recordings, and the frames to use. Human3.6M's is opened in human36m.py."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge

from pipeline.calibration import formats
from pipeline.calibration.conventions import Settings
from pipeline.calibration.reading import Calibration, read_calibration, select_cameras
from pipeline.files.keys import FrameKeys
from pipeline.rig.plausibility import check_orientations
from pipeline.target.recordings import Recording, Timing, find_recordings, image_size


@dataclass(frozen=True, eq=False, kw_only=True)
class RawTarget:
    """Calibrations and recordings of a target.

    Attributes:
        rigs: calibrations by sequence; the one of "" is every sequence's. Cameras are in the order of the views.
        recordings: with the frame groups to use.
        keys: of these frame groups.
    """

    rigs: dict[str, Calibration]
    recordings: tuple[Recording, ...]
    keys: FrameKeys

    @property
    def view_names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in next(iter(self.rigs.values())).cameras)

    @property
    def groups(self) -> list[tuple[np.ndarray, Calibration]]:
        """(rows, calibration) per rig: the frames that it recorded."""
        if "" in self.rigs:
            return [(np.arange(len(self.keys)), self.rigs[""])]
        return [(np.flatnonzero(self.keys.sequence == sequence), rig) for sequence, rig in self.rigs.items()]

    def rig_of(self, recording: Recording) -> Calibration:
        """Return a recording's calibration; ValueError where there is none."""
        rig = self.rigs.get("", self.rigs.get(recording.name))
        if rig is None:
            raise ValueError(f"there is no calibration of the sequence {recording.name}")
        return rig

    def frame_numbers(self) -> np.ndarray:
        """Return (frames, views) int: the views' own frame numbers."""
        return np.concatenate([recording.frame_numbers() for recording in self.recordings])


@dataclass(frozen=True, kw_only=True)
class FrameSelection:
    """The frames of a rig's recordings to use, and those of them to hold out."""

    frame_stride: Annotated[int, Ge(1)] = 1  # every so many frame groups
    first_frame: Annotated[int, Ge(0)] = 0  # frame groups with lower numbers are left out
    last_frame: int | None = None  # frame groups with higher numbers are left out
    test_sequences: tuple[str, ...] = ()  # held out as a whole
    test_last_frames: Annotated[int, Ge(0)] = 0  # held out at the end of every other sequence

    def __post_init__(self) -> None:
        if self.last_frame is not None and self.last_frame < self.first_frame:
            raise ValueError(
                f"target.rig.last_frame: {self.last_frame} is before target.rig.first_frame, {self.first_frame}"
            )


def open_rig(
    calibration: Path, folder: Path, view_names: Sequence[str], settings: Settings, timing: Timing
) -> tuple[dict[str, Calibration], tuple[Recording, ...]]:
    """Return a rig's calibrations and recordings.

    Args:
        calibration: one rig's, or a folder of rigs, one per sequence.
        folder: of the views, as for `find_recordings`.
        view_names: the views to use; empty for all.
        settings: the calibration's conventions.
        timing: of the views.

    Returns:
        The rig of every sequence, "" where all have one, with the cameras of the views, in their order; and the recordings.

    Raises:
        ValueError: as `read_calibration` and `find_recordings`; cameras with impossible orientations; a sequence without a rig.
    """
    paths = formats.rig_paths(calibration) if formats.is_rig_per_sequence(calibration) else {}
    files = paths or {"": calibration}
    rigs = {
        name: read_calibration(path, settings, lambda camera: image_size(folder, camera))
        for name, path in files.items()
    }
    path, first = next(iter(files.values())), next(iter(rigs.values()))
    recordings = find_recordings(folder, first.cameras, view_names, path, timing)
    if paths:
        missing = [recording.name for recording in recordings if recording.name not in rigs]
        if missing:
            raise ValueError(f"{calibration}: no calibration of the sequence {missing[0]}; there are {', '.join(rigs)}")
        rigs = {recording.name: rigs[recording.name] for recording in recordings}
    names = [view.camera.name for view in recordings[0].views]
    selected = {}
    for name, rig in rigs.items():
        selected[name] = replace(rig, cameras=select_cameras(rig.cameras, names, files[name]))
        check_orientations(selected[name].cameras, files[name])
    return selected, recordings


def select_frames(
    rigs: dict[str, Calibration], recordings: Sequence[Recording], selection: FrameSelection
) -> RawTarget:
    """Return the target with the selected frames of its recordings.

    Raises:
        ValueError: a held-out sequence does not exist, or no frame of a sequence is selected.
    """
    names = [recording.name for recording in recordings]
    unknown = sorted(set(selection.test_sequences) - set(names))
    if unknown:
        raise ValueError(
            f"target.rig.test_sequences: there is no sequence '{unknown[0]}'; there are {', '.join(names)}"
        )
    selected, split = [], []
    for recording in recordings:
        last = recording.numbers[-1] if selection.last_frame is None else selection.last_frame
        numbers = tuple(n for n in recording.numbers if selection.first_frame <= n <= last)[:: selection.frame_stride]
        if not numbers:
            raise ValueError(
                f"target.rig: no frame of the sequence '{recording.name}' is left by first_frame and last_frame"
            )
        held_out = len(numbers) if recording.name in selection.test_sequences else selection.test_last_frames
        held_out = min(held_out, len(numbers))
        split += ["train"] * (len(numbers) - held_out) + ["test"] * held_out
        selected.append(replace(recording, numbers=numbers))
    sequence = np.array([recording.name for recording in selected for _ in recording.numbers])
    number = np.array([number for recording in selected for number in recording.numbers], dtype=np.int32)
    keys = FrameKeys(sequence, number, np.array(split), sequence)
    return RawTarget(rigs=rigs, recordings=tuple(selected), keys=keys)
