"""Who may import whom, what dvc.yaml knows of the code, and that the truth reaches no stage that learns."""

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import runpy
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from pipeline import code
from pipeline.code import closure, has_statements, imports
from tests import pipeline_graph
from tests.pipeline_graph import ROOT, Stage, tainted

STAGES = pipeline_graph.stages()
PARAMS = pipeline_graph.read("params.yaml")

# What each part of pipeline/ may import from the others; a part may always import itself.
ARROWS = {
    "code": set(),
    "params": set(),
    "outside": {"params"},
    "locks": set(),
    "processors": set(),
    "runtime": {"processors"},
    "nanstats": set(),
    "compiled": set(),
    "skeleton": set(),
    "heatmaps": {"compiled"},
    "cli": {"params", "locks"},
    "geometry": {"skeleton", "heatmaps", "compiled", "nanstats", "processors"},
    "crops": {"geometry.camera"},
    "files": {"code", "geometry.camera", "skeleton", "heatmaps", "locks"},
    "calibration": {"files.untrusted", "crops", "geometry.camera", "geometry.viewing"},
    "datasets": {"files", "crops", "geometry.camera", "processors", "skeleton"},
    "target": {"calibration", "datasets", "files", "crops", "geometry", "rig", "skeleton"},
    "models": {"heatmaps", "geometry", "skeleton", "params", "files.atomic"},
    "training": {"heatmaps", "geometry", "skeleton", "crops", "files", "metrics"},
    "pseudo": {"geometry", "skeleton", "heatmaps", "nanstats"},
    "rig": {"geometry", "skeleton", "nanstats"},
    "metrics": {"geometry", "skeleton", "nanstats"},
    "report": {"files", "nanstats", "metrics", "skeleton", "geometry"},
}
LEARNING = ("pretrain", "retrain", "export_heatmaps")  # the stages that may import torch
MAY_SEE_TRUTH = ("prepare_truth", "evaluate", "evaluate_labels", "report")


def base(name: str) -> str:
    """`retrain@r1`, `quality_r0`, `evaluate_r0@r0` -> `retrain`, `quality`, `evaluate`."""
    return re.sub(r"(_r0)?(@\w+)?$", "", name)


def modules_of(path: Path) -> set[str]:
    """The modules of ours that a file imports: `geometry.camera` for pipeline/geometry/camera.py."""
    found = set()
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "pipeline" or len(parts) == 1:
            continue
        # `from pipeline.geometry.camera import Camera` names a class, not a module
        while not (
            ROOT.joinpath(*parts).with_suffix(".py").is_file() or ROOT.joinpath(*parts, "__init__.py").is_file()
        ):
            parts.pop()
        found.add(".".join(parts[1:]))
    return found - {""}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "pipeline").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_imports_follow_the_arrows(path: Path) -> None:
    part = path.relative_to(ROOT / "pipeline").with_suffix("").parts[0]
    if part == "__init__":
        return
    assert part in ARROWS, f"pipeline/{part} is not in the table of who may import whom"
    for module in modules_of(path):
        own = module.split(".")[0] == part
        allowed = any(module == target or module.startswith(f"{target}.") for target in ARROWS[part])
        # `from pipeline.geometry import camera` names the package on its way to the module
        on_the_way = any(target.startswith(f"{module}.") for target in ARROWS[part])
        assert own or allowed or on_the_way, f"pipeline/{part} may not import pipeline.{module}"


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("*.py")), ids=lambda path: path.name)
def test_no_stage_imports_another(path: Path) -> None:
    assert [name for name in imports(path) if name.split(".")[0] == "stages"] == []


@pytest.mark.parametrize(
    ("folder", "never"),
    [
        ("pipeline", ("stages", "tools", "benchmarks", "tests")),
        ("stages", ("tools", "benchmarks", "tests")),
        ("tools", ("benchmarks", "tests")),
    ],
)
def test_the_library_imports_no_program_and_a_stage_no_tool(folder: str, never: tuple[str, ...]) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert [name for name in imports(path) if name.split(".")[0] in never] == [], path


def test_a_tool_takes_nothing_of_a_stage_but_its_section() -> None:
    for path in (ROOT / "tools").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "stages":
                assert node.module != "stages" and all(name.name[0].isupper() for name in node.names), path
            elif isinstance(node, ast.Import):
                assert not any(name.name.split(".")[0] == "stages" for name in node.names), path


def test_init_files_say_nothing() -> None:
    inits = [*(ROOT / "pipeline").rglob("__init__.py"), ROOT / "stages/__init__.py", ROOT / "tools/__init__.py"]
    assert [str(path.relative_to(ROOT)) for path in inits if has_statements(path)] == []


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_stage_depends_on_the_text_of_its_code_and_on_no_source(stage: Stage) -> None:
    expected = {f"code/{stage.module.removeprefix('stages.')}.txt"} if stage.name != "code" else set(code.PACKAGES)
    assert stage.code == expected
    assert not any(dep.endswith(".py") for dep in stage.deps)


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_paths_of_the_command_are_dependencies_and_outputs(stage: Stage) -> None:
    flags = {flag: value for flag, value in stage.flags.items() if flag not in ("--round", "--name")}
    assert set(flags.values()) == (stage.deps - stage.code) | stage.outs


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_stages_track_the_params_that_they_load(stage: Stage) -> None:
    main = importlib.import_module(stage.module).main
    hints = typing.get_type_hints(main)
    classes = [hint for key, hint in hints.items() if dataclasses.is_dataclass(hint)]
    sections = {re.sub(r"(?<!^)([A-Z])", r"_\1", each.__name__).lower() for each in classes}
    sections |= {each.shared_section for each in classes if hasattr(each, "shared_section")}
    if "params" in hints:  # the stages that look into the whole file
        item = stage.name.split("@")[-1]
        sections |= {
            "prepare_source": {f"sources.{item}"},
            "pseudo_labels": {"pseudo", f"rounds.{item}"},
            "report": {"rounds"},
            "verdict": {"rounds"},
        }[base(stage.name)]
    assert stage.params == sections
    assert {section.split(".")[0] for section in sections} <= PARAMS.keys()


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_commands_give_the_flags_that_stages_take(stage: Stage) -> None:
    parameters = inspect.signature(importlib.import_module(stage.module).main).parameters
    hints = typing.get_type_hints(importlib.import_module(stage.module).main)
    paths = {key for key, hint in hints.items() if hint in (Path, str) or Path in typing.get_args(hint)} - {"params"}
    optional = {key for key in paths if parameters[key].default is not inspect.Parameter.empty}
    given = {flag.removeprefix("--").replace("-", "_") for flag in stage.flags}
    assert paths - optional <= given <= paths


PROGRAMS = sorted(
    path
    for folder in ("stages", "tools")
    for path in (ROOT / folder).glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8") and path.name != "outcome.py"  # which takes no flag
)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_explains_every_flag(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: list[argparse.ArgumentParser] = []

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        parsers.append(parser)
        raise SystemExit

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(SystemExit):
        runpy.run_path(str(path), run_name="__main__")
    (parser,) = parsers
    unexplained = [action.dest for action in parser._actions if not re.sub(r"\(?default: .*", "", action.help or "")]
    assert unexplained == []


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("*.py")), ids=lambda path: path.name)
def test_a_stage_is_called_by_name(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            assert [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)] == []


@pytest.mark.parametrize("folder", ["pipeline", "stages", "tools"])
def test_a_dataclass_of_more_than_four_fields_is_made_by_name(folder: str) -> None:
    positional = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            fields = sum(isinstance(line, ast.AnnAssign) for line in node.body)
            if fields > 4 and any("dataclass" in mark and "kw_only=True" not in mark for mark in marks):
                positional.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert positional == []


def test_only_learning_stages_import_torch() -> None:
    for stage in STAGES.values():
        names = {name.split(".")[0] for path in closure(stage.source) for name in imports(path)}
        # runtime.py imports it inside of start_torch, and is imported by learning stages only; rpsm when asked for a GPU
        assert ("torch" in names) == (base(stage.name) in (*LEARNING, "rpsm")), stage.name


def test_geometry_stages_start_without_torch() -> None:
    modules = sorted({stage.module for stage in STAGES.values() if base(stage.name) not in LEARNING})
    code = (
        f"import sys, {', '.join(modules)}; print([name for name in ('torch', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def truth_of(params: dict[str, typing.Any]) -> set[str]:
    return {params["data"]["truth"], "data/prepared/truth.h5"}


def test_the_truth_reaches_no_stage_that_learns() -> None:
    reached = tainted(STAGES, truth_of(PARAMS))
    assert {base(name) for name in reached} == set(MAY_SEE_TRUTH)
    # nor does what is computed from it: nobody reads the outputs of those who may see it, but these themselves
    for name in STAGES.keys() - reached:
        assert not any(
            pipeline_graph.overlap(dep, out) for r in reached for out in STAGES[r].outs for dep in STAGES[name].deps
        )


@pytest.mark.parametrize(
    ("leak", "into"),
    [
        ("data/prepared/truth.h5", "retrain@r1"),
        ("data/synthetic/truth", "prepare_target"),
        ("data/synthetic/truth/s1.trc", "pseudo_labels@r2"),
        ("data/prepared", "pseudo_labels@r1"),
        ("metrics/rounds", "verdict"),
        ("metrics/rounds/r1/evaluate.json", "quality@r2"),
        ("data/synthetic", "prepare_target"),
        ("metrics/rounds/r0/evaluate.json", "pseudo_labels@r1"),
        ("metrics", "retrain@r2"),
        ("plots/rounds/r1/labels.csv", "retrain@r1"),
    ],
)
def test_a_leak_of_the_truth_would_be_found(leak: str, into: str) -> None:
    leaky = dict(STAGES)
    leaky[into] = dataclasses.replace(STAGES[into], deps=STAGES[into].deps | {leak})
    assert into in tainted(leaky, truth_of(PARAMS))


def test_only_those_who_may_see_the_truth_can_read_its_file() -> None:
    for stage in STAGES.values():
        can = ROOT / "pipeline/files/truth.py" in closure(stage.source)
        assert not can or base(stage.name) in MAY_SEE_TRUTH, stage.name


def test_rounds_are_text_and_learn_from_an_earlier_one() -> None:
    assert all(isinstance(name, str) for name in PARAMS["rounds"])  # DVC drops whole numbers without a word
    earlier = ["r0"]
    for name, settings in PARAMS["rounds"].items():
        assert settings["teacher"] in earlier
        earlier.append(name)


def test_r0_and_the_rounds_run_the_same_stages() -> None:
    """foreach has one mapping, so r0 has stages of its own; they must stay twins of the others."""
    for name in (
        "export_heatmaps_r0",
        "quality_r0",
        "triangulate_r0@r0",
        "rpsm_r0@r0",
        "smooth_r0@r0",
        "evaluate_r0@r0",
    ):
        first, later = STAGES[name], STAGES[f"{base(name)}@r1"]
        assert (first.module, first.code, first.params) == (later.module, later.code, later.params)


def test_a_threshold_of_the_filter_reruns_the_filter_only() -> None:
    assert {base(name) for name, stage in STAGES.items() if "pseudo" in stage.params} == {"pseudo_labels"}


def test_a_third_round_is_one_more_entry() -> None:
    more = pipeline_graph.stages({**PARAMS, "rounds": {**PARAMS["rounds"], "r3": {"teacher": "r2"}}})
    per_round = {base(name) for name in STAGES if name.endswith("@r1")}
    assert more.keys() - STAGES.keys() == {f"{name}@r3" for name in per_round}
    assert more["retrain@r3"].flags["--init"] == "data/rounds/r2/model.pt"
    assert {base(name) for name in tainted(more, truth_of(PARAMS))} == set(MAY_SEE_TRUTH)
