"""Check the rig, before anything is learned with it: is this the calibration of these views, and are they in step?

The answer comes from 2D keypoints alone, those of a foreign detector or of model r0: each camera's keypoints against what the
other cameras agree on, and the size, stance and bending of the body that they see together. Every finding is a sentence that
names the remedy.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Unit

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.detections import Detections
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.keys import FrameKeys
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.rig.check import check
from pipeline.rig.observations import Observations
from pipeline.rig.report import RigReport


@dataclass(frozen=True, kw_only=True)
class CheckRig(AgreementThresholds):
    """Section `check_rig` of params.yaml, beside the thresholds of agreement.

    Attributes:
        max_offset_frames: largest frame offset of a view to notice, in frames of the target.
        problems: "tell" goes on with them, "refuse" ends the stage, and with it whatever would learn from the rig.
    """

    max_offset_frames: Annotated[int, Ge(0), Unit("frames")]
    problems: Literal["tell", "refuse"]


def main(
    *,
    config: CheckRig,
    cameras: Path = Path("data/prepared/cameras.toml"),
    detections: Path = Path("data/prepared/detections.h5"),
    heatmaps: Path = Path("data/rounds/r0/heatmaps.h5"),
    metrics: Path = Path("metrics/check_rig.json"),
) -> None:
    """Check every rig of the target.

    Args:
        config: thresholds.
        cameras: the rigs.
        detections: keypoints of a foreign detector; used if there are any.
        heatmaps: of model r0, used otherwise.
        metrics: problems, doubts and figures.
    """
    keys, views, observations, source = _observations(detections, heatmaps)
    values: dict[str, Any] = {"joints": str(source), "frames": len(keys)}
    problems: list[str] = []
    doubts: list[str] = []
    groups = read_rigs(cameras).groups(keys, views, str(source))
    for rows, rig in groups:
        report = check(observations.take(rows), rig, config, config.max_offset_frames)
        prefix = "" if len(groups) == 1 else f"{', '.join(np.unique(keys.sequence[rows]).tolist())}: "
        for finding in report.findings:
            (problems if finding.serious else doubts).append(f"{prefix}{finding}")
        if len(groups) == 1:
            values |= _figures(report)
        else:
            values.setdefault("by_sequence", {})[str(keys.sequence[rows[0]])] = _figures(report)
        _print_figures(report, prefix)
    values |= {"problems": problems, "doubts": doubts}
    if problems and config.problems == "refuse":
        raise ValueError(f"{cameras}: {'; '.join(problems)} (check_rig.problems: tell goes on with it)")
    write_json(metrics, values)
    for sentence in problems:
        print(f"PROBLEM  {sentence}")
    for sentence in doubts:
        print(f"doubt    {sentence}")
    print(f"{metrics}: {len(problems)} problems, {len(doubts)} doubts, by the keypoints of {source}")


def _observations(detections: Path, heatmaps: Path) -> tuple[FrameKeys, tuple[str, ...], Observations, Path]:
    """Return the keypoints of a foreign detector where there are any, else model r0's, with the file that they are from."""
    source: Detections | Heatmaps | None = None
    path = detections
    if detections.is_file():
        source = Detections.read(detections)
    if source is None or not np.isfinite(source.keypoints).any():
        path = heatmaps
        if not heatmaps.is_file():
            raise ValueError(
                f"{heatmaps}: there is no such file, and {detections} holds no keypoints; `dvc repro check_rig` makes both, "
                "target.detections_format names the joints of data.detections"
            )
        source = Heatmaps.read(heatmaps, maps=False)
    observations = Observations(
        keypoints=source.keypoints,
        scores=source.scores,
        sequence=source.keys.sequence,
        number=source.keys.number,
        skeleton=source.skeleton,
    )
    return source.keys, source.views, observations, path


def _figures(report: RigReport) -> dict[str, Any]:
    return {
        "by_camera": report.by_camera,
        "apart_px": report.epipolar_px,
        "body_scale": report.body_scale,
        "coverage": report.coverage_percent,
        "findings": [
            {"kind": each.kind, "camera": each.camera, "serious": each.serious, **each.figures}
            for each in report.findings
        ],
    }


def _print_figures(report: RigReport, prefix: str) -> None:
    for camera, each in report.by_camera.items():
        if each:
            print(
                f"{prefix}{camera}: {each['off_px']:.1f} px from what the other cameras say (median), "
                f"{each['share']:.0f} % of all disagreement"
            )
    if np.isfinite(report.body_scale):
        print(f"{prefix}arms and legs are {report.body_scale:.2f} times an adult's")


if __name__ == "__main__":
    cli.run(main, CheckRig)
