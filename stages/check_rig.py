"""Check the rig, before anything is learned with it: is this the calibration of these views, and are they in step?

From 2D joints alone, those of a foreign detector or of model r0: what each camera says against what the others agree on, and the
size, stance and bending of the body that they see together. Every finding is a sentence that says what to do.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline import cli
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.detections import Detections
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.keys import FrameKeys
from pipeline.metrics.rig_check import Checked, Rules, Sight, check


@dataclass(frozen=True)
class CheckRig:
    """Section `check_rig` of params.yaml.

    Attributes:
        confidence_threshold: joints with a lower score say nothing.
        reproj_threshold_px: px of the full picture; a view agrees when the joint is shown nearer than this.
        min_ray_angle_deg: of two views that agree.
        most_shift: frames of the target that a view may be out of step to be noticed.
        problems: "tell" goes on with them, "refuse" ends the stage, and with it whatever would learn from the rig.
    """

    confidence_threshold: float
    reproj_threshold_px: float
    min_ray_angle_deg: float
    most_shift: int
    problems: Literal["tell", "refuse"]

    def __post_init__(self) -> None:
        if not 0 <= self.confidence_threshold < 1:
            raise ValueError(
                f"check_rig.confidence_threshold: expected 0 or more and less than 1, got {self.confidence_threshold}"
            )
        if self.reproj_threshold_px <= 0:
            raise ValueError(f"check_rig.reproj_threshold_px: expected more than 0 px, got {self.reproj_threshold_px}")
        if not 0 <= self.min_ray_angle_deg < 90:
            raise ValueError(
                f"check_rig.min_ray_angle_deg: expected 0 or more and less than 90, got {self.min_ray_angle_deg}"
            )
        if self.most_shift < 0:
            raise ValueError(f"check_rig.most_shift: expected 0 or more frames, got {self.most_shift}")


def main(
    *,
    config: CheckRig,
    cameras: Path = Path("data/prepared/cameras.toml"),
    joints: Path = Path("data/prepared/detections.h5"),
    heatmaps: Path = Path("data/rounds/r0/heatmaps.h5"),
    metrics: Path = Path("metrics/check_rig.json"),
) -> None:
    keys, views, sight, source = _seen(joints, heatmaps)
    rules = Rules(config.confidence_threshold, config.reproj_threshold_px, config.min_ray_angle_deg, config.most_shift)
    values: dict[str, Any] = {"joints": str(source), "frames": len(keys)}
    problems: list[str] = []
    doubts: list[str] = []
    groups = read_rigs(cameras).groups(keys, views, str(source))
    for rows, rig in groups:
        found = check(sight.take(rows), rig, rules)
        where = "" if len(groups) == 1 else f"{', '.join(np.unique(keys.sequence[rows]).tolist())}: "
        for finding in found.findings:
            camera = f"{finding.camera} " if finding.camera and not finding.sentence.startswith("its ") else ""
            camera = f"{finding.camera}: " if finding.camera and not camera else camera
            (problems if finding.serious else doubts).append(f"{where}{camera}{finding.sentence}")
        figures = _figures(found)
        if len(groups) == 1:
            values |= figures
        else:
            values.setdefault("by_sequence", {})[str(keys.sequence[rows[0]])] = figures
        _say(found, where)
    values |= {"problems": problems, "doubts": doubts}
    if problems and config.problems == "refuse":
        raise ValueError(f"{cameras}: {'; '.join(problems)} (check_rig.problems: tell goes on with it)")
    write_json(metrics, values)
    for sentence in problems:
        print(f"PROBLEM  {sentence}")
    for sentence in doubts:
        print(f"doubt    {sentence}")
    print(f"{metrics}: {len(problems)} problems, {len(doubts)} doubts, by the joints of {source}")


def _seen(joints: Path, heatmaps: Path) -> tuple[FrameKeys, tuple[str, ...], Sight, Path]:
    """A foreign detector's joints where there are any, else model r0's."""
    if joints.is_file():
        found = Detections.read(joints)
        if np.isfinite(found.points).any():
            keys = found.keys
            sight = Sight(found.points, found.scores, keys.sequence, keys.number, found.skeleton)
            return keys, found.views, sight, joints
    if not heatmaps.is_file():
        raise ValueError(
            f"{heatmaps}: there is no such file, and {joints} holds no joints; `dvc repro check_rig` makes both, "
            "target.detector names the joints of data.detections"
        )
    maps = Heatmaps.read(heatmaps, windows=False)
    sight = Sight(maps.points, maps.scores, maps.keys.sequence, maps.keys.number, maps.skeleton)
    return maps.keys, maps.views, sight, heatmaps


def _figures(found: Checked) -> dict[str, Any]:
    return {
        "by_camera": found.by_camera,
        "apart_px": found.apart_px,
        "body_scale": found.body_scale,
        "coverage": found.coverage,
        "findings": [
            {"kind": each.kind, "camera": each.camera, "serious": each.serious, **each.figures}
            for each in found.findings
        ],
    }


def _say(found: Checked, where: str) -> None:
    for camera, each in found.by_camera.items():
        if each:
            print(
                f"{where}{camera}: {each['off_px']:.1f} px from what the other cameras say (median), "
                f"{each['share']:.0f} % of all disagreement"
            )
    if np.isfinite(found.body_scale):
        print(f"{where}arms and legs are {found.body_scale:.2f} times an adult's")


if __name__ == "__main__":
    cli.run(main, CheckRig)
