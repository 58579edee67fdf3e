"""quality and verdict through their own command lines, on a tiny world whose rounds get better."""

import json

import pytest

from pipeline import cli
from pipeline.files.evidence import Evidence
from stages import quality, verdict
from tests.pipeline_graph import ROOT
from tests.worlds import tiny_world


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tiny_world.build(tmp_path, rounds=2, train=12, test=48)


def run(world, model, *more):
    data = world.data(model)
    flags = ["--heatmaps", data / "heatmaps.h5", "--poses", data / "poses.h5", "--rpsm", data / "rpsm.h5"]
    flags += ["--cameras", world.rig, "--out", f"quality/{model}.h5", "--metrics", f"{model}.json"]
    cli.run(quality.main, argv=[*map(str, flags), *more, "--params", str(ROOT / "params.yaml")])
    return json.loads((world.root / f"{model}.json").read_text())


def judge(world):
    cli.run(
        verdict.main, argv=["--quality", "quality", "--metrics", "verdict.json", "--params", str(ROOT / "params.yaml")]
    )
    return json.loads((world.root / "verdict.json").read_text())


def test_figures_of_both_splits_and_the_churn_against_the_teacher(world):
    first = run(world, "r0")
    last = run(world, "r1", "--teacher", str(world.data("r0") / "rpsm.h5"))
    assert set(first) == {"test", "train"}
    assert 0 < last["label_churn"] <= 100
    assert last["test"]["leave_one_view_out_mm"] < first["test"]["leave_one_view_out_mm"]
    assert sum(last["test"]["camera_share"].values()) == pytest.approx(100, abs=0.01)
    assert sum(last["test"]["views_agreeing"].values()) == pytest.approx(100, abs=0.01)
    assert len(last["test"]["sampson_px_median"]) == 6
    evidence = Evidence.read(world.root / "quality/r1.h5")
    assert evidence.disagreement.shape == (60, 4)
    assert evidence.keys.split.tolist() == world.keys.split.tolist()


def test_the_same_bytes_twice(world):
    run(world, "r0")
    first = (world.root / "quality/r0.h5").read_bytes()
    run(world, "r0")
    assert (world.root / "quality/r0.h5").read_bytes() == first


def test_better_detections_get_a_verdict_with_reasons(world, capsys):
    for model in world.rounds:
        run(world, model)
    found = judge(world)
    assert (found["model"], found["against"]) == ("r2", "r0")
    assert set(found["rounds"]) == {"r1", "r2"}
    assert found["verdict"] in ("adopt", "not_enough_evidence")
    assert found["reasons"]
    assert "r2 against r0" in capsys.readouterr().out


def test_two_views_cannot_contradict_a_third(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    world = tiny_world.build(tmp_path, rounds=2, train=12, test=48, views=2)
    first, *_ = [run(world, model)["test"] for model in world.rounds]
    assert "leave_one_view_out_mm" not in first  # not known
    assert not first.get("camera_share")
    assert first["limb_stretch"] > 0
    found = judge(world)
    assert found["verdict"] == "not_enough_evidence"
    assert "three views" in found["reasons"][0]
