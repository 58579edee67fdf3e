"""Published ideas at a small size: does each idea of the five published systems do here what its paper says it does?

Drawn people stand in for MPII, and a drawn rig, written in Human3.6M's record files, for Human3.6M. Networks of 8 to 16 channels
see 64 px and learn for a few hundred steps from random weights, so no number compares with a published one; its sign may.

- fusion: mixed training of people and a labelled rig, without and with cross-view fusion
- self_training: pseudo labels by the published rule (3 views, 10 px, confidence), without and with the epipolar loss
- regression: 3D from one image by integral, direct and kinematic regression, against one constant mean pose
- resolutions: MRHeatNet1 and MRFeaNet1 against Simple Baselines with as many steps
- occlusion: Simple Baselines and HRNet, without and with parts hidden in training, tested on whole images and with a hidden arm

Run by hand, on an idle machine:

    python -m benchmarks.published
    python -m benchmarks.published --quick    # one seed and a few steps: it runs, and its numbers mean nothing

A seed decides what is drawn, the initialisation and the order. An idea is "as published" if its gain has the published sign with
every seed; where the paper finds no gain, if not every seed has one. Finished parts are kept under data/studies and not repeated;
the quick form keeps nothing. The table is printed, and all rows go to benchmarks/results/published.json.
"""

import argparse
import contextlib
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import published_sets
from pipeline import nanstats, params
from pipeline.datasets.h36m.selection import H36m
from pipeline.datasets.labelled import LabelledSet
from pipeline.files.atomic import write_json
from pipeline.files.samples import Samples
from pipeline.metrics import mpjpe
from pipeline.models.build import Network
from pipeline.pseudo.held_out import HeldOut
from pipeline.runtime import Runtime
from pipeline.skeleton import get, mapping
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
    triangulate,
)
from stages.synthesize import Synthesize
from tools import evaluate_2d, preset

_ROOT = Path(__file__).resolve().parents[1]
_SIDE_PX = 256  # of the rig's images; a person's published box is about 125 px wide

Values = dict[str, Any]
Rows = dict[str, dict[str, float]]  # variant -> metric -> number


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is drawn and learned.

    Attributes:
        people, held_out_people: labelled single images.
        train_subjects, test_subjects: of the rig, by their numbers in Human3.6M.
        frames, test_frames: frame groups of four views, of each subject.
        fusion, teacher, student, regression, resolutions, occlusion: steps of their trainings.
        batch_size: images per step.
        confidence: of the rule of pseudo labels.
        inliers: views of that rule.
        reproj_threshold_px: of that rule. 10 px are published for boxes of about 500 px and maps of 64 px; for boxes of 125 px
            and maps of 16 px they are the same distance on the map.
    """

    people: int = 240
    held_out_people: int = 100
    train_subjects: tuple[int, ...] = (1, 5, 6)
    test_subjects: tuple[int, ...] = (9, 11)
    frames: int = 32
    test_frames: int = 16
    fusion: int = 300
    teacher: int = 500
    student: int = 200
    regression: int = 400
    resolutions: int = 300
    occlusion: int = 200
    batch_size: int = 16
    confidence: float = 0.7
    inliers: int = 3
    reproj_threshold_px: float = 10.0

    @property
    def rig_images(self) -> int:
        """Return the number of the rig's images to learn from."""
        return len(self.train_subjects) * self.frames * published_sets.VIEWS


_QUICK = Sizes(
    people=12, held_out_people=4, train_subjects=(1, 5), test_subjects=(9,), frames=3, test_frames=2,
    fusion=2, teacher=2, student=2, regression=2, resolutions=2, occlusion=2, batch_size=8,
    confidence=0.0, inliers=2, reproj_threshold_px=500.0,
)  # fmt: skip


class Lab:
    """One seed: its drawn sets, and what the parts need to train and measure on them."""

    def __init__(self, sizes: Sizes, folder: Path, seed: int) -> None:
        self.sizes, self.folder, self.seed = sizes, folder, seed
        self.sources, self.in_space = folder / "sources", folder / "people_in_space.h5"
        self.people = self.sources / "people.h5"
        self.frames, self.cameras, self.truth = folder / "target.h5", folder / "cameras.toml", folder / "truth.h5"

    def values(self, name: str, *variants: str, change: Values) -> Values:
        """Return params.yaml with a preset and the small sizes, changed by `change`."""
        sizes = self.sizes
        narrow: Values = {
            "runtime": {"seed": self.seed, "threads": 1, "precision": "float32"},
            "source_cache": {"cache_size": 96},
            "target": {
                "cache_size": 96,
                "boxes": "truth",
                "h36m": {
                    "train_subjects": list(sizes.train_subjects),
                    "test_subjects": list(sizes.test_subjects),
                    "train_every": 1,
                    "test_every": 1,
                    "truth_boxes_allowed": True,
                },
            },
            "network": {
                "block": "basic",
                "layers": [1, 1, 1, 1],
                "width": 16,
                "deconv_channels": 32,
                "input_size": 64,
                "depth_bins": 16,
            },
            "pretrain": {"batch_size": sizes.batch_size, "sigma": 1.5, "schedule": {"learning_rate": 0.003}},
            "retrain": {"batch_size": sizes.batch_size, "sigma": 1.5},
            "evaluate_2d": {"flip_test": False, "decode": "dark"},
        }
        values = params.read(_ROOT / "params.yaml")
        values["rounds"] = {}
        for each in (preset.read(_ROOT / f"presets/{name}.yaml", variants), narrow, change):
            preset.apply(each, values)
        return values

    def prepare(self) -> None:
        """Draw the sets, and prepare the rig as a labelled set and as a target."""
        sizes, raw = self.sizes, self.folder / "h36m"
        if self.truth.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.sources.mkdir(parents=True)
        counts = {"train": sizes.people, "valid": sizes.held_out_people}
        published_sets.write_people(self.people, self.seed, **counts, in_space=False)
        published_sets.write_people(self.in_space, self.seed, **counts, in_space=True)
        values = self.values("multiview_mixed", change={})
        drawn = params.select(Synthesize, values, "synthesize")
        studio = published_sets.Studio(
            seed=self.seed,
            num_cameras=published_sets.VIEWS,
            side_px=_SIDE_PX,
            domain_gap=drawn.domain_gap,
            look=drawn.look,
            corruptions=drawn.corruptions,
            frames_per_second=drawn.rig.frames_per_second,
        )
        frames = dict.fromkeys(sizes.train_subjects, sizes.frames)
        published_sets.write_human36m(raw, studio, frames | dict.fromkeys(sizes.test_subjects, sizes.test_frames))
        chosen = H36m(
            train_subjects=sizes.train_subjects,
            test_subjects=sizes.test_subjects,
            train_every=1,
            test_every=1,
            damaged="included",
        )
        prepare_source.prepare(
            raw,
            LabelledSet(path=str(raw), layout="h36m", h36m=chosen),
            out=self.sources / "h36m.h5",
            metrics=self.folder / "h36m.json",
            config=params.select(prepare_source.SourceCache, values, "source_cache"),
        )
        prepare_target.main(
            calibration=raw / "annot",
            views=raw / "images",
            detections=_ROOT / "presets/no_detections",
            out=self.frames,
            cameras=self.cameras,
            joints=self.folder / "detections.h5",
            metrics=self.folder / "target.json",
            frame_list=self.folder / "frames.txt",
            config=params.select(prepare_target.Target, values, "target"),
        )
        prepare_truth.main(
            truth=raw / "annot",
            frames=self.frames,
            out=self.truth,
            config=params.select(prepare_truth.Truth, values, "truth"),
        )

    def pretrain(self, source: Path, out: Path, values: Values, mix: dict[str, float]) -> Path:
        """Train a network from random weights, and return its file."""
        pretrain.main(
            source=source,
            out=out,
            metrics=out.with_suffix(".json"),
            curve=out.with_suffix(".csv"),
            runtime=params.select(Runtime, values, "runtime"),
            network=params.select(Network, values, "network"),
            mix=Mix(mix, None),
            pretrain=params.select(pretrain.Pretrain, values, "pretrain"),
        )
        return out

    def measure_rig(self, model: Path, values: Values) -> dict[str, float]:
        """Return the published numbers of a network on the held-out subjects: percent and mm."""
        folder = model.parent
        heatmaps, poses = folder / f"{model.stem}_heatmaps.h5", folder / f"{model.stem}_poses.h5"
        export_heatmaps.main(
            model=model,
            frames=self.frames,
            out=heatmaps,
            runtime=params.select(Runtime, values, "runtime"),
            export=params.select(export_heatmaps.Export, values, "export"),
        )
        triangulate.main(
            heatmaps=heatmaps,
            cameras=self.cameras,
            out=poses,
            metrics=folder / f"{model.stem}_triangulate.json",
            config=params.select(triangulate.Triangulate, values, "triangulate"),
            held_out=HeldOut(None),
        )
        evaluate.main(
            heatmaps=heatmaps,
            poses=poses,
            rpsm=poses,  # RPSM is not compared
            cameras=self.cameras,
            truth=self.truth,
            metrics=folder / f"{model.stem}_evaluate.json",
            joints=folder / f"{model.stem}_joints.csv",
            curve=folder / f"{model.stem}_curve.csv",
            config=params.select(evaluate.Evaluate, values, "evaluate"),
            held_out=HeldOut(None),
        )
        return _published(folder / f"{model.stem}_evaluate.json")

    def measure_people(self, model: Path, people: Path, values: Values, what: str | None = None) -> dict[str, float]:
        """Return `evaluate_2d`'s numbers on the held-out people of a set, with `what` cut out of every image."""
        hidden = {} if what is None else {"how": "cutout", "what": what}
        values["evaluate_2d"]["occlusion"].update(hidden)
        metrics = model.with_name(f"{model.stem}_{what or 'whole'}.json")
        evaluate_2d.main(
            model=model,
            source=people,
            metrics=metrics,
            runtime=params.select(Runtime, values, "runtime"),
            config=params.select(evaluate_2d.Evaluate2D, values, "evaluate_2d"),
        )
        return dict(json.loads(metrics.read_text()))


def fusion(lab: Lab, folder: Path) -> Rows:
    """Learn from people and the labelled rig, in proportion to their images, without and with fusion."""
    sizes, rows = lab.sizes, {}
    both = sizes.people + sizes.rig_images
    mix = {"people": sizes.people / both, "h36m": sizes.rig_images / both}
    change = {"mix": {"weights": mix}, "pretrain": {"schedule": {"steps": sizes.fusion}}}
    for name, base in (("not fused", ("multiview_mixed",)), ("fused", ("multiview_fusion", "supervised_mixed"))):
        values = lab.values(*base, change=change)
        model = lab.pretrain(lab.sources, folder / f"{name.replace(' ', '_')}.pt", values, mix)
        rows[name] = lab.measure_rig(model, values)
    return rows


def self_training(lab: Lab, folder: Path) -> Rows:
    """Adapt a teacher of people to the rig, without and with the epipolar loss."""
    sizes = lab.sizes
    change: Values = {
        "pretrain": {"schedule": {"steps": sizes.teacher}},
        "retrain": {
            "target_fraction": sizes.rig_images
            / (sizes.rig_images + sizes.people),  # as many images of each set as there are
            "schedule": {"steps": sizes.student},
        },
        "pseudo": {
            "confidence_threshold": sizes.confidence,
            "ransac_inliers": sizes.inliers,
            "reproj_threshold_px": sizes.reproj_threshold_px,
        },
        "rounds": {"r1": {"teacher": "r0"}},
    }
    rows: Rows = {}
    values = lab.values("multiview_self_training", change=change)
    teacher = lab.pretrain(lab.people, folder / "teacher.pt", values, {"people": 1.0})
    rows["teacher"] = lab.measure_rig(teacher, values)
    every = {"ransac": False, "confidence_threshold": 0.0, "rule": "refitted"}
    for name, rule in (("all keypoints", every), ("accepted", {})):
        values = lab.values("multiview_self_training", change={**change, "pseudo": {**change["pseudo"], **rule}})
        params_file = folder / "params.json"  # JSON is YAML
        params_file.write_text(json.dumps(values))
        labels = folder / f"labels_{name.split()[0]}.h5"
        pseudo_labels.main(
            heatmaps=folder / "teacher_heatmaps.h5",
            poses=folder / "teacher_poses.h5",
            rpsm=folder / "teacher_poses.h5",
            cameras=lab.cameras,
            frames=lab.frames,
            out=labels,
            metrics=folder / "labels.json",
            round="r1",
            params=params_file,
            held_out=HeldOut(None),
        )
        evaluate_labels.main(
            labels=labels,
            cameras=lab.cameras,
            truth=lab.truth,
            metrics=folder / "evaluate_labels.json",
            table=folder / "labels.csv",
        )
        rows[name] = _published(folder / "evaluate_labels.json")
    for name, variants in (("student", ("not_epipolar",)), ("student, epipolar", ())):
        values = lab.values("multiview_self_training", *variants, change=change)
        out = folder / f"{name.replace(', ', '_')}.pt"
        retrain.main(
            init=teacher,
            source=lab.people,
            frames=lab.frames,
            labels=folder / "labels_accepted.h5",
            cameras=lab.cameras,
            out=out,
            metrics=out.with_suffix(".json"),
            curve=out.with_suffix(".csv"),
            runtime=params.select(Runtime, values, "runtime"),
            mix=Mix({"people": 1.0}, None),
            retrain=params.select(retrain.Retrain, values, "retrain"),
        )
        rows[name] = lab.measure_rig(out, values)
    return rows


def _published(metrics: Path) -> dict[str, float]:
    """Return the published numbers of a file of metrics."""
    measured = json.loads(metrics.read_text())
    published = measured[measured["recipe"]]["published"]
    return {name: value for name, value in published.items() if isinstance(value, float)}


def regression(lab: Lab, folder: Path) -> Rows:
    """Learn 3D joints from single images in three ways, and measure them beside one constant mean pose."""
    rows = {"mean pose": _mean_pose(Samples.read(lab.in_space))}
    for name in ("integral", "direct", "kinematic"):
        change = {
            "network": {"name": name, "skeleton": "h36m_18"},
            "pretrain": {"schedule": {"steps": lab.sizes.regression}},
        }
        values = lab.values("regression_h36m", change=change)
        model = lab.pretrain(lab.in_space, folder / f"{name}.pt", values, {"people": 1.0})
        measured = lab.measure_people(model, lab.in_space, values)
        rows[name] = {key: measured[f"mpjpe_one_picture_{key}"] for key in _3D}
    return rows


def _mean_pose(people: Samples) -> dict[str, float]:
    """Return the errors of the mean of all learned poses, with the joints that the networks have."""
    assert people.space is not None
    joints, root = people.space.joints.copy(), people.skeleton.root
    joints[:, mapping(people.skeleton, get("h36m_18")) < 0] = np.nan
    train, valid = people.split == "train", people.split == "valid"
    mean = (joints[train] - joints[train][:, [root]]).mean(axis=0)
    predicted = mean + joints[valid][:, [root]]
    return {
        "root_left_out": nanstats.mean(mpjpe.relative_distances(predicted, joints[valid], root)),
        "pa": nanstats.mean(mpjpe.aligned_distances(predicted, joints[valid])),
    }


def resolutions(lab: Lab, folder: Path) -> Rows:
    """Learn with the multi-resolution networks and with Simple Baselines, all of bottlenecks."""
    rows = {}
    for name in ("poseresnet", "mrheat1", "mrfea1"):
        change = {
            "network": {"name": name, "block": "bottleneck", "width": 8},
            "pretrain": {"schedule": {"steps": lab.sizes.resolutions}},
        }
        values = lab.values("baseline_mpii", change=change)
        model = lab.pretrain(lab.people, folder / f"{name}.pt", values, {"people": 1.0})
        rows[name] = _pckh(lab.measure_people(model, lab.people, values))
    return rows


def occlusion(lab: Lab, folder: Path) -> Rows:
    """Learn without and with parts cut out, as published: half of the time, and labels stay."""
    rows = {}
    hiding = {"cutout": 0.5, "target": "part", "unlabel_hidden": False}
    for name, base, width in (("poseresnet", "baseline_mpii", 16), ("hrnet", "hrnet_mpii", 8)):
        for learned, occluded in (("whole", {}), ("occluded", hiding)):
            change: Values = {
                "network": {"name": name, "width": width},
                "pretrain": {"schedule": {"steps": lab.sizes.occlusion}, "augment": {"occlusion": occluded}},
            }
            values = lab.values(base, change=change)
            model = lab.pretrain(lab.people, folder / f"{name}_{learned}.pt", values, {"people": 1.0})
            whole, hidden = (_pckh(lab.measure_people(model, lab.people, values, what)) for what in (None, "left_arm"))
            rows[f"{name}, {learned}"] = {**whole, "pckh_50_hidden": hidden["pckh_50"]}
    return rows


def _pckh(measured: dict[str, float]) -> dict[str, float]:
    return {"pckh_50": measured["mpii_pckh_50"], "pckh_11": measured["mpii_pckh_11"]}


PARTS: dict[str, Callable[[Lab, Path], Rows]] = {
    "fusion": fusion,
    "self_training": self_training,
    "regression": regression,
    "resolutions": resolutions,
    "occlusion": occlusion,
}


@dataclass(frozen=True, kw_only=True)
class Idea:
    """One row of the table.

    Attributes:
        part: whose rows are compared.
        title: what is compared.
        metric: of both.
        without, with_it: the two variants.
        published: the number of the paper or its code.
        less: a smaller number is better.
        helps: whether the paper finds a gain.
    """

    part: str
    title: str
    metric: str
    without: str
    with_it: str
    published: str
    less: bool = False
    helps: bool = True


_NAMES = {
    "jdr_17j": "JDR %, 17 joints",
    "mpjpe_abs_dlt_17j_mm": "Triangulate, MPJPE mm, 17 joints",
    "box_pckh_50_16j": "box-PCKh@0.5 %, 16 joints",
    "box_pckh_50_15j": "box-PCKh@0.5 %, 15 joints",
    "box_pckh_10_15j": "box-PCKh@0.1 %, 15 joints",
    "mpjpe_abs_dlt_16j_mm": "Triangulate, MPJPE mm, 16 joints",
    "root_left_out": "MPJPE mm, one image",
    "pa": "PA-MPJPE mm, one image",
    "pckh_50": "PCKh@0.5 %",
    "pckh_50_hidden": "PCKh@0.5 %, left arm cut out",
}
_3D = ("root_left_out", "pa")
IDEAS = (
    Idea(part="fusion", title="cross-view fusion", metric="jdr_17j", without="not fused", with_it="fused",
         published="91.1 to 94.7"),
    Idea(part="fusion", title="cross-view fusion", metric="mpjpe_abs_dlt_17j_mm", without="not fused", with_it="fused",
         published="38.2 to 36.0 mm (16 joints)", less=True),
    Idea(part="self_training", title="labels by the rule 3/10/0.7, not all keypoints", metric="box_pckh_50_16j",
         without="all keypoints", with_it="accepted", published="90.4 to 96.7"),
    Idea(part="self_training", title="a round of self-training", metric="box_pckh_50_15j", without="teacher",
         with_it="student", published="92.3 to 95.7"),
    Idea(part="self_training", title="a round of self-training", metric="mpjpe_abs_dlt_16j_mm", without="teacher",
         with_it="student", published="none of this rule (109.2 mm to 84.6 mm with all keypoints)", less=True),
    Idea(part="self_training", title="epipolar loss in that round", metric="box_pckh_50_15j", without="student",
         with_it="student, epipolar", published="95.7 to 96.1"),
    Idea(part="self_training", title="epipolar loss in that round", metric="box_pckh_10_15j", without="student",
         with_it="student, epipolar", published="19.1 to 19.7"),
    *(
        Idea(part="regression", title=f"{name} regression, not the mean pose", metric=metric, without="mean pose",
             with_it=name, published=text, less=True)
        for name, texts in (
            ("integral", ("49.6 mm", "40.6 mm (other split)")),
            ("direct", ("learns; no number", "learns; no number")),
            ("kinematic", ("learns; no number", "learns; no number")),
        )
        for metric, text in zip(_3D, texts, strict=True)
    ),
    Idea(part="regression", title="integral, not direct regression", metric="root_left_out", without="direct",
         with_it="integral", published="better; no number of direct", less=True),
    *(
        Idea(part="resolutions", title=f"{title}, not Simple Baselines", metric="pckh_50", without="poseresnet",
             with_it=name, published="better; no number in its code (baseline 88.5, MPII)")
        for name, title in (("mrheat1", "MRHeatNet1"), ("mrfea1", "MRFeaNet1"))
    ),
    *(
        Idea(part="occlusion", title=f"parts cut out in training, {title}", metric=metric, without=f"{name}, whole",
             with_it=f"{name}, occluded", published=text, helps=False)
        for name, title, texts in (
            ("poseresnet", "Simple Baselines", ("no gain; no number", "no gain; no number")),
            ("hrnet", "HRNet", ("no gain: 90.3 to 90.5", "no gain; no number")),
        )
        for metric, text in zip(("pckh_50", "pckh_50_hidden"), texts, strict=True)
    ),
)  # fmt: skip


def table(results: dict[str, dict[int, Rows]]) -> str:
    """Return Markdown: each idea's two means over the seeds (lowest to highest), and its paired difference by seed.

    Args:
        results: part -> seed -> its rows.
    """
    lines = [
        "| idea | measured | without | with | difference by seed | here | published |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for idea in IDEAS:
        seeds = sorted(results.get(idea.part, {}))
        if not seeds:
            continue
        without, with_it = (
            np.array([results[idea.part][seed][variant][idea.metric] for seed in seeds])
            for variant in (idea.without, idea.with_it)
        )
        difference = ", ".join(f"{value:+.1f}" for value in with_it - without)
        cells = (
            idea.title,
            _NAMES[idea.metric],
            _spread(without),
            _spread(with_it),
            difference,
            verdict(idea, without, with_it),
            idea.published,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read(path: Path) -> dict[str, dict[int, Rows]]:
    """Return the rows of a results file, as `table` takes them."""
    results: dict[str, dict[int, Rows]] = {}
    for record in json.loads(path.read_text(encoding="utf-8"))["results"]:
        results.setdefault(record["part"], {})[record["seed"]] = record["rows"]
    return results


def verdict(idea: Idea, without: np.ndarray, with_it: np.ndarray) -> str:
    """Return whether the numbers of some seeds say what the paper says."""
    gain = (without - with_it) if idea.less else (with_it - without)
    every_seed_gains = bool((gain > 0).all())
    return "as published" if every_seed_gains == idea.helps else "not at this size"


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"


def _run(part: str, sizes: Sizes, work: Path, seed: int) -> dict[str, Any]:
    """Return one part's rows with one seed, and its seconds; a finished part is read."""
    folder = work / f"seed{seed}"
    result = _result(work, part, seed)
    if not result.exists():
        start, start_cpu = time.perf_counter(), time.process_time()
        scratch = folder / part
        scratch.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):
            rows = PARTS[part](Lab(sizes, folder, seed), scratch)
        seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - start_cpu}
        write_json(result, {"part": part, "seed": seed, **seconds, "rows": rows})
    return dict(json.loads(result.read_text()))


def _result(work: Path, part: str, seed: int) -> Path:
    return work / f"seed{seed}" / f"{part}.json"


def _prepare(sizes: Sizes, work: Path, seed: int) -> float:
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        Lab(sizes, work / f"seed{seed}", seed).prepare()
    return time.perf_counter() - start


def study(
    sizes: Sizes,
    seeds: Sequence[int],
    parts: Sequence[str],
    *,
    work: Path,
    out: Path,
    workers: int = 2,
    finished: bool = False,
) -> dict[str, dict[int, Rows]]:
    """Run parts with seeds, write their rows, and print the table.

    Args:
        sizes: how much is drawn and learned; other sizes are another study, with a folder of its own.
        seeds, parts: which.
        work: folder to keep finished parts in.
        out: JSON file to write the rows to.
        workers: parts that run at the same time.
        finished: run nothing, and take the parts that are finished.
    """
    digest = hashlib.sha256(json.dumps(asdict(sizes), sort_keys=True).encode()).hexdigest()[:12]
    work = work / digest
    jobs = [(part, seed) for part in parts for seed in seeds if not finished or _result(work, part, seed).exists()]
    results: dict[str, dict[int, Rows]] = {}
    records: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        each = map
        if workers > 1 and not finished:
            pool = stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn")))
            each = pool.map  # type: ignore[assignment]
        to_draw = [] if finished else seeds
        for seed, seconds in zip(to_draw, each(partial(_prepare, sizes, work), to_draw), strict=True):
            print(f"seed {seed}: sets drawn in {seconds:.0f} s", file=sys.stderr, flush=True)
        of_part, of_seed = [part for part, _ in jobs], [seed for _, seed in jobs]
        for record in each(_run, of_part, [sizes] * len(jobs), [work] * len(jobs), of_seed):
            records.append(record)
            results.setdefault(record["part"], {})[record["seed"]] = record["rows"]
            print(
                f"{record['part']}, seed {record['seed']}: {record['seconds']:.0f} s"
                f" ({record['cpu_seconds']:.0f} s of a core)",
                file=sys.stderr,
                flush=True,
            )
            write_json(out, {"sizes": asdict(sizes), "results": records})
    print(table(results))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed and a few steps; nothing is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--finished", action="store_true", help="run nothing: the table of the parts that are finished")
    parser.add_argument("--workers", type=int, default=2, help="parts that run at the same time, a core each")
    parser.add_argument("--work", type=Path, default=Path("data/studies/published"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/published.json"))
    flags = parser.parse_args()
    if flags.quick:
        with tempfile.TemporaryDirectory(prefix="published-") as scratch:
            study(_QUICK, flags.seeds[:1], flags.parts, work=Path(scratch), out=Path(scratch, "rows.json"), workers=1)
    else:
        places = {"work": flags.work, "out": flags.out}
        study(Sizes(), flags.seeds, flags.parts, **places, workers=flags.workers, finished=flags.finished)


if __name__ == "__main__":
    main()
