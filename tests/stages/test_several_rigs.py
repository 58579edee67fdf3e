"""Sequences with cameras of their own, as Human3.6M's subjects have: a world 1 m beside another gives the same numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.files.cameras import write_rigs
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.files.tables import read_table
from pipeline.files.truth import Truth
from tests.stages.test_report import measure, report, write_params
from tests.worlds import detected_world, tiny_world

BESIDE = np.array([1000.0, -300.0, 50.0])  # mm


def move(world: tiny_world.World, sequence: str = "s2") -> np.ndarray:
    """A sequence, its person, poses and cameras, as if another origin had been chosen for it: (frames, 1, 3) mm."""
    there = tuple(replace(camera, centre=camera.centre + BESIDE) for camera in world.cameras)
    write_rigs(world.rig, {"s1": world.cameras, "s2": world.cameras} | {sequence: there})
    moved = np.where((world.keys.sequence == sequence)[:, None, None], BESIDE, 0.0)
    truth = Truth.read(world.truth)
    replace(truth, joints=truth.joints + moved).write(world.truth)
    for model in world.rounds:
        for name in ("poses.h5", "rpsm.h5"):
            poses = Poses.read(world.data(model) / name)
            replace(poses, joints=poses.joints + moved).write(world.data(model) / name)
    return moved


def results(world: tiny_world.World, monkeypatch: pytest.MonkeyPatch) -> tuple[dict, dict, dict, dict]:
    write_params(world, world.rounds[1:])
    measure(world, monkeypatch)
    page = report(world, monkeypatch)
    assert "held-out" in page.lower()
    metrics = world.metrics("r1")
    return (
        json.loads((metrics / "evaluate.json").read_text()),
        json.loads((metrics / "evaluate_labels.json").read_text()),
        json.loads((world.root / "metrics/summary.json").read_text()),
        read_table(world.plots("r1") / "labels.csv"),
    )


def test_where_a_sequences_origin_lies_changes_no_number(tmp_path, monkeypatch):
    """Except for the plain DLT, which is published in a form that depends on the origin (geometry/triangulation.py)."""
    one = tiny_world.build(tmp_path / "one", rounds=1)
    two = tiny_world.build(tmp_path / "two", rounds=1)
    move(two)
    for alone, apart in zip(results(one, monkeypatch), results(two, monkeypatch), strict=True):
        for each in (alone, apart):
            each.pop("mpjpe_abs_dlt_mm", None)
            each.pop("mpjpe_abs_dlt_median_mm", None)
        assert json.dumps(alone, sort_keys=True) == json.dumps(apart, sort_keys=True)


def test_a_recipe_is_part_of_every_metrics_name(tmp_path, monkeypatch):
    plain, world = tiny_world.build(tmp_path / "a", rounds=1), tiny_world.build(tmp_path / "b", rounds=1)
    replace(Truth.read(world.truth), recipe="damaged_excluded").write(world.truth)
    measured, labels, summary, _ = results(plain, monkeypatch)
    named, named_labels, named_summary, _ = results(world, monkeypatch)
    assert named == {"recipe": "damaged_excluded", "damaged_excluded": measured}
    assert named_labels == {"recipe": "damaged_excluded", "damaged_excluded": labels}
    assert named_summary["final"] == {"damaged_excluded": summary["final"]}
    assert named_summary["rounds"]["r0"] == {"damaged_excluded": summary["rounds"]["r0"]}


def test_joints_are_triangulated_in_their_own_sequences_world(tmp_path, monkeypatch):
    found = []
    for name, changed in (("one", False), ("two", True)):
        detected = detected_world.build(tmp_path / name)
        detected.write()
        moved = move(detected.world) if changed else 0.0
        (detected.world.root / "params.yaml").write_text(detected_world.PARAMS)
        data = detected.world.data("r0")
        detected_world.runner(monkeypatch, "triangulate")(
            heatmaps=data / "heatmaps.h5",
            cameras=detected.world.rig,
            out=data / "poses.h5",
            metrics=detected.world.metrics("r0") / "triangulate.json",
            params=detected.world.root / "params.yaml",
        )
        found.append(Poses.read(data / "poses.h5").joints - moved)
    assert np.isfinite(found[0]).any()
    np.testing.assert_allclose(found[1], found[0], atol=0.01)  # mm


def test_labels_are_made_with_the_sequences_own_cameras(tmp_path, monkeypatch):
    made = []
    for name, changed in (("one", False), ("two", True)):
        detected = detected_world.build(tmp_path / name)
        detected.write()
        if changed:
            move(detected.world, "s1")
        params = detected.world.root / "params.yaml"
        params.write_text(detected_world.PARAMS.replace("  boxes: prepared", "  boxes: poses"))
        teacher = detected.world.data("r0")
        detected_world.runner(monkeypatch, "pseudo_labels")(
            heatmaps=teacher / "heatmaps.h5",
            poses=teacher / "poses.h5",
            rpsm=teacher / "rpsm.h5",
            cameras=detected.world.rig,
            frames=detected.world.frames,
            out=detected.world.data("r1") / "labels.h5",
            metrics=detected.world.metrics("r1") / "pseudo_labels.json",
            round="r1",
            params=params,
        )
        made.append(Labels.read(detected.world.data("r1") / "labels.h5"))
    assert (made[0].reason == Reason.ACCEPTED).any()
    np.testing.assert_array_equal(made[1].reason, made[0].reason)
    np.testing.assert_allclose(made[1].keypoints, made[0].keypoints, atol=0.01)  # px
    np.testing.assert_allclose(made[1].person_box, made[0].person_box, atol=0.1)  # px
