"""Smooth: poses over time -> the same poses with less noise, if the method asks for it.

Each person in each sequence is a track of its own. Joints stay unknown in long gaps, and the method "none", the default,
changes nothing. Tracks are read in blocks of frames, so memory does not grow with the recording.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from pipeline import cli, nanstats
from pipeline.files.atomic import write_json
from pipeline.files.keys import FrameKeys
from pipeline.files.poses import JointStatus, Poses, read_header, writing
from pipeline.geometry import smoothing

_BLOCK = 4096  # frames
_SETTLED_PERIODS = 10.0  # of the cut-off; the filter's response to an earlier frame has died out after them


@dataclass(frozen=True, kw_only=True)
class Smooth:
    """Section `smooth` of params.yaml.

    Attributes:
        source: the poses to smooth: "rpsm" or "triangulation".
        method: "none" leaves them unchanged; "butterworth" removes frequencies above `cutoff_hz`; "local_polynomial" fits a
            parabola to the frames within `window_s`, weighted by their certainty.
        frames_per_second: frame numbers per second of the recording.
        cutoff_hz: of "butterworth".
        window_s: of "local_polynomial", to either side.
        max_gap_s: joints are filled in gaps of at most this length between known frames; 0: none.
    """

    source: Literal["rpsm", "triangulation"]
    method: Literal["none", "butterworth", "local_polynomial"]
    frames_per_second: Annotated[float, Gt(0)]
    cutoff_hz: Annotated[float, Gt(0)]
    window_s: Annotated[float, Gt(0)]
    max_gap_s: Annotated[float, Ge(0)]


def main(*, poses: Path, rpsm: Path, out: Path, metrics: Path, config: Smooth) -> None:
    """Write the smoothed poses.

    Args:
        poses: the triangulated poses.
        rpsm: the poses of RPSM.
        out: the smoothed poses, written as HDF5.
        metrics: counts and changes, written as JSON.
    """
    source = rpsm if config.source == "rpsm" else poses
    keys, views, skeleton = read_header(source)
    moved, known, filled, possible = [np.empty(0)], 0, 0, 0
    with writing(out, keys, views, skeleton) as smoothed:
        for rows, inner in blocks(keys, config):
            first = int(rows.min())
            given = Poses.read(source, slice(first, int(rows.max()) + 1))
            numbers, joints = keys.number[rows].astype(np.int64), given.joints[rows - first]
            smooth_joints = smooth(joints, numbers, given.covariance[rows - first], config)[inner]

            order = np.argsort(rows[inner])
            ascending, smooth_joints = rows[inner][order], smooth_joints[order]
            local = ascending - first
            before, after = given.valid[local], np.isfinite(smooth_joints).all(axis=-1)
            status = np.where(after, JointStatus.KNOWN, given.status[local])
            smoothed.put(ascending, smooth_joints, given.inliers[local], given.error_px[local], status)
            if np.isfinite(given.covariance).any():
                smoothed.put_covariance(ascending, given.covariance[local])
            moved.append(np.linalg.norm(smooth_joints - given.joints[local], axis=-1)[before])
            known, filled, possible = known + after.sum(), filled + (after & ~before).sum(), possible + after.size

    displacement_mm = np.concatenate(moved)
    values = {
        "coverage": 100 * known / max(possible, 1),
        "filled": 100 * filled / max(possible, 1),
        "moved_mm_median": nanstats.median(displacement_mm),
        "moved_mm_p95": nanstats.percentile(displacement_mm, 95),
    }
    write_json(metrics, values)
    print(f"{out}: {config.method}, joints moved by {values['moved_mm_median']:.1f} mm (median)")


def blocks(keys: FrameKeys, config: Smooth) -> Iterator[tuple[np.ndarray, slice]]:
    """Return the tracks in blocks of frames.

    Yields:
        Rows of one track in the order of time, and a slice of them: the block itself. The other rows are its neighbours.
    """
    settled_s = (
        config.max_gap_s
        + {"none": 0.0, "butterworth": _SETTLED_PERIODS / config.cutoff_hz, "local_polynomial": config.window_s}[
            config.method
        ]
    )
    margin = int(np.ceil(settled_s * config.frames_per_second))
    for sequence, person in sorted(set(zip(keys.sequence.tolist(), keys.person.tolist(), strict=True))):
        rows = np.flatnonzero((keys.sequence == sequence) & (keys.person == person))
        rows = rows[np.argsort(keys.number[rows], kind="stable")]
        numbers = keys.number[rows]
        for start in range(0, len(rows), _BLOCK):
            stop = min(start + _BLOCK, len(rows))
            low = int(np.searchsorted(numbers, numbers[start] - margin))
            high = int(np.searchsorted(numbers, numbers[stop - 1] + margin, "right"))
            yield rows[low:high], slice(start - low, stop - low)


def smooth(joints: np.ndarray, numbers: np.ndarray, covariance: np.ndarray, config: Smooth) -> np.ndarray:
    """Return the smoothed joints of one track.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown.
        numbers: (frames,) int, frame numbers.
        covariance: (frames, joints, 3, 3) mm^2; NaN if unknown.

    Returns:
        (frames, joints, 3) world mm.
    """
    match config.method:
        case "none":
            return joints
        case "butterworth":
            step = max(int(np.gcd.reduce(np.diff(numbers))), 1) if len(numbers) > 1 else 0
            highest = 0.4 * config.frames_per_second / step if step else np.inf
            if config.cutoff_hz > highest:
                raise ValueError(
                    f"smooth.cutoff_hz: expected at most {highest:g}, 0.4 of the frames per second that exist,"
                    f" got {config.cutoff_hz}"
                )
            return smoothing.butterworth(
                joints,
                numbers,
                frames_per_second=config.frames_per_second,
                cutoff_hz=config.cutoff_hz,
                max_gap_s=config.max_gap_s,
            )
        case "local_polynomial":
            return smoothing.local_polynomial(
                joints,
                numbers,
                frames_per_second=config.frames_per_second,
                window_s=config.window_s,
                max_gap_s=config.max_gap_s,
                variances=np.trace(covariance, axis1=-2, axis2=-1),
            )


if __name__ == "__main__":
    cli.run(main, Smooth)
