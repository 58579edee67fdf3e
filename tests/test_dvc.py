"""dvc.lock is true, as far as can be told without data. Absent data is no fault: it is not in git."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pipeline_graph
from tests.pipeline_graph import ROOT

COMMITTED = subprocess.run(
    ["git", "ls-files", "dvc.lock"], cwd=ROOT, capture_output=True, text=True, check=False
).stdout
needs_lock = pytest.mark.skipif(not COMMITTED, reason="dvc.lock is not committed")


def dvc(*arguments: str, cwd: Path = ROOT) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout


def test_dvc_reads_the_stages_as_these_tests_do() -> None:
    assert set(dvc("stage", "list", "--name-only").split()) == set(pipeline_graph.stages())


@needs_lock
def test_the_lock_is_fresh() -> None:
    """Params, code, commands and the files in git are those that dvc.lock speaks of."""
    stale: dict[str, Any] = {}
    for stage, changes in json.loads(dvc("status", "--json")).items():
        for change in changes:
            if isinstance(change, str):
                stale[stage] = change  # "changed command"
                continue
            for files in change.values():
                bad = {file: state for file, state in files.items() if state not in ("deleted", "not in cache")}
                if bad:
                    stale.setdefault(stage, {}).update(bad)
    assert stale == {}, "run `dvc repro` and commit dvc.lock"


@needs_lock
def test_the_lock_has_no_leftovers() -> None:
    assert set(pipeline_graph.read("dvc.lock")["stages"]) == set(pipeline_graph.stages())


@needs_lock
def test_numbers_in_git_are_those_of_the_lock() -> None:
    """Every metric and table of the pipeline is committed, and nothing of a round that is no more."""
    tracked = subprocess.run(
        ["git", "ls-files", "metrics", "plots"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    made = {
        out for stage in pipeline_graph.stages().values() for out in stage.outs if out.startswith(("metrics", "plots"))
    }
    assert {path for path in tracked.stdout.split() if "/rounds" in path} == {
        path for path in made if "/rounds" in path
    }
    assert made - set(tracked.stdout.split()) == {"plots/report.html"}


def test_what_a_killed_stage_leaves_is_in_no_hash(tmp_path: Path) -> None:
    """Half-written files and compiled code lie in folders that DVC hashes; it must not see them."""
    (tmp_path / "folder/__pycache__").mkdir(parents=True)
    (tmp_path / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    (tmp_path / "folder/kept.h5").write_text("kept")
    dvc("init", "--no-scm", "-q", cwd=tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {toy: {cmd: 'true', deps: [folder]}}\n")
    dvc("repro", "-q", cwd=tmp_path)
    for name in (".heatmaps.h5.123.part", "__pycache__/kept.cpython-311.pyc", "kept.nbi"):
        (tmp_path / "folder" / name).write_text("half")
    assert json.loads(dvc("status", "--json", cwd=tmp_path)) == {}
    (tmp_path / "folder/new.h5").write_text("new")
    assert json.loads(dvc("status", "--json", cwd=tmp_path)) != {}
