from pathlib import Path

import pytest

from benchmarks import preset
from pipeline import params
from pipeline.datasets.labelled import LabelledSet
from pipeline.models.build import Network
from pipeline.training.pools import Mix
from stages.prepare_target import Target
from stages.pretrain import Pretrain
from stages.pseudo_labels import Pseudo
from stages.retrain import Retrain
from stages.rpsm import Rpsm
from stages.triangulate import Triangulate
from tests.pipeline_graph import ROOT

SECTIONS = {
    "mix": Mix,
    "network": Network,
    "pretrain": Pretrain,
    "pseudo": Pseudo,
    "retrain": Retrain,
    "rpsm": Rpsm,
    "target": Target,
    "triangulate": Triangulate,
}


def test_a_preset_as_overrides() -> None:
    values = {
        "data": {"target": "../videos"},
        "target": {"test": ["s1", "s2"], "last": None, "flip": True},
        "rate": 1e-5,
    }
    assert list(preset.overrides(values)) == [
        "data.target=../videos",
        "target.test=[s1,s2]",
        "target.last=null",
        "target.flip=true",
        "rate=1e-05",
    ]


def test_a_preset_written_into_a_params_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("toy:\n  deep: {a: 1}  # one\n  b: 2  # two\nother: 3\n")
    (tmp_path / "preset.yaml").write_text("toy: {deep: {a: 5}}\n")
    preset.write(tmp_path / "preset.yaml", tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == "toy:\n  deep: {a: 5}  # one\n  b: 2  # two\nother: 3\n"


def test_a_key_that_params_do_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^toy\.deep\.c: no such parameter; known ones are a$"):
        preset.apply({"toy": {"deep": {"c": 5}}}, {"toy": {"deep": {"a": 1}}})


def test_a_set_more_is_no_mistake() -> None:
    more = {"sources": {"h36m": {"path": "there", "layout": "h36m"}}, "mix": {"weights": {"h36m": 2.0}}}
    values = {"sources": {"people": {"path": "here"}}, "mix": {"weights": {"people": 1.0}, "epoch": None}}
    preset.apply(more, values)
    assert values["sources"]["h36m"] == {"path": "there", "layout": "h36m"}
    assert values["mix"] == {"weights": {"people": 1.0, "h36m": 2.0}, "epoch": None}
    assert "++mix.weights.h36m=2.0" in preset.overrides(more)


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.name)
def test_each_preset_fits_the_params(path: Path) -> None:
    values = params.read(ROOT / "params.yaml")
    preset.apply(params.read(path), values)
    for name, section in SECTIONS.items():
        params.build(section, values[name], name)
    for name, each in values["sources"].items():
        params.build(LabelledSet, each, f"sources.{name}")
    if path.name.startswith("multiview"):
        assert values["pretrain"]["sigma"] == 2
        lines = path.read_text().splitlines()
        assert any(f"benchmarks.preset presets/{path.name}" in line for line in lines)
