"""Prepare source: labelled images of persons -> crops, cut once, so that training never decodes a full image.

The split, the keypoints and the boxes are the data set's own; a keypoint outside of its image counts as not labelled. After a
killed run the next one continues with the first crop that is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval, Unit
from tqdm import tqdm

from pipeline import cli, crops
from pipeline import params as params_file
from pipeline.datasets import parallel
from pipeline.datasets.labelled import LabelledSet
from pipeline.datasets.records import Census, Records, census
from pipeline.files import atomic, images, journal, samples, scratch
from pipeline.files.journal import Item

_EXAMPLES = 3  # errors that a message quotes


@dataclass(frozen=True)
class SourceCache:
    """Section `source_cache` of params.yaml: how the crops of every labelled set are stored.

    Attributes:
        cache_size: px; longest side of a person's box in its stored crop. Nothing is enlarged.
        cache_margin: how much more than the box the stored crop shows, as a fraction of its side.
        jpeg_quality: of the stored crops.
        unreadable: "refuse": an absent or damaged image is an error; "skip": its persons are left out and counted.
    """

    cache_size: Annotated[int, Ge(16), Unit("px")]
    cache_margin: Annotated[float, Interval(ge=0, le=4)]
    jpeg_quality: Annotated[int, Interval(ge=1, le=100)]
    unreadable: Literal["refuse", "skip"]


def main(*, data: Path, name: str, out: Path, metrics: Path, params: Path, config: SourceCache) -> None:
    """Cut and store the labelled set `name`.

    Args:
        data: the set's folder.
        name: of the set in `sources`.
        out: file to write the samples to.
        metrics: JSON file to write the counts to.
        params: file that `sources` is read from.
        config: how crops are stored.
    """
    labelled_set = params_file.load(LabelledSet, params, f"sources.{name}")
    prepare(data, labelled_set, out=out, metrics=metrics, config=config)


def prepare(data: Path, labelled_set: LabelledSet, *, out: Path, metrics: Path, config: SourceCache) -> None:
    """Cut and store one labelled set.

    Args:
        data: the set's folder.
        labelled_set: its layout and parts.
        out: the file of samples to write.
        metrics: the JSON file of counts to write.
        config: how crops are stored.

    Raises:
        ValueError: an image is absent or damaged, and `config.unreadable` is "refuse"; or no image is usable.
    """
    records = labelled_set.read(data)
    for note in records.notes:
        print(note)
    stamps = [records.images.stamp(name) for name in records.image_name.tolist()]
    absent = list(dict.fromkeys(records.image_name[[stamp is None for stamp in stamps]].tolist()))
    if absent and config.unreadable == "refuse":
        raise ValueError(_unusable(data, [f"{name}: there is no such image" for name in absent]))
    # `unreadable` does not change the crops, so it is no part of the key: a changed value uses the crops already cut.
    cutting = (config.cache_size, config.cache_margin, config.jpeg_quality)
    with scratch.resumable_folder(__file__, records.files, cutting, labelled_set, stamps) as folder:
        kept, inside = _write(out, records, config, folder / "crops")
    _report(out, metrics, records, kept, inside)


def _write(out: Path, records: Records, config: SourceCache, crops_journal: Path) -> tuple[np.ndarray, np.ndarray]:
    """Cut and store every person.

    Returns:
        (persons,) bool, the person is stored, and (persons, joints) bool, the keypoint is labelled and inside the image.
    """
    affines, sides = np.zeros((len(records), 2, 3)), np.zeros(len(records), dtype=int)
    for row, box in enumerate(records.box):
        affines[row], sides[row] = crops.stored(box, config.cache_margin, config.cache_size)

    def cut(rows: list[int]) -> list[Item]:
        """Return the crops of all persons of one image, which is decoded once."""
        try:
            image = records.read_image(rows[0])
        except ValueError as error:
            return [(b"", {"error": str(error)})] * len(rows)
        facts = {"size": [image.shape[1], image.shape[0]]}
        cuts = (crops.warp(image, affines[row], int(sides[row])) for row in rows)
        return [(images.encode(crop, config.jpeg_quality), facts) for crop in cuts]

    def make(first: int) -> Iterator[Item]:
        rows = range(first, len(records))
        jobs = (list(same) for _, same in groupby(rows, key=lambda row: str(records.image_name[row])))
        with tqdm(initial=first, total=len(records), unit="crop", smoothing=0.05, disable=None) as bar:
            for items in parallel.in_order(cut, jobs):
                bar.update(len(items))
                yield from items

    sizes, errors = np.zeros((len(records), 2)), {}  # px of the full images
    for row, (_, facts) in enumerate(journal.kept(crops_journal, make)):
        if "error" in facts:
            errors[row] = facts["error"]
        else:
            sizes[row] = facts["size"]
    sentences = list(dict.fromkeys(errors.values()))
    if len(errors) == len(records) or (errors and config.unreadable == "refuse"):
        raise ValueError(_unusable(out, sentences))
    for sentence in sentences[:_EXAMPLES]:
        print(f"left out: {sentence}")
    kept = np.array([row not in errors for row in range(len(records))])
    keypoints = records.keypoints
    inside = np.all((keypoints >= -0.5) & (keypoints <= sizes[:, None] - 0.5), axis=-1)  # NaN is not inside
    samples.write(
        out,
        skeleton=records.skeleton,
        key=records.key[kept],
        split=records.split[kept],
        keypoints=np.where(inside[..., None], keypoints, np.nan)[kept],
        visible=inside[kept],
        box=records.box[kept],
        head=records.head[kept],
        crop_from_image=affines[kept],
        jpegs=(jpeg for jpeg, facts in journal.kept(crops_journal, lambda first: ()) if "error" not in facts),
        score=records.score[kept],
        decoder=records.decoder,
        person_size=None if records.extent is None else records.extent[kept],
        space=None if records.space is None else records.space.take(kept),
    )
    return kept, inside


def _report(out: Path, metrics: Path, records: Records, kept: np.ndarray, inside: np.ndarray) -> None:
    counted: Census = census(records)
    count = {split: int((records.split[kept] == split).sum()) for split in ("train", "valid")}
    box, head = records.box[kept], records.head[kept]
    labelled = inside[kept].mean()
    atomic.write_json(
        metrics,
        {
            "train": count["train"],
            "valid": count["valid"],
            "left_out": int((~kept).sum()),
            "pictures": counted.images,
            "absent_pictures": sum(counted.absent_images.values()),
            "labelled_percent": 100 * labelled,
            "box_px": np.median(box[:, 2] - box[:, 0]),
            "head_px": np.median(head[np.isfinite(head)]) if np.isfinite(head).any() else None,
        },
    )
    if counted.shared_images:
        print(f"{counted.shared_images} images show persons of both splits: some validation images were trained on")
    left = f", {(~kept).sum()} left out with their images" if not kept.all() else ""
    print(
        f"{out}: {count['train']} persons to train on, {count['valid']} to validate on, {labelled:.1%} labelled{left}"
    )


def _unusable(path: Path, sentences: list[str]) -> str:
    some = "; ".join(sentences[:_EXAMPLES]) + ("; ..." if len(sentences) > _EXAMPLES else "")
    count = "1 image" if len(sentences) == 1 else f"{len(sentences)} images"
    return f"{path}: {count} cannot be used ({some}); source_cache.unreadable: skip leaves their persons out"


if __name__ == "__main__":
    cli.run(main, SourceCache)
