"""Verdict: should the new model be adopted? Said from label-free evidence alone, for the last round and for each.

It reads what `quality` found, of held-out frames, and nothing that has seen a label.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli, params
from pipeline.files.atomic import write_json
from pipeline.files.evidence import Evidence
from pipeline.metrics.verdict import UNSURE, HeldOutFigures, Thresholds, judge


@dataclass(frozen=True)
class Verdict(Thresholds):
    """Section `verdict` of params.yaml: see pipeline/metrics/verdict.py.

    Attributes:
        seed: of the bootstrap.
    """

    seed: int

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "seed" and getattr(self, field.name) < 0:
                raise ValueError(f"verdict.{field.name}: expected 0 or more, got {getattr(self, field.name)}")
        if not 0 < self.level < 1:
            raise ValueError(f"verdict.level: expected a number between 0 and 1, got {self.level}")


def main(*, quality: Path, metrics: Path, verdict: Verdict, params: Path) -> None:
    teachers = _teachers(params)
    models = {name: Evidence.read(quality / f"{name}.h5") for name in ("r0", *teachers)}
    rounds = {name: compare(models[teacher], models[name], verdict, name) for name, teacher in teachers.items()}
    last = list(models)[-1]
    whole: dict[str, Any] = {"verdict": UNSURE, "reasons": ["There is no round to judge."], "figures": {}}
    if last != "r0":
        whole = compare(models["r0"], models[last], verdict, last)
    write_json(metrics, {**whole, "model": last, "against": "r0", "rounds": rounds})
    print(f"{metrics}: {last} against r0: {whole['verdict'].replace('_', ' ')}")
    for reason in whole["reasons"]:
        print(f"  {reason}")


def _teachers(path: Path) -> dict[str, str]:
    """Each round's teacher, in the order of params.yaml."""
    rounds = params.read(path).get("rounds") or {}
    return {str(name): str(entry["teacher"]) for name, entry in rounds.items()}


def compare(before: Evidence, after: Evidence, verdict: Verdict, name: str) -> dict[str, Any]:
    before.keys.require_same(after.keys, f"the evidence of {name}")
    rows = np.flatnonzero(before.keys.split == "test")
    rng = np.random.default_rng(verdict.seed)
    return judge(_witness(before, rows), _witness(after, rows), before.keys.sequence[rows], verdict, rng)


def _witness(evidence: Evidence, rows: np.ndarray) -> HeldOutFigures:
    known = np.isfinite(evidence.disagreement[rows])
    count = known.sum(axis=1)
    mean = np.where(known, evidence.disagreement[rows], 0).sum(axis=1) / np.where(count > 0, count, np.nan)
    people = np.isin(evidence.people, np.unique(evidence.keys.person[rows]))
    return HeldOutFigures(
        mean,
        evidence.stretch[rows],
        evidence.coverage[rows],
        evidence.swapped[rows],
        evidence.upside_down[rows],
        evidence.flipped[rows],
        evidence.limbs[people],
        evidence.asymmetry[people],
    )


if __name__ == "__main__":
    cli.run(main)
