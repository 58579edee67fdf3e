"""Commands of the README and the guides name what is there; those of the README run, at a tiny size."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.self_training import quick_values
from tests.pipeline_graph import ROOT, read, stages

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
COMMANDS = sorted(
    {
        re.sub(r"\s+#.*", "", line.strip())
        for page in PAGES
        for line in page.read_text().replace("\\\n", " ").splitlines()
        if re.match(r"    (\w+=\S+ )?(make|dvc|python) ", line)
    }
)


@cache
def help_of(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def is_param(key: str) -> bool:
    """Whether params.yaml has the key; below `sources` and `rounds` names are the user's."""
    values: Any = read("params.yaml")
    first, *rest = key.split(".")
    if first in ("sources", "rounds", "mix"):
        return first in values
    if first in ("pretrain", "retrain") and is_param(".".join(["training", *rest])):
        return True  # an own key, in place of the shared one
    for part in (first, *rest):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def test_there_are_commands() -> None:
    assert {"make reproduce", "make test"} <= set(COMMANDS)


@pytest.mark.parametrize("command", [each for each in COMMANDS if "make " in each])
def test_targets_of_make_exist(command: str) -> None:
    target = shlex.split(command)[-1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", [each for each in COMMANDS if "python -m " in each])
def test_programs_take_the_flags_that_the_pages_show(command: str) -> None:
    for program in re.findall(r"python -m ([^)]+)", command):
        module, *words = shlex.split(program)
        flags = [word for word in words if word.startswith("--")]
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
        assert [flag for flag in flags if flag not in help_of(module)] == []
        presets = [word for word in words if word.startswith("presets/")]
        assert [preset for preset in presets if not (ROOT / preset).is_file()] == []


@pytest.mark.parametrize("command", [each for each in COMMANDS if " -S " in each])
def test_overrides_name_parameters(command: str) -> None:
    overrides = re.findall(r"-S '?\+?~?([\w.]+)", command)
    assert overrides
    assert [key for key in overrides if not is_param(key)] == []


@pytest.mark.parametrize("command", [each for each in COMMANDS if re.search(r"dvc (repro|exp run) \w", each)])
def test_targets_of_dvc_exist(command: str) -> None:
    name = re.search(r"dvc (?:repro|exp run) (\w+)", command)
    assert name
    assert name[1] in {stage.split("@")[0] for stage in stages()}


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    """In a repository of its own, in the README's order; `make test` and `make check` are what CI runs."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in filter(None, listed):
        if not name.startswith(("tests/", "metrics/", "plots/", "dvc.lock")) and (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    values = yaml.safe_dump(quick_values(read("params.yaml")), sort_keys=False)
    (tmp_path / "params.yaml").write_text(values, encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/installed").touch()  # the environment is this one
    environment |= {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def run(command: str) -> str:
        assert f"    {command}\n" in readme or f"`{command}`" in readme or command.startswith("git ")
        done = subprocess.run(
            shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    for command in ("git init -q", "git add -A", "git commit -q -m start"):
        run(command)
    printed = run("make reproduce")
    sentences = re.findall(r"^(.*?)(?:  |:)", readme.split("prints:")[1].split("```")[1].strip(), re.MULTILINE)
    assert [sentence for sentence in sentences if sentence.strip().split(":")[0] not in printed] == []
    assert (tmp_path / "plots/report.html").is_file() and (tmp_path / "metrics/verdict.json").is_file()
    assert "Running stage" not in run("dvc repro")
    run("git add -A"), run("git commit -q -m results")
    run("python -m tools.check_data --sheet sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    assert "check_rig" in run("dvc repro check_rig")
    before = json.loads((tmp_path / "metrics/rounds/r1/pseudo_labels.json").read_text())
    run("dvc exp run -S pseudo.ransac_inliers=3")
    after = json.loads((tmp_path / "metrics/rounds/r1/pseudo_labels.json").read_text())
    assert after["coverage"] < before["coverage"]
    assert "metrics/summary.json" in run("dvc metrics diff --targets metrics/summary.json")
