"""The generated pages of docs/reference say what the code says."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from annotated_types import Ge, Lt

from tests.pipeline_graph import ROOT, read
from tools import reference


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


def test_the_committed_pages_are_todays(pages: dict[str, str]) -> None:
    stale = [name for name, page in pages.items() if (ROOT / "docs/reference" / name).read_text() != page]
    assert stale == [], "write them anew with `python -m tools.reference`"


def test_every_parameter_has_a_row_and_a_meaning(pages: dict[str, str]) -> None:
    rows = {row.split("`")[1]: row for row in pages["params.md"].splitlines() if row.startswith("| `")}

    def leaves(values: object, name: str) -> list[str]:
        if not isinstance(values, dict) or not values:
            return [name]
        return [leaf for key, value in values.items() for leaf in leaves(value, f"{name}.{key}")]

    sections = reference.sections()
    keys = [leaf for name, values in read("params.yaml").items() if name in sections for leaf in leaves(values, name)]
    keys.remove("mix.weights.people")  # a name of the user's, under the row of mix.weights
    assert [key for key in keys if key not in rows] == []
    assert [key for key, row in rows.items() if not row.split(" | ")[-1].strip(" |")] == []


@dataclass(frozen=True)
class Base:
    """A section.

    Attributes:
        first: px of the full image; a long entry
            goes on.
    """

    first: Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class Section(Base):
    """Another, with comments."""

    second: tuple[int, ...] | None  # one per view
    # stands above
    third: bool


def test_meanings_come_from_attributes_and_comments() -> None:
    assert reference.field_docs(Section) == {
        "first": "px of the full image; a long entry goes on.",
        "second": "one per view",
        "third": "stands above",
    }


def test_annotations_in_words() -> None:
    rows = list(reference._rows(Section, {"first": 0.5, "second": None, "third": True}, "toy"))
    assert (
        rows[0]
        == "| `toy.first` | `0.5` | a number, at least 0, less than 1 | px of the full image; a long entry goes on. |"
    )
    assert rows[1] == "| `toy.second` | `null` | a list of a whole number; or null | one per view |"
