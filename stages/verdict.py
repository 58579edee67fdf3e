"""Verdict: whether to adopt the new model, from label-free evidence alone, for the last round and for each.

The stage reads the output of `quality` on held-out frames, and nothing that depends on a label.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli, nanstats, params
from pipeline.files.atomic import write_json
from pipeline.files.evidence import Evidence
from pipeline.metrics.verdict import UNSURE, HeldOutFigures, Thresholds, judge


@dataclass(frozen=True, kw_only=True)
class Verdict(Thresholds):
    """Section `verdict` of params.yaml: the keys of `pipeline.metrics.verdict.Thresholds`, and

    Attributes:
        seed: of the bootstrap.
    """

    seed: int


def main(*, quality: Path, metrics: Path, verdict: Verdict, params: Path) -> None:
    """Judge every round against its teacher, and the last one against r0.

    Args:
        quality: the folder of the evidence, `<model>.h5`.
        metrics: the verdicts and their reasons, written as JSON.
        params: the params file, whose rounds are judged.
    """
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
    """Return each round's teacher, in the order of params.yaml."""
    rounds = params.read(path).get("rounds") or {}
    return {str(name): str(entry["teacher"]) for name, entry in rounds.items()}


def compare(before: Evidence, after: Evidence, verdict: Verdict, name: str) -> dict[str, Any]:
    """Return the verdict on a model's evidence `after` against `before`, on the test split; `name` is the model's."""
    before.keys.require_same(after.keys, f"the evidence of {name}")
    rows = np.flatnonzero(before.keys.split == "test")
    rng = np.random.default_rng(verdict.seed)
    return judge(_figures(before, rows), _figures(after, rows), before.keys.sequence[rows], verdict, rng)


def _figures(evidence: Evidence, rows: np.ndarray) -> HeldOutFigures:
    people = np.isin(evidence.people, np.unique(evidence.keys.person[rows]))
    return HeldOutFigures(
        disagreement=nanstats.mean_along(evidence.disagreement[rows], 1),
        stretch=evidence.stretch[rows],
        coverage=evidence.coverage[rows],
        swapped=evidence.swapped[rows],
        upside_down=evidence.upside_down[rows],
        flipped=evidence.flipped[rows],
        limbs=evidence.limbs[people],
        asymmetry=evidence.asymmetry[people],
    )


if __name__ == "__main__":
    cli.run(main)
