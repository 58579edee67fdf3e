"""Prepare source: labelled pictures of persons -> crops, cut once, so that training never decodes a full picture.

The split, the joints and the boxes are the data set's own; a joint outside of its picture counts as not labelled.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from pipeline import cli, crops
from pipeline.datasets import images, mpii, parallel
from pipeline.files import atomic, pictures, samples


@dataclass(frozen=True)
class Source:
    """Section `source` of params.yaml."""

    layout: Literal["mpii"]  # how the folder is laid out
    cache_size: int  # px that the side of a person's box has in its stored crop, at most: nothing is enlarged
    cache_margin: float  # how much more than the box the stored crop shows, as a fraction of its side
    jpeg_quality: int  # of the stored crops, 1 to 100

    def __post_init__(self) -> None:
        if self.cache_size < 16:
            raise ValueError(f"source.cache_size: expected at least 16 px, got {self.cache_size}")
        if not 0 <= self.cache_margin <= 4:
            raise ValueError(f"source.cache_margin: expected 0 to 4, got {self.cache_margin}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"source.jpeg_quality: expected 1 to 100, got {self.jpeg_quality}")


def main(data: Path, out: Path, metrics: Path, config: Source) -> None:
    records = mpii.read(data)
    affines = np.zeros((len(records), 2, 3))
    joints = records.joints.copy()
    visible = np.zeros(joints.shape[:2], dtype=bool)

    def cut(row: int) -> bytes:
        name = str(records.image[row])
        picture = images.read(images.inside(data / "images", name, f"{data}: record {records.key[row]}"))
        height, width = picture.shape[:2]
        visible[row] = ((joints[row] >= -0.5) & (joints[row] <= [width - 0.5, height - 0.5])).all(axis=-1)
        joints[row, ~visible[row]] = np.nan
        affines[row], size = crops.stored(records.box[row], config.cache_margin, config.cache_size)
        return pictures.encode(crops.warp(picture, affines[row], size), config.jpeg_quality)

    jpegs = tqdm(parallel.in_order(cut, range(len(records))), total=len(records), unit="crop", disable=None)
    samples.write(
        out, mpii.SKELETON, records.key, records.split, joints, visible, records.box, records.head, affines, jpegs
    )
    count = {split: int((records.split == split).sum()) for split in ("train", "valid")}
    atomic.write_json(
        metrics,
        {
            "train": count["train"],
            "valid": count["valid"],
            "labelled_percent": 100 * visible.mean(),
            "box_px": np.median(records.box[:, 2] - records.box[:, 0]),
            "head_px": np.median(records.head[np.isfinite(records.head)]) if np.isfinite(records.head).any() else None,
        },
    )
    print(
        f"{out}: {count['train']} persons to train on, {count['valid']} to validate on, {visible.mean():.1%} labelled"
    )


if __name__ == "__main__":
    cli.run(main, Source)
