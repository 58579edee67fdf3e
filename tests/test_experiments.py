"""Experiments in DVC's temporary folders and queue, as docs/guides/experiments.md has them, on a rig that lies outside of git.

The repository is a copy with the artefacts of a tiny world, its raw data beside the checkout, as a shared disk would be.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.files.detections import Detections
from pipeline.skeleton import get
from tests.pipeline_graph import ROOT
from tests.worlds import detected_world, raw_world

pytestmark = pytest.mark.slow  # every command of DVC takes seconds

COPIED = ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "benchmarks/results/self_training.json")
LINKED = ("pipeline", "stages", "tools", "presets")
PLACES = {"calibration": "calibration", "target": "views", "detections": "detections", "truth": "truth"}
UPSTREAM = (
    *("code", "prepare_source", "prepare_target", "prepare_truth", "pretrain", "export_heatmaps_r0", "check_rig"),
    *("triangulate_r0", "rpsm_r0", "smooth_r0"),
)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A committed repository whose params name data in ../shared."""
    root = tmp_path / "checkout"
    root.mkdir()
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in LINKED:
        (root / name).symlink_to(ROOT / name)
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (root / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    raw = raw_world.write(tmp_path / "shared")
    (tmp_path / "shared/people").mkdir()
    monkeypatch.chdir(root)
    values = YAML().load(root / "params.yaml")
    values["data"].update({key: os.path.relpath(getattr(raw, name), root) for key, name in PLACES.items()})
    values["sources"]["people"]["path"] = "../shared/people"
    values["target"].update(cache_size=96, detections_format="none", boxes="volume")
    values["target"]["rig"].update(test_sequences=[], test_last_frames=2)
    values["rounds"] = {"r1": {"teacher": "r0"}}
    values["rpsm"].update(coarse_bins=6, refine_steps=4)
    values["pseudo"]["source"] = "triangulation"
    YAML().dump(values, root / "params.yaml")
    for words in ("init -q", "config user.name somebody", "config user.email somebody@example.org"):
        subprocess.run(["git", *words.split()], check=True)
    return root


def run(*words, **environment):
    found = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def stage(name, **flags):
    words = [str(word) for key, value in flags.items() for word in (f"--{key.replace('_', '-')}", value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *words])
        runpy.run_module(f"stages.{name}", run_name="__main__")


def made_so_far(root):
    """Write what a run would have made up to the first teacher's poses: its keypoints are 4 px off, one view in ten 60."""
    detected = detected_world.build(root)
    rng = np.random.default_rng(5)
    shape = detected.keypoints.shape
    detected.keypoints[:] += rng.normal(0, 4, shape)
    detected.keypoints[rng.random(shape[:3]) < 0.1] += 60
    detected.write()
    for left_over in ("metrics", "plots", "data/rounds/r1"):
        shutil.rmtree(root / left_over)
    views = tuple(camera.name for camera in detected.world.cameras)
    nothing = {"keypoints": np.full(shape, np.nan), "scores": np.zeros(shape[:-1])}
    Detections(keys=detected.world.keys, views=views, skeleton=get("mpii_16"), **nothing).write(
        root / "data/prepared/detections.h5"
    )
    for name in (
        *("data/prepared/frames.txt", "data/prepared/sources/people.h5", "data/rounds/r0/model.pt"),
        *("metrics/sources/people.json", "metrics/prepare_target.json", "metrics/rounds/r0/train.json"),
        "plots/rounds/r0/training.csv",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    for name in ("poses.h5", "rpsm.h5"):
        (root / "data/rounds/r0" / name).unlink()
    data, metrics = "data/rounds/r0", "metrics/rounds/r0"
    common = {"heatmaps": f"{data}/heatmaps.h5", "cameras": "data/prepared/cameras.toml"}
    poses = {"poses": f"{data}/poses.h5"}
    stage("check_rig", **common, detections="data/prepared/detections.h5", metrics="metrics/check_rig.json")
    stage("triangulate", **common, out=poses["poses"], metrics=f"{metrics}/triangulate.json")
    found = {"out": f"{data}/rpsm.h5", "limbs": f"{data}/limbs.json"}
    stage("rpsm", **common, **poses, **found, metrics=f"{metrics}/rpsm.json")
    stage("smooth", **poses, rpsm=f"{data}/rpsm.h5", out=f"{data}/smooth.h5", metrics=f"{metrics}/smooth.json")
    stage("code", out="code")


def commit():
    run("git", "add", "-A")
    run("git", "commit", "-qm", "a run")


def test_the_ablation_of_pseudo_labels_runs_from_a_queue_without_the_raw_data(checkout):
    made_so_far(checkout)
    run("dvc", "commit", "-q", "-f", *UPSTREAM)
    commit()
    plan = run("dvc", "repro", "--dry", "--force", "evaluate_labels@r1")  # a rig that is refused costs no training
    assert plan.index("'prepare_target'") < plan.index("'pretrain'")
    run(
        "dvc", "exp", "run", "-q", "--queue", "--allow-missing", "-S", "pseudo.ransac_inliers=3,4", "evaluate_labels@r1"
    )
    run("dvc", "exp", "run", "-q", "--run-all")
    shown = json.loads(run("dvc", "exp", "show", "--json"))
    tried = [each["revs"][0]["data"] for revision in shown for each in revision["experiments"] or ()]
    coverage = {}
    for each in tried:
        measured = each["metrics"]["metrics/rounds/r1/evaluate_labels.json"]["data"]
        coverage[each["params"]["params.yaml"]["data"]["pseudo"]["ransac_inliers"]] = measured
        assert 90 < measured["pckh_50"] <= 100
        assert str(checkout.parent) not in json.dumps(each["params"])
    assert coverage.keys() == {3, 4}
    assert coverage[3]["coverage"] > coverage[4]["coverage"] > 50
    assert run("git", "status", "--short") == ""  # params and lock of the checkout stay as they are


def test_a_stage_that_reads_the_raw_data_finds_it_from_a_temporary_folder(checkout):
    stage("code", out="code")
    run("dvc", "commit", "-q", "-f", "code")
    commit()
    overrides = run(sys.executable, "-m", "tools.preset", "--temp").split()
    assert f"data.target={checkout.parent}/shared/take/views" in overrides
    run("dvc", "exp", "run", "-q", "--temp", "-n", "prepared", *overrides, "prepare_target")
    experiment = run("git", "for-each-ref", "--format=%(refname)", "refs/exps/**/prepared").strip()
    made = json.loads(run("git", "show", f"{experiment}:metrics/prepare_target.json"))
    assert made["views"] == 4 and made["frames"] == 6
    assert "../shared/" in (checkout / "params.yaml").read_text()
    assert str(checkout.parent) not in (checkout / "params.yaml").read_text()
    assert run("git", "status", "--short") == ""
