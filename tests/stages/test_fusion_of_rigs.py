"""Cross-view fusion on Human3.6M, whose every subject has a rig of its own: the presets, at a small size, through all stages."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline import cli
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.labels import Labels
from pipeline.models import build
from tests.pipeline_graph import ROOT, read
from tests.worlds import h36m_world, people_world
from tools import check_data, preset

pytestmark = pytest.mark.slow  # networks are trained

SUBJECTS = {"train_subjects": [1, 5], "test_subjects": [9], "train_every": 3, "test_every": 5, "damaged": "included"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Three subjects between four cameras each, all twelve of them different; and a few people of MPII."""
    folder = tmp_path_factory.mktemp("raw")
    made = h36m_world.world(subjects=(1, 5, 9))
    h36m_world.write_records(folder / "h36m", made)
    h36m_world.write_images(folder / "h36m", made)
    people_world.write_mpii(folder / "mpii")
    return folder


@pytest.fixture
def start(tmp_path, monkeypatch, raw):
    """Write params.yaml from a preset, its numbers but not its choices made small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSE_DEVICE", "cpu")

    def begin(name, *variants, **changes):
        values = read("params.yaml")
        preset.apply(preset.read(ROOT / f"presets/{name}.yaml", variants), values)
        values["data"].update(
            calibration=str(raw / "h36m/annot"), target=str(raw / "h36m/images"), truth=str(raw / "h36m/annot")
        )
        for source in values["sources"].values():
            source["path"] = str(raw / ("mpii" if source["layout"] == "mpii" else "h36m"))
            if source["layout"] == "h36m":
                source["h36m"] = SUBJECTS
        values["runtime"].update(threads=1, precision="float32")
        values["target"]["h36m"].update(SUBJECTS)
        for section in ("target", "source_cache"):
            values[section]["cache_size"] = 96
        values["network"].update(block="basic", layers=[1, 1, 1, 1], width=8, deconv_channels=8, input_size=64)
        for section in ("pretrain", "retrain"):
            values[section]["batch_size"] = 8
            values[section]["schedule"].update(steps=6)
        values["rpsm"].update(coarse_bins=6, refine_steps=2)
        values["pseudo"].update(confidence_threshold=0.0, ransac_inliers=2, reproj_threshold_px=200.0)
        for section, change in changes.items():
            values[section].update(change)
        YAML().dump(values, tmp_path / "params.yaml")
        return values

    return begin


def run(stage, **flags):
    words = [str(word) for key, value in flags.items() for word in (f"--{key.replace('_', '-')}", value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [stage, *words])
        runpy.run_module(f"stages.{stage}", run_name="__main__")


def prepare(values):
    for name, source in values["sources"].items():
        run("prepare_source", data=source["path"], name=name, out=f"sources/{name}.h5", metrics=f"{name}.json")
    run(
        "prepare_target",
        calibration=values["data"]["calibration"],
        views=values["data"]["target"],
        detections=values["data"]["detections"],
        out="target.h5",
        cameras="cameras.toml",
        joints="detections.h5",
        metrics="target.json",
        frame_list="frames.txt",
    )
    run("prepare_truth", truth=values["data"]["truth"], frames="target.h5", out="truth.h5")


def learn(out="r0/model.pt"):
    run("pretrain", source="sources", out=out, metrics="train.json", curve="train.csv")


def measure(model):
    """All that follows a model; return its metrics."""
    run("export_heatmaps", model=f"{model}/model.pt", frames="target.h5", out=f"{model}/heatmaps.h5")
    common = {"heatmaps": f"{model}/heatmaps.h5", "cameras": "cameras.toml"}
    run("triangulate", **common, out=f"{model}/poses.h5", metrics=f"{model}/triangulate.json")
    both = {"poses": f"{model}/poses.h5", "rpsm": f"{model}/rpsm.h5"}
    run(
        "rpsm",
        **common,
        poses=both["poses"],
        out=both["rpsm"],
        limbs=f"{model}/limbs.json",
        metrics=f"{model}/rpsm.json",
    )
    run("smooth", **both, out=f"{model}/smooth.h5", metrics=f"{model}/smooth.json")
    run("quality", **common, **both, out=f"{model}/quality.h5", metrics=f"{model}/quality.json")
    tables = {"joints": f"{model}/joints.csv", "curve": f"{model}/pck.csv"}
    run("evaluate", **common, **both, truth="truth.h5", metrics=f"{model}/evaluate.json", **tables)
    return json.loads(Path(f"{model}/evaluate.json").read_text())["damaged_included"]


def teach(teacher, student):
    """One round."""
    run(
        "pseudo_labels",
        heatmaps=f"{teacher}/heatmaps.h5",
        poses=f"{teacher}/poses.h5",
        rpsm=f"{teacher}/rpsm.h5",
        smooth=f"{teacher}/smooth.h5",
        cameras="cameras.toml",
        frames="target.h5",
        out=f"{student}/labels.h5",
        metrics=f"{student}/labels.json",
        round="r1",
    )
    run(
        "evaluate_labels",
        labels=f"{student}/labels.h5",
        poses=f"{teacher}/rpsm.h5",
        cameras="cameras.toml",
        truth="truth.h5",
        metrics=f"{student}/evaluate_labels.json",
        table=f"{student}/labels.csv",
    )
    run(
        "retrain",
        init=f"{teacher}/model.pt",
        source="sources",
        frames="target.h5",
        labels=f"{student}/labels.h5",
        cameras="cameras.toml",
        out=f"{student}/model.pt",
        metrics=f"{student}/train.json",
        curve=f"{student}/train.csv",
    )


def fusion_weights(model):
    return {key: value for key, value in build.load(Path(model) / "model.pt")[1].state_dict().items() if "aggre" in key}


def fuses(model, tmp_path):
    """Whether the exported heatmaps are those of all views together, not of each alone."""
    network, net = build.load(tmp_path / model / "model.pt")
    build.save(tmp_path / "alone.pt", network, net.single_view.state_dict())
    run("export_heatmaps", model="alone.pt", frames="target.h5", out="alone.h5")
    together, alone = Heatmaps.read(tmp_path / model / "heatmaps.h5"), Heatmaps.read(tmp_path / "alone.h5")
    return not np.allclose(together.scores, alone.scores)


def test_fusion_is_learned_from_pseudo_labels_of_several_rigs(start, tmp_path):
    prepare(start("multiview_fusion"))
    learn()
    assert not fusion_weights("r0")
    assert measure("r0")["coverage"] > 0
    teach("r0", "r1")
    assert len(fusion_weights("r1")) == 12
    labels = Labels.read(tmp_path / "r1/labels.h5")
    labelled = labels.keys.person[(labels.weights > 0).any(axis=(1, 2))]
    assert set(labelled.tolist()) == {"S1", "S5"}  # two rigs have taught it, and the third is only measured
    assert measure("r1")["coverage"] > 0
    assert fuses("r1", tmp_path)


@pytest.mark.parametrize(("variant", "joints"), [("supervised", "h36m_17"), ("supervised_mixed", "union_20")])
def test_fusion_is_learned_from_labels_and_a_round_keeps_and_trains_it(start, tmp_path, variant, joints):
    prepare(start("multiview_fusion", variant))
    learn()
    assert build.load(tmp_path / "r0/model.pt")[0].skeleton == joints
    assert measure("r0")["coverage"] > 0
    assert fuses("r0", tmp_path)
    teach("r0", "r1")
    before, after = fusion_weights("r0"), fusion_weights("r1")
    assert before.keys() == after.keys()
    assert not all(np.array_equal(before[key], after[key]) for key in before)
    assert measure("r1").keys() == json.loads((tmp_path / "r0/evaluate.json").read_text())["damaged_included"].keys()
    assert fuses("r1", tmp_path)


def test_mixed_training_runs_to_its_numbers_and_differs_from_its_fused_form_in_the_fusion_alone(start):
    plain = start("multiview_mixed")
    prepare(plain)
    learn()
    values = measure("r0")
    assert values["coverage"] > 0 and np.isfinite(values["mpjpe_abs_rpsm_mm"])
    plain = preset.read(ROOT / "presets/multiview_mixed.yaml")
    fused = preset.read(ROOT / "presets/multiview_fusion.yaml", ["supervised_mixed"])
    defaults = read("params.yaml")
    every = []
    for values in (plain, fused):
        whole = json.loads(json.dumps(defaults))
        preset.apply(values, whole)
        for key, value in whole["training"].items():
            own = whole["pretrain"].get(key)
            whole["pretrain"][key] = {**value, **(own or {})} if isinstance(value, dict) else own or value
        every.append(
            {name: whole[name] for name in ("mix", "sources", "source_cache", "target", "network", "pretrain")}
        )
    differing = {
        f"{section}.{key}"
        for section in every[0]
        for key in every[0][section].keys() | every[1][section].keys()
        if every[0][section].get(key) != every[1][section].get(key)
    }
    assert differing == {"network.fusion_views", "pretrain.fuse"}


@pytest.mark.parametrize("views", [2, 3])
def test_another_number_of_views_is_refused_before_the_round_trains(start, tmp_path, capsys, views):
    prepare(start("multiview_fusion", network={"fusion_views": views}))
    learn()
    measure("r0")
    with pytest.raises(SystemExit, match="1"):
        teach("r0", "r1")
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"network.fusion_views: the network fuses {views} views, and the rigs of cameras.toml have 4 each" in error
    assert not (tmp_path / "r1/model.pt").exists()


def without_a_camera(raw, tmp_path):
    """The same Human3.6M, but S5 lacks its second camera."""
    folder = tmp_path / "lacking"
    made = h36m_world.world(subjects=(1, 5, 9))
    h36m_world.write_records(folder, made, lambda rows: rows.__setitem__(slice(None), [r for r in rows if keeps(r)]))
    (folder / "images").symlink_to(raw / "h36m/images")
    return folder


def keeps(record):
    return (record["subject"], record["camera_id"]) != (5, 1)


def test_a_subject_with_fewer_cameras_is_refused_and_the_views_of_all_are_matched_by_name(start, raw, tmp_path, capsys):
    folder = without_a_camera(raw, tmp_path)
    places = {"calibration": f"{folder}/annot", "target": f"{folder}/images", "truth": f"{folder}/annot"}
    labelled = {"h36m": {"path": str(folder), "layout": "h36m", "h36m": SUBJECTS}}
    values = start("multiview_fusion", "supervised", data=places, sources=labelled)
    with pytest.raises(SystemExit, match="1"):
        prepare(values)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    with pytest.raises(SystemExit, match="1"):
        cli.run(check_data.main, argv=[])
    told = capsys.readouterr().out
    assert "PROBLEM: network.fusion_views: the network fuses 4 views, and S5 has 3" in told
    assert "target.views: S5 has no camera 55011271, only 54138969, 58860488, 60457274" in error
    with pytest.raises(SystemExit, match="1"):
        learn()
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "pretrain.fuse: network.fusion_views is 4, and rig 5 of 'h36m' has 3 of 4 views" in error
    views = {**values["target"], "views": ["54138969", "58860488", "60457274"]}
    prepare(start("multiview_fusion", data=places, target=views, network={"fusion_views": 3}))
    learn()
    measure("r0")
    teach("r0", "r1")
    assert len(fusion_weights("r1")) == 6
