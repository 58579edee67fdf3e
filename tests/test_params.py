from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from pipeline import params


@dataclass(frozen=True)
class Limits:
    low: float
    high: float = 1.0


@dataclass(frozen=True)
class ToyStage:
    count: int
    rate: float
    name: str
    flip: bool
    kind: Literal["robust", "plain"]
    limits: Limits
    views: tuple[str, ...] = ()
    size: tuple[int, int] = (1, 1)
    last: int | None = None
    weights: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"toy_stage.count: expected 0 or more, got {self.count}")


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
