from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt, MinLen, Unit

from pipeline import params


@dataclass(frozen=True)
class Limits:
    low: Annotated[float, Ge(0), Lt(1)]
    high: float = 1.0


@dataclass(frozen=True)
class ToyStage:
    count: Annotated[int, Ge(0)]
    rate: float
    name: str
    flip: bool
    kind: Literal["robust", "plain"]
    limits: Limits
    views: tuple[str, ...] = ()
    size: tuple[int, int] = (1, 1)
    last: int | None = None
    weights: dict[str, float] | None = None


GOOD = """\
toy_stage:
  count: 3
  rate: 1e-05
  name: deep
  flip: true
  kind: robust
  limits: {low: 0}
  views:
  - left
  - right
  size: [2, 3]
  weights: {left: 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(GOOD)
    return path


def test_a_section_becomes_its_dataclass(file: Path) -> None:
    # 1e-05 is how DVC writes 1e-5, and text to a YAML 1.1 reader
    expected = ToyStage(
        3, 1e-5, "deep", True, "robust", Limits(0.0, 1.0), ("left", "right"), (2, 3), None, {"left": 1.0}
    )
    assert params.load(ToyStage, file) == expected
    assert isinstance(params.load(ToyStage, file).limits.low, float)


def test_a_section_can_be_named_and_nested(file: Path) -> None:
    assert params.load(Limits, file, "toy_stage.limits") == Limits(0.0, 1.0)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("count: 3", "cuont: 3", r"^toy_stage\.cuont: no such parameter; known ones are count, flip"),
        ("  count: 3\n", "", r"^toy_stage\.count: missing; the section needs count, flip"),
        ("count: 3", "count: 3.0", r"^toy_stage\.count: expected a whole number, got 3\.0$"),
        ("count: 3", "count: true", r"^toy_stage\.count: expected a whole number, got True$"),
        ("count: 3", "count: -1", r"^toy_stage\.count: expected 0 or more, got -1$"),
        ("rate: 1e-05", "rate: fast", r"^toy_stage\.rate: expected a number, got 'fast'$"),
        ("rate: 1e-05", "rate: true", r"^toy_stage\.rate: expected a number, got True$"),
        ("rate: 1e-05", "rate: .nan", r"^toy_stage\.rate: expected a finite number, got nan$"),
        ("rate: 1e-05", "rate: .inf", r"^toy_stage\.rate: expected a finite number, got inf$"),
        ("flip: true", "flip: 1", r"^toy_stage\.flip: expected true or false, got 1$"),
        ("name: deep", "name: 5", r"^toy_stage\.name: expected text, got 5$"),
        ("kind: robust", "kind: fancy", r"^toy_stage\.kind: expected one of robust, plain, got 'fancy'$"),
        ("{low: 0}", "{low: 0, lwo: 1}", r"^toy_stage\.limits\.lwo: no such parameter"),
        ("{low: 0}", "{}", r"^toy_stage\.limits\.low: missing"),
        ("{low: 0}", "3", r"^toy_stage\.limits: expected a section with keys, got 3$"),
        ("size: [2, 3]", "size: [2, 3, 4]", r"^toy_stage\.size: expected 2 values, got 3$"),
        ("size: [2, 3]", "size: 2", r"^toy_stage\.size: expected a list, got 2$"),
        ("- right", "- 7", r"^toy_stage\.views\[1\]: expected text, got 7$"),
        ("{left: 1}", "{left: heavy}", r"^toy_stage\.weights\.left: expected a number, got 'heavy'$"),
        ("{low: 0}", "{low: 1}", r"^toy_stage\.limits\.low: expected 0 or more and less than 1, got 1\.0$"),
        ("{low: 0}", "{low: 0, low: 1}", r"params\.yaml: not readable as YAML: the key 'low' stands twice"),
        ("toy_stage:", "toy_stag:", r"params\.yaml: the section 'toy_stage' is missing$"),
        ("toy_stage:\n", "- 1\n", r"params\.yaml: not readable as YAML"),
    ],
)
def test_each_mistake_gets_a_sentence_that_names_its_key(file: Path, old: str, new: str, sentence: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=sentence):
        params.load(ToyStage, file)


def test_no_file_and_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        params.read(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("[1, 2]\n")
    with pytest.raises(ValueError, match=r"expected sections \(a mapping\), got list"):
        params.read(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ValueError, match="not readable as YAML"):  # nothing in a params file is run
        params.read(tmp_path / "params.yaml")


def test_numbers_and_truth_values_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    text = "{a: 1e-05, b: 1E5, c: 012, d: 0o17, e: 0x1f, f: yes, g: 'off', h: True, i: 1_000, j: -.5, k: 5., l: ~, m: 2020-01-01}"
    (tmp_path / "params.yaml").write_text(text)
    assert params.read(tmp_path / "params.yaml") == {
        "a": 1e-5, "b": 1e5, "c": 12, "d": 15, "e": 31, "f": "yes", "g": "off", "h": True, "i": 1000, "j": -0.5, "k": 5.0,
        "l": None, "m": "2020-01-01",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("hint", "value", "sentence"),
    [
        (Annotated[int, Ge(1)], 0, "at least 1"),
        (Annotated[float, Gt(0), Unit("px")], 0, "more than 0 px"),
        (Annotated[float, Gt(0), Unit("px")] | None, -1.0, "more than 0 px, or null"),
        (Annotated[float | None, Gt(0)], -1.0, "more than 0, or null"),
        (Annotated[int, Ge(1), Le(100)], 101, "1 to 100"),
        (Annotated[float, Interval(gt=0, lt=1)], 1, "more than 0 and less than 1"),
        (tuple[Annotated[int, Le(3)], ...], [3, 4], "at most 3"),
        (Annotated[tuple[int, ...], MinLen(1)], [], "a list of at least 1"),
    ],
)
def test_a_value_out_of_its_bounds_is_refused_with_them(hint: Any, value: Any, sentence: str) -> None:
    section = make_dataclass("Bounded", [("key", hint)])
    with pytest.raises(ValueError, match=rf"^s\.key(\[1\])?: expected {sentence}, got "):
        params.build(section, {"key": value}, "s")


def test_a_bound_can_say_why() -> None:
    section = make_dataclass("Bounded", [("views", Annotated[int, Ge(2), "one ray makes no point"])])
    assert params.build(section, {"views": 2}, "s") == section(2)
    with pytest.raises(ValueError, match=r"^s\.views: one ray makes no point, got 1$"):
        params.build(section, {"views": 1}, "s")


def test_an_old_key_is_answered_with_its_new_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = {"toy_stage.limits.lowest": "toy_stage.limits.low", "toy": "toy_stage", "pseudo.size": "pseudo.side"}
    monkeypatch.setattr(params, "RENAMED", renamed)
    old = file.read_text()
    file.write_text(old.replace("{low: 0}", "{lowest: 0}"))
    with pytest.raises(ValueError, match=r"^`toy_stage\.limits\.lowest` is called `toy_stage\.limits\.low` now$"):
        params.load(ToyStage, file)
    file.write_text(old.replace("toy_stage:", "toy:"))
    with pytest.raises(ValueError, match=r"^`toy` is called `toy_stage` now$"):
        params.load(ToyStage, file)
    with pytest.raises(ValueError, match=r"^`rounds\.r2\.pseudo\.size` is called `rounds\.r2\.pseudo\.side` now$"):
        params.build(Limits, {"size": 1}, "rounds.r2.pseudo")
