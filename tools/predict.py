"""Predict: any model on a folder or zip of images, or a video -> keypoints as COCO results and a table, and overlays.

The model is a file of this project, or a public checkpoint that its folder and name identify, or `--zoo`. This tool is no part of
the pipeline's graph: it shows what a model predicts on images of any kind. Without boxes, each image is taken to show one person
who fills it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from annotated_types import Ge
from tqdm import tqdm

from pipeline import cli, crops
from pipeline import skeleton as skeletons
from pipeline.datasets import images as image_files
from pipeline.datasets import videos
from pipeline.datasets.archives import Archive, Images
from pipeline.files.atomic import replacing
from pipeline.files.tables import write_table
from pipeline.heatmaps.decode import DECODERS
from pipeline.models.checkpoints.zoo import load_model
from pipeline.models.inference import predict as predict_heatmaps
from pipeline.report.overlays import draw_skeleton
from pipeline.runtime import Runtime, start_torch
from pipeline.skeleton import Skeleton
from pipeline.training.batches import network_input

_BATCH = 32  # persons
_MAX_BOXES_BYTES = 2 << 30

Boxes = dict[str, list[tuple[np.ndarray, float]]]  # by an image's id or name: x1 y1 x2 y2 px, edges, and the score


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Section `predict` of params.yaml.

    Attributes:
        flip_test: average the heatmaps with those of the mirrored image.
        decode: how a peak becomes a position: "dark", "quarter" or "soft", see pipeline/heatmaps/decode.py.
        box_margin: how much larger than the person's box the network's box is, as a fraction of its sides.
        min_box_score: boxes with a lower score are left out.
        min_score: joints with a lower score are not drawn; they are written, with their score.
    """

    flip_test: bool
    decode: Literal["dark", "quarter", "soft"]
    box_margin: Annotated[float, Ge(0)]
    min_box_score: float
    min_score: float


@dataclass(frozen=True, eq=False)
class _Person:
    """One box: the image's index in the run and its name, the network's box in px, and the box's score."""

    image: int
    name: str
    box: np.ndarray
    score: float


@dataclass(frozen=True, eq=False)
class _Prediction:
    """A person's keypoints, (joints, 2) px of the full image, and their scores, (joints,), the raw heights of the peaks."""

    person: _Person
    keypoints: np.ndarray
    scores: np.ndarray


def main(
    *,
    model: Path,
    images: Path,
    out: Path,
    runtime: Runtime,
    predict: Predict,
    boxes: Path | None = None,
    table: Path | None = None,
    overlays: Path | None = None,
    zoo: str | None = None,
) -> None:
    """Predict and write the keypoints.

    Args:
        model: the network: a file of this project, or a public checkpoint.
        images: a folder of images, a zip of images, or a video.
        out: the COCO results to write, JSON.
        boxes: COCO results with the persons' boxes; by default each image shows one person who fills it.
        table: the keypoints as CSV, to write.
        overlays: a folder of images with the keypoints drawn over them, to write.
        zoo: the public checkpoint's folder and name, where its path does not have them.
    """
    loaded = load_model(model, zoo)
    network, net = loaded.network, loaded.model
    skeleton = skeletons.get(network.skeleton)
    names = _image_names(images)
    known = None if boxes is None else _read_boxes(boxes)
    device = start_torch(runtime)
    net.to(device).eval()
    flipped = skeleton.flipped if predict.flip_test else None
    size, stride = network.image_size, network.stride
    predictions: list[_Prediction] = []

    def finish(waiting: list[tuple[_Person, np.ndarray, np.ndarray]]) -> None:
        persons, inputs, image_from_map = zip(*waiting, strict=True)
        maps = predict_heatmaps(net, np.stack(inputs), device, flipped, loaded.shift)
        peaks, scores = DECODERS[predict.decode](maps)
        keypoints = crops.transform(np.stack(image_from_map), peaks)
        predictions.extend(map(_Prediction, persons, keypoints, scores))

    waiting: list[tuple[_Person, np.ndarray, np.ndarray]] = []
    for number, (name, image) in enumerate(tqdm(_read(images, names), total=len(names), disable=None)):
        for person in _persons(number, name, image, known, predict=predict, size=size):
            cut = network_input(image, np.eye(3)[:2], person.box, size, stride=stride, published=loaded.published)
            waiting.append((person, *cut))
        if len(waiting) >= _BATCH:
            finish(waiting)
            waiting = []
    if waiting:
        finish(waiting)
    if not predictions:
        raise ValueError(f"{boxes}: has no box for any image of {images}")

    with replacing(out) as scratch:
        scratch.write_text(json.dumps([_result(each) for each in predictions]) + "\n", encoding="utf-8")
    if table is not None:
        write_table(table, _columns(predictions, skeleton))
    if overlays is not None:
        _draw(overlays, images, names, predictions, skeleton=skeleton, min_score=predict.min_score)
    mean = np.mean([each.scores.mean() for each in predictions])
    print(
        f"{out}: {len(predictions)} persons in {len(names)} images, {len(skeleton)} joints each, mean score {mean:.2f}"
    )


def _image_names(images: Path) -> list[str]:
    """Return the names of the images in a folder or a zip, or the numbers of a video's frames, in order."""
    if images.is_dir():
        names = sorted(path.name for path in images.iterdir() if path.suffix.lower() in image_files.SUFFIXES)
        if not names:
            raise ValueError(f"{images}: no image in this folder; {', '.join(image_files.SUFFIXES)} are read")
        return names
    if not images.exists():
        raise ValueError(f"{images}: there is no such folder, zip or video")
    if _is_zip(images):
        names = [name for name in Archive(images).names() if Path(name).suffix.lower() in image_files.SUFFIXES]
        if not names:
            raise ValueError(f"{images}: no image in this zip; {', '.join(image_files.SUFFIXES)} are read")
        return names
    return [f"{number:06d}" for number in range(videos.count(images))]


def _read(images: Path, names: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each image's name and the image, (height, width, 3) uint8 BGR."""
    if images.is_dir():
        for name in names:
            yield name, image_files.read(images / name)
    elif _is_zip(images):
        archive = Images({"": Archive(images)})
        for name in names:
            yield name, archive.read(name)
    else:
        yield from zip(names, videos.frames(images, list(range(len(names)))), strict=True)


def _is_zip(images: Path) -> bool:
    return images.suffix.lower() == ".zip"


def _read_boxes(path: Path) -> Boxes:
    """Return the boxes of COCO results by their `image_id`."""
    if path.stat().st_size > _MAX_BOXES_BYTES:
        raise ValueError(f"{path}: larger than any file of boxes ({path.stat().st_size} bytes)")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: not readable as json") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of COCO results, got {type(entries).__name__}")
    boxes: Boxes = {}
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
        boxes.setdefault(str(entry.get("image_id")), []).append((box, score))
    return boxes


def _persons(
    number: int, name: str, image: np.ndarray, known: Boxes | None, *, predict: Predict, size: tuple[int, int]
) -> list[_Person]:
    """Return the persons of one image, each with a box of the shape of the network's input, `size` px."""
    height, width = image.shape[:2]
    if known is None:
        whole = crops.expand_to_aspect(np.array([-0.5, -0.5, width - 0.5, height - 0.5]), size)
        return [_Person(number, name, whole, 1.0)]
    boxes = known.get(name) or known.get(str(_image_id(name)), [])
    return [
        _Person(number, name, crops.expand_to_aspect(box, size, predict.box_margin), score)
        for box, score in boxes
        if score >= predict.min_box_score
    ]


def _image_id(name: str) -> int | str:
    """Return COCO's id of an image: 785 of 000000000785.jpg; the file's name where that is no number."""
    stem = Path(name).stem
    return int(stem) if stem.isascii() and stem.isdigit() else name


def _result(prediction: _Prediction) -> dict[str, Any]:
    """Return a person's COCO result."""
    person, scores = prediction.person, prediction.scores
    keypoints = np.concatenate([np.nan_to_num(prediction.keypoints), scores[:, None]], axis=1)
    x1, y1, x2, y2 = person.box + 0.5
    return {
        "image_id": _image_id(person.name),
        "category_id": 1,
        "keypoints": [round(float(value), 3) for value in keypoints.ravel()],
        "score": round(float(person.score * scores.mean()), 6),
        "bbox": [round(float(value), 3) for value in (x1, y1, x2 - x1, y2 - y1)],
    }


def _columns(predictions: list[_Prediction], skeleton: Skeleton) -> dict[str, list[Any]]:
    """Return the table's columns, one row per keypoint."""
    columns: dict[str, list[Any]] = {key: [] for key in ("image", "person", "joint", "x", "y", "score")}
    person, last = 0, -1
    for each in predictions:
        person, last = (person + 1 if each.person.image == last else 0), each.person.image
        for joint, (x, y), score in zip(skeleton.joint_names, each.keypoints, each.scores, strict=True):
            row = (each.person.name, person, joint, round(float(x), 3), round(float(y), 3), round(float(score), 4))
            for key, value in zip(columns, row, strict=True):
                columns[key].append(value)
    return columns


def _draw(
    overlays: Path,
    images: Path,
    names: list[str],
    predictions: list[_Prediction],
    *,
    skeleton: Skeleton,
    min_score: float,
) -> None:
    """Write a folder of JPEGs, named like the images."""
    by_image: dict[int, list[np.ndarray]] = {}
    for each in predictions:
        drawn = np.where(each.scores[:, None] >= min_score, each.keypoints, np.nan)
        by_image.setdefault(each.person.image, []).append(drawn)
    with replacing(overlays) as scratch:
        scratch.mkdir()
        for number, (name, image) in enumerate(_read(images, names)):
            for keypoints in by_image.get(number, []):
                image = draw_skeleton(image, keypoints, skeleton, brightness=1.0)
            cv2.imwrite(
                str(scratch / f"{Path(name.replace('/', '_')).stem}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92]
            )


if __name__ == "__main__":
    cli.run(main)
