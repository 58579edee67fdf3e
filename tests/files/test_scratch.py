"""A toy stage that adds up its input in ten steps, and keeps the sum so far in its scratch folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import code
from pipeline.files import scratch

TOY = """
import os, sys, time
from pathlib import Path
from pipeline.files import scratch
from pipeline.files.atomic import replacing

pause, rate = float(sys.argv[1]), float(sys.argv[2])
numbers = [int(line) for line in Path("numbers.txt").read_text().split()]
with scratch.resumable_folder(__file__, [Path("numbers.txt")], rate) as folder:
    checkpoint = folder / "checkpoint.txt"
    step, total = map(float, checkpoint.read_text().split()) if checkpoint.exists() else (0, 0.0)
    print(f"from step {step:.0f}", flush=True)
    for step in range(int(step), len(numbers)):
        total += rate * numbers[step]
        with replacing(checkpoint) as part:
            part.write_text(f"{step + 1} {total!r}")
        print(f"step {step + 1}", flush=True)
        time.sleep(pause)
    with replacing(Path("sum.txt")) as part:
        part.write_text(repr(total))
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSE_SCRATCH", raising=False)
    Path("numbers.txt").write_text("\n".join(map(str, range(1, 11))))
    path = tmp_path / "toy.py"
    path.write_text(TOY)
    return path


def start(toy: Path, pause: float = 0.0, rate: float = 0.1) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, str(toy), str(pause), str(rate)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out, err


def kill_after(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    while process.stdout.readline().strip() != line:
        assert process.poll() is None
    process.kill()
    process.communicate()


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(toy: Path) -> None:
    finish(start(toy))
    undisturbed = Path("sum.txt").read_bytes()
    Path("sum.txt").unlink()

    kill_after(start(toy, pause=0.2), "step 3")
    assert not Path("sum.txt").exists()
    out, _ = finish(start(toy))
    assert out.startswith("from step 3")
    assert Path("sum.txt").read_bytes() == undisturbed
    assert list(Path("data/scratch").iterdir()) == []  # nothing is left behind


@pytest.mark.parametrize("change", ["input", "param", "code"])
def test_another_training_does_not_resume_from_it(toy: Path, change: str) -> None:
    kill_after(start(toy, pause=0.2), "step 3")
    if change == "input":
        Path("numbers.txt").write_text("5\n6\n7\n8")
    if change == "code":
        toy.write_text(TOY + "\nedited = True")
    out, _ = finish(start(toy, rate=0.2 if change == "param" else 0.1))
    assert out.startswith("from step 0")
    assert list(Path("data/scratch").iterdir()) == []  # what the other one left went, too


def test_a_second_run_waits_for_the_first(toy: Path) -> None:
    first = start(toy, pause=0.5)
    assert first.stdout is not None
    first.stdout.readline()
    out, err = finish(start(toy))
    assert err.startswith(f"waiting for process {first.pid}, which writes the same")
    assert out.startswith("from step 0")
    finish(first)


def test_what_a_run_leaves_behind_spares_those_that_still_run(toy: Path) -> None:
    first = start(toy, pause=0.2)
    assert first.stdout is not None
    first.stdout.readline()
    finish(start(toy, rate=0.2))
    assert len(list(Path("data/scratch").glob("toy-*/checkpoint.txt"))) == 1
    finish(first)
    assert list(Path("data/scratch").iterdir()) == []


def test_a_run_whose_dvc_was_killed_leaves_its_work_to_the_next(toy: Path) -> None:
    # a shell in dvc's place starts the training and is killed
    code = f"{sys.executable} {toy} 0.5 0.1 > log.txt 2>&1; true"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    shell = subprocess.Popen(["sh", "-c", code], env=environment)
    while not (Path("log.txt").exists() and "step 2" in Path("log.txt").read_text()):
        time.sleep(0.02)
    shell.kill()
    shell.wait()
    assert not Path("sum.txt").exists()  # the training itself goes on
    out, err = finish(start(toy))
    assert "waiting for process" in err
    assert out.startswith("from step 10")


def test_code_is_what_the_stage_imports_also_inside_of_functions(tmp_path: Path) -> None:
    stage = tmp_path / "stage.py"
    stage.write_text("def main():\n    from pipeline.files import atomic\n")
    names = [path.name for path in code.closure(stage)]
    assert "atomic.py" in names
    assert "stage.py" in names
    assert "camera.py" not in names


def test_pose_scratch_is_an_absolute_path(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_SCRATCH", "elsewhere")
    with pytest.raises(ValueError, match="POSE_SCRATCH: expected an absolute path, got 'elsewhere'"):
        scratch.resumable_folder(toy, []).__enter__()
    monkeypatch.setenv("POSE_SCRATCH", str(tmp_path / "elsewhere"))
    with scratch.resumable_folder(toy, []) as folder:
        assert folder.parent == tmp_path / "elsewhere"
    assert not Path("data").exists()


def test_a_run_that_fails_keeps_its_checkpoints(toy: Path) -> None:
    def train() -> None:
        with scratch.resumable_folder(toy, []) as folder:
            (folder / "checkpoint.txt").touch()
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        train()
    with scratch.resumable_folder(toy, []) as folder:
        assert (folder / "checkpoint.txt").exists()
