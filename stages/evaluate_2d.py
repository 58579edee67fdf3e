"""Evaluate in 2D: any model on a prepared labelled set, by MPII's or COCO's own protocol, as the published tables have it.

Not a part of the pipeline's graph. MPII: PCKh by joint and both published means. COCO (`--annotations`, the set's
person_keypoints json): the ten numbers of pycocotools, on annotated or detected boxes, whichever the set was prepared with.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import cli, crops, heatmaps, skeleton
from pipeline.files.atomic import replacing, write_json
from pipeline.files.samples import Samples
from pipeline.metrics import oks, pck
from pipeline.models import build
from pipeline.models.inference import predict
from pipeline.runtime import Runtime, start_torch
from pipeline.training.validation import detect


@dataclass(frozen=True)
class Evaluate2D:
    """Section `evaluate_2d` of params.yaml.

    Attributes:
        split: of the set.
        flip_test: average with the mirrored picture's maps.
        decode: how a peak becomes a position: "dark", "quarter" or "soft", see pipeline/heatmaps.py.
        least_joint_score: for COCO; joints below it have no say in a person's score.
        suppression: for COCO; of people in one picture who are more alike than this, the best stays.
    """

    split: Literal["train", "valid"]
    flip_test: bool
    decode: Literal["dark", "quarter", "soft"]
    least_joint_score: float
    suppression: float


def main(
    model: Path,
    source: Path,
    metrics: Path,
    runtime: Runtime,
    config: Evaluate2D,
    annotations: Path | None = None,
    results: Path | None = None,
) -> None:
    network, net = build.load(model)
    names = skeleton.get(network.skeleton)
    samples = Samples.read(source)
    rows = np.flatnonzero(samples.split == config.split)
    if len(rows) == 0:
        raise ValueError(f"{source}: nobody in the split '{config.split}'")
    if annotations is not None and names.name != "coco_17":
        raise ValueError(f"{model}: speaks of the joints {names.name}; COCO's evaluation needs coco_17")
    device = start_torch(runtime)
    net.to(device).eval()
    decode = {"dark": heatmaps.decode_dark, "quarter": heatmaps.decode_quarter, "soft": heatmaps.decode_soft}
    flipped = names.flipped if config.flip_test else None
    maps_of = partial(predict, net, device=device, flipped=flipped)
    points, scores = detect(maps_of, samples, rows, network.picture_size, decode[config.decode], network.stride)

    values: dict[str, float] = {}
    if annotations is not None:
        seen = crops.fitted(samples.rectangle[rows], network.picture_size)
        area = np.prod(seen[:, 2:] - seen[:, :2], axis=-1)
        found = oks.coco_results(
            np.array([_image_id(key, source) for key in samples.key[rows]]),
            np.nan_to_num(points),
            scores,
            samples.score[rows],
            area,
            least_joint_score=config.least_joint_score,
            threshold=config.suppression,
        )
        if results is not None:
            with replacing(results) as scratch:
                scratch.write_text(json.dumps(found) + "\n", encoding="utf-8")
        values |= {f"coco_{name}": 100 * value for name, value in oks.coco_ap(annotations, found).items()}
    if np.isfinite(samples.head[rows]).any():
        truth = skeleton.reorder(samples.joints[rows], names, samples.skeleton)
        if "head_top" in names.joints:
            table = pck.mpii_table(points, truth, samples.head[rows], names)
        else:
            table = {"pckh_50": pck.mpii_pckh(points, truth, samples.head[rows], names)[0]}
        values |= {f"mpii_{name}": value for name, value in table.items()}
    if not values:
        raise ValueError(f"{source}: has no head sizes for PCKh; for COCO's evaluation give --annotations")
    write_json(metrics, {**values, "persons": len(rows)})
    print(f"{metrics}: {len(rows)} persons of {source}, split {config.split}, flip test {config.flip_test}")
    width = max(len(name) for name in values)
    for name, value in values.items():
        print(f"  {name:<{width}}  {value:6.2f}")


def _image_id(key: str, source: Path) -> int:
    """The number in the name of a COCO picture: `val2017/000000000785.jpg#12` is 785."""
    stem = Path(key.split("#")[0]).stem.split("_")[-1]  # COCO_val2014_000000000785 of older sets
    if not stem.isdigit():
        raise ValueError(f"{source}: the picture of '{key}' is not called by a number, as COCO's are")
    return int(stem)


if __name__ == "__main__":
    cli.run(main, Evaluate2D, name="evaluate_2d")
