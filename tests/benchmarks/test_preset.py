from pathlib import Path

import pytest

from benchmarks import preset
from pipeline import params
from tests.pipeline_graph import ROOT


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


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.name)
def test_each_preset_fits_the_params(path: Path) -> None:
    preset.apply(params.read(path), params.read(ROOT / "params.yaml"))
