"""Sequences with cameras of their own, as Human3.6M's subjects have: a world 1 m beside another gives the same numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.files.cameras import write_rigs
from pipeline.files.poses import Poses
from pipeline.files.tables import read_table
from pipeline.files.truth import Truth
from tests import tiny_world
from tests.stages.test_report import measure, report, write_params

BESIDE = np.array([1000.0, -300.0, 50.0])  # mm


def move_second_sequence(world: tiny_world.World) -> None:
    """Sequence s2, its person, poses and cameras, as if another origin had been chosen for it."""
    there = tuple(replace(camera, centre=camera.centre + BESIDE) for camera in world.cameras)
    write_rigs(world.rig, {"s1": world.cameras, "s2": there})
    moved = np.where((world.keys.sequence == "s2")[:, None, None], BESIDE, 0.0)
    truth = Truth.read(world.truth)
    replace(truth, joints=truth.joints + moved).write(world.truth)
    for model in world.rounds:
        for name in ("poses.h5", "rpsm.h5"):
            poses = Poses.read(world.data(model) / name)
            replace(poses, joints=poses.joints + moved).write(world.data(model) / name)


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
    one = tiny_world.build(tmp_path / "one", rounds=1)
    two = tiny_world.build(tmp_path / "two", rounds=1)
    move_second_sequence(two)
    for alone, apart in zip(results(one, monkeypatch), results(two, monkeypatch), strict=True):
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
