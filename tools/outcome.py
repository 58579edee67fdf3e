"""What a run of the pipeline brought, in a few lines: the first model against the last, and where to read more."""

import csv
import json
import sys
from pathlib import Path

# column of plots/rounds.csv, what it is, unit
_SHOWN = (
    ("pckh_50", "PCKh@0.5", "%"),
    ("pckh_25", "PCKh@0.25", "%"),
    ("mpjpe_abs_mm", "MPJPE", "mm"),
    ("mpjpe_abs_median_mm", "median MPJPE", "mm"),
    ("peer_distance_mm", "distance to the peer", "mm"),
    ("peer_distance_median_mm", "median distance to the peer", "mm"),
)


def lines(table: Path, page: Path) -> list[str]:
    """Sentences about the table's first and last row."""
    with table.open(encoding="utf-8", newline="") as file:
        first, *_, last = csv.DictReader(file)
    said = [f"On the held-out frames, model {first['round']} -> model {last['round']}:"]
    for key, name, unit in _SHOWN:
        if first.get(key) and last.get(key):
            said.append(f"  {name:<28} {float(first[key]):7.1f} -> {float(last[key]):6.1f} {unit}")
    return [*said, f"Report: {page.resolve()}"]


def verdict(path: Path) -> str:
    """What label-free evidence says, in a line."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return f"Verdict without any label: {found['verdict'].replace('_', ' ')} {found['model']} in place of {found['against']}"


if __name__ == "__main__":
    try:
        said = lines(Path("plots/rounds.csv"), Path("plots/report.html"))
        print("", *said[:-1], verdict(Path("metrics/verdict.json")), said[-1], sep="\n")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename}: there is no such file; run `dvc repro` first")
    except ValueError:
        sys.exit("error: plots/rounds.csv: expected at least two rows; params.yaml names no round")
