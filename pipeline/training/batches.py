"""Prepare batches of person crops: which image comes at which step, how it is varied, as arrays.

Everything about a step is drawn from (seed, step). So an interrupted training resumes at any step with the same batches, and
the threads that prepare batches in advance change nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from typing import Protocol

import numpy as np

from pipeline import crops
from pipeline.heatmaps.render import render
from pipeline.skeleton import Skeleton
from pipeline.training import occlusion
from pipeline.training.augment import Augment, draw_variation, half_body, vary_crops, vary_pixels

_PREFETCHED = 4  # batches that are prepared while one is trained on
_TURN = 6_000_000  # px of the images that are prepared per turn, without prefetching
_THREADS = 2  # OpenCV and NumPy release the interpreter's lock for most of their work


class Indexed(Protocol):
    """An endless order: any place -> the row that comes there."""

    def __getitem__(self, place: int) -> int: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """Images to learn from, with keypoints: labelled samples, or frames with pseudo labels.

    Attributes:
        image: row -> the stored crop, (height, width, 3) uint8 BGR.
        stored_from_image: (rows, 2, 3) px of the stored crop from px of the full image.
        box: (rows, 4) px of the full image; the network sees the smallest box of its own shape around it.
        keypoints: (rows, joints, 2) px of the full image; NaN where not labelled.
        weights: (rows, joints) >= 0.
        skeleton: of the keypoints.
        depth: (rows, joints) px of the full image, as in `Space.depth_px`; NaN where unknown, None without any.
        share: the fraction of each batch that comes from this pool.
        frame_groups: rows that come into a batch together, the views of one frame group each; None: every row comes alone.
        view: (rows,) the camera of each image, where there are frame groups; else None.
        order: place -> row; None: all rows come in a new order before any comes again.
        still: whether its images are never rotated, scaled, shifted nor mirrored, because a network fuses them by their pixels.
    """

    image: Callable[[int], np.ndarray]
    stored_from_image: np.ndarray
    box: np.ndarray
    keypoints: np.ndarray
    weights: np.ndarray
    skeleton: Skeleton
    share: float = 1.0
    frame_groups: Sequence[np.ndarray] | None = None
    view: np.ndarray | None = None
    order: Indexed | None = None
    still: bool = False
    depth: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.box)

    @cached_property
    def image_from_stored(self) -> np.ndarray:
        """(rows, 2, 3) px of the full image from px of the stored crop."""
        return crops.inverse(self.stored_from_image)


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """One step's input.

    Attributes:
        images: (batch, height, width, 3) uint8 BGR.
        targets: (batch, joints, map height, map width) float32 Gaussians of height 1.
        weights: (batch, joints) float32; 0 where a keypoint is unknown or lies outside the image.
        image_from_map: (batch, 2, 3) px of the full image from px of the heatmap.
        mirrored: (batch,) bool; in a mirrored image the person's right wrist is called left wrist.
        frame_group: (batch,) int, equal for the views of one frame group; -1 for an image that stands alone.
        view: (batch,) int, the camera of the image; -1 for an image that stands alone.
        keypoints: (batch, joints, 2) float32 px of the heatmap, the centres of the targets; NaN where unknown.
        depth: (batch, joints) float32 px of the heatmap, relative to the root; NaN where unknown.
    """

    images: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    image_from_map: np.ndarray
    mirrored: np.ndarray
    frame_group: np.ndarray
    view: np.ndarray
    keypoints: np.ndarray
    depth: np.ndarray

    def rows(self, chosen: slice) -> "Batch":
        """Return some images of the batch."""
        return Batch(**{name: values[chosen] for name, values in vars(self).items()})


def batches(
    pools: Sequence[Pool],
    steps: Iterable[int],
    *,
    batch_size: int,
    size: tuple[int, int],
    sigma: float,
    augment: Augment,
    seed: int,
    part: tuple[int, int] = (0, 1),
    stride: int = 4,
    prefetch: bool = True,
) -> Iterator[Batch]:
    """Yield the batches of some steps, in order.

    Args:
        pools: each gives its share of every batch (shares are normalised, at least one image each), and goes through all its
            rows in a new order before any comes again. A pool with frame groups gives as many complete ones as fit into its
            share, but at least one.
        steps: the numbers of the steps; a resumed training asks for the rest.
        size: (width, height) px of the network's input.
        sigma: map px, of the targets.
        part: this process's rank, and the number of processes that share every batch; each prepares its own images of it.
        stride: input px of a map's px.
        prefetch: prepare batches while others are trained on; else some at a time, in turns. Where a training computes on all
            processors, each of its loops waits for its slowest thread, and work beside it takes twice its own time.

    Raises:
        ValueError: a batch has fewer images, or frame groups, than there are processes.
    """
    units = [_units(pool, count) for pool, count in zip(pools, _counts(pools, batch_size), strict=True)]
    orders = [pool.order or Order(len(units[i][0]), (seed, i)) for i, pool in enumerate(pools)]

    rank, num_ranks = part
    if sum(count for _, count in units) < num_ranks:
        raise ValueError(f"batch_size: {num_ranks} processes share a batch, which has only {batch_size} images")

    def prepare(step: int) -> Batch:
        parts: list[Batch] = []
        first = 0
        for i, (pool, (rows_of_unit, count), order) in enumerate(zip(pools, units, orders, strict=True)):
            chosen = [rows_of_unit[order[step * count + k]] for k in range(count)]
            unit = np.repeat(np.arange(count), [len(rows) for rows in chosen])
            mine = (unit + i) % num_ranks == rank
            if mine.any():
                rows = np.concatenate(chosen)
                each = examples(
                    pool,
                    rows,
                    size=size,
                    sigma=sigma,
                    augment=augment,
                    seed=(seed, i, step),
                    stride=stride,
                    chosen=mine,
                )
                if pool.view is not None:
                    each = replace(each, frame_group=first + unit[mine], view=pool.view[rows[mine]])
                parts.append(each)
            first += count
        return Batch(**{name: np.concatenate([vars(each)[name] for each in parts]) for name in vars(parts[0])})

    with ThreadPoolExecutor(_THREADS) as executor:
        if not prefetch:
            upcoming, per_turn = iter(steps), max(_THREADS, _TURN // (batch_size * size[0] * size[1]))
            while turn := list(islice(upcoming, per_turn)):
                yield from list(executor.map(prepare, turn))
            return
        waiting: list[Future[Batch]] = []
        try:
            for step in steps:
                waiting.append(executor.submit(prepare, step))
                if len(waiting) > _PREFETCHED:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def examples(
    pool: Pool,
    rows: np.ndarray,
    *,
    size: tuple[int, int],
    sigma: float,
    augment: Augment,
    seed: tuple[int, ...],
    stride: int = 4,
    chosen: np.ndarray | slice = slice(None),
) -> Batch:
    """Return varied images of a pool, each of which stands alone.

    Args:
        seed: of everything that is drawn.
        chosen: the rows to prepare; the numbers drawn for these do not depend on the choice.
    """
    if pool.still:
        augment = replace(augment, rotation_std_deg=0.0, scale_std=0.0, shift=0.0, flip_prob=0.0, half_body=0.0)
    # The seed's continuation: 0 is an order's, 1 the variation's, and from 2 on each row has its own.
    variation = draw_variation(augment, len(rows), np.random.default_rng([*seed, 1])).rows(chosen)
    numbers, rows = np.arange(2, len(rows) + 2)[chosen], rows[chosen]
    draws_per_row = augment.half_body > 0 or augment.occlusion.active
    rngs = [np.random.default_rng([*seed, number] if draws_per_row else 0) for number in numbers]

    box = pool.box[rows]
    if augment.half_body > 0:
        persons = zip(box, pool.keypoints[rows], rngs, strict=True)
        box = np.stack([half_body(own, keypoints, pool.skeleton, augment, rng) for own, keypoints, rng in persons])
    crop_from_image = vary_crops(crops.crop_from_image(crops.expand_to_aspect(box, size), size), size, variation)
    crop_from_stored = crops.compose(crop_from_image, pool.image_from_stored[rows])
    keypoints = crops.transform(crop_from_image, pool.keypoints[rows])  # (rows, joints, 2)
    weights = pool.weights[rows]
    depth = np.full(weights.shape, np.nan) if pool.depth is None else pool.depth[rows]
    depth = depth * np.sqrt(np.abs(np.linalg.det(crop_from_image[..., :2])))[:, None] / stride
    mirrored, other_side = variation.mirrored[:, None], list(pool.skeleton.flipped)
    keypoints = np.where(mirrored[..., None], keypoints[:, other_side], keypoints)
    weights, depth = (np.where(mirrored, values[:, other_side], values) for values in (weights, depth))

    images = np.empty((len(rows), size[1], size[0], 3), dtype=np.uint8)
    for k, (row, rng) in enumerate(zip(rows, rngs, strict=True)):
        image = crops.warp(pool.image(int(row)), crop_from_stored[k], size)
        if augment.occlusion.cutmix > 0 and rng.random() < augment.occlusion.cutmix:
            image, keypoints[k] = occlusion.exchange(
                image,
                keypoints[k],
                pool.skeleton,
                donor=partial(_random_person, pool, rng),
                settings=augment.occlusion,
                rng=rng,
            )
        image = vary_pixels(image, variation, k)
        images[k], keypoints[k] = occlusion.occlude(image, keypoints[k], pool.skeleton, augment.occlusion, rng)

    inside = ((keypoints > -0.5) & (keypoints < np.array(size) - 0.5)).all(axis=-1)  # NaN is not inside
    on_map = map_from_crop(keypoints, stride)
    return Batch(
        images=images,
        targets=render(on_map, (size[0] // stride, size[1] // stride), sigma),
        weights=(weights * inside).astype(np.float32),
        image_from_map=crops.compose(crops.inverse(crop_from_image), crop_from_map(stride)),
        mirrored=variation.mirrored,
        frame_group=np.full(len(rows), -1),
        view=np.full(len(rows), -1),
        keypoints=on_map.astype(np.float32),
        depth=depth.astype(np.float32),
    )


def _random_person(pool: Pool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a random person of a pool, as stored: the image, and (joints, 2) px of it."""
    row = int(rng.integers(len(pool)))
    return pool.image(row), crops.transform(pool.stored_from_image[row], pool.keypoints[row])


def network_input(
    image: np.ndarray,
    stored_from_image: np.ndarray,
    box: np.ndarray,
    size: tuple[int, int],
    *,
    stride: int = 4,
    published: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the network's input out of a stored crop, unvaried.

    Args:
        image: (stored height, stored width, 3) uint8, the stored crop.
        stored_from_image: (2, 3) px of the stored crop from px of the full image.
        box: (4,) px of the full image; the network sees the smallest box of its own shape around it.
        size: (width, height) px of the network's input.
        stride: input px of a map's px.
        published: cut and read as public checkpoints learned it: (0, 0) of the map is (0, 0) of the crop, the box's centre
            lies half a px lower to the right in it, and a reduction skips pixels.

    Returns:
        (height, width, 3) uint8, and image_from_map, (2, 3): px of the full image from px of the heatmap.
    """
    crop_from_image, from_map = crops.crop_from_image(crops.expand_to_aspect(box, size), size), crop_from_map(stride)
    if published:
        crop_from_image[:, 2] += 0.5
        from_map[:, 2] = 0
    cut = crops.warp(image, crops.compose(crop_from_image, crops.inverse(stored_from_image)), size, not published)
    return cut, crops.compose(crops.inverse(crop_from_image), from_map)


def crop_from_map(stride: int) -> np.ndarray:
    """Return (2, 3) px of the network's input from px of its heatmap, by the half-pixel rule.

    A map's pixel covers stride x stride pixels of the crop. No other rule survives mirroring the image.
    """
    return np.array([[stride, 0, (stride - 1) / 2], [0, stride, (stride - 1) / 2]], dtype=np.float64)


def map_from_crop(keypoints: np.ndarray, stride: int = 4) -> np.ndarray:
    """Return (..., 2) px of the heatmap from px of the network's input, by the half-pixel rule."""
    return (keypoints - (stride - 1) / 2) / stride


def complete_frame_groups(batch: Batch, views: int) -> np.ndarray:
    """Return the rows of the frame groups that have all views, in the views' order: (frame groups, views) int."""
    groups = np.unique(batch.frame_group[batch.frame_group >= 0])
    rows = [np.flatnonzero(batch.frame_group == group) for group in groups]
    complete = [each[np.argsort(batch.view[each])] for each in rows if len(each) == views]
    return np.array(complete, dtype=np.int64).reshape(-1, views)


def _counts(pools: Sequence[Pool], batch_size: int) -> list[int]:
    """Return how many images of a batch each pool gives."""
    shares = [pool.share for pool in pools]
    counts = [max(1, round(batch_size * share / sum(shares))) for share in shares]
    counts[int(np.argmax(counts))] += batch_size - sum(counts)
    return counts


def _units(pool: Pool, num_images: int) -> tuple[Sequence[np.ndarray], int]:
    """Return the rows of a pool that come together, and how many of these units a batch gets."""
    if pool.frame_groups is None:
        return list(np.arange(len(pool))[:, None]), num_images
    return pool.frame_groups, max(1, num_images // max(len(rows) for rows in pool.frame_groups))


class Order:
    """An endless order of rows: each pass is a new permutation, a function of the seed and the pass alone."""

    def __init__(self, rows: int, seed: tuple[int, int]) -> None:
        self._rows, self._seed = rows, seed
        self._passes: dict[int, np.ndarray] = {}

    def __getitem__(self, place: int) -> int:
        turn, within = divmod(place, self._rows)
        order = self._passes.get(turn)
        if order is None:  # or a thread that is further on has dropped it
            order = np.random.default_rng([*self._seed, turn, 0]).permutation(self._rows)
            self._passes = {turn: order} | {k: v for k, v in self._passes.items() if k >= turn - 1}
        return int(order[within])
