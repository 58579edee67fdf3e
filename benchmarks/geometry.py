"""Speed of the geometry, and its growth: python -m benchmarks.geometry [--only rpsm]

Single thread, process CPU time, interleaved, medians; compilation is reported separately. The tests' plain implementations
run beside the fast ones for the ratios.
"""

import argparse
import importlib

from benchmarks.timing import table

PARTS = ("rpsm", "triangulation", "heatmaps")


def main(only: list[str], quick: bool) -> None:
    for part in only:
        rows = importlib.import_module(f"benchmarks.geometry_{part}").rows(quick)
        print(f"\n{part}\n{table(rows)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes: does it run at all?")
    arguments = parser.parse_args()
    main(arguments.only, arguments.quick)
