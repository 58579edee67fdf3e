"""Cameras that were pushed during the recording."""

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.rig.observations import Observations
from pipeline.rig.report import Finding
from pipeline.rig.residuals import (
    MAX_RESIDUAL,
    TOLERATED,
    finite_median,
    image_diagonal,
    mean_residual,
    median_vector,
    residual_vectors,
)
from pipeline.rig.sentences import finding

_PARTS = 24  # that a recording is cut into, at most
_PUSHED = 4.0  # times the scatter from one part to the next, by which the keypoints of a pushed camera jump
_LEFT = 0.95  # the share of the whole rig's residual that taking a jump back may leave, at most


def undo_pushes(
    observations: Observations, cameras: tuple[Camera, ...], thresholds: AgreementThresholds
) -> tuple[list[Finding], Observations]:
    """Return cameras whose keypoints jump at one frame and stay offset, and the observations without the jumps."""
    findings: list[Finding] = []
    count = len(observations.number)
    parts = min(_PARTS, count // 8)
    if parts < 6:
        return findings, observations
    part = np.arange(count) * parts // count
    limit_px = MAX_RESIDUAL * image_diagonal(cameras)
    before = mean_residual(observations, cameras, thresholds, limit_px)
    for _ in cameras:
        jumps = []
        for view in range(len(cameras)):
            vectors = residual_vectors(observations, cameras, thresholds, view)
            jumps.append(_jump(np.array([median_vector(vectors[part == each]) for each in range(parts)])))
        trials = []
        for view, (split, step, scatter_px) in enumerate(jumps):
            jump_px = float(np.linalg.norm(step))
            if jump_px > max(TOLERATED * float(np.hypot(*cameras[view].size)), _PUSHED * scatter_px):
                after = np.where(part >= split, 1.0, 0.0)[:, None, None]
                undone = observations.with_view(view, observations.keypoints[:, view] + after * step)
                trials.append((mean_residual(undone, cameras, thresholds, limit_px), view, split, jump_px, undone))
        if not trials:
            break
        left, view, split, jump_px, undone = min(trials, key=lambda trial: trial[0])
        if left > _LEFT * before:
            break
        observations, before = undone, left
        row = int(np.flatnonzero(part == split)[0])
        findings.append(
            finding(
                "pushed",
                cameras[view].name,
                {"row": row, "jump_px": jump_px},
                sequence=observations.sequence[row],
                number=observations.number[row],
            )
        )
    return findings, observations


def _jump(vectors: np.ndarray) -> tuple[int, np.ndarray, float]:
    """Return the clearest step in (parts, 2) px: the part that it comes with, (2,) px, and the scatter of the parts, px."""
    best: tuple[int, np.ndarray, float] = (0, np.zeros(2), np.inf)
    gain = 0.0
    for split in range(2, len(vectors) - 1):
        before, after = median_vector(vectors[:split]), median_vector(vectors[split:])
        if not np.isfinite([before, after]).all():
            continue
        rest = np.concatenate([vectors[:split] - before, vectors[split:] - after])
        scatter_px = finite_median(np.linalg.norm(rest, axis=-1))
        step = after - before
        weight = np.sqrt(split * (len(vectors) - split))
        if np.linalg.norm(step) * weight / max(scatter_px, 0.1) > gain:
            gain = float(np.linalg.norm(step) * weight / max(scatter_px, 0.1))
            best = (split, step, scatter_px)
    return best
