"""The measurements of the rounds, read from their small files, and the summary that `dvc metrics diff` shows."""

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
    """One number of a model: its key in metrics/, its name, unit ("%" or "mm") and meaning in the report."""

    key: str
    name: str
    unit: str
    meaning: str

    @property
    def sign(self) -> int:
        """+1 if more is better, -1 if less is better."""
        return -1 if self.unit == "mm" else 1


MEASURES = (
    Measure("pckh_50", "PCKh@0.5", "%", "Detections within half a head size of the ground truth, in the image."),
    Measure("pckh_25", "PCKh@0.25", "%", "Detections within a quarter of a head size."),
    Measure("pckh_auc", "PCKh AUC", "%", "Mean height of the PCKh curve."),
    Measure("mpjpe_abs_mm", "MPJPE", "mm", "Mean distance of the triangulated joints from the ground truth."),
    Measure("mpjpe_abs_median_mm", "MPJPE median", "mm", "Median of the same distance."),
    Measure("peer_distance_mm", "Distance to peer", "mm", "Mean distance from another tool's result; not an error."),
    Measure("peer_distance_median_mm", "Distance to peer, median", "mm", "Median of the same distance."),
    Measure("coverage", "Coverage", "%", "Triangulated joints; distances in 3D are about these joints only."),
    Measure("mpjpe_rel_mm", "MPJPE to root", "mm", "MPJPE after aligning the two roots; without the root itself."),
    Measure("mpjpe_pa_mm", "PA-MPJPE", "mm", "MPJPE after the best rotation, scale and translation of each pose."),
    Measure("mpjpe_abs_rpsm_mm", "MPJPE, RPSM", "mm", "MPJPE of the pictorial structure's joints."),
    Measure("mpjpe_abs_rpsm_median_mm", "MPJPE median, RPSM", "mm", "Median of the same distance."),
    Measure("peer_distance_rpsm_mm", "Distance to peer, RPSM", "mm", "For the pictorial structure's joints."),
    Measure("peer_distance_rpsm_median_mm", "Distance to peer, RPSM median", "mm", "Median of the same distance."),
    Measure("coverage_rpsm", "Coverage, RPSM", "%", "Joints with a position by the pictorial structure."),
    Measure("label_coverage", "Labels", "%", "Joints of the unlabelled frames that received a pseudo label."),
    Measure("label_pckh_50", "Labels right", "%", "Pseudo labels within half a head size of the ground truth."),
    Measure("label_pckh_25", "Labels finely right", "%", "Pseudo labels within a quarter of a head size."),
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Round:
    """One model's measurements.

    Attributes:
        name: "r0" is the first teacher.
        scores: the known measures by key.
        by_view: PCKh@0.5 by view.
        frames: the number of measured frames.
        joints, curve, training, labels: the tables of these names; empty if the round has none.
        quality: label-free figures of the held-out frames.
        recipe: which frames a published data set is measured on, where there are several ways; part of the measures' names.
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
    """One row of the controls' table: for each measure, the values of a training method's seeds."""

    name: str
    values: dict[str, np.ndarray]


def read_round(name: str, metrics: Path, plots: Path, quality: Path | None = None) -> Round:
    """Return the measurements in `metrics/<name>`, `plots/<name>` and `quality/<name>.json`.

    Raises:
        ValueError: the evaluation is absent, or a file is not readable. All other files may be absent.
    """
    measured = _read_json(metrics / name / "evaluate.json")
    labels_file = metrics / name / "evaluate_labels.json"
    labels = _read_json(labels_file) if labels_file.exists() else {}
    recipe = measured.get("recipe", "")
    measured, labels = measured.get(recipe, measured), labels.get(recipe, labels)
    values = measured | {f"label_{key}": value for key, value in labels.items()}
    return Round(
        name=name,
        scores={measure.key: float(values[measure.key]) for measure in MEASURES if _is_number(values.get(measure.key))},
        by_view={str(view): float(value) for view, value in measured.get("by_view", {}).items()},
        frames=int(measured.get("frames", 0)),
        joints=read_table(plots / name / "joints.csv"),
        curve=read_table(plots / name / "pck.csv"),
        training=_table_if_any(plots / name / "training.csv"),
        labels=_table_if_any(plots / name / "labels.csv"),
        quality=_read_quality(quality / f"{name}.json") if quality else {},
        recipe=recipe,
    )


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return `rounds.<name>.<measure>`, `final` (the last round's) and `gain` (its difference from the first round).

    `rounds.<name>.quality` has the label-free figures. A recipe is part of the names:
    `final.damaged_excluded.mpjpe_abs_mm`.
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
    """Return a row per round, and a column per measure of any round; PCKh@0.5, which dvc.yaml plots, is always there."""
    known = {key for each in rounds for key in each.scores} | {"pckh_50"}
    keys = [measure.key for measure in MEASURES if measure.key in known]
    columns: dict[str, list[Any]] = {"round": [each.name for each in rounds]}
    return columns | {key: [each.scores.get(key, "") for each in rounds] for key in keys}


def training_table(rounds: Sequence[Round]) -> dict[str, list[Any]]:
    """Return all trainings in order: `round`, `step` counted over all rounds, and the other columns of the rounds' tables."""
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
    """Return all PCKh curves in order: round, threshold (head sizes), pckh (percent)."""
    return {
        "round": [each.name for each in rounds for _ in each.curve["threshold"]],
        "threshold": [value for each in rounds for value in each.curve["threshold"]],
        "pckh": [value for each in rounds for value in each.curve["pckh"]],
    }


def read_controls(path: Path) -> list[Method]:
    """Return the rows of a self-training study: JSON or CSV rows of method, round (optional), seed and measures.

    Rows of the same method and round are the seeds of one entry; entries keep the file's order.

    Raises:
        ValueError: the file is absent, it has no rows, or a row has no `method`.
    """
    if path.suffix == ".csv":
        table = read_table(path)
        rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    else:
        loaded = _read_json(path)
        rows = loaded.get("rows", []) if isinstance(loaded, dict) else loaded
    if not rows or not all(isinstance(row, dict) and row.get("method") for row in rows):
        raise ValueError(f"{path}: expected rows with a 'method' each, got others")
    names = [", ".join(str(row[key]) for key in ("method", "round") if row.get(key)) for row in rows]
    methods = []
    for name in dict.fromkeys(names):
        own = [row for row, of in zip(rows, names, strict=True) if of == name]
        values = {}
        for measure in MEASURES:
            known = [value for value in (_number(row.get(measure.key)) for row in own) if value is not None]
            if known:
                values[measure.key] = np.array(known)
        methods.append(Method(name, values))
    return methods


def read_verdict(path: Path) -> dict[str, Any]:
    """Return the content of metrics/verdict.json.

    Raises:
        ValueError: the file is absent, or has no verdict.
    """
    verdict = _read_json(path)
    if not isinstance(verdict, dict) or verdict.get("verdict") not in ("adopt", "do_not_adopt", "not_enough_evidence"):
        raise ValueError(f"{path}: expected a verdict, got none")
    return verdict


def read_rig_check(path: Path) -> dict[str, Any]:
    """Return the content of metrics/check_rig.json.

    Raises:
        ValueError: the file is absent, or has no lists of problems and doubts.
    """
    report = _read_json(path)
    if not isinstance(report, dict) or not all(isinstance(report.get(key), list) for key in ("problems", "doubts")):
        raise ValueError(f"{path}: expected the problems and doubts of check_rig, got others")
    return report


def numbers(cells: Sequence[str]) -> np.ndarray:
    """Return a column of a table as floats; NaN for a cell that is no number."""
    values = [_number(cell) for cell in cells]
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _read_quality(path: Path) -> dict[str, Any]:
    """Return the label-free figures of the held-out frames (of all frames if none is held out) and the label churn."""
    quality = _read_json(path)
    figures = quality.get("test") or quality.get("train") or {}
    return figures | {key: quality[key] for key in ("label_churn",) if key in quality}


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected the measurements of a round")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from None


def _table_if_any(path: Path) -> Table:
    return read_table(path) if path.exists() else {}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value
