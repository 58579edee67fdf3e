"""A stage that only writes down what it was given."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import cli


@dataclass(frozen=True)
class Echo:
    times: int


@dataclass(frozen=True)
class Voice:
    loud: bool


given: dict[str, object] = {}


def echo(source: Path, out_folder: Path, round: str, config: Echo, voice: Voice, labels: Path | None = None) -> None:
    given.update(source=source, out=out_folder, round=round, config=config, voice=voice, labels=labels)
    if source.name == "bad":
        raise ValueError(f"{source}: expected\n  a good file")
    source.read_bytes()


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given.clear()
    Path("params.yaml").write_text("echo: {times: 2}\nvoice: {loud: true}\n")
    Path("in").touch()


FLAGS = ["--source", "in", "--out-folder", "there", "--round", "r1"]


def test_paths_and_text_are_flags_and_dataclasses_are_sections() -> None:
    cli.run(echo, argv=FLAGS)
    assert given == {
        "source": Path("in"), "out": Path("there"), "round": "r1",
        "config": Echo(2), "voice": Voice(True), "labels": None,
    }  # fmt: skip


def test_optional_flags_and_another_params_file() -> None:
    Path("other.yaml").write_text("loud_echo: {times: 5}\nvoice: {loud: false}\n")
    cli.run(echo, Echo, name="loud_echo", argv=[*FLAGS, "--labels", "l.h5", "--params", "other.yaml"])
    assert (given["labels"], given["config"], given["voice"]) == (Path("l.h5"), Echo(5), Voice(False))


def test_a_main_without_config_needs_no_params_file() -> None:
    Path("params.yaml").unlink()
    cli.run(lambda: given.update(ran=True), argv=[])
    assert given == {"ran": True}


def test_what_is_no_path_and_no_text_keeps_its_default() -> None:
    def main(workers: int = 3) -> None:
        given["workers"] = workers

    cli.run(main, argv=[])
    assert given == {"workers": 3}
    with pytest.raises(SystemExit):
        cli.run(main, argv=["--workers", "2"])


def test_a_main_can_take_the_params_file_itself() -> None:
    def main(params: Path) -> None:
        given["params"] = params

    cli.run(main, argv=[])
    assert given == {"params": Path("params.yaml")}


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--source", "bad"], "error: bad: expected a good file\n"),
        (["--source", "nowhere"], "error: nowhere: No such file or directory\n"),
        (["--params", "nowhere"], "error: nowhere: there is no such file; params are read from params.yaml\n"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(flags: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run(echo, argv=[*FLAGS, *flags])
    assert stop.value.code == 1
    assert capsys.readouterr().err == line


def test_pose_debug_shows_where_a_mistake_came_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_DEBUG", "1")
    with pytest.raises(ValueError, match="a good file"):
        cli.run(echo, argv=[*FLAGS, "--source", "bad"])


def test_a_missing_or_unknown_flag_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in ([], [*FLAGS, "--sourc", "in"]):
        with pytest.raises(SystemExit) as stop:
            cli.run(echo, argv=flags)
        assert stop.value.code == 2
    assert "required: --source, --out-folder, --round" in capsys.readouterr().err


def test_ctrl_c_is_status_130_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        cli.run(main, argv=[])
    assert stop.value.code == 130
    assert capsys.readouterr().err.count("\n") == 1


SLOW = """
import time
from pathlib import Path
from pipeline import cli

def main(out: Path) -> None:
    print("begun", flush=True)
    while not out.with_suffix(".go").exists():
        time.sleep(0.02)
    with out.open("a") as file:
        file.write("done\\n")

cli.run(main)
"""


def test_the_same_command_waits_for_one_that_a_killed_dvc_left_running(tmp_path: Path) -> None:
    Path("slow.py").write_text(SLOW)
    command = [sys.executable, "slow.py", "--out"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TMPDIR": str(tmp_path)}

    def start(out: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([*command, out], env=environment, stdout=pipe, stderr=pipe, text=True)

    first = start("a")
    assert first.stdout is not None
    assert first.stdout.readline() == "begun\n"
    Path("b.go").touch()
    second, third = start("a"), start("b")
    assert third.communicate()[1] == ""  # other files, no need to wait
    assert second.stderr is not None
    assert f"waiting for process {first.pid}" in second.stderr.readline()
    Path("a.go").touch()
    second.communicate()
    first.communicate()
    assert Path("a").read_text() == "done\ndone\n"
    assert list(tmp_path.glob("*.lock")) == []


def test_the_help_is_the_module_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run(echo, argv=["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert str(__doc__) in text
    assert "--out-folder PATH" in text
