"""Frame offsets between the views of one recording, estimated from one person's keypoints."""

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.rig.observations import Observations
from pipeline.rig.sentences import SENTENCES

_MAX_OFFSET_FRAMES = 30
_SAMPLED_FRAMES = 300
_THRESHOLDS = AgreementThresholds(confidence_threshold=0.3, reproj_threshold_px=15.0, min_ray_angle_deg=5.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameOffsets:
    """Frame offsets of the views of a recording.

    Attributes:
        frames: (views,) int, by how many frame numbers each view is early: what it shows in its frame n + offset belongs to
            the other views' frame n. 0 for most views, and for all where no offset clearly explains the residual.
        epipolar_px: median distance of the views from each other's epipolar lines, the mean over pairs; NaN if unknown.
        corrected_px: the same with the offsets applied.
    """

    frames: np.ndarray
    epipolar_px: float
    corrected_px: float

    def sentences(self, cameras: tuple[Camera, ...]) -> list[str]:
        """Return one sentence for each view that is early or late."""
        return [
            SENTENCES["out_of_step"][1].format(
                camera=camera.name,
                count=abs(frames),
                word="early" if frames > 0 else "late",
                epipolar_px=self.epipolar_px,
                corrected_px=self.corrected_px,
                frames=frames,
            )
            for camera, frames in zip(cameras, self.frames.tolist(), strict=True)
            if frames
        ]


def estimate_frame_offsets(observations: Observations, cameras: tuple[Camera, ...]) -> FrameOffsets:
    """Return which views are early or late, as `check` finds it.

    A person who stands still says nothing about it; all offsets are 0 then.

    Args:
        observations: one person in one recording; of these at most the first 300 frames are read.
        cameras: (views,).
    """
    # numba and scipy load only where there is something to compare
    from pipeline.rig.check import check, pair_medians

    def epipolar_px(some: Observations) -> float:
        medians = np.array(list(pair_medians(some.above(_THRESHOLDS.confidence_threshold), cameras).values()))
        return float(medians[np.isfinite(medians)].mean()) if np.isfinite(medians).any() else float("nan")

    observations = observations.take(np.arange(min(len(observations.number), _SAMPLED_FRAMES)))
    max_offset_frames = min(_MAX_OFFSET_FRAMES, len(observations.number) // 4)
    report = check(observations, cameras, _THRESHOLDS, max_offset_frames)
    names = [camera.name for camera in cameras]
    rows = np.zeros(len(cameras), dtype=int)
    shifted = observations
    for each in report.findings:
        if each.kind == "time":
            view = names.index(each.camera)
            rows[view] += int(each.figures["rows"])
            shifted = shifted.shifted(view, int(each.figures["rows"]))
    return FrameOffsets(
        frames=rows * observations.frame_step,
        epipolar_px=epipolar_px(observations),
        corrected_px=epipolar_px(shifted),
    )


def person_or_surest(keypoints: np.ndarray, scores: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the keypoints and scores of the person of interest, or of the surest detection where none fits.

    A view that is out of step shows the person where the other views do not expect them.

    Args:
        keypoints: (frames, views, people, joints, 2) px; NaN if not seen.
        scores: (frames, views, people, joints).
        person: (frames, views) int, the index of the person; -1 if no detection fits.

    Returns:
        (frames, views, joints, 2) px and (frames, views, joints).
    """
    surest = scores.sum(axis=-1).argmax(axis=-1)
    index = np.where(person >= 0, person, surest)[..., None, None]
    chosen = np.take_along_axis(keypoints, index[..., None], axis=2)[:, :, 0]
    return chosen, np.take_along_axis(scores, index, axis=2)[:, :, 0]
