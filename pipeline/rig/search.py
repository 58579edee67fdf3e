"""Apply the correction that lowers the residual most; stop when none helps."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.rig.hypotheses import RIG_HYPOTHESES, VIEW_HYPOTHESES, Hypothesis, RigEvidence, ViewEvidence
from pipeline.rig.observations import Observations
from pipeline.rig.report import Finding
from pipeline.rig.residuals import (
    MAX_RESIDUAL,
    TOLERATED,
    agreed_joints,
    image_diagonal,
    mean_residual,
    median_residual,
)
from pipeline.rig.sentences import finding

_PRICE_OF_FREEDOM = 1.05  # a hypothesis with one fitted value more has to leave a residual so many times smaller
_CONTRADICTION = 0.75  # share of the largest possible residual; with more left the cameras contradict one another


@dataclass(frozen=True, eq=False, kw_only=True)
class Corrected:
    """A rig with its faults corrected.

    Attributes:
        findings: the faults, the one that lowered the residual most first.
        observations: without the faults, all frames.
        cameras: without the faults.
    """

    findings: tuple[Finding, ...]
    observations: Observations
    cameras: tuple[Camera, ...]


def correct(
    observations: Observations,
    cameras: tuple[Camera, ...],
    thresholds: AgreementThresholds,
    max_offset_frames: int,
) -> Corrected:
    """Return the rig without the faults that explain its residual.

    Args:
        observations: of the rig.
        cameras: (views,), three or more.
        thresholds: when views agree.
        max_offset_frames: largest frame offset to try, in rows.
    """
    sample = observations.sample()
    diagonal_px = image_diagonal(cameras)
    limit_px, findings = MAX_RESIDUAL * diagonal_px, list[Finding]()
    for _ in range(2 * len(cameras)):
        before = mean_residual(sample, cameras, thresholds, limit_px)
        if not np.isfinite(before) or before < 0.25 * TOLERATED * diagonal_px:
            break
        helpful = []
        for hypothesis in _hypotheses(sample, cameras, thresholds, max_offset_frames):
            share_left = mean_residual(*hypothesis.correct(sample, cameras), thresholds, limit_px) / before
            if share_left < hypothesis.max_share_left:
                helpful.append((share_left * _PRICE_OF_FREEDOM**hypothesis.freedom, hypothesis))
        if not helpful:
            break
        _, best = min(helpful, key=lambda pair: pair[0])
        findings.append(best.finding)
        observations, _ = best.correct(observations, cameras)
        sample, cameras = best.correct(sample, cameras)
    left = mean_residual(sample, cameras, thresholds, limit_px)
    if np.isfinite(left) and left > _CONTRADICTION * limit_px:
        share = 100 * float(np.isfinite(agreed_joints(sample, cameras, thresholds)[..., 0]).mean())
        findings.append(finding("contradiction", figures={"known": share}))
    return Corrected(findings=tuple(findings), observations=observations, cameras=cameras)


def _hypotheses(
    observations: Observations,
    cameras: tuple[Camera, ...],
    thresholds: AgreementThresholds,
    max_offset_frames: int,
) -> Iterator[Hypothesis]:
    """Yield all faults of single views and of the rig that may explain its residual."""
    diagonal_px = image_diagonal(cameras)
    joints = [agreed_joints(observations, cameras, thresholds, view) for view in range(len(cameras))]
    residuals_px = np.array(
        [median_residual(c, joints[v], observations.keypoints[:, v]) for v, c in enumerate(cameras)]
    )
    views = [
        ViewEvidence(
            observations=observations,
            cameras=cameras,
            view=view,
            joints=joints[view],
            residual_px=residuals_px[view],
            diagonal_px=diagonal_px,
            max_offset_frames=max_offset_frames,
        )
        for view in range(len(cameras))
    ]
    for view in views:
        if not np.isnan(view.residual_px):
            for kind in VIEW_HYPOTHESES:
                yield from kind.propose(view)
    evidence = RigEvidence.of(views)
    for rig_kind in RIG_HYPOTHESES:
        yield from rig_kind.propose(evidence)
