"""Comparable timings: process CPU time, contestants in turn, medians over rounds.

Wall time on a shared machine depends on the other processes. Contestants that run in turn are slowed down alike.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a benchmark's table.

    Attributes:
        name: the measured quantity, with the relevant sizes.
        value: in `unit`.
        unit: as printed: "us per joint", "x", "MB".
        goal: the target as text: "<= 0.9"; empty for none.
        met: whether the goal is met; None without a goal.
        note: anything that a reader needs to trust the value.
    """

    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    note: str = ""


def at_most(name: str, value: float, unit: str, limit: float, note: str = "") -> Row:
    """Return a row whose value should not exceed a limit."""
    return Row(name=name, value=value, unit=unit, goal=f"<= {limit:g}", met=value <= limit, note=note)


def at_least(name: str, value: float, unit: str, limit: float, note: str = "") -> Row:
    """Return a row whose value should reach a limit."""
    return Row(name=name, value=value, unit=unit, goal=f">= {limit:g}", met=value >= limit, note=note)


def interleaved(
    contestants: Mapping[str, Callable[[], object]], rounds: int = 9, min_s: float = 0.05
) -> dict[str, float]:
    """Return the CPU seconds of one call of each contestant: all of them once per round, median over the rounds.

    Args:
        contestants: functions by name. The first call, which compiles, does not count.
        rounds: number of rounds.
        min_s: a contestant is called in a round until this much time has passed, because the clock is coarse.
    """
    calls = {}
    for name, call in contestants.items():
        call()
        start = time.process_time()
        call()
        calls[name] = max(1, int(min_s / max(time.process_time() - start, 1e-6)))
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            start = time.process_time()
            for _ in range(calls[name]):
                call()
            spent[name].append((time.process_time() - start) / calls[name])
    return {name: statistics.median(each) for name, each in spent.items()}


def table(rows: list[Row]) -> str:
    """Return the rows as aligned text."""
    cells = [
        (row.name, f"{row.value:.4g} {row.unit}", row.goal, {True: "yes", False: "NO", None: ""}[row.met], row.note)
        for row in rows
    ]
    cells.insert(0, ("quantity", "measured", "goal", "met", ""))
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
