"""Evaluate in 2D: any model on a prepared labelled set, by MPII's or COCO's own protocol, as the published tables have it.

The model is a file of this project, or a public checkpoint that is known by its folder and name, or by `--zoo`; the latter sees
its pictures, and its maps are read, as in its own code; a set prepared with a `source_cache.cache_size` beyond all boxes and a
`source_cache.jpeg_quality` of 100 comes nearest to their pixels. Not a part of the pipeline's graph.

MPII: PCKh by joint and both published means. COCO (`--annotations`, the set's person_keypoints json): the ten numbers of
pycocotools, on annotated or detected boxes, whichever the set was prepared with; with `--results` alone, only the file that
COCO's server takes (test-dev2017). With `evaluate_2d.occlusion` a joint or a part of everybody is hidden first.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import cli, crops, nanstats, skeleton
from pipeline.files.atomic import replacing, write_json
from pipeline.files.samples import Samples
from pipeline.geometry.alignment import align
from pipeline.heatmaps.decode import DECODERS
from pipeline.metrics import mpjpe, oks, pck
from pipeline.models.checkpoints.zoo import load_model
from pipeline.models.inference import predict, predict_coordinates
from pipeline.runtime import Runtime, start_torch
from pipeline.training import occlusion
from pipeline.training.validation import InputFormat, predict_joints, predict_keypoints

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


# Of networks that give depth, on sets that were measured in 3D; the first as published.
_ONE_PICTURE = {
    "MPJPE": "mpjpe_one_picture_root_counted",
    "without root": "mpjpe_one_picture_root_left_out",
    "rigid": "mpjpe_one_picture_pa_noscale_root_counted",
    "PA-MPJPE": "mpjpe_one_picture_pa",
    "challenge": "mpjpe_one_picture_challenge",
}
_CHALLENGE_MM = 4502.881  # the mean total length of the limbs of the challenge's labels


@dataclass(frozen=True)
class Hidden:
    """What nobody's picture shows, on purpose: the test of "Tilting at windmills", see training/occlusion.py.

    Attributes:
        how: "none", "blur" or "cutout".
        what: the name of a joint of the labelled set, or of a part: head, left_arm, hip, corpus, ...
        radius_px: of a joint's disc, px of the network's input.
        fill: of cutout.
        swapped_axes: the published defect, by which joints far to the right or low down stay visible.
    """

    how: Literal["none", "blur", "cutout"] = "none"
    what: str | None = None
    radius_px: float = 6.0
    fill: Literal["mean", "black"] = "black"
    swapped_axes: bool = False

    def __post_init__(self) -> None:
        if (self.how == "none") != (self.what is None):
            raise ValueError(
                f"evaluate_2d.occlusion: expected both `how` and `what`, or neither, got {self.how} and {self.what}"
            )
        if self.radius_px <= 0:
            raise ValueError(f"evaluate_2d.occlusion.radius_px: expected more than 0 px, got {self.radius_px}")


@dataclass(frozen=True)
class Evaluate2D:
    """Section `evaluate_2d` of params.yaml.

    Attributes:
        split: of the set.
        flip_test: average with the mirrored picture's maps.
        decode: how a peak becomes a position: "dark", "quarter" or "soft", see pipeline/heatmaps/decode.py.
        least_joint_score: for COCO; joints below it have no say in a person's score.
        suppression: for COCO; of people in one picture who are more alike than this, the best stays.
        shift: move the mirrored maps of the flip test by a px; null: as it is published for the checkpoint.
        by_joint: the measure of each joint alone, too; for COCO it takes as long as 17 evaluations.
        occlusion: what is hidden.
    """

    split: Literal["train", "valid"]
    flip_test: bool
    decode: Literal["dark", "quarter", "soft"]
    least_joint_score: float
    suppression: float
    shift: bool | None = None
    by_joint: bool = False
    occlusion: Hidden = field(default_factory=Hidden)


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
) -> None:
    loaded = load_model(model, zoo)
    network, net = loaded.network, loaded.model
    names = skeleton.get(network.skeleton)
    samples = Samples.read(source)
    rows = np.flatnonzero(samples.split == config.split)
    if len(rows) == 0:
        raise ValueError(f"{source}: nobody in the split '{config.split}'")
    for_coco = annotations is not None or results is not None
    if for_coco and names.name != "coco_17":
        raise ValueError(f"{model}: speaks of the joints {names.name}; COCO's evaluation needs coco_17")
    if config.shift and net.outputs.coordinates:
        raise ValueError(f"evaluate_2d.shift: moves heatmaps, and {network.name} gives coordinates")
    hide = _hiding(config.occlusion, samples, rows, source)
    device = start_torch(runtime)
    net.to(device).eval()
    flipped = names.flipped if config.flip_test else None
    shift = loaded.shift if config.shift is None else config.shift
    input_format = InputFormat(size=network.image_size, stride=network.stride, published=loaded.published)
    values: dict[str, float] = {}
    tables, by_joint = [], {}
    relative = net.outputs.relative
    if net.outputs.depth and samples.space is not None:
        places_of = partial(predict_coordinates, net, device=device, flipped=flipped)
        lifted = predict_joints(places_of, samples, rows, input_format, skeleton=names, relative=relative, hide=hide)
        values = _one_picture(lifted, samples.space.take(rows).joints, samples.skeleton)
        tables.append(_table({title: values[name] for title, name in _ONE_PICTURE.items()}, 1))
    in_picture = not (relative and values)  # else joints have no place in it, and nothing more can be measured
    if in_picture:
        maps_of = partial(predict, net, device=device, flipped=flipped, shift=shift)
        points, scores = predict_keypoints(
            maps_of, samples, rows, input_format, decode=DECODERS[config.decode], hide=hide
        )
    if for_coco:
        seen = crops.fitted(samples.person_box[rows], network.image_size)
        area = np.prod(seen[:, 2:] - seen[:, :2], axis=-1)
        found = oks.coco_results(
            np.array([_image_id(key, source) for key in samples.key[rows]]),
            np.nan_to_num(points),
            scores,
            samples.score[rows],
            area,
            min_joint_score=config.least_joint_score,
            threshold=config.suppression,
        )
        if results is not None:
            with replacing(results) as scratch:
                scratch.write_text(json.dumps(found) + "\n", encoding="utf-8")
        if annotations is not None:
            numbers = {name: 100 * value for name, value in oks.coco_ap(annotations, found).items()}
            values |= {f"coco_{name}": value for name, value in numbers.items()}
            tables.append(_table({title: numbers[name] for title, name in _COCO.items()}, 1))
            if config.by_joint:
                by_joint = {
                    name: 100 * value for name, value in oks.coco_ap_by_joint(annotations, found, names).items()
                }
                values |= {f"coco_AP_{name}": value for name, value in by_joint.items()}
                tables.append(_table(by_joint, 1))
    if in_picture and np.isfinite(samples.head[rows]).any():
        truth = skeleton.reorder(samples.keypoints[rows], names, samples.skeleton)
        if {"head_top", "left_ankle", "right_ankle"} <= {*names.joint_names}:
            table = pck.mpii_table(points, truth, samples.head[rows], names)
            tables.append(_table({title: table[name] for title, name in _MPII.items()}, 3))
        else:
            table = {"pckh_50": pck.mpii_pckh(points, truth, samples.head[rows], names)[0]}
            tables.append(_table({"PCKh@0.5": table["pckh_50"]}, 3))
        if config.by_joint:
            each = pck.mpii_pckh(points, truth, samples.head[rows], names)[1]
            by_joint = {name: float(value) for name, value in zip(names.joint_names, each, strict=True)}
            table |= {f"pckh_50_{name}": value for name, value in by_joint.items()}
            tables.append(_table(by_joint, 3))
        values |= {f"mpii_{name}": value for name, value in table.items()}
    if not values and not for_coco:
        raise ValueError(f"{source}: has no head sizes for PCKh; for COCO's evaluation give --annotations")
    write_json(metrics, {**values, "persons": len(rows)})
    print(f"{metrics}: {len(rows)} persons of {source}, split {config.split}, flip test {config.flip_test}")
    if config.occlusion.what is not None:
        print(f"{config.occlusion.how} of everybody's {config.occlusion.what}")
    print(*tables, sep="\n\n")
    if loaded.score is not None:
        print(f"published: {loaded.score}")


def _one_picture(found: np.ndarray, truth: np.ndarray, names: skeleton.Skeleton) -> dict[str, float]:
    """MPJPE of single pictures, mm, in the ways that are published.

    Roots together, whose zero counts (integral regression's "17j") or does not; the same after a rigid motion, roots together
    again (its "17j_align", there fitted on the thorax as well); after a similarity (PA-MPJPE); and the ECCV'18 challenge's,
    limbs scaled to the challenge's total length first, which needs no distance of the root.

    Args:
        found, truth: (persons, joints, 3) mm in the camera's frame.
        names: the set's joints.
    """
    root = names.root
    distances = mpjpe.relative_distances(found, truth, root)
    rigid = mpjpe.relative_distances(align(found, truth, scale=False), truth, root)
    counted = [np.where(np.arange(len(names)) == root, 0.0, each) for each in (distances, rigid)]
    known = np.isfinite(truth[:, root]).all(axis=-1)
    challenge = mpjpe.challenge_distances(found, truth, root, names.parents, _CHALLENGE_MM)
    values = {
        "root_counted": counted[0][known],
        "root_left_out": distances,
        "pa_noscale_root_counted": counted[1][known],
        "pa": mpjpe.aligned_distances(found, truth),
        "challenge": challenge,
    }
    return {f"mpjpe_one_picture_{name}": nanstats.mean(each) for name, each in values.items()}


def _hiding(
    hidden: Hidden, samples: Samples, rows: np.ndarray, source: Path
) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """What is done to a picture and its joints, (joints, 2) px of it, before the network sees it."""
    names, what = samples.skeleton, hidden.what
    if hidden.how == "none" or what is None:
        return None
    if what not in names.joint_names and (what not in occlusion.PARTS or len(occlusion.part_joints(what, names)) < 2):
        known = ", ".join((*names.joint_names, *occlusion.PARTS))
        raise ValueError(f"evaluate_2d.occlusion.what: {source} has no '{what}'; there are {known}")
    if not np.isfinite(samples.keypoints[rows]).any():
        raise ValueError(
            f"evaluate_2d.occlusion: the persons of {source} are boxes without joints: nothing can be hidden"
        )
    how: Literal["blur", "cutout"] = "blur" if hidden.how == "blur" else "cutout"
    settings = occlusion.Occlusion(radius_px=hidden.radius_px, fill=hidden.fill, published_axis_bug=hidden.swapped_axes)

    def hide(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
        return occlusion.hide(picture, points, names, what, how=how, settings=settings)

    return hide


def _table(numbers: Mapping[str, float], digits: int) -> str:
    """One row in Markdown, as the published tables are."""
    cells = {title: f"{value:.{digits}f}" for title, value in numbers.items()}
    widths = [max(len(title), len(text)) for title, text in cells.items()]
    rows = [list(cells), ["-" * width for width in widths], list(cells.values())]
    return "\n".join(
        f"| {' | '.join(f'{cell:>{width}}' for cell, width in zip(row, widths, strict=True))} |" for row in rows
    )


def _image_id(key: str, source: Path) -> int:
    """The number in the name of a COCO picture: `val2017/000000000785.jpg#12` is 785."""
    stem = Path(key.split("#")[0]).stem.split("_")[-1]  # COCO_val2014_000000000785 of older sets
    if not stem.isdigit():
        raise ValueError(f"{source}: the picture of '{key}' is not called by a number, as COCO's are")
    return int(stem)


if __name__ == "__main__":
    cli.run(main, Evaluate2D, name="evaluate_2d")
