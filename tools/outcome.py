"""Outcome: print the first model's metrics against the last model's, the verdict, and the report's path."""

import csv
import json
import sys
from pathlib import Path

# column of plots/rounds.csv, name, unit
_METRICS = (
    ("pckh_50", "PCKh@0.5", "%"),
    ("pckh_25", "PCKh@0.25", "%"),
    ("mpjpe_abs_mm", "MPJPE", "mm"),
    ("mpjpe_abs_median_mm", "median MPJPE", "mm"),
    ("peer_distance_mm", "distance to the peer", "mm"),
    ("peer_distance_median_mm", "median distance to the peer", "mm"),
)


def lines(table: Path, page: Path) -> list[str]:
    """Return lines that compare the table's first and last row."""
    with table.open(encoding="utf-8", newline="") as file:
        first, *_, last = csv.DictReader(file)
    text = [f"On the held-out frames, model {first['round']} -> model {last['round']}:"]
    for key, name, unit in _METRICS:
        if first.get(key) and last.get(key):
            text.append(f"  {name:<28} {float(first[key]):7.1f} -> {float(last[key]):6.1f} {unit}")
    return [*text, f"Report: {page.resolve()}"]


def verdict(path: Path) -> str:
    """Return the verdict of the label-free evidence in one line."""
    judged = json.loads(path.read_text(encoding="utf-8"))
    return f"Verdict without any label: {judged['verdict'].replace('_', ' ')} {judged['model']} in place of {judged['against']}"


if __name__ == "__main__":
    try:
        text = lines(Path("plots/rounds.csv"), Path("plots/report.html"))
        print("", *text[:-1], verdict(Path("metrics/verdict.json")), text[-1], sep="\n")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename}: there is no such file; run `dvc repro` first")
    except ValueError:
        sys.exit("error: plots/rounds.csv: expected at least two rows; params.yaml names no round")
