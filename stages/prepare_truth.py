"""Prepare truth: the true joints of the target, for the evaluation only.

The ground truth is markers (TRC), or Human3.6M's own poses in any of its layouts, recognised by their files.
No stage that makes or selects labels may reach this file (tests/test_architecture.py walks the pipeline's arrows).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import cli
from pipeline.datasets import trc
from pipeline.datasets.h36m import layouts, selection
from pipeline.files import truth as truths
from pipeline.files.frames import read_keys
from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get

_SKELETON = "mpii_16"
_HEIGHT = (1200.0, 2300.0)  # mm, of a person


@dataclass(frozen=True)
class Truth:
    """Section `truth` of params.yaml."""

    axes: Literal["xyz", "xzy", "yxz", "yzx", "zxy", "zyx"]  # the file's columns that are the world's x, y and z (up)
    frame_offset: int  # added to the file's frame numbers gives the target's
    origin: Literal["truth", "peer"]  # peer: another tool's result, reported as a distance and never as an error


def main(*, truth: Path, frames: Path, out: Path, config: Truth) -> None:
    """Write the ground truth of the target's frames.

    Args:
        truth: the folder or file of the ground truth, which may be "none".
        frames: the prepared frames.
        out: the ground truth, written as HDF5.
    """
    keys = read_keys(frames)
    ground_truth = _human36m(truth, keys, config) if layouts.is_here(truth) else _markers(truth, frames, keys, config)
    ground_truth.write(out)
    known = np.isfinite(ground_truth.joints).all(axis=-1)
    print(
        f"{out}: {config.origin} for {known.any(axis=-1).sum()} of {len(keys)} frames, {known.mean():.1%} of the joints"
        + (f"; {ground_truth.recipe.replace('_', ' takes ')}" if ground_truth.recipe else "")
    )


def _human36m(truth: Path, keys: FrameKeys, config: Truth) -> truths.Truth:
    subjects = sorted({selection.subject_of(person) for person in keys.person.tolist()})
    with layouts.open_takes(truth, None, subjects) as (takes, notes):
        for note in notes:
            print(note)
        joints, head = selection.ground_truth(takes, keys)
    if not np.isfinite(joints).any():
        raise ValueError(f"{truth}: not one of the target's frames is in there, such as {keys.sequence[0]}")
    return truths.Truth(
        keys=keys,
        skeleton=selection.SKELETON,
        joints=joints,
        head=head,
        origin=config.origin,
        recipe=selection.recipe_of(keys),
    )


def _markers(truth: Path, frames: Path, keys: FrameKeys, config: Truth) -> truths.Truth:
    skeleton = get(_SKELETON)
    joints = np.full((len(keys), len(skeleton), 3), np.nan)
    for sequence, path in _files(truth, keys).items():
        rows = np.flatnonzero(keys.sequence == sequence)
        joints[rows] = _read(path, keys.number[rows], skeleton, config)
    if not np.isfinite(joints).all(axis=-1).any():
        raise ValueError(f"{truth}: not one joint of {frames}'s frames is in there; see truth.frame_offset")
    head = 0.75 * np.linalg.norm(
        joints[:, skeleton.index("upper_neck")] - joints[:, skeleton.index("head_top")], axis=-1
    )
    return truths.Truth(keys=keys, skeleton=skeleton, joints=joints, head=head, origin=config.origin)


def _files(truth: Path, keys: FrameKeys) -> dict[str, Path]:
    """Return the marker file of every sequence; sequences without one are left out."""
    sequences = sorted(set(keys.sequence.tolist()))
    if truth.is_dir():
        files = {name: truth / f"{name}.trc" for name in sequences if (truth / f"{name}.trc").is_file()}
        if not files:
            raise ValueError(f"{truth}: expected <sequence>.trc for {', '.join(sequences)}, found none of them")
        missing = [name for name in sequences if name not in files]
        if missing:
            print(f"{truth}: there is no file of {', '.join(missing)}")
        return files
    if len(sequences) != 1:
        raise ValueError(
            f"{truth}: one file cannot have the markers of {len(sequences)} sequences; expected a folder of .trc files"
        )
    return {sequences[0]: truth}


def _read(path: Path, numbers: np.ndarray, skeleton: Skeleton, config: Truth) -> np.ndarray:
    """Return the (frames, joints, 3) world mm of the numbered frames; NaN if unknown."""
    markers = trc.read(path)
    joints = trc.joints(markers, skeleton, config.axes)
    if not np.isfinite(joints).any():
        raise ValueError(f"{path}: no marker is a joint of {skeleton.name}; there are {', '.join(markers.names)}")
    height = trc.height(joints, skeleton)
    if np.isfinite(height) and not _HEIGHT[0] <= height <= _HEIGHT[1]:
        raise ValueError(
            f"{path}: by the limbs the person is {height / 1000:.4g} m tall, expected {_HEIGHT[0] / 1000:g} to "
            f"{_HEIGHT[1] / 1000:g} m; are the units (m, mm) in the header right?"
        )
    row = {number: index for index, number in enumerate((markers.number + config.frame_offset).tolist())}
    index = np.array([row.get(number, -1) for number in numbers.tolist()])
    return np.where((index >= 0)[:, None, None], joints[index], np.nan)


if __name__ == "__main__":
    cli.run(main, Truth)
