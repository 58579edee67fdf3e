"""Code as one dependency: what a stage's text says, and which edits change it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import code
from tests.pipeline_graph import ROOT

# Everything that Python versions parse, dump or unparse differently, or might.
TRICKY = '''
"""A module's docstring."""
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Point:
    """A class's."""
    x: float = 1_000.0
    name: str = "a" 'b'

async def f(a, /, b=1, *args, c, d=None, **kwargs):
    """A function's."""
    text = f"{a!r:>{b}} and {{}} {c=} " f"{'nested'}" "tail" + rb"".decode()
    match a:
        case None | True:
            return {**kwargs, "k": ...}
        case {"x": [1, *rest]} if (y := b) > 2:
            raise ValueError(f"{y:.3f}") from None
    try:
        x[1:2, ::3] = lambda *, q=1: (yield)
    except* OSError:
        pass
    return 1e300, -0.0, 3j, 0x10, "\\ud800", b"\\x00"
'''
DIGEST = "27de573b83db9718ec7c418012ab9afc"


def test_the_digest_is_the_committed_one() -> None:
    assert code.digest(TRICKY) == DIGEST


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_supported_python_gives_the_same_digest(version: str) -> None:
    python = shutil.which(f"python{version}")
    program = "import sys; from pipeline import code; print(code.digest(sys.stdin.read()))"
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"python{version} is not installed here")
    done = subprocess.run(
        [python, "-c", program], input=TRICKY, cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout.strip() == DIGEST


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1  # a comment", "# another\nx = 1"),
        ("def f(a):\n    '''A docstring.'''\n    return a", "def f(a):\n    return a"),
        ("f(1, 2)", "f(\n    1,\n    2,\n)"),
        ("x = 'text'", 'x = ("text")'),
        ("x = 'ab'", "x = 'a' 'b'"),
        ("x = f'{a}bc'", "x = f'{a}b' f'c'"),
        ("x = 0x10", "x = 1_6"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(one: str, other: str) -> None:
    assert code.digest(one) == code.digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = a < b", "x = a <= b"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("x = 0.0", "x = -0.0"),
        ("x = None", "x = ..."),
        ("x = {**a}", "x = {a: a}"),
        ("f(a=b)", "f(b=a)"),
        ("f(*a)", "f(a)"),
        ("def f(a, b): return a", "def f(a, *, b): return a"),
        ("def f(a, b): return a", "def f(a, /, b): return a"),
        ("def f(a=1, b=2): 0", "def f(a, b=1): 2"),
        ("x = [a for a in b if c]", "x = [a for a in b]"),
        ("x = [a, b]", "x = (a, b)"),
        ("x = f'{a}'", "x = f'{a!r}'"),
        ("x = f'{a:3}'", "x = f'{a:4}'"),
        ("x = 'doc'", "'doc'"),
        ("import a", "import a as b"),
        ("x = 1\ny = 2", "y = 2\nx = 1"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("def f(): return 1", "async def f(): return 1"),
        ("match a:\n    case None: 1", "match a:\n    case True: 1"),
    ],
)
def test_every_change_of_meaning_counts(one: str, other: str) -> None:
    assert code.digest(one) != code.digest(other)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources of the graph."""
    root = tmp_path_factory.mktemp("tree")
    for package in code.PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def texts(tree: Path) -> Callable[[], dict[str, str]]:
    """Run the stage `code` on the copy, in a process of its own: a process reads each file once."""

    def write() -> dict[str, str]:
        subprocess.run(
            [sys.executable, "-m", "stages.code", "--out", "code"], cwd=tree, capture_output=True, check=True
        )
        return {path.stem: path.read_text() for path in (tree / "code").glob("*.txt")}

    return write


def edit(path: Path, old: str, new: str) -> None:
    source = path.read_text(encoding="utf-8")
    assert old in source
    path.write_text(source.replace(old, new, 1), encoding="utf-8")


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {stage for stage in before if before[stage] != after[stage]}


def test_an_edit_changes_the_texts_of_its_users_alone(tree: Path, texts: Callable[[], dict[str, str]]) -> None:
    before = texts()
    for path in [*tree.glob("pipeline/**/*.py"), *tree.glob("stages/*.py")]:
        path.write_text("# a comment\n" + path.read_text(encoding="utf-8") + "\n# another\n", encoding="utf-8")
    edit(tree / "pipeline/files/hdf5.py", '"""', '"""One word more. ')
    assert changed(before, texts()) == set()

    users = {stage for stage, text in before.items() if "  pipeline/geometry/ransac.py\n" in text}
    assert {"triangulate", "pseudo_labels", "quality"} <= users < before.keys() - {"pretrain", "rpsm", "evaluate"}
    with (tree / "pipeline/geometry/ransac.py").open("a") as file:
        file.write("EDITED = True\n")
    after = texts()
    assert changed(before, after) == users
    differing = set(before["triangulate"].splitlines()) ^ set(after["triangulate"].splitlines())
    assert {line.split()[1] for line in differing} == {"pipeline/geometry/ransac.py"}  # `git diff code/` says why

    edit(tree / "pipeline/report/page.css", "{", " {")
    shown = {stage for stage, text in after.items() if "  pipeline/report/page.css\n" in text}
    assert "report" in shown
    assert changed(after, texts()) == shown


def test_a_stage_that_is_gone_leaves_no_text(tree: Path, texts: Callable[[], dict[str, str]]) -> None:
    before = texts()
    (tree / "code/long_gone.txt").write_text("")
    assert texts() == before


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("x = (", "line 1 is not Python"), ("from . import other", "line 1 has a relative import")],
)
def test_what_has_no_imports_to_follow_is_one_sentence(tmp_path: Path, source: str, sentence: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises(ValueError, match=sentence):
        code.text(path)


def test_the_committed_texts_are_those_of_the_code() -> None:
    stale = [path.stem for path in code.stages() if (ROOT / f"code/{path.stem}.txt").read_text() != code.text(path)]
    assert stale == [], "run `dvc repro`, and commit code/ with dvc.lock"
