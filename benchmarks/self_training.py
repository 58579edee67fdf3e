"""Self-training study: does self-training help, and is it the geometry that helps? Seeds, controls, spread.

Every method gets the same images, the same first network, the same number of steps in as many rounds, the same
augmentation, and its 3D joints by the same robust triangulation. What differs is where the labels come from:

- source only: more training on the source, no target image at all
- argmax: the teacher's own peaks in each view, all of them
- argmax, confident: those of them with a score above 0.7, about as often right as the accepted labels of self-training
- triangulated, unfiltered: RANSAC makes one 3D joint of the peaks of all views, which is reprojected; none is refused
- self-training: the pipeline as params.yaml describes it
- oracle: the ground truth (only here; no stage of the pipeline can read it)

Run by hand, on an idle machine:

    python -m benchmarks.self_training --seeds 11 12 13
    python -m benchmarks.self_training --quick    # one seed, one round, tiny sizes: it runs, and its numbers mean nothing

Seeds decide generation (people, rig, cameras, trouble), initialisation and order. A finished part is kept under
data/studies and not repeated; the quick form keeps nothing. The table goes to benchmarks/results/self_training.json.
"""

import argparse
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import params
from pipeline.datasets.labelled import LabelledSet
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_cameras
from pipeline.files.frames import Frames
from pipeline.files.labels import Labels, Reason
from pipeline.files.truth import Truth
from pipeline.models.build import Network
from pipeline.pseudo.held_out import HeldOut
from pipeline.runtime import Runtime
from pipeline.training.pools import Mix
from stages import (
    evaluate,
    evaluate_labels,
    export_heatmaps,
    prepare_source,
    prepare_target,
    prepare_truth,
    pretrain,
    pseudo_labels,
    retrain,
    rpsm,
    synthesize,
    triangulate,
)
from tools import preset

_ROOT = Path(__file__).resolve().parents[1]
_QUICK = {  # beyond presets/small.yaml
    "synthesize": {"people": {"train": 24, "valid": 6}, "rig": {"train_subjects": 1, "test_subjects": 1}},
    "target": {"rig": {"test_sequences": ["s2"]}},
    "pretrain": {"schedule": {"steps": 8}},
    "retrain": {"schedule": {"steps": 4}},
    "rpsm": {"coarse_bins": 8, "refine_steps": 3},
    "rounds": {"r1": {"teacher": "r0"}},
}

METHODS: dict[str, dict[str, Any]] = {
    "self-training": {},
    "source only": {"retrain": {"target_fraction": 0.0}},
    "argmax": {"pseudo": {"ransac": False, "source": "triangulation", "confidence_threshold": 0.0}},
    "argmax, confident": {"pseudo": {"ransac": False, "source": "triangulation", "confidence_threshold": 0.7}},
    "triangulated, unfiltered": {
        "pseudo": {"ransac": True, "source": "triangulation", "ransac_inliers": 2, "reproj_threshold_px": 1e6}
    },
    "oracle": {},
}
_NO_TEACHER = ("source only", "oracle")  # their labels are not made by a model


class Study:
    """One seed: a folder with everything the pipeline would make for it."""

    def __init__(self, values: dict[str, Any], folder: Path, seed: int) -> None:
        self.values = copy.deepcopy(values)
        self.values["synthesize"]["seed"] = seed
        self.values["runtime"]["seed"] = seed
        self.folder, self.seed = folder, seed
        self.frames, self.cameras = folder / "target.h5", folder / "cameras.toml"
        self.truth, self.source = folder / "truth.h5", folder / "source.h5"
        self.joints = folder / "detections.h5"

    def section(self, kind: type, name: str, values: dict[str, Any] | None = None) -> Any:
        return params.select(kind, values or self.values, name)

    def prepare(self) -> None:
        """Make the images, the caches, and the network of round 0."""
        people, rig, truth = self.folder / "people", self.folder / "rig", self.folder / "truth"
        if not rig.exists():
            synthesize.main(
                people=people, rig=rig, truth=truth, config=self.section(synthesize.Synthesize, "synthesize")
            )
        if not self.truth.exists():
            prepare_source.prepare(
                people,
                LabelledSet(path=str(people), layout="mpii"),
                out=self.source,
                metrics=self.folder / "source.json",
                config=self.section(prepare_source.SourceCache, "source_cache"),
            )
            prepare_target.main(
                calibration=rig / "calibration.toml",
                views=rig / "views",
                detections=rig / "detections",
                out=self.frames,
                cameras=self.cameras,
                joints=self.joints,
                metrics=self.folder / "target.json",
                frame_list=self.folder / "frames.txt",
                config=self.section(prepare_target.Target, "target"),
            )
            prepare_truth.main(
                truth=truth, frames=self.frames, out=self.truth, config=self.section(prepare_truth.Truth, "truth")
            )
        if not (self.folder / "r0" / "model.pt").exists():
            pretrain.main(
                source=self.source,
                out=self.folder / "r0" / "model.pt",
                metrics=self.folder / "r0" / "train.json",
                curve=self.folder / "r0" / "training.csv",
                runtime=self.section(Runtime, "runtime"),
                network=self.section(Network, "network"),
                mix=Mix({"people": 1.0}, None),
                pretrain=self.section(pretrain.Pretrain, "pretrain"),
            )

    def measure(self, folder: Path, labels: Path | None) -> dict[str, Any]:
        """Run what the pipeline runs with every model, and return its metrics: heatmaps, triangulation, RPSM, evaluation."""
        if not (folder / "evaluate.json").exists():
            export_heatmaps.main(
                model=folder / "model.pt",
                frames=self.frames,
                out=folder / "heatmaps.h5",
                runtime=self.section(Runtime, "runtime"),
                export=self.section(export_heatmaps.Export, "export"),
                labels=labels,
            )
            triangulate.main(
                heatmaps=folder / "heatmaps.h5",
                cameras=self.cameras,
                out=folder / "poses.h5",
                metrics=folder / "triangulate.json",
                config=self.section(triangulate.Triangulate, "triangulate"),
                held_out=self.section(HeldOut, "held_out"),
            )
            rpsm.main(
                heatmaps=folder / "heatmaps.h5",
                cameras=self.cameras,
                poses=folder / "poses.h5",
                out=folder / "rpsm.h5",
                metrics=folder / "rpsm.json",
                config=self.section(rpsm.Rpsm, "rpsm"),
                held_out=self.section(HeldOut, "held_out"),
            )
            evaluate.main(
                heatmaps=folder / "heatmaps.h5",
                poses=folder / "poses.h5",
                rpsm=folder / "rpsm.h5",
                cameras=self.cameras,
                truth=self.truth,
                metrics=folder / "evaluate.json",
                joints=folder / "joints.csv",
                curve=folder / "curve.csv",
                config=self.section(evaluate.Evaluate, "evaluate"),
                held_out=self.section(HeldOut, "held_out"),
            )
        return dict(json.loads((folder / "evaluate.json").read_text()))

    def run(self, method: str, changes: dict[str, Any]) -> list[dict[str, Any]]:
        """Run all rounds of one method, whose params differ by `changes`; return one row of metrics per round."""
        values = copy.deepcopy(self.values)
        for section, changed in changes.items():
            values[section].update(changed)
        rows, last = [], list(values["rounds"])[-1]
        for name, entry in values["rounds"].items():
            teacher = self.folder / "r0" if entry["teacher"] == "r0" else self.folder / method / entry["teacher"]
            folder = self.folder / method / name
            labels = folder / "labels.h5"
            row = {"method": method, "seed": self.seed, "round": name}
            if not (folder / "model.pt").exists():
                folder.mkdir(parents=True, exist_ok=True)
                self.label(method, values, name, teacher, labels, folder)
                retrain.main(
                    init=teacher / "model.pt",
                    source=self.source,
                    frames=self.frames,
                    labels=labels,
                    cameras=self.cameras,
                    out=folder / "model.pt",
                    metrics=folder / "train.json",
                    curve=folder / "training.csv",
                    runtime=self.section(Runtime, "runtime"),
                    mix=Mix({"people": 1.0}, None),
                    retrain=self.section(retrain.Retrain, "retrain", values),
                )
            if method in _NO_TEACHER and name != last:
                continue  # no labels are made with it, and the last round is what is compared
            row |= self.measure(folder, labels)
            row["labels"] = json.loads((folder / "evaluate_labels.json").read_text())
            rows.append(row)
            print(f"seed {self.seed}, {method}, {name}: {_line(row)}", flush=True)
        return rows

    def label(self, method: str, values: dict[str, Any], name: str, teacher: Path, labels: Path, folder: Path) -> None:
        if method in _NO_TEACHER:  # of the source-only control, no label is ever read
            true_labels(self.frames, self.cameras, self.truth).write(labels)
        else:
            params_file = folder / "params.json"  # JSON is YAML
            params_file.write_text(json.dumps(values))
            pseudo_labels.main(
                heatmaps=teacher / "heatmaps.h5",
                poses=teacher / "poses.h5",
                rpsm=teacher / "rpsm.h5",
                cameras=self.cameras,
                frames=self.frames,
                out=labels,
                metrics=folder / "pseudo_labels.json",
                round=name,
                params=params_file,
                held_out=self.section(HeldOut, "held_out"),
            )
        evaluate_labels.main(
            labels=labels,
            cameras=self.cameras,
            truth=self.truth,
            metrics=folder / "evaluate_labels.json",
            table=folder / "labels.csv",
        )


def true_labels(frames: Path, cameras: Path, truth: Path) -> Labels:
    """Return the oracle's labels: the ground-truth joints of the train split, projected into every view."""
    seen, true = Frames.read(frames), Truth.read(truth)
    seen.keys.require_same(true.keys, str(truth))
    points = np.stack([camera.project(true.joints) for camera in read_cameras(cameras)], axis=1)
    wanted = np.isfinite(points).all(-1) & (seen.keys.split == "train")[:, None, None] & seen.present[..., None]
    points[~wanted] = np.nan
    reason = np.where(wanted, Reason.ACCEPTED, Reason.NO_POSE)
    return Labels(
        keys=seen.keys,
        views=seen.views,
        skeleton=true.skeleton,
        keypoints=points,
        weights=wanted.astype(np.float32),
        reason=reason,
        person_box=seen.person_box,
    )


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row's plain numbers, with the labels' own beside the model's."""
    labels = {f"label_{key}": row["labels"][key] for key in ("coverage", "pckh_50") if "labels" in row}
    if row["method"] in _NO_TEACHER:
        labels = {}
    return {key: value for key, value in row.items() if not isinstance(value, dict)} | labels


def table(rows: list[dict[str, Any]]) -> str:
    """Return Markdown: each method's last round, mean over the seeds (lowest to highest)."""
    columns = {
        "pckh_50": "PCKh@0.5 %",
        "pckh_25": "PCKh@0.25 %",
        "mpjpe_abs_mm": "MPJPE mm",
        "mpjpe_abs_median_mm": "median mm",
        "mpjpe_abs_rpsm_mm": "MPJPE mm, RPSM",
        "label_coverage": "labelled %",
        "label_pckh_50": "of these right %",
    }
    last = {row["method"]: row["round"] for row in rows}
    lines = ["| labels from | " + " | ".join(columns.values()) + " |", "| --- |" + " ---: |" * len(columns)]
    for method, name in last.items():
        cells = []
        for key in columns:
            values = [row[key] for row in rows if row["method"] == method and row["round"] == name and key in row]
            spread = f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})" if values else ""
            cells.append(spread)
        lines.append(f"| {method}, {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    names = ("pckh_50", "pckh_25", "mpjpe_abs_mm", "mpjpe_abs_median_mm", "mpjpe_abs_rpsm_mm", "coverage")
    return ", ".join(f"{name} {row[name]:.1f}" for name in names if name in row) + f"; labels {row.get('labels')}"


def quick_values(values: dict[str, Any]) -> dict[str, Any]:
    """Return params of tiny sizes and one round."""
    values = copy.deepcopy(values)
    values["rounds"] = {}
    for change in (preset.read(_ROOT / "presets" / "small.yaml"), _QUICK):
        preset.apply(change, values)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, one round, tiny sizes; nothing is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--work", type=Path, default=Path("data/studies"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/self_training.json"))
    flags = parser.parse_args()
    values, methods = params.read(flags.params), {name: METHODS[name] for name in flags.methods}
    if flags.quick:
        if "argmax, confident" in methods:  # a network of a few steps is never that sure
            methods["argmax, confident"] = METHODS["argmax"]
        with tempfile.TemporaryDirectory(prefix="study-") as scratch:
            study(quick_values(values), flags.seeds[:1], methods, work=Path(scratch), out=Path(scratch, "rows.json"))
    else:
        study(values, flags.seeds, methods, work=flags.work, out=flags.out)


def study(values: dict[str, Any], seeds: list[int], methods: dict[str, Any], *, work: Path, out: Path) -> None:
    """Run the study, print its table and write its rows."""
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        one = Study(values, work / f"seed{seed}", seed)
        one.prepare()
        first = {"method": "pretrained", "seed": seed, "round": "r0"} | one.measure(one.folder / "r0", None)
        print(f"seed {seed}, pretrained, r0: {_line(first)}", flush=True)
        rows.append(first)
        for method, changes in methods.items():
            rows += one.run(method, changes)
            write_json(out, {"rows": [_figures(row) for row in rows], "params": values})
    print(table([_figures(row) for row in rows]))


if __name__ == "__main__":
    main()
