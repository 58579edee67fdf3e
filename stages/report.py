"""Report: all rounds side by side, as tables and figures for DVC and as one page that opens without a network.

The ground truth is drawn beside the poses, and it chooses the best, median and worst frames.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from pipeline import cli
from pipeline import params as params_file
from pipeline.files.atomic import replacing, write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.labels import Labels
from pipeline.files.poses import Poses
from pipeline.files.tables import read_frame, write_table
from pipeline.files.truth import Truth
from pipeline.metrics.pck import keypoints_and_head_sizes
from pipeline.report import plots, results
from pipeline.report.page import render, scene_data
from pipeline.report.sheets import SheetData, frame_name, held_out_sheet, labelled_sheet


@dataclass(frozen=True)
class Report:
    """Section `report` of params.yaml.

    Attributes:
        frames_3d: how many held-out frames the 3D view has.
        views_shown: how many views of a frame a contact sheet shows.
        image_px: side of an image in a contact sheet.
    """

    frames_3d: Annotated[int, Ge(1)]
    views_shown: Annotated[int, Ge(1)]
    image_px: Annotated[int, Ge(1)]


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
    rounds_figure: Path,
    pck_figure: Path,
    joints_figure: Path,
    page: Path,
    config: Report,
    params: Path,
    controls: Path | None = None,
    quality: Path | None = None,
    verdict: Path | None = None,
    rig_check: Path | None = None,
) -> None:
    """Write the report of all rounds in params.yaml.

    Args:
        rounds: folder with the metrics of each round.
        curves: folder with the tables of each round.
        data: folder with the heatmaps, poses and labels of each round.
        frames: the prepared frames.
        cameras: their cameras.
        truth: the ground truth, which may be "none".
        summary: written: all measures of all rounds, as JSON.
        table: written: a row per round, as CSV.
        training: written: the losses of all rounds, as CSV.
        pck: written: the PCKh curves of all rounds, as CSV.
        rounds_figure: written: measures by round, as SVG.
        pck_figure: written: the PCKh curves, as SVG.
        joints_figure: written: measures by joint, as SVG.
        page: written: the HTML page.
        params: the params file, whose rounds are reported.
        controls: results of the self-training study, as JSON or CSV.
        quality: folder with the label-free figures of each round.
        verdict: the label-free verdict.
        rig_check: the problems of the rig.
    """
    names = round_names(params)
    measured = [results.read_round(name, rounds, curves, quality) for name in names]
    study = results.read_controls(controls) if controls else []
    verdict_found = results.read_verdict(verdict) if verdict else None
    rig_found = results.read_rig_check(rig_check) if rig_check else None
    views = Frames.read(frames)
    rigs = read_rigs(cameras)
    detections = {name: Heatmaps.read(data / name / "heatmaps.h5", maps=False) for name in names}
    triangulated = {name: Poses.read(data / name / "poses.h5") for name in names}
    pictorial = {name: Poses.read(data / name / "rpsm.h5") for name in names}
    for each in (detections, triangulated, pictorial):
        for name, artefact in each.items():
            views.keys.require_same(artefact.keys, str(data / name))
    last = triangulated[names[-1]]
    ground_truth = Truth.read(truth).arranged(views.keys, last.skeleton)

    project = partial(keypoints_and_head_sizes, skeleton=last.skeleton)
    true_keypoints, head_px = rigs.map_by_rig(
        views.keys, views.views, str(frames), project, ground_truth.joints, ground_truth.head
    )
    drawn = SheetData(
        frames=views,
        detections=detections,
        truth=ground_truth,
        true_keypoints=true_keypoints,
        head_px=head_px,
        views_shown=config.views_shown,
        image_px=config.image_px,
    )
    sheets = [held_out_sheet(drawn, last)]
    labelled = [name for name in names if (data / name / "labels.h5").exists()]
    if labelled:
        labels = Labels.read(data / labelled[-1] / "labels.h5")
        views.keys.require_same(labels.keys, str(data / labelled[-1] / "labels.h5"))
        sheets.append(labelled_sheet(drawn, labels, labelled[-1]))
    poses = {"triangulation": triangulated, "pictorial structure": pictorial}
    text = render(
        rounds=measured,
        against=compared_with(ground_truth, views),
        controls=study,
        sheets=sheets,
        scene=held_out_scene(views, poses, ground_truth, config.frames_3d),
        verdict=verdict_found,
        rig_check=rig_found,
    )

    write_json(summary, results.summary(measured))
    write_table(table, results.rounds_table(measured))
    write_table(training, results.training_table(measured))
    write_table(pck, results.curves_table(measured))
    by_joint = {name: read_frame(curves / name / "joints.csv") for name in names}
    figures = {
        rounds_figure: plots.rounds_svg(read_frame(table)),
        pck_figure: plots.pck_svg(read_frame(pck)),
        joints_figure: plots.joints_svg(by_joint),
        page: text.encode(),
    }
    for path, content in figures.items():
        with replacing(path) as scratch:
            scratch.write_bytes(content)
    print(f"{page}: {', '.join(names)}, {len(text.encode()) / 1e6:.1f} MB")
    if verdict_found:
        decision = verdict_found["verdict"].replace("_", " ")
        print(f"Label-free verdict: {decision} ({verdict_found['model']} against {verdict_found['against']})")
        for reason in verdict_found["reasons"]:
            print(f"  {reason}")


def round_names(params: Path) -> list[str]:
    """Return the first teacher, then the rounds of params.yaml in their order."""
    rounds = params_file.read(params).get("rounds") or {}
    if not isinstance(rounds, dict):
        raise ValueError(f"{params}: rounds: expected a section such as 'r1: {{teacher: r0}}', got {rounds!r}")
    return ["r0", *(str(name) for name in rounds)]


def compared_with(truth: Truth, frames: Frames) -> str:
    """Return what the held-out frames can be compared with: "truth", "peer" or "nothing"."""
    known = np.isfinite(truth.joints[frames.keys.split == "test"]).any()
    return truth.origin if known else "nothing"


def held_out_scene(frames: Frames, poses: dict[str, dict[str, Poses]], truth: Truth, frames_3d: int) -> dict[str, Any]:
    """Return the 3D view of evenly spaced held-out frames; of all frames if none is held out."""
    rows = np.flatnonzero(frames.keys.split == "test")
    rows = rows if len(rows) else np.arange(len(frames))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(frames_3d, len(rows))).round().astype(int))]
    skeleton = next(iter(poses["triangulation"].values())).skeleton
    return scene_data(
        frames=[frame_name(frames.keys, row) for row in rows],
        limbs=skeleton.limbs,
        joint_names=skeleton.joint_names,
        poses={method: {name: each.joints[rows] for name, each in models.items()} for method, models in poses.items()},
        truth=truth.joints[rows] if np.isfinite(truth.joints[rows]).any() else None,
        against=truth.origin,
    )


if __name__ == "__main__":
    cli.run(main)
