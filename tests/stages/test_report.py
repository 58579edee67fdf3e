"""The report stage through its own command line, on a tiny world of two rounds."""

import dataclasses
import json
import re
import runpy
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.files.tables import read_table
from pipeline.files.truth import Truth
from pipeline.report import plots
from tests.worlds import tiny_world

ROUNDS = ("r0", "r1", "r2")


def run_stage(monkeypatch: pytest.MonkeyPatch, name: str, flags: dict[str, Path]) -> None:
    monkeypatch.setattr(
        sys, "argv", [name, *(str(word) for key, value in flags.items() for word in (f"--{key}", value))]
    )
    runpy.run_module(f"stages.{name}", run_name="__main__")


def measure(world: tiny_world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the stages that come right before the report."""
    for model in world.rounds:
        data, metrics, tables = world.data(model), world.metrics(model), world.plots(model)
        common = {"cameras": world.rig, "truth": world.truth}
        run_stage(
            monkeypatch,
            "evaluate",
            common
            | {"heatmaps": data / "heatmaps.h5", "poses": data / "poses.h5", "rpsm": data / "rpsm.h5"}
            | {"metrics": metrics / "evaluate.json", "joints": tables / "joints.csv", "curve": tables / "pck.csv"}
            | {"params": world.root / "params.yaml"},
        )
        if (data / "labels.h5").exists():
            out = {"metrics": metrics / "evaluate_labels.json", "table": tables / "labels.csv"}
            run_stage(monkeypatch, "evaluate_labels", common | {"labels": data / "labels.h5"} | out)


def report(world: tiny_world.World, monkeypatch: pytest.MonkeyPatch, drawn: bool = False, **more: Path) -> str:
    """Run the stage and return the page; without `drawn`, the figures beside it are empty, which saves a second."""
    root = world.root
    for name in () if drawn else ("rounds_svg", "pck_svg", "joints_svg"):
        monkeypatch.setattr(plots, name, lambda table: b"<svg/>")
    flags = {
        "rounds": root / "metrics/rounds",
        "curves": root / "plots/rounds",
        "data": root / "data/rounds",
        "frames": world.frames,
        "cameras": world.rig,
        "truth": world.truth,
        "summary": root / "metrics/summary.json",
        "table": root / "plots/rounds.csv",
        "training": root / "plots/training.csv",
        "pck": root / "plots/pck.csv",
        "rounds-figure": root / "plots/rounds.svg",
        "pck-figure": root / "plots/pck.svg",
        "joints-figure": root / "plots/joints.svg",
        "page": root / "plots/report.html",
        "params": root / "params.yaml",
    }
    run_stage(monkeypatch, "report", flags | more)
    return (root / "plots/report.html").read_text(encoding="utf-8")


def write_params(world: tiny_world.World, rounds: tuple[str, ...]) -> None:
    sections = ["evaluate: {curve_limit: 0.5, curve_points: 11}", "held_out: {view: null}"]
    sections += ["report: {frames_3d: 5, views_shown: 3, image_px: 64}", "rounds:"]
    sections += [f"  {name}: {{teacher: r0}}" for name in rounds] or ["  {}"]
    (world.root / "params.yaml").write_text("\n".join(sections) + "\n")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tiny_world.World:
    world = tiny_world.build(tmp_path_factory.mktemp("measured"), rounds=2, train=4, test=6)
    write_params(world, world.rounds[1:])
    with pytest.MonkeyPatch.context() as monkeypatch:
        measure(world, monkeypatch)
    return world


@pytest.fixture
def world(measured: tiny_world.World, tmp_path: Path) -> tiny_world.World:
    """A copy of the measured world, which a test may change."""
    shutil.copytree(measured.root, tmp_path / "world")
    return dataclasses.replace(measured, root=tmp_path / "world")


class Elements(HTMLParser):
    """The elements and the text of a page; every element must end where it should."""

    VOID = frozenset({"meta", "img", "input", "wbr", "br", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_summary_has_every_round_the_last_one_and_the_gain(world, monkeypatch):
    report(world, monkeypatch)
    summary = json.loads((world.root / "metrics/summary.json").read_text())
    assert tuple(summary["rounds"]) == ROUNDS
    assert summary["final"] == summary["rounds"]["r2"]
    gain = summary["rounds"]["r2"]["pckh_50"] - summary["rounds"]["r0"]["pckh_50"]
    assert summary["gain"]["pckh_50"] == pytest.approx(gain, abs=2e-4)
    assert "label_coverage" not in summary["rounds"]["r0"]
    assert "label_coverage" in summary["rounds"]["r1"]


def test_the_tables_have_a_row_per_round_and_steps_counted_over_all_rounds(world, monkeypatch):
    report(world, monkeypatch)
    rounds = read_table(world.root / "plots/rounds.csv")
    assert rounds["round"] == list(ROUNDS) and rounds["label_coverage"][0] == ""
    training = read_table(world.root / "plots/training.csv")
    steps = [int(step) for step in training["step"]]
    assert steps == sorted(set(steps)) and steps[-1] == 600 + 400 + 400
    assert training["round"].count("r1") == 4
    curves = read_table(world.root / "plots/pck.csv")
    assert len(curves["pckh"]) == 3 * 11


def test_the_page_is_well_formed_fetches_nothing_and_describes_its_images(world, monkeypatch):
    page = report(world, monkeypatch)
    elements = Elements(page)
    for tag, attributes in elements.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:image/jpeg;base64,", "#")) or not value, (tag, name, value[:60])
    assert "@import" not in page and "url(" not in page
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(", page)
    images = elements.of("img")
    assert len(images) == 2 * 3 * 3  # two sheets of three frames in three of the four views
    assert all(image["alt"] for image in images)
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in elements.of("svg"))
    identifiers = [attributes["id"] for _, attributes in elements.elements if attributes.get("id")]
    assert len(identifiers) == len(set(identifiers))


def test_the_same_results_give_the_same_bytes(world, monkeypatch):
    outputs = ["metrics/summary.json", "plots/training.csv", "plots/report.html"]
    outputs += [f"plots/{name}" for name in ("rounds.csv", "pck.csv", "rounds.svg", "pck.svg", "joints.svg")]
    report(world, monkeypatch, drawn=True)
    first = {name: (world.root / name).read_bytes() for name in outputs}
    report(world, monkeypatch, drawn=True)
    assert {name: (world.root / name).read_bytes() for name in outputs} == first
    for name in ("rounds", "pck", "joints"):
        assert ElementTree.fromstring(first[f"plots/{name}.svg"]).tag.endswith("svg")


def test_a_round_that_was_dropped_from_the_params_is_not_reported(world, monkeypatch):
    write_params(world, ("r1",))
    report(world, monkeypatch)
    assert read_table(world.root / "plots/rounds.csv")["round"] == ["r0", "r1"]


def test_a_page_of_the_first_teacher_alone(world, monkeypatch):
    write_params(world, ())
    page = report(world, monkeypatch)
    Elements(page)
    assert "No round made pseudo labels" in page


def test_without_ground_truth_the_page_says_so_and_shows_the_rest(world, monkeypatch):
    truth = Truth.read(world.truth)
    Truth(
        keys=truth.keys,
        skeleton=truth.skeleton,
        joints=np.full_like(truth.joints, np.nan),
        head=truth.head,
        origin="truth",
    ).write(world.truth)
    measure(world, monkeypatch)
    page = report(world, monkeypatch)
    assert "have no ground truth" in page and 'value="truth"' not in page
    assert len(Elements(page).of("img")) == 2 * 3 * 3


def test_a_peer_is_called_a_peer(tmp_path, monkeypatch):
    world = tiny_world.build(tmp_path / "peer", rounds=1, train=4, test=6, origin="peer")
    write_params(world, ("r1",))
    measure(world, monkeypatch)
    text = " ".join(Elements(report(world, monkeypatch)).text)
    assert "Distance to peer" in text and "MPJPE" not in text and "PCKh@0.5" not in text


@pytest.mark.parametrize(("views", "test"), [(2, 1), (7, 3)])
def test_any_number_of_views_and_frames(tmp_path, monkeypatch, views, test):
    world = tiny_world.build(tmp_path / "other", rounds=1, views=views, train=2, test=test)
    write_params(world, ("r1",))
    measure(world, monkeypatch)
    images = Elements(report(world, monkeypatch)).of("img")
    assert len(images) == (min(test, 3) + 2) * min(views, 3)


def test_controls_stand_with_mean_and_range(world, monkeypatch):
    rows = [
        {"method": "source_only", "seed": seed, "pckh_50": 60.0 + seed, "mpjpe_abs_mm": 120.0} for seed in range(3)
    ] + [{"method": "oracle", "seed": 0, "pckh_50": 90.0}]
    (world.root / "study.json").write_text(json.dumps(rows))
    (world.root / "study.csv").write_text("method,seed,pckh_50\nsource_only,0,60\nsource_only,1,62\n")
    page = report(world, monkeypatch, controls=world.root / "study.json")
    assert "source only</th><td>61.0<small>60.0–62.0</small>" in page
    assert "source only</th><td>61.0<small>" in report(world, monkeypatch, controls=world.root / "study.csv")
    assert "benchmarks/self_training.py" in report(world, monkeypatch)


def test_the_label_free_verdict_stands_on_top_in_the_summary_and_in_the_output(world, monkeypatch, capsys):
    quality, verdict = world.root / "quality", world.root / "verdict.json"
    quality.mkdir()
    for model in ROUNDS:
        (quality / f"{model}.json").write_text(
            json.dumps({"test": {"leave_one_view_out_mm": 61.5}, "label_churn": 7.0})
        )
    reasons = ["Joints got lost & <known>."]
    judged = {"verdict": "do_not_adopt", "model": "r2", "against": "r0", "reasons": reasons}
    verdict.write_text(json.dumps(judged))
    checked = world.root / "check_rig.json"
    checked.write_text(json.dumps({"problems": ["cam_03 does not stand <here>"], "doubts": ["cam_01 is loose"]}))
    text = report(world, monkeypatch, quality=quality, verdict=verdict, **{"rig-check": checked})
    assert "Something is wrong with the rig" in text
    assert "cam_03 does not stand &lt;here&gt;" in text
    assert "cam_01 is loose" in text
    assert text.index("Do not adopt r2 in place of r0") < text.index("<h2")
    assert "Joints got lost &amp; &lt;known&gt;." in text
    summary = json.loads((world.root / "metrics/summary.json").read_text())
    assert summary["rounds"]["r1"]["quality"] == {"leave_one_view_out_mm": 61.5, "label_churn": 7.0}
    printed = capsys.readouterr().out
    assert "do not adopt (r2 against r0)" in printed
    assert reasons[0] in printed


def test_controls_keep_the_rounds_of_a_method_apart(world, monkeypatch):
    rows = [{"method": "argmax", "round": f"r{k}", "seed": s, "pckh_50": 50.0 + 10 * k} for k in (1, 2) for s in (0, 1)]
    (world.root / "study.json").write_text(json.dumps({"rows": rows, "params": {}}))
    page = report(world, monkeypatch, controls=world.root / "study.json")
    assert "argmax, r1</th><td>60.0<" in page and "argmax, r2</th><td>70.0<" in page


def test_names_from_data_cannot_become_markup(world, monkeypatch):
    evil = "</script><img src=x onerror=alert(1)>"
    (world.root / "study.json").write_text(json.dumps([{"method": evil, "seed": 0, "pckh_50": 1.0}]))
    folder = "<b>r1&"
    for kind in ("metrics/rounds", "plots/rounds", "data/rounds"):
        (world.root / kind / "r1").rename(world.root / kind / folder)
    params = (world.root / "params.yaml").read_text().replace("  r1:", f'  "{folder}":')
    (world.root / "params.yaml").write_text(params)
    page = report(world, monkeypatch, controls=world.root / "study.json")
    elements = Elements(page)
    assert evil not in page and "onerror" not in {name for _, attributes in elements.elements for name in attributes}
    assert not elements.of("b")
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert folder in json.loads(scripts[0])["colours"] and "<" not in scripts[0]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("study.json", "[]", "expected rows with a 'method' each"),
        ("study.json", "{", "not readable as JSON"),
        ("study.csv", "method,seed\na\n", "line 2 has 1 cells, the header has 2"),
    ],
)
def test_a_wrong_study_is_one_sentence_and_leaves_the_earlier_report(
    world, monkeypatch, capsys, *, file, content, sentence
):
    before = report(world, monkeypatch)
    (world.root / file).write_text(content)
    with pytest.raises(SystemExit) as stopped:
        report(world, monkeypatch, controls=world.root / file)
    assert stopped.value.code == 1 and sentence in capsys.readouterr().err
    assert (world.root / "plots/report.html").read_text(encoding="utf-8") == before


def test_a_round_without_measurements_is_one_sentence(world, monkeypatch, capsys):
    (world.metrics("r2") / "evaluate.json").unlink()
    with pytest.raises(SystemExit):
        report(world, monkeypatch)
    assert "evaluate.json: there is no such file" in capsys.readouterr().err


def test_the_measuring_stages_start_without_torch_and_what_only_drawing_needs():
    modules = "stages.evaluate, stages.evaluate_labels, stages.report"
    code = f"import sys, {modules}; assert not {{'torch', 'matplotlib', 'jinja2', 'pandas'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
