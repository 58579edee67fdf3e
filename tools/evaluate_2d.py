"""Evaluate in 2D: any model on a prepared labelled set, by MPII's or COCO's own protocol, as in the published tables.

The model is a file of this project, or a public checkpoint that its folder and name identify, or `--zoo`. A public checkpoint
sees its images, and its heatmaps are read, as in its own code. A set prepared with a `source_cache.cache_size` beyond all boxes
and a `source_cache.jpeg_quality` of 100 comes nearest to its pixels. This tool is not part of the pipeline's graph.

MPII: PCKh per joint and both published means. COCO (`--annotations`, the set's person_keypoints json): the ten numbers of
pycocotools, on annotated or detected boxes, whichever the set was prepared with; with `--results` alone, only the file that
COCO's server takes (test-dev2017). With `evaluate_2d.occlusion` a joint or a part of every person is hidden first.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Unit

from pipeline import cli, crops, nanstats
from pipeline import skeleton as skeletons
from pipeline.files.atomic import replacing, write_json
from pipeline.files.samples import Samples
from pipeline.geometry.alignment import align
from pipeline.heatmaps.decode import DECODERS
from pipeline.metrics import mpjpe, oks, pck
from pipeline.models.checkpoints.zoo import load_model
from pipeline.models.inference import predict, predict_coordinates
from pipeline.runtime import Runtime, start_torch
from pipeline.skeleton import Skeleton
from pipeline.training import occlusion
from pipeline.training.validation import InputFormat, predict_joints, predict_keypoints
from tools.drawings import draw_predictions

Measures = tuple[dict[str, float], list[str]]  # metrics by name, and tables in Markdown

# The columns of the published tables.
_MPII = {
    "Head": "head",
    "Shoulder": "shoulder",
    "Elbow": "elbow",
    "Wrist": "wrist",
    "Hip": "hip",
    "Knee": "knee",
    "Ankle": "ankle",
    "Mean": "pckh_50",
    "Mean@0.1": "pckh_11",
}
_COCO = {
    "AP": "AP",
    "Ap .5": "AP50",
    "AP .75": "AP75",
    "AP (M)": "APm",
    "AP (L)": "APl",
    "AR": "AR",
    "AR .5": "AR50",
    "AR .75": "AR75",
    "AR (M)": "ARm",
    "AR (L)": "ARl",
}

# Of networks that give depth, on sets with joints measured in 3D; the first as published.
_ONE_IMAGE = {
    "MPJPE": "mpjpe_one_picture_root_counted",
    "without root": "mpjpe_one_picture_root_left_out",
    "rigid": "mpjpe_one_picture_pa_noscale_root_counted",
    "PA-MPJPE": "mpjpe_one_picture_pa",
    "challenge": "mpjpe_one_picture_challenge",
}
_CHALLENGE_MM = 4502.881  # the mean sum of limb lengths in the challenge's labels


@dataclass(frozen=True, kw_only=True)
class HiddenPart:
    """Section `evaluate_2d.occlusion`: what is hidden in every image, the test of "Tilting at windmills" (training/occlusion.py).

    Attributes:
        how: "none", "blur" or "cutout".
        what: the name of a joint of the labelled set, or of a part: head, left_arm, hip, corpus, ...
        radius_px: of a joint's disc, px of the network's input.
        fill: of cutout.
        published_axis_bug: spare joints whose x exceeds the height or whose y exceeds the width, as the published code does.
    """

    how: Literal["none", "blur", "cutout"] = "none"
    what: str | None = None
    radius_px: Annotated[float, Gt(0), Unit("px")] = 6.0
    fill: Literal["mean", "black"] = "black"
    published_axis_bug: bool = False

    def __post_init__(self) -> None:
        if (self.how == "none") != (self.what is None):
            raise ValueError(
                f"evaluate_2d.occlusion: expected both `how` and `what`, or neither, got {self.how} and {self.what}"
            )


@dataclass(frozen=True, kw_only=True)
class Evaluate2D:
    """Section `evaluate_2d` of params.yaml.

    Attributes:
        split: of the set.
        flip_test: average the heatmaps with those of the mirrored image.
        decode: how a peak becomes a position: "dark", "quarter" or "soft", see pipeline/heatmaps/decode.py.
        min_joint_score: for COCO; a person's score is the mean over the joints that score more.
        oks_nms_threshold: for COCO; of people in one image whose OKS exceeds it, the one with the best score stays.
        shift_flipped: shift the mirrored image's heatmaps by one px; null: as published for the checkpoint.
        by_joint: a table of each joint's own metric, too; for COCO it takes as long as 17 evaluations.
        occlusion: what is hidden.
    """

    split: Literal["train", "valid"]
    flip_test: bool
    decode: Literal["dark", "quarter", "soft"]
    min_joint_score: float
    oks_nms_threshold: float
    shift_flipped: bool | None = None
    by_joint: bool = False
    occlusion: HiddenPart = field(default_factory=HiddenPart)


def main(
    *,
    model: Path,
    source: Path,
    metrics: Path,
    runtime: Runtime,
    config: Evaluate2D,
    annotations: Path | None = None,
    results: Path | None = None,
    zoo: str | None = None,
    drawings: Path | None = None,
) -> None:
    """Measure a model and write and print its metrics.

    Args:
        model: the network: a file of this project, or a public checkpoint.
        source: a prepared labelled set, HDF5.
        metrics: the JSON file to write.
        annotations: COCO's person_keypoints json of the set; asks for COCO's metrics.
        results: the COCO results to write, JSON.
        zoo: the public checkpoint's folder and name, where its path does not have them.
        drawings: the folder to write the first 200 persons to, with predicted and true keypoints.
    """
    loaded = load_model(model, zoo)
    network, net = loaded.network, loaded.model
    skeleton = skeletons.get(network.skeleton)
    samples = Samples.read(source)
    rows = np.flatnonzero(samples.split == config.split)
    if len(rows) == 0:
        raise ValueError(f"{source}: no person in the split '{config.split}'")
    for_coco = annotations is not None or results is not None
    if for_coco and skeleton.name != "coco_17":
        raise ValueError(f"{model}: predicts the joints {skeleton.name}; COCO's evaluation needs coco_17")
    if config.shift_flipped and net.outputs.coordinates:
        raise ValueError(f"evaluate_2d.shift_flipped: shifts heatmaps, and {network.name} gives coordinates")
    relative, with_depth = net.outputs.relative, net.outputs.depth and samples.space is not None
    if drawings is not None and with_depth and relative:
        raise ValueError(f"--drawings: {network.name} gives no place in the image to draw at")
    hide = _hiding(config.occlusion, samples, rows, source)
    device = start_torch(runtime)
    net.to(device).eval()
    flipped = skeleton.flipped if config.flip_test else None
    shift = loaded.shift if config.shift_flipped is None else config.shift_flipped
    input_format = InputFormat(size=network.image_size, stride=network.stride, published=loaded.published)
    measured: list[Measures] = []
    if with_depth and samples.space is not None:
        joints = predict_joints(
            partial(predict_coordinates, net, device=device, flipped=flipped),
            samples, rows, input_format, skeleton=skeleton, relative=relative, hide=hide,
        )  # fmt: skip
        measured.append(_depth_measures(joints, samples.space.take(rows).joints, samples.skeleton))
    if not (with_depth and relative):  # else joints have no position in the image
        keypoints, scores = predict_keypoints(
            partial(predict, net, device=device, flipped=flipped, shift=shift),
            samples, rows, input_format, decode=DECODERS[config.decode], hide=hide,
        )  # fmt: skip
        if for_coco:
            found = _coco_results(
                keypoints, scores, samples, rows, source=source, size=network.image_size, config=config
            )
            if results is not None:
                with replacing(results) as scratch:
                    scratch.write_text(json.dumps(found) + "\n", encoding="utf-8")
            if annotations is not None:
                measured.append(_coco_measures(annotations, found, skeleton, config.by_joint))
        ground_truth = skeletons.reorder(samples.keypoints[rows], skeleton, samples.skeleton)
        if drawings is not None:
            count = draw_predictions(drawings, samples, rows, predicted=keypoints, ground_truth=ground_truth)
            print(f"{drawings}: {count} persons drawn")
        if np.isfinite(samples.head[rows]).any():
            measured.append(_mpii_measures(keypoints, ground_truth, samples.head[rows], skeleton, config.by_joint))
    if not measured and not for_coco:
        raise ValueError(f"{source}: has no head sizes for PCKh; for COCO's evaluation give --annotations")
    values = {name: value for numbers, _ in measured for name, value in numbers.items()}
    write_json(metrics, {**values, "persons": len(rows)})
    print(f"{metrics}: {len(rows)} persons of {source}, split {config.split}, flip test {config.flip_test}")
    if config.occlusion.what is not None:
        print(f"{config.occlusion.how} of every person's {config.occlusion.what}")
    print(*(table for _, tables in measured for table in tables), sep="\n\n")
    if loaded.score is not None:
        print(f"published: {loaded.score}")


def _depth_measures(predicted: np.ndarray, ground_truth: np.ndarray, skeleton: Skeleton) -> Measures:
    """Return MPJPE of single images, mm, in the ways that are published.

    The variants: roots aligned, where the root's zero counts (integral regression's "17j") or does not; the same after a rigid
    motion, roots aligned again (its "17j_align", which there is fitted on the thorax as well); after a similarity (PA-MPJPE); and
    the ECCV'18 challenge's, which first scales the limbs to the challenge's total length and needs no distance of the root.

    Args:
        predicted, ground_truth: (persons, joints, 3) mm in the camera's frame.
        skeleton: of the set.
    """
    root = skeleton.root
    distances = mpjpe.relative_distances(predicted, ground_truth, root)
    rigid = mpjpe.relative_distances(align(predicted, ground_truth, scale=False), ground_truth, root)
    counted = [np.where(np.arange(len(skeleton)) == root, 0.0, each) for each in (distances, rigid)]
    valid = np.isfinite(ground_truth[:, root]).all(axis=-1)
    challenge = mpjpe.challenge_distances(predicted, ground_truth, root, skeleton.parents, _CHALLENGE_MM)
    distances_mm = {
        "root_counted": counted[0][valid],
        "root_left_out": distances,
        "pa_noscale_root_counted": counted[1][valid],
        "pa": mpjpe.aligned_distances(predicted, ground_truth),
        "challenge": challenge,
    }
    values = {f"mpjpe_one_picture_{name}": nanstats.mean(each) for name, each in distances_mm.items()}
    return values, [_table({title: values[name] for title, name in _ONE_IMAGE.items()}, 1)]


def _coco_results(
    keypoints: np.ndarray,
    scores: np.ndarray,
    samples: Samples,
    rows: np.ndarray,
    *,
    source: Path,
    size: tuple[int, int],
    config: Evaluate2D,
) -> list[dict[str, object]]:
    """Return COCO results of the predicted keypoints, (rows, joints, 2) px; `size` is the network's input's, px."""
    box = crops.expand_to_aspect(samples.person_box[rows], size)
    return oks.coco_results(
        np.array([_image_id(key, source) for key in samples.key[rows]]),
        np.nan_to_num(keypoints),
        scores,
        samples.score[rows],
        np.prod(box[:, 2:] - box[:, :2], axis=-1),
        min_joint_score=config.min_joint_score,
        threshold=config.oks_nms_threshold,
    )


def _coco_measures(annotations: Path, results: list[dict[str, object]], skeleton: Skeleton, by_joint: bool) -> Measures:
    """Return pycocotools' numbers, percent."""
    numbers = {name: 100 * value for name, value in oks.coco_ap(annotations, results).items()}
    values = {f"coco_{name}": value for name, value in numbers.items()}
    tables = [_table({title: numbers[name] for title, name in _COCO.items()}, 1)]
    if by_joint:
        per_joint = {name: 100 * value for name, value in oks.coco_ap_by_joint(annotations, results, skeleton).items()}
        values |= {f"coco_AP_{name}": value for name, value in per_joint.items()}
        tables.append(_table(per_joint, 1))
    return values, tables


def _mpii_measures(
    predicted: np.ndarray, ground_truth: np.ndarray, head_px: np.ndarray, skeleton: Skeleton, by_joint: bool
) -> Measures:
    """Return PCKh, percent: MPII's own table where the skeleton has its joints, else the mean over all joints.

    Each joint's PCKh is returned as well; and, of MPII's joints, `pckh_50_16j`: the mean of multiview self-training, in which
    pelvis and thorax count like every joint, each as often as it is labelled.

    Args:
        predicted, ground_truth: (persons, joints, 2) px of the full image.
        head_px: (persons,) sizes of the heads.
        skeleton: of both.
        by_joint: make a table of each joint's PCKh.
    """
    if {"head_top", "left_ankle", "right_ankle"} <= {*skeleton.joint_names}:
        numbers = pck.mpii_table(predicted, ground_truth, head_px, skeleton)
        numbers["pckh_50_16j"] = pck.pckh(pck.head_distances(predicted, ground_truth, head_px), 0.5)
        tables = [_table({title: numbers[name] for title, name in _MPII.items()}, 3)]
    else:
        numbers = {"pckh_50": pck.mpii_pckh(predicted, ground_truth, head_px, skeleton)[0]}
        tables = [_table({"PCKh@0.5": numbers["pckh_50"]}, 3)]
    each = pck.mpii_pckh(predicted, ground_truth, head_px, skeleton)[1]
    per_joint = {name: float(value) for name, value in zip(skeleton.joint_names, each, strict=True)}
    numbers |= {f"pckh_50_{name}": value for name, value in per_joint.items()}
    if by_joint:
        tables.append(_table(per_joint, 3))
    return {f"mpii_{name}": value for name, value in numbers.items()}, tables


def _hiding(
    hidden: HiddenPart, samples: Samples, rows: np.ndarray, source: Path
) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """Return the function that hides the part in an image, given its keypoints, (joints, 2) px; None if nothing is hidden."""
    skeleton, what = samples.skeleton, hidden.what
    if hidden.how == "none" or what is None:
        return None
    if what not in skeleton.joint_names and (
        what not in occlusion.PARTS or len(occlusion.part_joints(what, skeleton)) < 2
    ):
        known = ", ".join((*skeleton.joint_names, *occlusion.PARTS))
        raise ValueError(f"evaluate_2d.occlusion.what: {source} has no '{what}'; there are {known}")
    if not np.isfinite(samples.keypoints[rows]).any():
        raise ValueError(
            f"evaluate_2d.occlusion: the persons of {source} are boxes without joints: nothing can be hidden"
        )
    how: Literal["blur", "cutout"] = "blur" if hidden.how == "blur" else "cutout"
    settings = occlusion.Occlusion(
        radius_px=hidden.radius_px, fill=hidden.fill, published_axis_bug=hidden.published_axis_bug
    )

    def hide(image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        return occlusion.hide(image, keypoints, skeleton, what, how=how, settings=settings)

    return hide


def _table(numbers: Mapping[str, float], digits: int) -> str:
    """Return one row in Markdown, in the columns of the published tables."""
    cells = {title: f"{value:.{digits}f}" for title, value in numbers.items()}
    widths = [max(len(title), len(text)) for title, text in cells.items()]
    rows = [list(cells), ["-" * width for width in widths], list(cells.values())]
    return "\n".join(
        f"| {' | '.join(f'{cell:>{width}}' for cell, width in zip(row, widths, strict=True))} |" for row in rows
    )


def _image_id(key: str, source: Path) -> int:
    """Return the number in a COCO image's name: 785 of `val2017/000000000785.jpg#12`."""
    stem = Path(key.split("#")[0]).stem.split("_")[-1]  # COCO_val2014_000000000785 of older sets
    if not stem.isdigit():
        raise ValueError(f"{source}: the image of '{key}' has no number as its name, unlike COCO's")
    return int(stem)


if __name__ == "__main__":
    cli.run(main, Evaluate2D, name="evaluate_2d")
