"""Commands of the README and the guides name what is there."""

import re
import shlex
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

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
