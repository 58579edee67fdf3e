"""The pools that a training draws from: labelled sets of samples, and a target's frames with pseudo labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.files.frames import Frames
from pipeline.files.labels import Labels
from pipeline.files.samples import Samples
from pipeline.skeleton import Skeleton, differences, reorder
from pipeline.training.batches import Order, Pool


@dataclass(frozen=True)
class Mix:
    """Section `mix` of params.yaml: how several labelled sets are mixed.

    Attributes:
        weights: how often a set's persons come, relative to the other sets. A set without a weight, or with weight 0, is not
            used. Each person is drawn alone: neighbours in a batch, as in a file, have nothing in common.
        epoch: persons in an epoch of several sets; null: as many as they have together. In every epoch each set has its exact
            share, and samples left out of one epoch come in the next ones before any sample repeats.
    """

    weights: dict[str, float]
    epoch: int | None

    def __post_init__(self) -> None:
        if min(self.weights.values(), default=0) < 0 or not any(self.weights.values()):
            raise ValueError(f"mix.weights: expected numbers from 0, one of them above, got {self.weights}")
        if self.epoch is not None and self.epoch < len(self.weights):
            raise ValueError(
                f"mix.epoch: expected at least a person of each set, {len(self.weights)}, got {self.epoch}"
            )


def set_files(source: Path, mix: Mix) -> dict[str, Path]:
    """Return the files of the sets to learn from, by name: those of a folder that the mix names, or the one file itself.

    Raises:
        ValueError: the mix names a set without a file.
    """
    if not source.is_dir():
        return {source.stem: source}
    files = {name: source / f"{name}.h5" for name, weight in mix.weights.items() if weight > 0}
    for name, file in files.items():
        if not file.is_file():
            available = ", ".join(sorted(path.stem for path in source.glob("*.h5"))) or "none"
            raise ValueError(f"mix.weights.{name}: there is no such set in {source}; there is {available}")
    return files


def joint_notes(sets: Mapping[str, Samples], skeleton: Skeleton) -> list[str]:
    """Return sentences on how the sets' joints differ from the network's, see `skeleton.differences`."""
    return [
        f"{name}: {sentence}" for name, samples in sets.items() for sentence in differences(skeleton, samples.skeleton)
    ]


def pool_of_sets(sets: Mapping[str, Samples], mix: Mix, skeleton: Skeleton, seed: int, share: float = 1.0) -> Pool:
    """Return a pool of the labelled persons for training of one or several sets, each set as often as the mix says.

    Args:
        seed: of the order in which the sets' persons come.

    Raises:
        ValueError: see `pool_of_samples`.
    """
    pools = [pool_of_samples(samples, "train", skeleton, share) for samples in sets.values()]
    if len(pools) == 1:
        return pools[0]
    sizes = [len(pool) for pool in pools]
    starts = np.concatenate([[0], np.cumsum(sizes)])

    def image(row: int) -> np.ndarray:
        which = int(np.searchsorted(starts, row, side="right")) - 1
        return pools[which].image(row - int(starts[which]))

    return replace(
        pools[0],
        image=image,
        stored_from_image=np.concatenate([pool.stored_from_image for pool in pools]),
        box=np.concatenate([pool.box for pool in pools]),
        keypoints=np.concatenate([pool.keypoints for pool in pools]),
        weights=np.concatenate([pool.weights for pool in pools]),
        depth=np.concatenate(
            [np.full(pool.weights.shape, np.nan) if pool.depth is None else pool.depth for pool in pools]
        ),
        order=MixedOrder(sizes, [mix.weights[name] for name in sets], mix.epoch or sum(sizes), seed),
    )


def pools_of_frame_groups(
    sets: Mapping[str, Samples], mix: Mix, skeleton: Skeleton, seed: int, views: int
) -> list[Pool]:
    """Return the pools of labelled persons for learning cross-view fusion.

    Args:
        views: how many cameras are fused.

    Returns:
        A pool of complete frame groups of the set that several cameras recorded, in still images, and one of all other sets,
        if there are any.

    Raises:
        ValueError: no set, or more than one, was recorded by several cameras. Or one of its rigs does not have the fused
            views, or no frame group is complete.
    """
    multi_view = {name: samples for name, samples in sets.items() if samples.space is not None}
    if len(multi_view) != 1:
        available = ", ".join(multi_view) or "none"
        raise ValueError(
            f"pretrain.fuse: expected one labelled set of several cameras, such as Human3.6M; there is {available}"
        )
    ((name, samples),) = multi_view.items()
    others = {other: samples for other, samples in sets.items() if other != name}
    share = mix.weights[name] / sum(mix.weights[each] for each in sets)
    assert samples.space is not None
    total = len(np.unique(samples.space.view))
    for rig in np.unique(samples.space.rig).tolist():
        own = np.unique(samples.space.view[samples.space.rig == rig])
        if not np.array_equal(own, np.arange(views)):
            raise ValueError(
                f"pretrain.fuse: network.fusion_views is {views}, and rig {rig} of '{name}' has {len(own)} of {total} views; one"
                " fusion serves rigs with the same views only"
            )
    space = samples.space.take(samples.split == "train")
    order = np.lexsort([space.view, space.frame_group])
    frame_groups = np.split(order, np.flatnonzero(np.diff(space.frame_group[order])) + 1)
    complete = [rows for rows in frame_groups if np.array_equal(space.view[rows], np.arange(views))]
    if not complete:
        raise ValueError(
            f"pretrain.fuse: no frame group of '{name}' has all of the {views} views of network.fusion_views"
        )
    pool = pool_of_samples(samples, "train", skeleton, share)
    pool = replace(pool, frame_groups=complete, view=space.view, still=True)
    return [pool, *([pool_of_sets(others, mix, skeleton, seed, 1 - share)] if others else [])]


class MixedOrder:
    """An endless order of the rows of several sets, which lie one after another, each as often as its weight says.

    The row at a place is a function of the seed and the place alone, so that a training resumes anywhere.

    Raises:
        ValueError: a set's share of the epoch is no person.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], epoch: int, seed: int) -> None:
        exact = epoch * np.array(weights) / sum(weights)
        quota = np.floor(exact).astype(int)
        quota[np.argsort(quota - exact, kind="stable")[: epoch - quota.sum()]] += 1  # the largest remainders
        if not quota.all():
            raise ValueError(
                f"mix: an epoch of {epoch} persons has none of a set with weight {weights[int(quota.argmin())]}"
            )
        self._quota, self._epoch, self._seed = quota, epoch, (seed, len(sizes))
        self._first = np.concatenate([[0], np.cumsum(sizes)]).tolist()
        self._orders = [Order(size, (seed, number)) for number, size in enumerate(sizes)]
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __getitem__(self, place: int) -> int:
        epoch, within = divmod(place, self._epoch)
        drawn = self._epochs.get(epoch)
        if drawn is None:  # or a thread that is further on has dropped it
            drawn = self._draw(epoch)
            self._epochs = {epoch: drawn} | {k: v for k, v in self._epochs.items() if k >= epoch - 1}
        set_numbers, index_in_set = drawn
        number = int(set_numbers[within])
        rank = epoch * int(self._quota[number]) + int(index_in_set[within])
        return int(self._first[number]) + self._orders[number][rank]

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each place of an epoch, the set and the index within that set: (epoch,) int each."""
        numbers = np.repeat(np.arange(len(self._quota)), self._quota)
        numbers = np.random.default_rng([*self._seed, epoch, 1]).permutation(numbers)
        index_in_set = np.zeros(self._epoch, dtype=int)
        for number, count in enumerate(self._quota):
            index_in_set[numbers == number] = np.arange(count)
        return numbers, index_in_set


def pool_of_samples(samples: Samples, split: str, skeleton: Skeleton, share: float = 1.0) -> Pool:
    """Return a pool of the labelled persons of one split; a joint that the data set lacks has weight 0.

    Raises:
        ValueError: the split is empty, or none of the network's joints is labelled.
    """
    rows = np.flatnonzero(samples.split == split)
    keypoints = reorder(samples.keypoints[rows], skeleton, samples.skeleton)
    labelled = np.isfinite(keypoints).all(axis=-1)  # (rows, joints)
    if not labelled.any():
        raise ValueError(f"the source has no labelled joint in its split '{split}'; nothing can be learned from it")
    depth = None
    if samples.space is not None:
        depth_px = samples.space.take(rows).depth_px(samples.skeleton.root)
        depth = reorder(depth_px[..., None], skeleton, samples.skeleton)[..., 0]
    return Pool(
        image=lambda row: samples.image(rows[row]),
        stored_from_image=samples.crop_from_image[rows],
        box=samples.person_box[rows],
        keypoints=keypoints,
        weights=labelled.astype(np.float32),
        skeleton=skeleton,
        share=share,
        depth=depth,
    )


def pool_of_labels(
    frames: Frames,
    labels: Labels,
    skeleton: Skeleton,
    *,
    share: float = 1.0,
    camera: np.ndarray | None = None,
    fused: bool = False,
) -> Pool:
    """Return a pool of every (frame, view) of the target with at least one pseudo label; one row per image.

    Args:
        camera: (frames, views) int, the camera of each image: then the views of a frame group come into a batch together, for
            a loss that compares them.
        fused: a network fuses the views: then all views of a frame group come where one of them has a label, in still images.

    Raises:
        ValueError: labels and frames are of different frames or views; no label was accepted; with `fused`, a view has no label.
    """
    frames.keys.require_same(labels.keys, "labels")
    if frames.views != labels.views:
        raise ValueError(f"labels: of the views {', '.join(labels.views)}, the frames have {', '.join(frames.views)}")
    keypoints = reorder(labels.keypoints, skeleton, labels.skeleton)
    weights = reorder(labels.weights[..., None], skeleton, labels.skeleton)[..., 0]
    weights = np.where(np.isfinite(keypoints).all(axis=-1), np.nan_to_num(weights), 0.0)
    weights = weights * frames.present[..., None]
    learnable = (labels.keys.split == "train")[:, None] & (weights > 0).any(axis=-1)  # (frames, views)
    frame, view = np.nonzero(learnable)
    if len(frame) == 0:
        raise ValueError("labels: not one pseudo label was accepted; loosen the thresholds of the section `pseudo`")
    if fused:
        unlabelled = [
            name for name, any_label in zip(labels.views, learnable.any(axis=0), strict=True) if not any_label
        ]
        if unlabelled:
            raise ValueError(f"labels: not one in view {unlabelled[0]}; fusion needs some in each (is it held out?)")
        usable = frames.present & np.isfinite(labels.person_box).all(axis=-1)
        frame, view = np.nonzero(learnable | (learnable.any(axis=-1, keepdims=True) & usable))
    frame_groups = np.split(np.arange(len(frame)), np.flatnonzero(np.diff(frame)) + 1)
    return Pool(
        image=lambda row: frames.image(int(frame[row]), int(view[row])),
        stored_from_image=frames.crop_from_image[frame, view],
        box=labels.person_box[frame, view],
        keypoints=keypoints[frame, view],
        weights=weights[frame, view].astype(np.float32),
        skeleton=skeleton,
        share=share,
        frame_groups=None if camera is None else frame_groups,
        view=None if camera is None else camera[frame, view],
        still=fused,
    )
