"""Batches of person crops: which picture comes at which step, how it is varied, as tensors.

Everything about a step is drawn from (seed, step), so a training that was interrupted goes on at any step as if nothing
had happened, and threads that prepare batches ahead change nothing.
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

_AHEAD = 4  # batches that are prepared while one is trained on
_TURN = 6_000_000  # px of the pictures that are prepared before the first is trained on, where both take turns
_THREADS = 2  # OpenCV and NumPy leave the interpreter's lock for most of their work


class Indexed(Protocol):
    """An endless order: any place -> the row that comes there."""

    def __getitem__(self, place: int) -> int: ...


@dataclass(frozen=True, eq=False)
class Pool:
    """Pictures to learn from, with 2D joints: labelled samples, or frames with pseudo labels.

    Attributes:
        picture: row -> the stored crop, (height, width, 3) uint8 BGR.
        stored_from_image: (rows, 2, 3) px of the stored crop from px of the full picture.
        box: (rows, 4) px of the full picture; the network sees the smallest box of its own shape that holds it.
        joints: (rows, joints, 2) px of the full picture; NaN where there is no label.
        weights: (rows, joints) >= 0.
        skeleton: what the joints are called.
        depth: (rows, joints) px of the full picture, as of `Space.depth_px`; NaN where not known, None where nowhere.
        share: how much of each batch comes from this pool.
        moments: rows that come together into a batch, the views of one moment each; None: every row comes alone.
        view: (rows,) which camera took the picture, where `moments` says that it is one of several; else None.
        order: place -> row, which one comes when; None: all rows in a new order before any comes again.
        still: its pictures are neither turned, scaled, shifted nor mirrored, because a network fuses them by their pixels.
    """

    picture: Callable[[int], np.ndarray]
    stored_from_image: np.ndarray
    box: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    skeleton: Skeleton
    share: float = 1.0
    moments: Sequence[np.ndarray] | None = None
    view: np.ndarray | None = None
    order: Indexed | None = None
    still: bool = False
    depth: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.box)

    @cached_property
    def image_from_stored(self) -> np.ndarray:
        """(rows, 2, 3) px of the full picture from px of the stored crop."""
        return crops.inverse(self.stored_from_image)


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's input.

    Attributes:
        pictures: (batch, height, width, 3) uint8 BGR.
        targets: (batch, joints, map height, map width) float32 Gaussians of height 1.
        weights: (batch, joints) float32; 0 where a joint is unknown or lies outside the picture.
        image_from_map: (batch, 2, 3) px of the full picture from px of the heatmap.
        mirrored: (batch,) bool; the picture is its mirror image, so its left wrist is the person's right one.
        moment: (batch,) int, the same for the views of one moment; -1 for a picture that stands alone.
        view: (batch,) int, which camera took the picture; -1 for a picture that stands alone.
        points: (batch, joints, 2) float32 px of the heatmap, what the targets are drawn at; NaN where unknown.
        depth: (batch, joints) float32 px of the heatmap, how much farther away than the root; NaN where unknown.
    """

    pictures: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    image_from_map: np.ndarray
    mirrored: np.ndarray
    moment: np.ndarray
    view: np.ndarray
    points: np.ndarray
    depth: np.ndarray


def batches(
    pools: Sequence[Pool],
    steps: Iterable[int],
    batch_size: int,
    size: tuple[int, int],
    sigma: float,
    augment: Augment,
    seed: int,
    part: tuple[int, int] = (0, 1),
    stride: int = 4,
    beside: bool = True,
) -> Iterator[Batch]:
    """The batches of some steps, in order.

    Args:
        pools: each gives its share of every batch (shares are normalised, at least one picture each), and goes through
            all its rows in a new order before any comes again. Of a pool with moments come as many whole ones as fit into
            its share, but at least one.
        steps: which steps; a resumed training asks for the rest.
        size: (width, height) px of the network's input.
        sigma: map px, of the targets.
        stride: input px of a map's px.
        part: which process this is, and of how many that share every batch; each makes its own pictures of it.
        beside: prepare batches while others are trained on; else some at a time, in turns. Where a training computes on all
            processors, each of its loops waits for its slowest thread, and work beside it takes twice its own time.

    Raises:
        ValueError: a batch has fewer pictures, or moments, than there are processes.
    """
    drawn = [_drawn(pool, count) for pool, count in zip(pools, _counts(pools, batch_size), strict=True)]
    orders = [pool.order or Order(len(drawn[i][0]), (seed, i)) for i, pool in enumerate(pools)]

    rank, ranks = part
    if sum(count for _, count in drawn) < ranks:
        raise ValueError(f"batch_size: {ranks} processes share a batch, which has only {batch_size} pictures")

    def make(step: int) -> Batch:
        made: list[tuple[np.ndarray, ...]] = []
        first = 0
        for i, (pool, (units, count), order) in enumerate(zip(pools, drawn, orders, strict=True)):
            together = [units[order[step * count + k]] for k in range(count)]
            unit = np.repeat(np.arange(count), [len(rows) for rows in together])
            mine = (unit + i) % ranks == rank
            if mine.any():
                chosen = np.concatenate(together)
                seen = examples(pool, chosen, size, sigma, augment, (seed, i, step), stride, mine)
                chosen, unit = chosen[mine], unit[mine]
                alone = np.full(len(chosen), -1)
                moment, view = (alone, alone) if pool.view is None else (first + unit, pool.view[chosen])
                made.append((*seen[:5], moment, view, *seen[5:]))
            first += count
        return Batch(*(np.concatenate(column) for column in zip(*made, strict=True)))

    with ThreadPoolExecutor(_THREADS) as executor:
        if not beside:
            coming, together = iter(steps), max(_THREADS, _TURN // (batch_size * size[0] * size[1]))
            while turn := list(islice(coming, together)):
                yield from list(executor.map(make, turn))
            return
        waiting: list[Future[Batch]] = []
        try:
            for step in steps:
                waiting.append(executor.submit(make, step))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def examples(
    pool: Pool,
    rows: np.ndarray,
    size: tuple[int, int],
    sigma: float,
    augment: Augment,
    seed: tuple[int, ...],
    stride: int = 4,
    made: np.ndarray | slice = slice(None),
) -> tuple[np.ndarray, ...]:
    """Varied pictures: the first five fields of a `Batch`, its points and its depth.

    Args:
        seed: of everything that is drawn.
        made: which of the rows are; what is drawn for these does not depend on it.
    """
    if pool.still:
        augment = replace(augment, rotation=0.0, scale=0.0, shift=0.0, flip=0.0, half_body=0.0)
    variation = draw_variation(augment, len(rows), np.random.default_rng([*seed, 1])).rows(made)  # 0 is an order's
    numbers, rows = np.arange(2, len(rows) + 2)[made], rows[made]
    alone = augment.half_body > 0 or augment.occlusion.ever
    rngs = [np.random.default_rng([*seed, number] if alone else 0) for number in numbers]

    box = pool.box[rows]
    if augment.half_body > 0:
        each = zip(box, pool.joints[rows], rngs, strict=True)
        box = np.stack([half_body(own, joints, pool.skeleton, augment, rng) for own, joints, rng in each])
    crop_from_image = vary_crops(crops.crop_from_image(crops.fitted(box, size), size), size, variation)
    crop_from_stored = crops.compose(crop_from_image, pool.image_from_stored[rows])
    points = crops.transform(crop_from_image, pool.joints[rows])  # (rows, joints, 2)
    weights = pool.weights[rows]
    depth = np.full(weights.shape, np.nan) if pool.depth is None else pool.depth[rows]
    depth = depth * np.sqrt(np.abs(np.linalg.det(crop_from_image[..., :2])))[:, None] / stride
    exchanged, other = variation.mirrored[:, None], list(pool.skeleton.flipped)
    points = np.where(exchanged[..., None], points[:, other], points)
    weights, depth = (np.where(exchanged, values[:, other], values) for values in (weights, depth))

    pictures = np.empty((len(rows), size[1], size[0], 3), dtype=np.uint8)
    for k, (row, rng) in enumerate(zip(rows, rngs, strict=True)):
        picture = crops.warp(pool.picture(int(row)), crop_from_stored[k], size)
        if augment.occlusion.cutmix > 0 and rng.random() < augment.occlusion.cutmix:
            donor = partial(_somebody, pool, rng)
            picture, points[k] = occlusion.exchange(picture, points[k], pool.skeleton, donor, augment.occlusion, rng)
        picture = vary_pixels(picture, variation, k)
        picture, points[k] = occlusion.occlude(picture, points[k], pool.skeleton, augment.occlusion, rng)
        pictures[k] = picture

    inside = ((points > -0.5) & (points < np.array(size) - 0.5)).all(axis=-1)  # NaN is not inside
    on_map = map_from_crop(points, stride)
    targets = render(on_map, (size[0] // stride, size[1] // stride), sigma)
    image_from_map = crops.compose(crops.inverse(crop_from_image), crop_from_map(stride))
    weights = (weights * inside).astype(np.float32)
    placed = (on_map.astype(np.float32), depth.astype(np.float32))
    return pictures, targets, weights, image_from_map, variation.mirrored, *placed


def _somebody(pool: Pool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Anybody of a pool, as stored: the picture, and (joints, 2) px of it."""
    row = int(rng.integers(len(pool)))
    return pool.picture(row), crops.transform(pool.stored_from_image[row], pool.joints[row])


def network_input(
    picture: np.ndarray,
    stored_from_image: np.ndarray,
    box: np.ndarray,
    size: tuple[int, int],
    stride: int = 4,
    published: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the network's input out of a stored crop, unvaried.

    Args:
        picture: (stored height, stored width, 3) uint8.
        stored_from_image: (2, 3) px of the stored crop from px of the full picture.
        box: (4,) px of the full picture; the network sees the smallest box of its own shape that holds it.
        size: (width, height) px of the network's input.
        stride: input px of a map's px.
        published: cut and read as public checkpoints learned it, where (0, 0) of the map is (0, 0) of the crop, the box's centre
            lies half a px lower to the right in it, and a reduction skips pixels.

    Returns:
        (height, width, 3) uint8, and image_from_map, (2, 3): px of the full picture from px of the heatmap.
    """
    crop_from_image, from_map = crops.crop_from_image(crops.fitted(box, size), size), crop_from_map(stride)
    if published:
        crop_from_image[:, 2] += 0.5
        from_map[:, 2] = 0
    found = crops.warp(picture, crops.compose(crop_from_image, crops.inverse(stored_from_image)), size, not published)
    return found, crops.compose(crops.inverse(crop_from_image), from_map)


def crop_from_map(stride: int) -> np.ndarray:
    """(2, 3) px of the network's input from px of its heatmap, by the half-pixel rule.

    It is the only one that a mirrored picture keeps: a map's pixel covers stride x stride pixels of the crop.
    """
    return np.array([[stride, 0, (stride - 1) / 2], [0, stride, (stride - 1) / 2]], dtype=np.float64)


def map_from_crop(points: np.ndarray, stride: int = 4) -> np.ndarray:
    """(..., 2) px of the network's input -> px of its heatmap, by the half-pixel rule."""
    return (points - (stride - 1) / 2) / stride


def whole_moments(batch: Batch, views: int) -> np.ndarray:
    """The rows of a batch that are all views of a moment, in the views' order: (moments, views) int."""
    found = [np.flatnonzero(batch.moment == moment) for moment in np.unique(batch.moment[batch.moment >= 0])]
    rows = [each[np.argsort(batch.view[each])] for each in found if len(each) == views]
    return np.array(rows, dtype=np.int64).reshape(-1, views)


def _counts(pools: Sequence[Pool], batch_size: int) -> list[int]:
    """How many pictures of a batch each pool gives."""
    shares = [pool.share for pool in pools]
    counts = [max(1, round(batch_size * share / sum(shares))) for share in shares]
    counts[int(np.argmax(counts))] += batch_size - sum(counts)
    return counts


def _drawn(pool: Pool, pictures: int) -> tuple[Sequence[np.ndarray], int]:
    """What comes out of a pool together, as rows, and how many of these a batch gets."""
    if pool.moments is None:
        return list(np.arange(len(pool))[:, None]), pictures
    return pool.moments, max(1, pictures // max(len(rows) for rows in pool.moments))


class Order:
    """An endless order of rows: each pass is a new permutation, known from the seed and the pass alone."""

    def __init__(self, rows: int, seed: tuple[int, int]) -> None:
        self._rows, self._seed = rows, seed
        self._passes: dict[int, np.ndarray] = {}

    def __getitem__(self, place: int) -> int:
        turn, within = divmod(place, self._rows)
        order = self._passes.get(turn)
        if order is None:  # another thread, which is further on, may have let go of it
            order = np.random.default_rng([*self._seed, turn, 0]).permutation(self._rows)
            self._passes = {turn: order} | {k: v for k, v in self._passes.items() if k >= turn - 1}
        return int(order[within])
