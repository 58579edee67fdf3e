"""The evaluate_labels stage through its own command line, on a tiny world whose label errors are known."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.files.tables import read_table
from tests.worlds import published_world, tiny_world


def evaluate_labels(world: tiny_world.World, monkeypatch: pytest.MonkeyPatch, poses: bool = False) -> dict:
    flags = {
        "labels": world.data("r1") / "labels.h5",
        "cameras": world.rig,
        "truth": world.truth,
        "metrics": world.metrics("r1") / "evaluate_labels.json",
        "table": world.plots("r1") / "labels.csv",
    }
    if poses:
        flags["poses"] = world.data("r0") / "poses.h5"
    monkeypatch.setattr(sys, "argv", ["evaluate_labels", *(str(w) for k, v in flags.items() for w in (f"--{k}", v))])
    runpy.run_module("stages.evaluate_labels", run_name="__main__")
    return json.loads((world.metrics("r1") / "evaluate_labels.json").read_text())


@pytest.fixture
def world(tmp_path: Path) -> tiny_world.World:
    """Labels of the left half of the joints are exact, those of joints 0..3 are 1000 px off, the rest are refused."""
    world = tiny_world.build(tmp_path, rounds=1, train=5, test=3)
    old = Labels.read(world.data("r1") / "labels.h5")
    points = np.stack([camera.project(world.joints) for camera in world.cameras], axis=1)
    points[:, :, :4] += 1000
    reason = np.full(old.reason.shape, Reason.ACCEPTED)
    reason[:, :, 8:] = Reason.TOO_FEW_INLIERS
    reason[5:] = Reason.TEST_SPLIT
    points[reason != Reason.ACCEPTED] = np.nan
    Labels(
        keys=old.keys,
        views=old.views,
        skeleton=old.skeleton,
        keypoints=points,
        weights=(reason == 0).astype(float),
        reason=reason,
        person_box=old.person_box,
    ).write(world.data("r1") / "labels.h5")
    return world


def test_half_of_the_joints_have_labels_and_half_of_these_are_right(world, monkeypatch):
    values = evaluate_labels(world, monkeypatch)
    assert values["frames"] == 5
    assert values["labels"] == 5 * 4 * 8
    assert values["coverage"] == 50
    assert values["pckh_50"] == values["pckh_25"] == 50
    assert values["by_view"] == {f"cam0{number}": 50 for number in range(1, 5)}
    assert "refused_pckh_50" not in values


def test_the_refused_ones_are_judged_by_where_their_pose_projects(world, monkeypatch):
    old = Poses.read(world.data("r0") / "poses.h5")
    joints = world.joints.copy()
    joints[:, 10:] += 500  # two of the eight refused joints would have been right
    Poses(
        keys=old.keys,
        views=old.views,
        skeleton=old.skeleton,
        joints=joints,
        inliers=old.inliers,
        error_px=old.error_px,
        status=old.status,
    ).write(world.data("r0") / "poses.h5")
    assert evaluate_labels(world, monkeypatch, poses=True)["refused_pckh_50"] == 25


def test_the_table_has_a_row_a_joint_and_view(world, monkeypatch):
    evaluate_labels(world, monkeypatch)
    table = read_table(world.plots("r1") / "labels.csv")
    rows = {(view, joint): place for place, (view, joint) in enumerate(zip(table["view"], table["joint"], strict=True))}
    assert len(rows) == 4 * 16
    wrong, right, none = (rows["cam02", joint] for joint in ("right_ankle", "left_ankle", "left_wrist"))
    assert (table["coverage"][wrong], table["pckh_50"][wrong]) == ("100.0", "0.0")
    assert (table["coverage"][right], table["pckh_50"][right]) == ("100.0", "100.0")
    assert (table["coverage"][none], table["pckh_50"][none]) == ("0.0", "")


def test_against_a_peer_only_the_coverage_is_told(tmp_path, monkeypatch):
    world = tiny_world.build(tmp_path / "peer", rounds=1, origin="peer")
    values = evaluate_labels(world, monkeypatch)
    assert "pckh_50" not in values and 60 < values["coverage"] < 80


def test_with_human36ms_truth_the_published_numbers_are_written_too(tmp_path, monkeypatch):
    """Three of four views are labelled; the labels of the right ankle and of the left wrist in the second view are moved."""
    world = published_world.build(tmp_path)
    path = world.data("r1") / "labels.h5"
    labels = Labels.read(path)
    labels.keypoints[:, 1, 0, 0] += 14.6  # px; a tenth of the box is 30 to 36 px
    labels.keypoints[:, 1, 15, 0] += 18.1
    labels.write(path)
    numbers = evaluate_labels(world, monkeypatch)["damaged_included"]["published"]
    assert numbers == {"visible_percent": 75, "box_pckh_50_16j": pytest.approx(100 * 47 / 48, abs=1e-4)}
