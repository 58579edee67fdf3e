"""What a run of the pipeline brought, in a few lines: the first model against the last, and where to read more."""

import json
import sys
from pathlib import Path

# name in metrics/summary.json, what it is, unit
_SHOWN = (
    ("pckh_50", "PCKh@0.5", "%"),
    ("pckh_25", "PCKh@0.25", "%"),
    ("mpjpe_abs_mm", "MPJPE", "mm"),
    ("mpjpe_abs_median_mm", "median MPJPE", "mm"),
    ("peer_distance_mm", "distance to the peer", "mm"),
    ("peer_distance_median_mm", "median distance to the peer", "mm"),
)


def main(summary: Path, page: Path) -> None:
    try:
        rounds = json.loads(summary.read_text(encoding="utf-8"))["rounds"]
    except FileNotFoundError:
        sys.exit(f"error: {summary}: there is no such file; run `dvc repro` first")
    first, *_, last = sorted(rounds, key=lambda name: (len(name), name))
    print(f"\nOn the held-out frames, model {first} (source labels alone) -> model {last} (after self-training):")
    for key, name, unit in _SHOWN:
        if key in rounds[first] and key in rounds[last]:
            print(f"  {name:<28} {rounds[first][key]:8.1f} -> {rounds[last][key]:6.1f} {unit}")
    print(f"Report: {page.resolve()}")


if __name__ == "__main__":
    main(Path("metrics/summary.json"), Path("plots/report.html"))
