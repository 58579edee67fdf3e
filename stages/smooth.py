"""Smooth: poses over time -> the same poses with less noise in them, if one wants that.

Each person in each sequence is a track of its own. What no view saw for long stays unknown, and with the method "none", the
default, all stays as it was. Tracks are read in blocks of frames, so memory does not grow with the recording.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.keys import FrameKeys
from pipeline.files.poses import Poses, Status, read_header, writing
from pipeline.geometry import smoothing

_BLOCK = 4096  # frames
_SETTLED = 10.0  # periods of the cut-off, after which nothing is left of what lay before


@dataclass(frozen=True)
class Smooth:
    """Section `smooth` of params.yaml.

    Attributes:
        source: whose poses: "rpsm" or "triangulation".
        method: "none" leaves them as they are; "butterworth" takes out what is quicker than `cutoff_hz`, all moments alike;
            "local_polynomial" fits a parabola to the moments within `window_s`, the surer ones first.
        frames_per_second: how many frame numbers make a second of the recording.
        cutoff_hz: of "butterworth".
        window_s: of "local_polynomial", to either side.
        longest_gap_s: joints that are not known between known moments no farther apart than this are filled in; 0: none.
    """

    source: Literal["rpsm", "triangulation"]
    method: Literal["none", "butterworth", "local_polynomial"]
    frames_per_second: float
    cutoff_hz: float
    window_s: float
    longest_gap_s: float

    def __post_init__(self) -> None:
        for name in ("frames_per_second", "cutoff_hz", "window_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"smooth.{name}: expected more than 0, got {getattr(self, name)}")
        if self.longest_gap_s < 0:
            raise ValueError(f"smooth.longest_gap_s: expected 0 or more, got {self.longest_gap_s}")


def main(*, poses: Path, rpsm: Path, out: Path, metrics: Path, config: Smooth) -> None:
    source = rpsm if config.source == "rpsm" else poses
    keys, views, skeleton = read_header(source)
    moved, known, filled, possible = [np.empty(0)], 0, 0, 0
    with writing(out, keys, views, skeleton) as smoothed:
        for rows, wanted in blocks(keys, config):
            first = int(rows.min())
            given = Poses.read(source, slice(first, int(rows.max()) + 1))
            numbers, joints = keys.number[rows].astype(np.int64), given.joints[rows - first]
            found = smooth(joints, numbers, given.covariance[rows - first], config)[wanted]

            order = np.argsort(rows[wanted])
            ascending, found = rows[wanted][order], found[order]
            local = ascending - first
            before, after = given.known[local], np.isfinite(found).all(axis=-1)
            status = np.where(after, Status.KNOWN, given.status[local])
            smoothed.put(ascending, found, given.inliers[local], given.error[local], status)
            if np.isfinite(given.covariance).any():
                smoothed.put_covariance(ascending, given.covariance[local])
            moved.append(np.linalg.norm(found - given.joints[local], axis=-1)[before])
            known, filled, possible = known + after.sum(), filled + (after & ~before).sum(), possible + after.size

    distances = np.concatenate(moved)
    values = {
        "coverage": 100 * known / max(possible, 1),
        "filled": 100 * filled / max(possible, 1),
        "moved_mm_median": np.median(distances) if distances.size else np.nan,
        "moved_mm_p95": np.percentile(distances, 95) if distances.size else np.nan,
    }
    write_json(metrics, values)
    print(f"{out}: {config.method}, joints moved by {values['moved_mm_median']:.1f} mm (median)")


def blocks(keys: FrameKeys, config: Smooth) -> Iterator[tuple[np.ndarray, slice]]:
    """The tracks, some frames at a time.

    Yields:
        Rows of one track in the order of time, and which of these are wanted: the others are there for their neighbours.
    """
    settled_s = (
        config.longest_gap_s
        + (
            {"none": 0.0, "butterworth": _SETTLED / config.cutoff_hz, "local_polynomial": config.window_s}[
                config.method
            ]
        )
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
    """(frames, joints, 3) mm of one track, frame numbers, (frames, joints, 3, 3) mm^2 -> (frames, joints, 3) mm."""
    rate, gap = config.frames_per_second, config.longest_gap_s
    match config.method:
        case "none":
            return joints
        case "butterworth":
            highest = 0.4 * rate / max(int(np.gcd.reduce(np.diff(numbers))), 1) if len(numbers) > 1 else np.inf
            if config.cutoff_hz > highest:
                raise ValueError(
                    f"smooth.cutoff_hz: expected at most {highest:g}, 0.4 of the frames that there are in a second,"
                    f" got {config.cutoff_hz}"
                )
            return smoothing.butterworth(joints, numbers, rate, config.cutoff_hz, gap)
        case "local_polynomial":
            variances = np.trace(covariance, axis1=-2, axis2=-1)
            return smoothing.local_polynomial(joints, numbers, rate, config.window_s, gap, variances)


if __name__ == "__main__":
    cli.run(main, Smooth)
