"""The documentation is whole: links lead somewhere, and what the code names is explained."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline_graph import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data/README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_no_merge_was_left_half_done() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    texts = [ROOT / name for name in files if name.endswith((".md", ".py", ".yaml", ".toml", ".css", ".js", ".j2"))]
    marker = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    assert [str(path) for path in texts if path.is_file() and marker.search(path.read_text(encoding="utf-8"))] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md") if page.name != "README.md"]
    assert [page for page in pages if f"({page})" not in index] == []


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_environment_variable_is_explained() -> None:
    explained = (ROOT / "docs/reference/environment.md").read_text()
    sources = [path for folder in ("pipeline", "stages", "tools") for path in (ROOT / folder).rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"\"(POSE_[A-Z_]+)\"", path.read_text())}
    assert named
    assert {name for name in named if f"`{name}`" not in explained} == set()


def test_every_part_of_the_library_is_on_the_plan() -> None:
    plan = (ROOT / "docs/explanation/architecture.md").read_text()
    parts = [path.name for path in (ROOT / "pipeline").iterdir() if (path / "__init__.py").is_file()]
    assert parts
    assert [part for part in parts if f"{part}[" not in plan] == []


def test_every_metric_is_explained() -> None:
    """Names of cameras, joints, reasons and splits vary; the page has placeholders for them."""
    explained = (ROOT / "docs/reference/metrics.md").read_text()

    placeholders = tuple(re.findall(r"(\w+)\.<", explained))

    def leaves(values: dict[str, Any]) -> Iterator[str]:
        for key, value in values.items():
            yield key
            if isinstance(value, dict) and not key.endswith(placeholders):
                yield from leaves(value)

    files = [*ROOT.glob("metrics/rounds/r1/*.json"), ROOT / "metrics/quality/r1.json"]
    named = {name for path in files for name in leaves(json.loads(path.read_text()))} - {"test", "train"}
    words = re.findall(r"[\w%]+", explained)
    unexplained = {name for name in named if name not in words and not any(_suffixed(name, word) for word in words)}
    assert unexplained == set()


def _suffixed(name: str, word: str) -> bool:
    """`leave_one_view_out_mm_median` is explained as `_mm_median` behind `leave_one_view_out_mm`."""
    return word.startswith("_") and name.endswith(word)
