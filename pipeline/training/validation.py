"""A network's keypoints and joints on labelled images that it did not learn from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from pipeline import crops
from pipeline.files.samples import Samples
from pipeline.heatmaps.decode import decode_dark
from pipeline.metrics import pck
from pipeline.skeleton import Skeleton, reorder
from pipeline.training.batches import crop_from_map, network_input

_BATCH = 64

Hide = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """How a network's input is cut, and its maps are read.

    Attributes:
        size: (width, height) px of the network's input.
        stride: input px of a map's px.
        published: see `batches.network_input`.
    """

    size: tuple[int, int]
    stride: int = 4
    published: bool = False


def source_accuracy(
    predict: Callable[[np.ndarray], np.ndarray],
    sets: Mapping[str, Samples],
    skeleton: Skeleton,
    input_format: InputFormat,
) -> dict[str, float]:
    """Return how well a network finds the joints of the labelled persons kept for validation, percent.

    Returns:
        source_pckh_50: PCKh@0.5 by MPII's protocol, of the persons with a head size; NaN if there are no persons at all.
        source_pck_box_5: of the persons without one, such as COCO's, the percentage of labelled keypoints within 5 % of the
            longer side of the person's box (PCK as of Yang and Ramanan 2013, with the box in the set's own margin). Either is
            left out if no person counts for it.
    """
    with_head: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    without_head: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for samples in sets.values():
        has_head = np.isfinite(samples.head)
        for chosen, columns in ((has_head, with_head), (~has_head, without_head)):
            rows = np.flatnonzero((samples.split == "valid") & chosen)
            if len(rows):
                ground_truth = reorder(samples.keypoints[rows], skeleton, samples.skeleton)
                predicted, _ = predict_keypoints(predict, samples, rows, input_format)
                size = samples.head if chosen is has_head else samples.box[:, 2] - samples.box[:, 0]
                columns.append((predicted, ground_truth, size[rows]))
    found = {}
    if with_head or not without_head:
        found["source_pckh_50"] = float("nan")
    if with_head:
        predicted, ground_truth, head = (np.concatenate(column) for column in zip(*with_head, strict=True))
        found["source_pckh_50"] = pck.mpii_pckh(predicted, ground_truth, head, skeleton)[0]
    if without_head:
        predicted, ground_truth, side = (np.concatenate(column) for column in zip(*without_head, strict=True))
        found["source_pck_box_5"] = pck.pckh(pck.head_distances(predicted, ground_truth, side), 0.05)
    return found


def accuracy_note(accuracy: Mapping[str, float]) -> str:
    """Return the numbers of `source_accuracy` as they are printed."""
    names = {"source_pckh_50": "source PCKh@0.5", "source_pck_box_5": "source PCK within 5 % of the box"}
    return ", ".join(f"{names[key]} {value:.1f} %" for key, value in accuracy.items())


def predict_keypoints(
    predict: Callable[[np.ndarray], np.ndarray],
    samples: Samples,
    rows: np.ndarray,
    input_format: InputFormat,
    *,
    decode: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = decode_dark,
    hide: Hide | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's keypoints of some samples.

    Args:
        predict: (batch, height, width, 3) uint8 BGR -> (batch, joints, map height, map width) heatmaps.
        rows: (rows,) which samples.
        decode: one of the decoders of pipeline/heatmaps/decode.py.
        hide: changes an image before the network's prediction: (height, width, 3) uint8 and the sample's keypoints,
            (joints, 2) px of that image, to an image of the same shape.

    Returns:
        (rows, joints, 2) px of the full image, NaN where a map has no peak, and (rows, joints) scores, the raw heights
        of the peaks.
    """
    keypoints, scores = [], []
    for images, image_from_map in _inputs(samples, rows, input_format, hide):
        peaks, heights = decode(predict(images))  # (batch, joints, 2)
        keypoints.append(crops.transform(image_from_map, peaks))
        scores.append(heights)
    return np.concatenate(keypoints), np.concatenate(scores)


def predict_joints(
    predict_coordinates: Callable[[np.ndarray], np.ndarray],
    samples: Samples,
    rows: np.ndarray,
    input_format: InputFormat,
    *,
    skeleton: Skeleton,
    relative: bool = False,
    hide: Hide | None = None,
) -> np.ndarray:
    """Return the network's 3D joints of single images, given the distance of the root from the camera, as published (Sun 2018).

    Args:
        predict_coordinates: (batch, height, width, 3) uint8 BGR -> (batch, joints, 3) px of the heatmap, see
            `models.inference`.
        samples: of a set with `space`.
        skeleton: the network's.
        relative: the network's x and y are relative to the root, whose ground truth in the image is used as well.
        hide: as of `predict_keypoints`.

    Returns:
        (rows, joints of the set, 3) mm in the camera's frame; NaN for joints that the network does not have.
    """
    assert samples.space is not None
    root, space = samples.skeleton.root, samples.space.take(rows)
    keypoints, depth, start = [], [], 0
    # Coordinates are counted by the half-pixel rule, also those of a public checkpoint.
    for images, image_from_map in _inputs(samples, rows, replace(input_format, published=False), hide):
        coordinates = reorder(predict_coordinates(images), samples.skeleton, skeleton).astype(np.float64)
        if relative:
            root_in_image = samples.keypoints[rows[start : start + len(images)]][:, [root]]
            coordinates[..., :2] += crops.transform(crops.inverse(image_from_map), root_in_image)
        keypoints.append(crops.transform(image_from_map, coordinates[..., :2]))
        depth.append(coordinates[..., 2] * np.sqrt(np.abs(np.linalg.det(image_from_map[..., :2])))[:, None])
        start += len(images)
    return space.lift(np.concatenate(keypoints), np.concatenate(depth), root)


def _inputs(
    samples: Samples, rows: np.ndarray, input_format: InputFormat, hide: Hide | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the network's input of some samples, batch after batch, and (batch, 2, 3) image_from_map."""
    size, stride, published = input_format.size, input_format.stride, input_format.published

    def cut_out(row: int) -> tuple[np.ndarray, np.ndarray]:
        stored_from_image, box = samples.crop_from_image[row], samples.person_box[row]
        cut, image_from_map = network_input(
            samples.image(row), stored_from_image, box, size, stride=stride, published=published
        )
        if hide is not None:
            map_from_image = crops.inverse(image_from_map)
            from_map = np.array([[stride, 0, 0], [0, stride, 0]]) if published else crop_from_map(stride)
            cut = hide(cut, crops.transform(crops.compose(from_map, map_from_image), samples.keypoints[row]))
        return cut, image_from_map

    for start in tqdm(range(0, len(rows), _BATCH), desc="predict", disable=None):
        cuts = [cut_out(row) for row in rows[start : start + _BATCH]]
        yield np.stack([image for image, _ in cuts]), np.stack([image_from_map for _, image_from_map in cuts])
