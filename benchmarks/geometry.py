"""How fast the geometry is, and how its cost grows: python -m benchmarks.geometry [--only rpsm]

Single thread, process CPU time, interleaved, medians; the compilation of a first call is reported apart. The plain
implementations that the tests keep run beside the fast ones, and give the ratios.
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
