"""The evaluate stage through its own command line, on a tiny world whose errors are known."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.files import heatmaps as heatmaps_file
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.poses import Poses
from pipeline.files.tables import read_table
from pipeline.files.truth import Truth
from tests.worlds import published_world, tiny_world

PARAMS = "evaluate:\n  curve_limit: 0.5\n  curve_points: 11\nheld_out:\n  view: null\n"


def evaluate(world: tiny_world.World, monkeypatch: pytest.MonkeyPatch, model: str = "r1", params: str = PARAMS) -> dict:
    """Run the stage for one model and read what it says."""
    file = world.root / "params.yaml"
    file.write_text(params)
    data, metrics, plots = world.data(model), world.metrics(model), world.plots(model)
    flags = {
        "heatmaps": data / "heatmaps.h5",
        "poses": data / "poses.h5",
        "rpsm": data / "rpsm.h5",
        "cameras": world.rig,
        "truth": world.truth,
        "metrics": metrics / "evaluate.json",
        "joints": plots / "joints.csv",
        "curve": plots / "pck.csv",
        "params": file,
    }
    monkeypatch.setattr(sys, "argv", ["evaluate", *(str(w) for k, v in flags.items() for w in (f"--{k}", v))])
    runpy.run_module("stages.evaluate", run_name="__main__")
    return json.loads((metrics / "evaluate.json").read_text())


@pytest.fixture
def world(tmp_path: Path) -> tiny_world.World:
    return tiny_world.build(tmp_path, rounds=1)


def shift_poses(world: tiny_world.World, name: str, shift: list[float], rows: np.ndarray | None = None) -> None:
    """Put the model's joints at the truth plus a shift in mm, in the given frames (or in all)."""
    old = Poses.read(world.data("r1") / name)
    joints = old.joints.copy()
    rows = np.ones(len(joints), dtype=bool) if rows is None else rows
    joints[rows] = world.joints[rows] + shift
    Poses(
        keys=old.keys,
        views=old.views,
        skeleton=old.skeleton,
        joints=joints,
        inliers=old.inliers,
        error_px=old.error_px,
        status=old.status,
    ).write(world.data("r1") / name)


def test_a_model_that_is_30_mm_beside_the_truth_scores_30_mm(world, monkeypatch):
    shift_poses(world, "poses.h5", [30, 0, 0])
    shift_poses(world, "rpsm.h5", [0, 0, -12])
    values = evaluate(world, monkeypatch)
    assert values["mpjpe_abs_mm"] == pytest.approx(30, abs=0.01)
    assert values["mpjpe_abs_median_mm"] == pytest.approx(30, abs=0.01)
    assert values["mpjpe_abs_rpsm_mm"] == pytest.approx(12, abs=0.01)
    assert values["mpjpe_rel_mm"] == pytest.approx(0, abs=0.01)
    assert values["mpjpe_pa_mm"] == pytest.approx(0, abs=0.01)
    assert values["coverage"] == 100


def set_keypoints(world: tiny_world.World, keypoints: np.ndarray) -> None:
    """Let the model's keypoints be these, (frames, views, joints, 2) px."""
    path = world.data("r1") / "heatmaps.h5"
    seen = Heatmaps.read(path)
    with heatmaps_file.writing(path, seen.keys, seen.views, seen.skeleton, seen.map_size) as writer:
        writer.append(keypoints, seen.scores, seen.image_from_map, (seen.peak_patches, seen.patch_corners))


def test_the_plain_dlt_of_all_views_is_beside_the_robust_triangulation(world, monkeypatch):
    keypoints = np.stack([camera.project(world.joints) for camera in world.cameras], axis=1)
    keypoints[-1, 1:, 3] = np.nan  # one view left
    set_keypoints(world, keypoints)
    shift_poses(world, "poses.h5", [30, 0, 0])
    values = evaluate(world, monkeypatch)
    assert values["mpjpe_abs_dlt_mm"] == pytest.approx(0, abs=0.01)
    assert values["mpjpe_abs_mm"] == pytest.approx(30, abs=0.01)
    assert values["coverage_dlt"] == pytest.approx(100 * 127 / 128)
    keypoints[:, 0] += [40, 0]
    set_keypoints(world, keypoints)
    wrong = evaluate(world, monkeypatch)
    assert 20 < wrong["mpjpe_abs_dlt_mm"] < 200
    held_out = evaluate(world, monkeypatch, params=PARAMS.replace("view: null", "view: cam01"))
    assert held_out["mpjpe_abs_dlt_mm"] == pytest.approx(0, abs=0.01)


def test_with_human36ms_truth_the_published_numbers_are_written_too(tmp_path, monkeypatch, capsys):
    world = published_world.build(tmp_path)
    values = evaluate(world, monkeypatch)["damaged_included"]
    numbers = values["published"]
    assert numbers["joints"] == "compatible_16"
    assert numbers["jdr_px"] == 4.8  # maps of 24 px: a network's input of 96 px
    assert numbers["jdr"]["left_wrist"] == 75 and numbers["jdr"]["head"] == 0 and numbers["jdr"]["pelvis"] == 100
    assert numbers["box_pckh_50_16j"] == 100 * 15 / 16
    assert numbers["box_pckh_50_15j"] == 100
    assert numbers["box_pckh_40_16j"] == pytest.approx((14 * 100 + 75) / 16, abs=1e-4)
    assert numbers["box_pckh_40_15j"] == pytest.approx((14 * 100 + 75) / 15, abs=1e-4)
    assert numbers["mpjpe_abs_triangulate_16j_mm"] == pytest.approx(32 / 16, abs=1e-3)
    assert numbers["mpjpe_abs_rpsm_16j_mm"] == pytest.approx(48 / 16, abs=1e-3)
    assert numbers["mpjpe_abs_dlt_16j_mm"] == pytest.approx(values["mpjpe_abs_dlt_mm"], abs=1e-4)
    assert "mpjpe_abs_rpsm_17j_mm" not in numbers
    assert "as published: box-PCKh@0.5 93.8 % (16 joints), 100.0 % (15 joints)" in capsys.readouterr().out


def test_frames_that_were_learned_from_do_not_count(world, monkeypatch):
    before = evaluate(world, monkeypatch)
    shift_poses(world, "poses.h5", [5000, 0, 0], rows=world.keys.split == "train")
    assert evaluate(world, monkeypatch) == before
    assert before["frames"] == 8


def test_a_missing_joint_costs_coverage_and_not_mpjpe(world, monkeypatch):
    shift_poses(world, "poses.h5", [30, 0, 0])
    shift_poses(world, "poses.h5", [np.nan, 0, 0], rows=np.arange(len(world.keys)) == len(world.keys) - 1)
    values = evaluate(world, monkeypatch)
    assert values["coverage"] == 100 * 7 / 8
    assert values["mpjpe_abs_mm"] == pytest.approx(30, abs=0.01)


def test_the_curve_rises_to_the_headline_and_the_joints_average_to_it(world, monkeypatch):
    values = evaluate(world, monkeypatch)
    curve = read_table(world.plots("r1") / "pck.csv")
    heights = np.array(curve["pckh"], dtype=float)
    assert (np.diff(heights) >= 0).all() and heights[-1] == values["pckh_50"]
    joints = read_table(world.plots("r1") / "joints.csv")
    assert list(joints) == ["joint", "pckh_50", "pckh_25", "mpjpe_abs_mm", "coverage"]
    # Every joint is shown equally often here.
    assert np.mean(np.array(joints["pckh_50"], dtype=float)) == pytest.approx(values["pckh_50"], abs=1e-3)
    assert np.mean(list(values["by_view"].values())) == pytest.approx(values["pckh_50"], abs=1e-3)


def test_another_tools_result_is_a_peer_and_no_truth(tmp_path, monkeypatch):
    world = tiny_world.build(tmp_path, rounds=1, origin="peer")
    shift_poses(world, "poses.h5", [0, 40, 0])
    values = evaluate(world, monkeypatch)
    assert values["peer_distance_mm"] == pytest.approx(40, abs=0.01)
    assert not [name for name in values if name.startswith(("pckh", "mpjpe", "by_view"))]
    assert set(read_table(world.plots("r1") / "joints.csv")["pckh_50"]) == {""}


def test_without_any_truth_the_numbers_are_absent_and_the_stage_still_ends_well(world, monkeypatch):
    truth = Truth.read(world.truth)
    nothing = np.full_like(truth.joints, np.nan)
    Truth(keys=truth.keys, skeleton=truth.skeleton, joints=nothing, head=truth.head, origin="truth").write(world.truth)
    assert evaluate(world, monkeypatch) == {"by_view": {}, "frames": 8}


def test_truth_is_found_by_the_frames_names_not_by_their_place(world, monkeypatch):
    before = evaluate(world, monkeypatch)
    truth = Truth.read(world.truth)
    rows = np.arange(len(truth.keys))[::-1]
    Truth(
        keys=truth.keys.take(rows),
        skeleton=truth.skeleton,
        joints=truth.joints[rows],
        head=truth.head[rows],
        origin="truth",
    ).write(world.truth)
    assert evaluate(world, monkeypatch) == before


def test_a_view_without_a_picture_does_not_count_against_the_network(world, monkeypatch):
    path = world.data("r1") / "heatmaps.h5"
    seen = Heatmaps.read(path)
    before = evaluate(world, monkeypatch)
    gone = seen.image_from_map.copy()
    gone[:, 0] = np.nan
    points = seen.keypoints.copy()
    points[:, 0] = np.nan
    with heatmaps_file.writing(path, seen.keys, seen.views, seen.skeleton, seen.map_size) as writer:
        writer.append(points, seen.scores, gone, (seen.peak_patches, seen.patch_corners))
    values = evaluate(world, monkeypatch)
    assert "cam01" not in values["by_view"]
    assert values["by_view"]["cam02"] == before["by_view"]["cam02"]


def test_a_calibration_without_one_of_the_cameras_is_one_sentence(world, monkeypatch, capsys):
    from pipeline.files.cameras import write_cameras

    write_cameras(world.rig, world.cameras[:3])
    with pytest.raises(SystemExit) as stopped:
        evaluate(world, monkeypatch)
    assert stopped.value.code == 1
    assert "no camera is called 'cam04'" in capsys.readouterr().err
    assert not (world.metrics("r1") / "evaluate.json").exists()


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("  curve_limit: 0\n  curve_points: 11\n", "evaluate.curve_limit: expected more than 0"),
        ("  curve_limit: 0.5\n  curve_points: 1\n", "evaluate.curve_points: a curve has two ends"),
        ("  curve_limit: 0.5\n", "evaluate.curve_points: missing"),
    ],
)
def test_wrong_params_are_one_sentence(world, monkeypatch, capsys, section, sentence):
    with pytest.raises(SystemExit):
        evaluate(world, monkeypatch, params="held_out:\n  view: null\nevaluate:\n" + section)
    assert sentence in capsys.readouterr().err
