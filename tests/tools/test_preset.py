import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import params
from pipeline.datasets.labelled import LabelledSet
from pipeline.models.build import Network, outputs
from pipeline.training.pools import Mix
from stages.export_heatmaps import Export
from stages.prepare_source import SourceCache
from stages.prepare_target import Target
from stages.pretrain import Pretrain
from stages.pseudo_labels import Pseudo
from stages.retrain import Retrain
from stages.rpsm import Rpsm
from stages.triangulate import Triangulate
from tests.pipeline_graph import ROOT
from tools import preset
from tools.evaluate_2d import Evaluate2D
from tools.predict import Predict

SECTIONS = {
    "evaluate_2d": Evaluate2D,
    "export": Export,
    "mix": Mix,
    "network": Network,
    "predict": Predict,
    "pretrain": Pretrain,
    "pseudo": Pseudo,
    "retrain": Retrain,
    "rpsm": Rpsm,
    "source_cache": SourceCache,
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


def test_variants_are_applied_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "preset.yaml"
    file.write_text("a: {b: 1, c: 2}\nvariants:\n  deep: {a: {b: 3}}\n  wide: {a: {b: 4}, d: 5}\n")
    assert preset.read(file) == {"a": {"b": 1, "c": 2}}
    assert preset.read(file, ["wide", "deep"]) == {"a": {"b": 3, "c": 2}, "d": 5}
    with pytest.raises(ValueError, match="no variant 'huge'; there are deep, wide"):
        preset.read(file, ["huge"])


def _every_preset() -> Iterator[tuple[Path, tuple[str, ...]]]:
    for path in sorted((ROOT / "presets").glob("*.yaml")):
        yield path, ()
        for variant in params.read(path).get("variants", {}):
            yield path, (variant,)


def _called(each: Path | tuple[str, ...]) -> str:
    return each.stem if isinstance(each, Path) else "-".join(each)


@pytest.mark.parametrize(("path", "variants"), list(_every_preset()), ids=_called)
def test_each_preset_and_variant_fits_the_params(path: Path, variants: tuple[str, ...]) -> None:
    values = params.read(ROOT / "params.yaml")
    preset.apply(preset.read(path, variants), values)
    for name, section in SECTIONS.items():
        params.select(section, values, name)
    for name, each in values["sources"].items():
        params.build(LabelledSet, each, f"sources.{name}")
    network = params.build(Network, values["network"], "network")
    pretrain = params.select(Pretrain, values, "pretrain")
    pretrain.loss.require_for(network.name, outputs(network.name).coordinates, "pretrain")
    if values["target"]["detections_format"] == "none" and values["target"]["boxes"] != "detections":
        assert (ROOT / values["data"]["detections"]).is_file()  # in git: DVC asks for it, and no stage reads it
    if path.name.startswith("multiview"):
        assert pretrain.sigma == 2
        learned = {"multiview_mixed": "union_20", "supervised": "h36m_17", "supervised_mixed": "union_20"}
        names = [path.stem, *variants] if path.stem != "multiview_mpii" else []
        assert not names or network.skeleton == learned.get(names[-1], "compatible_16")
    if path.name == "regression_h36m.yaml":
        persons = values["mix"]["epoch"] or 120000
        assert pretrain.schedule.steps / -(-persons // pretrain.batch_size) in (140, 300)
    if path.name.endswith(("_coco.yaml", "_mpii.yaml")):
        persons = 149813 if path.name.endswith("_coco.yaml") else 22246
        epochs = pretrain.schedule.steps / -(-persons // pretrain.batch_size)
        assert epochs in (140, 170, 210)
        for share in pretrain.schedule.milestones:
            assert abs(share * epochs / 10 - round(share * epochs / 10)) < 0.01  # whole tens of epochs
        assert values["source_cache"]["cache_size"] == 1.5 * max(network.image_size)
        assert pretrain.sigma == (3 if max(network.image_size) == 384 else 2)


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*_*.yaml")), ids=_called)
def test_the_lines_that_run_a_published_experiment_name_it_and_its_variants(path: Path) -> None:
    if path.name.startswith("recording"):
        return
    found = re.findall(r"^#   dvc exp run .*\$\(python -m tools\.preset (\S+)(.*)\)", path.read_text(), re.MULTILINE)
    assert found
    for name, variants in found:
        assert ROOT / name == path
        preset.read(path, variants.split())
