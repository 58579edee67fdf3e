"""Reproduce check: run scratch clones of HEAD from nothing and compare their bytes.

By default two clones at a small size (presets/small.yaml) must end with the same dvc.lock, which has a hash of every file
that any stage reads or writes; the second one is killed and restarted three times. With --committed one
clone runs as it is and is compared with the committed results: a stage with the same inputs must give the same outputs,
unless it trains, and each number of metrics/summary.json must stay within a tolerance. The exit status is 1 otherwise.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pipeline import params
from tools import preset

_ROOT = Path(__file__).resolve().parents[1]
_TRAINING = ("pretrain", "retrain")  # their bytes depend on the processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--preset",
        type=Path,
        default=_ROOT / "presets" / "small.yaml",
        help="the size of both runs (default: %(default)s)",
    )
    parser.add_argument("--committed", action="store_true", help="compare with the committed dvc.lock and summary")
    parser.add_argument("--relative", type=float, default=0.02, help="tolerance of --committed (default: %(default)s)")
    parser.add_argument("--absolute", type=float, default=0.5, help="added to it (default: %(default)s)")
    given = parser.parse_args()

    dirty = subprocess.run(
        ["git", "status", "--porcelain"], cwd=_ROOT, check=True, capture_output=True, text=True
    ).stdout
    if dirty:
        print(f"note: HEAD is checked, without the {len(dirty.splitlines())} changes that are not committed")
    with tempfile.TemporaryDirectory(prefix="reproduce-") as scratch:
        if given.committed:
            clone = _clone(Path(scratch, "fresh"))
            locked, summary = _stages(clone), _numbers(clone)
            _run(clone)
            wrong = [*_unlike(locked, _stages(clone)), *_off(summary, _numbers(clone), given.relative, given.absolute)]
        else:
            clones = [_clone(Path(scratch, name)) for name in ("first", "second")]
            for clone in clones:
                preset.write(given.preset, clone / "params.yaml")
            seconds = _run(clones[0])
            # all of its processes, then dvc alone, whose stage goes on without it
            kill_after = ((0.15 * seconds, True), (0.25 * seconds, False), (0.3 * seconds, True))
            _run(clones[1], kill_after)
            wrong = _differing(*map(_stages, clones))
    for line in wrong:
        print(line)
    print("NOT REPRODUCED" if wrong else "reproduced: the same bytes" + (" or numbers" if given.committed else ""))
    sys.exit(bool(wrong))


def _clone(folder: Path) -> Path:
    subprocess.run(["git", "clone", "-q", _ROOT, folder], check=True)
    return folder


def _run(clone: Path, kill_after: Sequence[tuple[float, bool]] = ()) -> float:
    """Run the whole pipeline from nothing and return its seconds; its output is printed only if it fails.

    Args:
        kill_after: runs that are killed before the last one: after how many seconds, and whether with all child processes.
    """
    for made in ("dvc.lock", "metrics", "plots"):
        subprocess.run(["git", "rm", "-rq", "--ignore-unmatch", made], cwd=clone, check=True)
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        for seconds, everything in kill_after:
            process = _start(clone, log)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                (os.killpg if everything else os.kill)(process.pid, signal.SIGKILL)
                process.wait()
        process = _start(clone, log)
        try:
            status = process.wait()
        except BaseException:  # such as Ctrl-C, which does not reach a session of its own
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if status:
            log.seek(0)
            sys.exit(f"{log.read()}\nerror: `dvc repro` failed in a clone of HEAD, see above")
    took = time.monotonic() - begin
    killed = f", killed {len(kill_after)} times" if kill_after else ""
    print(f"{clone.name} clone: {len(_stages(clone))} stages in {took:.0f} s{killed}", flush=True)
    return took


def _start(clone: Path, log: IO[str]) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "POSE_SCRATCH")}
    options: dict[str, Any] = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(["dvc", "repro"], cwd=clone, env=environment, start_new_session=True, **options)


def _stages(clone: Path) -> dict[str, dict[str, Any]]:
    return params.read(clone / "dvc.lock")["stages"] if (clone / "dvc.lock").exists() else {}


def _files(stage: dict[str, Any], kind: str) -> dict[str, str]:
    return {each["path"]: each.get("md5", "no hash") for each in stage.get(kind, [])}


def _differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Return sentences about the differences of two locks; the stage where they began comes first."""
    lines = []
    for name in first | second:
        if name not in first or name not in second:
            lines.append(f"{name}: ran in one clone only")
            continue
        paths = _files(first[name], "outs"), _files(second[name], "outs")
        same_inputs = _files(first[name], "deps") == _files(second[name], "deps")
        for path in sorted(paths[0].keys() | paths[1].keys()):
            if paths[0].get(path) != paths[1].get(path):
                lines.append(f"{name}: {path} differs{', though its inputs were the same' if same_inputs else ''}")
        if not lines and first[name] != second[name]:
            lines.append(f"{name}: other commands, params or inputs")
    return sorted(lines, key=lambda line: "though" not in line)


def _unlike(committed: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    if committed.keys() != now.keys():
        yield f"dvc.lock: has other stages than the pipeline ({', '.join(sorted(committed.keys() ^ now.keys()))})"
    for name in committed.keys() & now.keys():
        before, after = (_files(lock[name], "outs") for lock in (committed, now))
        for path in sorted(path for path in before if before[path] != after.get(path)):
            if name.split("@")[0] in _TRAINING or _files(committed[name], "deps") != _files(now[name], "deps"):
                print(f"drifted: {name}: {path}")
            else:
                yield f"{name}: {path} is not what is committed, though its inputs are"


def _numbers(clone: Path) -> dict[str, float]:
    """Return `rounds.<name>.<metric>` of the summary; the gains are differences of these."""
    path = clone / "metrics" / "summary.json"
    rounds = json.loads(path.read_text(encoding="utf-8"))["rounds"] if path.exists() else {}
    return {f"{name}.{key}": value for name, scores in rounds.items() for key, value in scores.items()}


def _off(committed: dict[str, float], now: dict[str, float], relative: float, absolute: float) -> Iterator[str]:
    for key in sorted(committed.keys() | now.keys()):
        before, after = committed.get(key), now.get(key)
        if before is None or after is None or abs(after - before) > absolute + relative * abs(before):
            yield f"metrics/summary.json: {key} was {before}, is {after}"


if __name__ == "__main__":
    main()
