"""What the rounds measured, read from their small files, and the summary of it that `dvc metrics diff` shows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files.tables import read_table

Table = dict[str, list[str]]


@dataclass(frozen=True)
class Measure:
    """One number of a model, and how to speak of it."""

    key: str
    name: str
    unit: str
    digits: int
    sign: int  # +1: more is better, -1: less is better
    meaning: str


MEASURES = (
    Measure(
        "pckh_50", "PCKh@0.5", "%", 1, 1, "Joints detected within half the head's size of the truth, in the picture."
    ),
    Measure("pckh_25", "PCKh@0.25", "%", 1, 1, "The same within a quarter of the head's size."),
    Measure("pckh_auc", "PCKh AUC", "%", 1, 1, "Mean height of the PCKh curve."),
    Measure(
        "mpjpe_abs_mm", "MPJPE", "mm", 1, -1, "Mean distance of the triangulated joints from the truth, in the world."
    ),
    Measure(
        "mpjpe_abs_median_mm", "MPJPE median", "mm", 1, -1, "Half of the triangulated joints are nearer than this."
    ),
    Measure(
        "peer_distance_mm", "Distance to peer", "mm", 1, -1, "Mean distance from another tool's result; not an error."
    ),
    Measure(
        "peer_distance_median_mm", "Distance to peer, median", "mm", 1, -1, "Half of the joints are nearer than this."
    ),
    Measure(
        "coverage", "Coverage", "%", 1, 1, "Joints that could be triangulated; distances in 3D speak of these alone."
    ),
    Measure(
        "mpjpe_rel_mm", "MPJPE to root", "mm", 1, -1, "After moving both roots to one place; without the root itself."
    ),
    Measure("mpjpe_pa_mm", "PA-MPJPE", "mm", 1, -1, "After the best rotation, scale and shift of each pose."),
    Measure("mpjpe_abs_rpsm_mm", "MPJPE, RPSM", "mm", 1, -1, "MPJPE of the pictorial structure's joints."),
    Measure("mpjpe_abs_rpsm_median_mm", "MPJPE median, RPSM", "mm", 1, -1, "Median of the same."),
    Measure("peer_distance_rpsm_mm", "Distance to peer, RPSM", "mm", 1, -1, "Of the pictorial structure's joints."),
    Measure("peer_distance_rpsm_median_mm", "Distance to peer, RPSM median", "mm", 1, -1, "Median of the same."),
    Measure("coverage_rpsm", "Coverage, RPSM", "%", 1, 1, "Joints that the pictorial structure has a place for."),
    Measure("label_coverage", "Labels", "%", 1, 1, "Joints of the unlabelled frames that were given a pseudo label."),
    Measure("label_pckh_50", "Labels right", "%", 1, 1, "Pseudo labels within half the head's size of the truth."),
    Measure("label_pckh_25", "Labels finely right", "%", 1, 1, "Pseudo labels within a quarter of the head's size."),
)
HEADLINE = (
    "pckh_50",
    "pckh_25",
    "mpjpe_abs_mm",
    "mpjpe_abs_median_mm",
    "peer_distance_mm",
    "peer_distance_median_mm",
    "coverage",
)


@dataclass(frozen=True, eq=False)
class Round:
    """One model's measurements.

    Attributes:
        name: "r0" is the teacher that everything begins with.
        scores: the measures by key, those that are known.
        by_view: PCKh@0.5 of each view.
        frames: how many were measured on.
        joints, curve, training, labels: the tables of these names; empty where the round has none.
        quality: what the model's detections and poses say about themselves, without any label, of the held-out frames.
        recipe: which frames the scores are about, where a published set is used in several ways; part of their names.
    """

    name: str
    scores: dict[str, float]
    by_view: dict[str, float]
    frames: int
    joints: Table
    curve: Table
    training: Table
    labels: Table
    quality: dict[str, Any]
    recipe: str = ""


@dataclass(frozen=True, eq=False)
class Method:
    """One row of the controls' table: what a way of training reached with each seed, by measure."""

    name: str
    values: dict[str, np.ndarray]


def read_round(name: str, metrics: Path, plots: Path, quality: Path | None = None) -> Round:
    """Read `metrics/rounds/<name>`, `plots/rounds/<name>` and `<quality>/<name>.json`; only the evaluation must be there."""
    measured = _read_json(metrics / name / "evaluate.json")
    labels_file = metrics / name / "evaluate_labels.json"
    labels = _read_json(labels_file) if labels_file.exists() else {}
    recipe = measured.get("recipe", "")
    measured, labels = measured.get(recipe, measured), labels.get(recipe, labels)
    found = measured | {f"label_{key}": value for key, value in labels.items()}
    return Round(
        name,
        {measure.key: float(found[measure.key]) for measure in MEASURES if _is_number(found.get(measure.key))},
        {str(view): float(value) for view, value in measured.get("by_view", {}).items()},
        int(measured.get("frames", 0)),
        read_table(plots / name / "joints.csv"),
        read_table(plots / name / "pck.csv"),
        _table_if_any(plots / name / "training.csv"),
        _table_if_any(plots / name / "labels.csv"),
        _read_quality(quality / f"{name}.json") if quality else {},
        recipe,
    )


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """`rounds.<name>.<measure>`, `final` (the last round's), `gain` (its difference from the first round).

    `rounds.<name>.quality` holds what was found without any label.

    A recipe is part of the names: `final.damaged_excluded.mpjpe_abs_mm`.
    """
    first, last = rounds[0].scores, rounds[-1].scores
    recipe = rounds[-1].recipe

    def named(scores: dict[str, float]) -> dict[str, Any]:
        return {recipe: scores} if recipe else scores

    def quality(each: Round) -> dict[str, Any]:
        return {"quality": each.quality} if each.quality else {}

    return {
        "rounds": {each.name: named(each.scores) | quality(each) for each in rounds},
        "final": named(last),
        "gain": named({key: last[key] - first[key] for key in last if key in first}),
    }


def rounds_table(rounds: Sequence[Round]) -> dict[str, list[Any]]:
    """A row a round; a column for every measure that a round has, and for PCKh@0.5, which dvc.yaml plots, always."""
    known = {key for each in rounds for key in each.scores} | {"pckh_50"}
    keys = [measure.key for measure in MEASURES if measure.key in known]
    columns: dict[str, list[Any]] = {"round": [each.name for each in rounds]}
    return columns | {key: [each.scores.get(key, "") for each in rounds] for key in keys}


def training_table(rounds: Sequence[Round]) -> dict[str, list[Any]]:
    """All trainings end to end: `round`, a `step` that runs on, and whatever else the rounds' own tables have."""
    others = sorted({name for each in rounds for name in each.training} - {"step", "round"})
    columns: dict[str, list[Any]] = {name: [] for name in ("round", "step", *others)}
    begin = 0.0
    for each in rounds:
        rows = len(next(iter(each.training.values()), []))
        steps = numbers(each.training["step"]) if "step" in each.training else np.arange(1.0, rows + 1)
        columns["round"] += [each.name] * rows
        columns["step"] += [_whole(begin + step) for step in steps]
        for name in others:
            columns[name] += each.training.get(name, [""] * rows)
        begin += float(steps[-1]) if rows else 0.0
    return columns


def curves_table(rounds: Sequence[Round]) -> dict[str, list[Any]]:
    """All PCKh curves end to end: round, threshold (head sizes), pckh (percent)."""
    return {
        "round": [each.name for each in rounds for _ in each.curve["threshold"]],
        "threshold": [value for each in rounds for value in each.curve["threshold"]],
        "pckh": [value for each in rounds for value in each.curve["pckh"]],
    }


def read_controls(path: Path) -> list[Method]:
    """Read the table of a self-training study: JSON or CSV rows of method, round (or none), seed and measures.

    Rows of one method and round are the seeds of one entry; entries keep the file's order.

    Raises:
        ValueError: the file is absent, or it has no rows with a `method` each.
    """
    if path.suffix == ".csv":
        table = read_table(path)
        rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    else:
        loaded = _read_json(path)
        rows = loaded.get("rows", []) if isinstance(loaded, dict) else loaded
    if not rows or not all(isinstance(row, dict) and row.get("method") for row in rows):
        raise ValueError(f"{path}: expected rows with a 'method' each, got none such")
    names = [", ".join(str(row[key]) for key in ("method", "round") if row.get(key)) for row in rows]
    found = []
    for name in dict.fromkeys(names):
        own = [row for row, of in zip(rows, names, strict=True) if of == name]
        values = {}
        for measure in MEASURES:
            known = [value for value in (_number(row.get(measure.key)) for row in own) if value is not None]
            if known:
                values[measure.key] = np.array(known)
        found.append(Method(name, values))
    return found


def read_verdict(path: Path) -> dict[str, Any]:
    """Read metrics/verdict.json.

    Raises:
        ValueError: the file is absent, or says something else.
    """
    found = _read_json(path)
    if not isinstance(found, dict) or found.get("verdict") not in ("adopt", "do_not_adopt", "not_enough_evidence"):
        raise ValueError(f"{path}: expected a verdict, got none")
    return found


def read_rig_check(path: Path) -> dict[str, Any]:
    """Read metrics/check_rig.json.

    Raises:
        ValueError: the file is absent, or says something else.
    """
    found = _read_json(path)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in ("problems", "doubts")):
        raise ValueError(f"{path}: expected what check_rig found, got none")
    return found


def numbers(cells: Sequence[str]) -> np.ndarray:
    """A column of a table as floats; what is no number is NaN."""
    found = [_number(cell) for cell in cells]
    return np.array([np.nan if value is None else value for value in found], dtype=float)


def _read_quality(path: Path) -> dict[str, Any]:
    """Label-free figures of the held-out frames, or of all where none are held out, and the label churn."""
    found = _read_json(path)
    figures = found.get("test") or found.get("train") or {}
    return figures | {key: found[key] for key in ("label_churn",) if key in found}


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected what a round measured")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from None


def _table_if_any(path: Path) -> Table:
    return read_table(path) if path.exists() else {}


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value
