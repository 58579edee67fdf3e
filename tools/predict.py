"""Predict: any model on a folder of pictures, or a video -> key points, as COCO results and a table, and overlays.

The model is a file of this project, or a public checkpoint that is known by its folder and name, or by `--zoo`. Not a part of
the pipeline's graph: it shows what a model sees, on whatever one has. Without boxes each picture is taken to
show one person who fills it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from tqdm import tqdm

from pipeline import cli, crops, skeleton
from pipeline.datasets import images, videos
from pipeline.files.atomic import replacing
from pipeline.files.tables import write_table
from pipeline.heatmaps.decode import DECODERS
from pipeline.models.checkpoints.zoo import load_model
from pipeline.models.inference import predict as maps_of
from pipeline.report.overlays import draw_skeleton
from pipeline.runtime import Runtime, start_torch
from pipeline.training.batches import network_input

_BATCH = 32  # persons
_LARGEST = 2 << 30  # bytes of a file of boxes


@dataclass(frozen=True)
class Predict:
    """Section `predict` of params.yaml.

    Attributes:
        flip_test: average with the mirrored picture's maps.
        decode: how a peak becomes a position: "dark", "quarter" or "soft", see pipeline/heatmaps/decode.py.
        box_margin: how much larger the box of the network's shape is that it sees, as a fraction of its sides.
        min_box_score: boxes below it are left out.
        min_score: joints below it are not drawn; they are written all the same, with their score.
    """

    flip_test: bool
    decode: Literal["dark", "quarter", "soft"]
    box_margin: float
    min_box_score: float
    min_score: float

    def __post_init__(self) -> None:
        if self.box_margin < 0:
            raise ValueError(f"predict.box_margin: expected 0 or more, got {self.box_margin}")


@dataclass(frozen=True, eq=False)
class _Person:
    """One box: the picture's number in the run and its name, what the network sees of it, the box's score."""

    picture: int
    name: str
    box: np.ndarray
    score: float


def main(
    *,
    model: Path,
    pictures: Path,
    out: Path,
    runtime: Runtime,
    predict: Predict,
    boxes: Path | None = None,
    table: Path | None = None,
    overlays: Path | None = None,
    zoo: str | None = None,
) -> None:
    loaded = load_model(model, zoo)
    network, net = loaded.network, loaded.model
    names = skeleton.get(network.skeleton)
    sources = _sources(pictures)
    known = None if boxes is None else _read_boxes(boxes)
    device = start_torch(runtime)
    net.to(device).eval()
    flipped = names.flipped if predict.flip_test else None
    size, stride = network.image_size, network.stride
    found: list[tuple[_Person, np.ndarray, np.ndarray]] = []

    def finish(waiting: list[tuple[_Person, np.ndarray, np.ndarray]]) -> None:
        maps = maps_of(net, np.stack([cut for _, cut, _ in waiting]), device, flipped, loaded.shift)
        peaks, scores = DECODERS[predict.decode](maps)
        points = crops.transform(np.stack([affine for _, _, affine in waiting]), peaks)
        found.extend((person, *each) for (person, _, _), *each in zip(waiting, points, scores, strict=True))

    waiting: list[tuple[_Person, np.ndarray, np.ndarray]] = []
    for number, (name, picture) in enumerate(tqdm(_read(pictures, sources), total=len(sources), disable=None)):
        for person in _people(number, name, picture, known, predict, size):
            seen = network_input(picture, np.eye(3)[:2], person.box, size, stride=stride, published=loaded.published)
            waiting.append((person, *seen))
        if len(waiting) >= _BATCH:
            finish(waiting)
            waiting = []
    if waiting:
        finish(waiting)
    if not found:
        raise ValueError(f"{boxes}: has no box for any picture of {pictures}")

    results = [_result(*each) for each in found]
    with replacing(out) as scratch:
        scratch.write_text(json.dumps(results) + "\n", encoding="utf-8")
    if table is not None:
        write_table(table, _columns(found, names))
    if overlays is not None:
        _draw(overlays, pictures, sources, found, names, predict.min_score)
    mean = np.mean([scores.mean() for _, _, scores in found])
    print(f"{out}: {len(found)} persons in {len(sources)} pictures, {len(names)} joints each, mean score {mean:.2f}")


def _sources(pictures: Path) -> list[str]:
    """The pictures' names: of the files of a folder, or the numbers of a video's frames, in order."""
    if pictures.is_dir():
        found = sorted(path.name for path in pictures.iterdir() if path.suffix.lower() in images.SUFFIXES)
        if not found:
            raise ValueError(f"{pictures}: no picture in this folder; {', '.join(images.SUFFIXES)} are read")
        return found
    if not pictures.exists():
        raise ValueError(f"{pictures}: there is no such folder or video")
    return [f"{number:06d}" for number in range(videos.count(pictures))]


def _read(pictures: Path, sources: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    if pictures.is_dir():
        for name in sources:
            yield name, images.read(pictures / name)
    else:
        yield from zip(sources, videos.frames(pictures, list(range(len(sources)))), strict=True)


def _read_boxes(path: Path) -> dict[str, list[tuple[np.ndarray, float]]]:
    """COCO results: the boxes of each picture, by its `image_id`; x1 y1 x2 y2 px, edges."""
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path}: larger than any file of boxes ({path.stat().st_size} bytes)")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: not readable as json") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of COCO results, got {type(entries).__name__}")
    found: dict[str, list[tuple[np.ndarray, float]]] = {}
    for at, entry in enumerate(entries):
        values = entry.get("bbox") if isinstance(entry, dict) else None
        numbers: list[Any] = [None]
        if isinstance(values, list) and len(values) == 4:
            numbers = [*values, entry.get("score", 1.0)]
        if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e9 for n in numbers):
            raise ValueError(f"{path}: entry {at} has no box (bbox: x, y, width, height in px, and a score)")
        x, y, width, height, score = (float(number) for number in numbers)
        if width <= 0 or height <= 0:
            raise ValueError(f"{path}: entry {at} has a box without area, {width} x {height} px")
        box = np.array([x, y, x + width, y + height]) - 0.5
        found.setdefault(str(entry.get("image_id")), []).append((box, score))
    return found


def _people(
    number: int,
    name: str,
    picture: np.ndarray,
    known: dict[str, list[tuple[np.ndarray, float]]] | None,
    predict: Predict,
    size: tuple[int, int],
) -> list[_Person]:
    height, width = picture.shape[:2]
    if known is None:
        whole = crops.fitted(np.array([-0.5, -0.5, width - 0.5, height - 0.5]), size)
        return [_Person(number, name, whole, 1.0)]
    some = known.get(name) or known.get(str(_image_id(name)), [])
    return [
        _Person(number, name, crops.fitted(box, size, predict.box_margin), score)
        for box, score in some
        if score >= predict.min_box_score
    ]


def _image_id(name: str) -> int | str:
    """COCO's pictures are called by numbers: 000000000785.jpg is 785. Others keep their file's name."""
    stem = Path(name).stem
    return int(stem) if stem.isascii() and stem.isdigit() else name


def _result(person: _Person, points: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    keypoints = np.concatenate([np.nan_to_num(points), scores[:, None]], axis=1)
    x1, y1, x2, y2 = person.box + 0.5
    return {
        "image_id": _image_id(person.name),
        "category_id": 1,
        "keypoints": [round(float(value), 3) for value in keypoints.ravel()],
        "score": round(float(person.score * scores.mean()), 6),
        "bbox": [round(float(value), 3) for value in (x1, y1, x2 - x1, y2 - y1)],
    }


def _columns(found: list[tuple[_Person, np.ndarray, np.ndarray]], names: skeleton.Skeleton) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {key: [] for key in ("picture", "person", "joint", "x", "y", "score")}
    person, last = 0, -1
    for who, points, scores in found:
        person, last = (person + 1 if who.picture == last else 0), who.picture
        for joint, (x, y), score in zip(names.joint_names, points, scores, strict=True):
            row = (who.name, person, joint, round(float(x), 3), round(float(y), 3), round(float(score), 4))
            for key, value in zip(columns, row, strict=True):
                columns[key].append(value)
    return columns


def _draw(
    overlays: Path,
    pictures: Path,
    sources: list[str],
    found: list[tuple[_Person, np.ndarray, np.ndarray]],
    names: skeleton.Skeleton,
    min_score: float,
) -> None:
    """A folder of JPEGs, named like the pictures."""
    of_picture: dict[int, list[np.ndarray]] = {}
    for person, points, scores in found:
        of_picture.setdefault(person.picture, []).append(np.where(scores[:, None] >= min_score, points, np.nan))
    with replacing(overlays) as scratch:
        scratch.mkdir()
        for number, (name, picture) in enumerate(_read(pictures, sources)):
            for points in of_picture.get(number, []):
                picture = draw_skeleton(picture, points, names, brightness=1.0)
            cv2.imwrite(str(scratch / f"{Path(name).stem}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])


if __name__ == "__main__":
    cli.run(main)
