"""Times that can be compared: process CPU time, the contestants in turn, medians over rounds.

Wall time on a shared machine says who else was there. Contestants that run in turn share the machine's moods.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    Attributes:
        name: what was measured, with the sizes that matter.
        value: in `unit`.
        unit: as it is printed: "us a joint", "x", "MB".
        goal: what it should be, as text: "<= 0.9"; empty for none.
        met: whether it is; None without a goal.
        note: anything that a reader needs to trust it.
    """

    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    note: str = ""


def at_most(name: str, value: float, unit: str, limit: float, note: str = "") -> Row:
    """A row whose value should not exceed a limit."""
    return Row(name, value, unit, f"<= {limit:g}", value <= limit, note)


def at_least(name: str, value: float, unit: str, limit: float, note: str = "") -> Row:
    """A row whose value should reach a limit."""
    return Row(name, value, unit, f">= {limit:g}", value >= limit, note)


def interleaved(
    contestants: Mapping[str, Callable[[], object]], rounds: int = 9, least_s: float = 0.05
) -> dict[str, float]:
    """CPU seconds that one call of each contestant takes: all of them once a round, median over the rounds.

    Args:
        contestants: name -> what to call. The first call, which compiles, is not counted.
        rounds: how many.
        least_s: a contestant is called so often in a round that this much time passes, as the clock is coarse.
    """
    calls = {}
    for name, call in contestants.items():
        call()
        start = time.process_time()
        call()
        calls[name] = max(1, int(least_s / max(time.process_time() - start, 1e-6)))
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            start = time.process_time()
            for _ in range(calls[name]):
                call()
            spent[name].append((time.process_time() - start) / calls[name])
    return {name: statistics.median(each) for name, each in spent.items()}


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    cells = [
        (row.name, f"{row.value:.4g} {row.unit}", row.goal, {True: "yes", False: "NO", None: ""}[row.met], row.note)
        for row in rows
    ]
    cells.insert(0, ("what", "measured", "goal", "met", ""))
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
