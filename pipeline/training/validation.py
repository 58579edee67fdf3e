"""What a network finds on labelled pictures that it did not learn from."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from tqdm import tqdm

from pipeline import crops
from pipeline.files.samples import Samples
from pipeline.heatmaps.decode import decode_dark
from pipeline.metrics import pck
from pipeline.skeleton import Skeleton, reorder
from pipeline.training.batches import crop_from_map, network_input

_BATCH = 64


def source_pckh(
    predict: Callable[[np.ndarray], np.ndarray],
    sets: Mapping[str, Samples],
    skeleton: Skeleton,
    size: tuple[int, int],
    stride: int = 4,
) -> float:
    """PCKh@0.5 in percent, by MPII's protocol, on the labelled pictures that are kept for validation; NaN without any.

    Persons without a head size, such as COCO's, have no say.
    """
    columns = []
    for samples in sets.values():
        rows = np.flatnonzero((samples.split == "valid") & np.isfinite(samples.head))
        if len(rows):
            truth = reorder(samples.joints[rows], skeleton, samples.skeleton)
            columns.append((detect(predict, samples, rows, size, stride=stride)[0], truth, samples.head[rows]))
    if not columns:
        return float("nan")
    found, truth, head = (np.concatenate(column) for column in zip(*columns, strict=True))
    return pck.mpii_pckh(found, truth, head, skeleton)[0]


def detect(
    predict: Callable[[np.ndarray], np.ndarray],
    samples: Samples,
    rows: np.ndarray,
    size: tuple[int, int],
    decode: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = decode_dark,
    stride: int = 4,
    published: bool = False,
    hide: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The network's joints in the pictures of some samples.

    Args:
        predict: (batch, height, width, 3) uint8 BGR -> (batch, joints, map height, map width) heatmaps.
        rows: (rows,) which samples.
        size: (width, height) px of the network's input.
        decode: one of the decoders of pipeline/heatmaps/decode.py.
        stride: input px of a map's px.
        published: see `batches.network_input`.
        hide: what is done to a picture before the network sees it: (height, width, 3) uint8 and the sample's joints,
            (joints, 2) px of that picture, to a picture like it.

    Returns:
        (rows, joints, 2) px of the full picture, NaN where a map has no peak, and (rows, joints) scores.
    """

    points, scores = [], []
    for pictures, image_from_map in _inputs(samples, rows, size, stride, published, hide):
        peaks, heights = decode(predict(pictures))  # (batch, joints, 2)
        points.append(crops.transform(image_from_map, peaks))
        scores.append(heights)
    return np.concatenate(points), np.concatenate(scores)


def lift(
    predict_places: Callable[[np.ndarray], np.ndarray],
    samples: Samples,
    rows: np.ndarray,
    skeleton: Skeleton,
    size: tuple[int, int],
    stride: int = 4,
    relative: bool = False,
    hide: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """The network's 3D joints from one picture each, given how far away the root is, as published (Sun 2018).

    Args:
        predict_places: (batch, height, width, 3) uint8 BGR -> (batch, joints, 3) px of the heatmap, see `models.inference`.
        samples: of a set with `space`.
        skeleton: the network's.
        relative: the network's x and y count from the root on, whose place in the picture is given to it as well.
        hide: as of `detect`.

    Returns:
        (rows, joints of the set, 3) mm in the camera's frame; NaN for joints that the network does not know.
    """
    assert samples.space is not None
    root, space = samples.skeleton.root, samples.space.rows(rows)
    points, depth, start = [], [], 0
    for pictures, image_from_map in _inputs(samples, rows, size, stride, False, hide):
        places = reorder(predict_places(pictures), samples.skeleton, skeleton).astype(np.float64)
        if relative:
            here = samples.joints[rows[start : start + len(pictures)]][:, [root]]
            places[..., :2] += crops.transform(crops.inverse(image_from_map), here)
        points.append(crops.transform(image_from_map, places[..., :2]))
        depth.append(places[..., 2] * np.sqrt(np.abs(np.linalg.det(image_from_map[..., :2])))[:, None])
        start += len(pictures)
    return space.lifted(np.concatenate(points), np.concatenate(depth), root)


def _inputs(
    samples: Samples,
    rows: np.ndarray,
    size: tuple[int, int],
    stride: int,
    published: bool,
    hide: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The network's input of some samples, batch after batch, and (batch, 2, 3) image_from_map."""

    def cut_out(row: int) -> tuple[np.ndarray, np.ndarray]:
        stored_from_image, box = samples.crop_from_image[row], samples.rectangle[row]
        cut, image_from_map = network_input(samples.picture(row), stored_from_image, box, size, stride, published)
        if hide is not None:
            map_from_image = crops.inverse(image_from_map)
            from_map = np.array([[stride, 0, 0], [0, stride, 0]]) if published else crop_from_map(stride)
            cut = hide(cut, crops.transform(crops.compose(from_map, map_from_image), samples.joints[row]))
        return cut, image_from_map

    for start in tqdm(range(0, len(rows), _BATCH), desc="detect", disable=None):
        cut = [cut_out(row) for row in rows[start : start + _BATCH]]
        yield np.stack([picture for picture, _ in cut]), np.stack([image_from_map for _, image_from_map in cut])
