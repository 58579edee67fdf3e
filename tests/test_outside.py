"""Data outside of git: where it lies for a run in a temporary folder of DVC."""

import subprocess
from pathlib import Path

import pytest

from pipeline.outside import absolute_paths
from tests import pipeline_graph
from tests.pipeline_graph import ROOT
from tools import preset


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with data in git, made by a stage, ignored by git, and beside it."""
    root = tmp_path / "checkout"
    for name in ("presets/no_detections", "data/raw/views/a.jpg", "data/synthetic/people/b.jpg", "../shared/net.pth"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "dvc.yaml").write_text("stages: {draw: {cmd: 'true', outs: [data/synthetic/people: {push: false}]}}\n")
    (root / "params.yaml").write_text("data: {init: ../shared/net.pth, target: none}\nsources: {a: {path: data/raw}}\n")
    subprocess.run(["git", "init", "-q", root], check=True)
    subprocess.run(["git", "add", "presets"], cwd=root, check=True)
    return root


def test_only_what_a_temporary_folder_lacks_becomes_absolute(checkout: Path) -> None:
    data = {
        "target": "data/raw/views",
        "detections": "presets/no_detections",
        "truth": "data/raw/absent",
        "init": "../shared/net.pth",
        "calibration": "/somewhere/else.toml",
    }
    sources = {"drawn": {"path": "data/synthetic/people"}, "own": {"path": "data/raw", "layout": "mpii"}}
    assert absolute_paths({"data": data, "sources": sources}, checkout) == {
        "data": {"target": f"{checkout}/data/raw/views", "init": f"{checkout.parent}/shared/net.pth"},
        "sources": {"own": {"path": f"{checkout}/data/raw"}},
    }


def test_a_preset_for_a_temporary_folder_changes_these_paths_and_nothing_else(checkout: Path) -> None:
    chosen = preset.for_temporary_folder({"data": {"target": "data/raw/views"}}, checkout)
    assert list(preset.overrides(chosen)) == [
        f"data.target={checkout}/data/raw/views",
        f"data.init={checkout.parent}/shared/net.pth",
        f"++sources.a.path={checkout}/data/raw",
    ]
    assert str(checkout) not in (checkout / "params.yaml").read_text()


def test_the_default_needs_no_data_from_outside() -> None:
    assert absolute_paths(pipeline_graph.read("params.yaml"), ROOT) == {}


def test_no_absolute_path_is_committed() -> None:
    params = pipeline_graph.read("params.yaml")
    paths = [*params["data"].values(), *(each["path"] for each in params["sources"].values())]
    for stage in pipeline_graph.read("dvc.lock")["stages"].values() if (ROOT / "dvc.lock").exists() else ():
        paths += [entry["path"] for kind in ("deps", "outs") for entry in stage.get(kind, [])]
        assert str(ROOT) not in str(stage)
    assert [path for path in paths if Path(path).is_absolute()] == []


def test_networks_and_raw_data_of_a_user_are_not_in_git() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "models/imagenet/resnet50.pth", "data/raw/mpii", "pipeline/models/build.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ignored.stdout.split() == ["models/imagenet/resnet50.pth", "data/raw/mpii"]
    assert "/models/" in (ROOT / ".dvcignore").read_text().split()
