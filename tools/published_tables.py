"""Published tables: print the tables of multiview self-training's and cross-view fusion's readmes from the metrics of a run.

python -m tools.published_tables --round r0 r1
python -m tools.published_tables --round r1 --experiment ../three_views ../four_views
python -m tools.published_tables --round r1 --mpii metrics/evaluate_2d.json

Numbers are shares of 1, or mm, as published. `evaluate` (held-out frames) and `evaluate_labels` (train split) write them under
`published` where the ground truth is Human3.6M's. Each row has its recipe: whether damaged takes are included, the joints of the
network, and the person boxes; of labels also the rule. Thresholds and boxes are those of the experiment's params.yaml. One
sentence names each table that a run does not have, and "-" stands for a single number that it lacks.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.files.atomic import write_text
from pipeline.files.tables import write_table
from pipeline.metrics import published
from pipeline.skeleton import get
from stages.pseudo_labels import Pseudo

_HUMAN36M = {
    "pelvis": "root",
    "right_hip": "rhip",
    "right_knee": "rkne",
    "right_ankle": "rank",
    "left_hip": "lhip",
    "left_knee": "lkne",
    "left_ankle": "lank",
    "spine": "belly",
    "neck": "neck",
    "nose": "nose",
    "head": "head",
    "left_shoulder": "lsho",
    "left_elbow": "lelb",
    "left_wrist": "lwri",
    "right_shoulder": "rsho",
    "right_elbow": "relb",
    "right_wrist": "rwri",
}  # in Human3.6M's order
_MPII = {"thorax": "thorax", "upper_neck": "upper neck", "head_top": "head top"} | _HUMAN36M
_THRESHOLDS = tuple(round(100 * threshold) for threshold in published.THRESHOLDS)  # percent of the head size
_METHODS = {
    "dlt": "plain DLT of all views (Triangulate)",
    "triangulate": "stage triangulate",
    "rpsm": "RPSM",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as published: the name of its file, a title, the columns' titles, and the cells as text, "" if unknown."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        """Return the table in Markdown; an unknown number is "-"."""
        lines = [self.header, tuple("--" for _ in self.header), *(tuple(c or "-" for c in row) for row in self.rows)]
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


@dataclass(frozen=True, kw_only=True)
class Run:
    """A round of one experiment.

    Attributes:
        name: of the rows.
        folder: of the experiment.
        round: its name.
        values: the content of params.yaml.
    """

    name: str
    folder: Path
    round: str
    values: Mapping[str, Any]

    def read(self, stage: str) -> tuple[dict[str, Any], str]:
        """Return the numbers that a stage wrote for the published tables, and the recipe of the frames; none: no numbers.

        Raises:
            ValueError: the metrics are not readable.
        """
        measured = _read_json(self.folder / "metrics/rounds" / self.round / f"{stage}.json")
        recipe = str(measured.get("recipe", ""))
        return measured.get(recipe, measured).get("published", {}), recipe


def runs(rounds: Sequence[str], experiments: Sequence[Path]) -> list[Run]:
    """Return the rounds of all experiments.

    Raises:
        ValueError: a folder has no params.yaml, or a round no metrics.
    """
    found = []
    for folder in experiments:
        values = params.read(folder / "params.yaml")
        for name in rounds:
            if not (folder / "metrics/rounds" / name / "evaluate.json").is_file():
                known = sorted(path.parent.name for path in (folder / "metrics/rounds").glob("*/evaluate.json"))
                raise ValueError(
                    f"{folder / 'metrics/rounds'}: has no evaluated round '{name}'; it has {', '.join(known) or 'none'}"
                )
            title = name if folder == Path() else f"{folder.resolve().name} {name}"
            found.append(Run(name=title, folder=folder, round=name, values=values))
    return found


def evaluated_tables(each: Sequence[Run]) -> tuple[list[Table], list[str]]:
    """Return the tables of the held-out frames, and one sentence per run that has no such numbers."""
    rates, box, positions, results, notes = [], [], [], [], []
    for run in each:
        numbers, frames = run.read("evaluate")
        if not numbers:
            notes.append(
                f"{run.name}: no table of Human3.6M, because its ground truth is not Human3.6M's, or was evaluated by an"
                " earlier version"
            )
            continue
        recipe = _recipe(run, numbers, frames)
        jdr = numbers["jdr"]
        cells = (
            *(_share(jdr.get(joint)) for joint in _HUMAN36M),
            _share(numbers.get("jdr_17j", numbers.get("jdr_16j"))),
        )
        counted = f", mean of {len(jdr)} joints" if cells[-1] else ""
        rates.append((run.name, f"{recipe}, within {numbers['jdr_px']:g} px{counted}", *cells))
        for count in ("16j", "15j"):
            cells = tuple(_share(numbers.get(f"box_pckh_{threshold}_{count}")) for threshold in _THRESHOLDS)
            box.append((f"{run.name} ({count})", recipe, *cells))
        by_method = {
            method: tuple(_mm(numbers.get(f"mpjpe_abs_{method}_{count}_mm")) for count in ("16j", "17j"))
            for method in _METHODS
        }
        positions += [(f"{run.name}, {_METHODS[method]}", recipe, *cells) for method, cells in by_method.items()]
        results.append(
            (
                run.name,
                recipe,
                *by_method["dlt"],
                *by_method["rpsm"],
                *(_share(numbers.get(f"box_pckh_50_{count}")) for count in ("16j", "15j")),
                *(_share(numbers.get(f"box_pckh_{threshold}_15j")) for threshold in _THRESHOLDS[1:]),
            )
        )
        if "box_pckh_50_16j" not in numbers:
            notes.append(
                f"{run.name}: box-PCKh and MPJPE of 16 joints need network.skeleton compatible_16, union_20 or h36m_17,"
                f" and it has {numbers['joints']}"
            )
        elif "jdr_17j" not in numbers:
            notes.append(f"{run.name}: 17 joints need Human3.6M's spine, which {numbers['joints']} does not have")
    if not results:
        return [], notes
    thresholds = tuple(f"PCKh@{threshold / 100:g}" for threshold in _THRESHOLDS)
    return [
        Table(
            name="jdr",
            title="Joint detection rate (a twentieth of the network's input, in px of the full image)",
            header=("Arch", "recipe", *_HUMAN36M.values(), "mean"),
            rows=rates,
        ),
        Table(
            name="box_pckh",
            title="Box-PCKh (the head is a tenth of the box of 2 m at the depth of the root; mean of the joints)",
            header=("Arch", "recipe", *thresholds),
            rows=box,
        ),
        Table(
            name="mpjpe",
            title="Absolute MPJPE, mm",
            header=("Arch", "recipe", "16j", "17j"),
            rows=positions,
        ),
        Table(
            name="results",
            title="Results on Multiview H36M (MPJPE in mm; Triangulate is the plain DLT of all views; PCKh@0.4 to 0.1 of 15j)",
            header=(
                *("Arch", "recipe", "Triangulate (16j)", "Triangulate (17j)", "RPSM (16j)", "RPSM (17j)"),
                *("2D (16j)", "2D (15j)", *thresholds[1:]),
            ),
            rows=results,
        ),
    ], notes


def label_table(each: Sequence[Run]) -> tuple[list[Table], list[str]]:
    """Return the ablation of pseudo labels, one row per run, and one sentence per run that has no such numbers."""
    rows, notes = [], []
    for run in each:
        if not (run.folder / "metrics/rounds" / run.round / "evaluate_labels.json").is_file():
            notes.append(f"{run.name}: no row in the ablation, because the round has no pseudo labels")
            continue
        numbers, frames = run.read("evaluate_labels")
        if not numbers:
            notes.append(
                f"{run.name}: no row in the ablation, because its ground truth is not Human3.6M's, its network lacks some of"
                " the 16 joints, or it was evaluated by an earlier version"
            )
            continue
        config = _label_settings(run)
        geometry = (str(config.ransac_inliers), f"{config.reproj_threshold_px:g}") if config.ransac else ("", "")
        threshold = f"{config.confidence_threshold:g}" if config.ransac or config.confidence_threshold > 0 else ""
        rule = f"rule {config.rule}, source {config.source}" if config.ransac else "the teacher's keypoints"
        shares = _share(numbers.get("box_pckh_50_16j")), _share(numbers.get("visible_percent"))
        rows.append((f"labels of {run.name}", f"{_recipe(run, {}, frames)}, {rule}", *geometry, threshold, *shares))
    if not rows:
        return [], notes
    columns = ("RANSAC inliers", "proj thresh (px)", "confidence thresh", "PCKh@0.5", "visible percent")
    title = "Ablation on Pseudo Label (box-PCKh of all labels of 16 joints together; the train split)"
    return [Table(name="pseudo_labels", title=title, header=("Arch", "recipe", *columns), rows=rows)], notes


def mpii_table(files: Sequence[Path]) -> list[Table]:
    """Return MPII's 16 columns, one row per metrics file of `evaluate_2d`.

    Raises:
        ValueError: a file is no such file of a network with MPII's joints.
    """
    joints = get("mpii_16").joint_names
    rows = []
    for file in files:
        measured = _read_json(file)
        if "mpii_pckh_50_16j" not in measured:
            raise ValueError(
                f"{file}: has no mpii_pckh_50_16j; expected the metrics of `python -m tools.evaluate_2d` on MPII with a"
                " network of its joints"
            )
        cells = (
            *(_share(measured.get(f"mpii_pckh_50_{joint}")) for joint in joints),
            _share(measured["mpii_pckh_50_16j"]),
        )
        rows.append((file.stem, f"{measured['persons']} persons", *cells))
    header = ("Arch", "recipe", *(_MPII[joint] for joint in joints), "mean")
    title = "Results on MPII (PCKh@0.5; the mean is over all 16 joints, each as often as it is labelled)"
    return [Table(name="mpii", title=title, header=header, rows=rows)] if rows else []


def _label_settings(run: Run) -> Pseudo:
    """Return the section `pseudo` of a run, with the overrides of its round."""
    own = (run.values.get("rounds") or {}).get(run.round) or {}
    if "pseudo" not in run.values:
        raise ValueError(f"{run.folder / 'params.yaml'}: the section 'pseudo' is missing")
    return params.build(Pseudo, {**run.values["pseudo"], **(own.get("pseudo") or {})}, "pseudo")


def _recipe(run: Run, numbers: Mapping[str, Any], frames: str) -> str:
    """Return what a published number depends on and its name does not say."""
    boxes = (run.values.get("target") or {}).get("boxes", "")
    parts = [
        frames.replace("_", " "),
        f"joints {numbers['joints']}" if "joints" in numbers else "",
        f"boxes {boxes}" if boxes else "",
    ]
    return ", ".join(part for part in parts if part)


def _share(percent: float | None) -> str:
    return "" if percent is None else f"{percent / 100:.3f}"


def _mm(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{path}: not readable as metrics (JSON)") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected metrics by name, got {type(values).__name__}")
    return values


def main(rounds: Sequence[str], experiments: Sequence[Path], mpii: Sequence[Path], out: Path) -> None:
    """Print the tables, and write them into a folder: tables.md, and a CSV each.

    Raises:
        ValueError: no table can be had, or a file is not readable.
    """
    if not rounds and not mpii:
        raise ValueError("expected --round, --mpii, or both")
    each = runs(rounds, experiments)
    evaluated, notes = evaluated_tables(each)
    labels, more = label_table(each)
    tables = [*evaluated, *labels, *mpii_table(mpii)]
    notes += more
    if not mpii:
        notes.append("MPII: no table, because no --mpii names metrics of `python -m tools.evaluate_2d`")
    if not tables:
        raise ValueError("; ".join(notes))
    text = "\n\n".join([*(table.markdown() for table in tables), *notes]) + "\n"
    print(text, end="")
    write_text(out / "tables.md", text)
    for table in tables:
        columns = {title: [row[index] for row in table.rows] for index, title in enumerate(table.header)}
        write_table(out / f"{table.name}.csv", columns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round", nargs="+", default=[], metavar="ROUND", help="names of models: r0, r1, ...")
    parser.add_argument(
        "--experiment", nargs="+", type=Path, default=[Path()], metavar="FOLDER",
        help="checkouts with params.yaml and metrics/ (default: this one)",
    )  # fmt: skip
    parser.add_argument(
        "--mpii", nargs="+", type=Path, default=[], metavar="FILE", help="metrics of evaluate_2d on MPII's validation"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("plots/published"), help="folder to write (default: plots/published)"
    )
    given = parser.parse_args()
    try:
        main(given.round, given.experiment, given.mpii, given.out)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
