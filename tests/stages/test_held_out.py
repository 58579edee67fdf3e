"""A camera that nothing is learned from: what it sees changes no joint and no label, and is measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.pseudo.held_out import HeldOut
from tests.pipeline_graph import ROOT
from tests.worlds import detected_world

VIEW = 2


def run_all(detected, monkeypatch, view="cam03"):
    """Triangulate, RPSM, labels and quality of r0, with a camera held out; the folder of what they made."""
    detected.write()
    world, params = detected.world, detected.world.root / "params.yaml"
    values = YAML(typ="safe").load(detected_world.PARAMS)
    values["held_out"]["view"] = view
    values["quality"] = YAML(typ="safe").load((ROOT / "params.yaml").read_text())["quality"]
    YAML(typ="safe").dump(values, params)
    data = world.data("r0")
    common = {"heatmaps": data / "heatmaps.h5", "cameras": world.rig, "params": params}

    def run(stage, **flags):
        detected_world.runner(monkeypatch, stage)(**common, **flags, metrics=world.root / f"{stage}.json")

    run("triangulate", out=data / "poses.h5")
    run("rpsm", poses=data / "poses.h5", out=data / "rpsm.h5")
    made = {"poses": data / "poses.h5", "rpsm": data / "rpsm.h5"}
    run("pseudo_labels", **made, frames=world.frames, out=world.data("r1") / "labels.h5", round="r1")
    run("quality", **made, out=world.root / "quality.h5")
    return Poses.read(data / "poses.h5"), Poses.read(data / "rpsm.h5"), Labels.read(world.data("r1") / "labels.h5")


def test_what_the_held_out_camera_sees_changes_nothing_that_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = []
    for number, off in enumerate((0.0, 40.0)):
        detected = detected_world.build(tmp_path / str(number))
        detected.keypoints[:, VIEW] += off
        found.append(run_all(detected, monkeypatch))
    for one, other in zip(*found, strict=True):
        for field in ("joints", "inliers") if isinstance(one, Poses) else ("keypoints", "weights", "reason"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    poses, rpsm, labels = found[0]
    assert not poses.inliers[:, VIEW].any() and not rpsm.inliers[:, VIEW].any()
    train = labels.keys.split == "train"
    assert (labels.reason[train][:, VIEW] == Reason.VIEW_HELD_OUT).all()
    assert (labels.weights[:, VIEW] == 0).all()
    assert (labels.reason[train][:, [0, 1, 3]] == Reason.ACCEPTED).mean() > 0.8
    first, last = (json.loads((tmp_path / str(n) / "quality.json").read_text())["test"] for n in (0, 1))
    assert first["held_out_view_mm"] < 1
    assert last["held_out_view_mm"] > 100


def test_an_unknown_camera_and_too_few_others_are_named():
    assert HeldOut(None).mask(("a", "b"), "x").tolist() == [False, False]
    with pytest.raises(ValueError, match="no view 'z'; it has a, b, c"):
        HeldOut("z").mask(("a", "b", "c"), "heatmaps.h5")
    with pytest.raises(ValueError, match="two other views"):
        HeldOut("a").mask(("a", "b"), "heatmaps.h5")
