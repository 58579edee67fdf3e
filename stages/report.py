"""Report: all rounds side by side, as tables for DVC and as one page that opens without a network.

The truth is read for what it draws beside the poses, and to choose the best, median and worst frames.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli
from pipeline import params as params_file
from pipeline.files.atomic import replacing, write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.labels import Labels
from pipeline.files.poses import Poses
from pipeline.files.tables import write_table
from pipeline.files.truth import Truth
from pipeline.metrics.pck import keypoints_and_head_sizes
from pipeline.report import results
from pipeline.report.page import render, scene_data
from pipeline.report.sheets import frame_name, held_out_sheet, labelled_sheet


@dataclass(frozen=True)
class Report:
    """Section `report` of params.yaml.

    Attributes:
        frames_3d: how many test frames one can turn.
        views_shown: how many views of a frame a contact sheet shows.
        picture_px: side of a picture in a contact sheet.
    """

    frames_3d: int
    views_shown: int
    picture_px: int

    def __post_init__(self) -> None:
        for name in ("frames_3d", "views_shown", "picture_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"report.{name}: expected at least 1, got {getattr(self, name)}")


def main(
    *,
    rounds: Path,
    curves: Path,
    data: Path,
    frames: Path,
    cameras: Path,
    truth: Path,
    summary: Path,
    table: Path,
    training: Path,
    pck: Path,
    page: Path,
    config: Report,
    params: Path,
    controls: Path | None = None,
    quality: Path | None = None,
    verdict: Path | None = None,
    rig_check: Path | None = None,
) -> None:
    names = round_names(params)
    measured = [results.read_round(name, rounds, curves, quality) for name in names]
    study = results.read_controls(controls) if controls else []
    judged = results.read_verdict(verdict) if verdict else None
    checked = results.read_rig_check(rig_check) if rig_check else None
    pictured = Frames.read(frames)
    rigs = read_rigs(cameras)
    seen = {name: Heatmaps.read(data / name / "heatmaps.h5", windows=False) for name in names}
    triangulated = {name: Poses.read(data / name / "poses.h5") for name in names}
    pictorial = {name: Poses.read(data / name / "rpsm.h5") for name in names}
    for each in (seen, triangulated, pictorial):
        for name, artefact in each.items():
            pictured.keys.require_same(artefact.keys, str(data / name))
    last = triangulated[names[-1]]
    real = Truth.read(truth).arranged(pictured.keys, last.skeleton)

    size = (config.views_shown, config.picture_px)
    where = partial(keypoints_and_head_sizes, skeleton=last.skeleton)
    shown, head = rigs.map_by_rig(pictured.keys, pictured.views, str(frames), where, real.joints, real.head)
    sheets = [held_out_sheet(pictured, seen, last, real, shown, head, *size)]
    labelled = [name for name in names if (data / name / "labels.h5").exists()]
    if labelled:
        labels = Labels.read(data / labelled[-1] / "labels.h5")
        pictured.keys.require_same(labels.keys, str(data / labelled[-1] / "labels.h5"))
        sheets.append(labelled_sheet(pictured, seen, labels, labelled[-1], real, shown, head, *size))
    poses = {"triangulation": triangulated, "pictorial structure": pictorial}
    scene = scene_of_test(pictured, poses, real, config.frames_3d)
    text = render(measured, against(real, pictured), study, sheets, scene, judged, checked)

    write_json(summary, results.summary(measured))
    write_table(table, results.rounds_table(measured))
    write_table(training, results.training_table(measured))
    write_table(pck, results.curves_table(measured))
    with replacing(page) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")
    print(f"{page}: {', '.join(names)}, {len(text.encode()) / 1e6:.1f} MB")
    if judged:
        print(
            f"Without any label: {judged['verdict'].replace('_', ' ')} ({judged['model']} against {judged['against']})"
        )
        for reason in judged["reasons"]:
            print(f"  {reason}")


def round_names(params: Path) -> list[str]:
    """The first teacher, then the rounds of params.yaml in their order."""
    rounds = params_file.read(params).get("rounds") or {}
    if not isinstance(rounds, dict):
        raise ValueError(f"{params}: rounds: expected a section such as 'r1: {{teacher: r0}}', got {rounds!r}")
    return ["r0", *(str(name) for name in rounds)]


def against(real: Truth, pictured: Frames) -> str:
    """What the held-out frames can be compared with: "truth", "peer" or "nothing"."""
    known = np.isfinite(real.joints[pictured.keys.split == "test"]).any()
    return real.origin if known else "nothing"


def scene_of_test(pictured: Frames, poses: dict[str, dict[str, Poses]], real: Truth, frames_3d: int) -> dict[str, Any]:
    """Held-out frames for the 3D view, evenly spaced; all kinds of frames when none is held out."""
    rows = np.flatnonzero(pictured.keys.split == "test")
    rows = rows if len(rows) else np.arange(len(pictured))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(frames_3d, len(rows))).round().astype(int))]
    skeleton = next(iter(poses["triangulation"].values())).skeleton
    joints = {method: {name: found.joints[rows] for name, found in each.items()} for method, each in poses.items()}
    truth = real.joints[rows] if np.isfinite(real.joints[rows]).any() else None
    names = [frame_name(pictured.keys, row) for row in rows]
    return scene_data(names, skeleton.limbs, skeleton.joints, joints, truth, real.origin)


if __name__ == "__main__":
    cli.run(main)
