"""Prepare source: labelled pictures of persons -> crops, cut once, so that training never decodes a full picture.

The split, the joints and the boxes are the data set's own; a joint outside of its picture counts as not labelled. A killed
run's successor cuts only what is not cut yet.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from pipeline import cli, crops
from pipeline import params as params_file
from pipeline.datasets import parallel
from pipeline.datasets.labelled import LabelledSet
from pipeline.datasets.records import Census, Records, census
from pipeline.files import atomic, images, journal, samples, scratch
from pipeline.files.journal import Item

_NAMED = 3  # so many examples of what is wrong


@dataclass(frozen=True)
class Source:
    """Section `source` of params.yaml: how every labelled set is stored."""

    cache_size: int  # px that the side of a person's box has in its stored crop, at most: nothing is enlarged
    cache_margin: float  # how much more than the box the stored crop shows, as a fraction of its side
    jpeg_quality: int  # of the stored crops, 1 to 100
    unreadable: Literal["refuse", "skip"]  # absent and damaged pictures: an error, or left out and counted

    def __post_init__(self) -> None:
        if self.cache_size < 16:
            raise ValueError(f"source.cache_size: expected at least 16 px, got {self.cache_size}")
        if not 0 <= self.cache_margin <= 4:
            raise ValueError(f"source.cache_margin: expected 0 to 4, got {self.cache_margin}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"source.jpeg_quality: expected 1 to 100, got {self.jpeg_quality}")


def main(*, data: Path, name: str, out: Path, metrics: Path, params: Path, config: Source) -> None:
    prepare(data, params_file.load(LabelledSet, params, f"sources.{name}"), out, metrics, config)


def prepare(data: Path, labelled_set: LabelledSet, out: Path, metrics: Path, config: Source) -> None:
    records = labelled_set.read(data)
    for note in records.notes:
        print(note)
    stamps = [records.pictures.stamp(image) for image in records.image.tolist()]
    absent = list(dict.fromkeys(records.image[[stamp is None for stamp in stamps]].tolist()))
    if absent and config.unreadable == "refuse":
        raise ValueError(_unusable(data, [f"{image}: there is no such picture" for image in absent]))
    # `unreadable` decides what is done with the crops, not what they are: who changes it after an error need not wait again.
    cutting = (config.cache_size, config.cache_margin, config.jpeg_quality)
    with scratch.resumable_folder(__file__, records.files, cutting, labelled_set, stamps) as folder:
        kept, whole = _write(out, records, config, folder / "crops")
    _report(out, metrics, records, census(records), kept, whole)


def _write(out: Path, records: Records, config: Source, made: Path) -> tuple[np.ndarray, np.ndarray]:
    """Cut and store every person.

    Args:
        made: the journal.

    Returns:
        (persons,) bool, who is stored, and (persons, joints) bool, which joints are labelled and inside the picture.
    """
    affines, sides = np.zeros((len(records), 2, 3)), np.zeros(len(records), dtype=int)
    for row, box in enumerate(records.box):
        affines[row], sides[row] = crops.stored(box, config.cache_margin, config.cache_size)

    def cut(rows: list[int]) -> list[Item]:
        """The persons of one picture, which is decoded once."""
        try:
            picture = records.picture(rows[0])
        except ValueError as error:
            return [(b"", {"error": str(error)})] * len(rows)
        facts = {"size": [picture.shape[1], picture.shape[0]]}
        cuts = (crops.warp(picture, affines[row], int(sides[row])) for row in rows)
        return [(images.encode(crop, config.jpeg_quality), facts) for crop in cuts]

    def make(first: int) -> Iterator[Item]:
        rows = range(first, len(records))
        jobs = (list(same) for _, same in groupby(rows, key=lambda row: str(records.image[row])))
        with tqdm(initial=first, total=len(records), unit="crop", smoothing=0.05, disable=None) as bar:
            for items in parallel.in_order(cut, jobs):
                bar.update(len(items))
                yield from items

    sizes, errors = np.zeros((len(records), 2)), {}  # px of the full pictures
    for row, (_, facts) in enumerate(journal.kept(made, make)):
        if "error" in facts:
            errors[row] = facts["error"]
        else:
            sizes[row] = facts["size"]
    sentences = list(dict.fromkeys(errors.values()))
    if len(errors) == len(records) or (errors and config.unreadable == "refuse"):
        raise ValueError(_unusable(out, sentences))
    for sentence in sentences[:_NAMED]:
        print(f"left out: {sentence}")
    kept = np.array([row not in errors for row in range(len(records))])
    inside = np.all((records.joints >= -0.5) & (records.joints <= sizes[:, None] - 0.5), axis=-1)  # NaN is not inside
    samples.write(
        out,
        skeleton=records.skeleton,
        key=records.key[kept],
        split=records.split[kept],
        joints=np.where(inside[..., None], records.joints, np.nan)[kept],
        visible=inside[kept],
        box=records.box[kept],
        head=records.head[kept],
        crop_from_image=affines[kept],
        jpegs=(jpeg for jpeg, facts in journal.kept(made, lambda first: ()) if "error" not in facts),
        score=records.score[kept],
        decoder=records.decoder,
        extent=None if records.extent is None else records.extent[kept],
        space=None if records.space is None else records.space.rows(kept),
    )
    return kept, inside


def _report(out: Path, metrics: Path, records: Records, counted: Census, kept: np.ndarray, inside: np.ndarray) -> None:
    count = {split: int((records.split[kept] == split).sum()) for split in ("train", "valid")}
    box, head = records.box[kept], records.head[kept]
    labelled = inside[kept].mean()
    atomic.write_json(
        metrics,
        {
            "train": count["train"],
            "valid": count["valid"],
            "left_out": int((~kept).sum()),
            "pictures": counted.pictures,
            "absent_pictures": sum(counted.absent_pictures.values()),
            "labelled_percent": 100 * labelled,
            "box_px": np.median(box[:, 2] - box[:, 0]),
            "head_px": np.median(head[np.isfinite(head)]) if np.isfinite(head).any() else None,
        },
    )
    if counted.shared_pictures:
        print(f"{counted.shared_pictures} pictures show persons of both splits: what is measured on was partly learned")
    left = f", {(~kept).sum()} left out with their pictures" if not kept.all() else ""
    print(
        f"{out}: {count['train']} persons to train on, {count['valid']} to validate on, {labelled:.1%} labelled{left}"
    )


def _unusable(path: Path, sentences: list[str]) -> str:
    some = "; ".join(sentences[:_NAMED]) + ("; ..." if len(sentences) > _NAMED else "")
    pictures_ = "1 picture" if len(sentences) == 1 else f"{len(sentences)} pictures"
    return f"{path}: {pictures_} cannot be used ({some}); source.unreadable: skip leaves their persons out"


if __name__ == "__main__":
    cli.run(main, Source)
