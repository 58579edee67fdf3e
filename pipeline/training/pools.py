"""What a training draws from: sets of labelled samples, and a target's frames with pseudo labels."""

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
    """Section `mix` of params.yaml: how several labelled sets are learned from together.

    Attributes:
        weights: how often a set's persons come, against one another's; a set that is not named, or has weight 0, is not
            learned from. Each person is drawn by itself: neighbours in a batch, as in a file, have nothing in common.
        epoch: persons that an epoch of several sets has, null for as many as they have together. In every epoch each set
            has its exact share, and whoever of a set was not in this epoch is in the next ones before anybody comes again.
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
    """The files of the sets to learn from, by name: of a folder those that the mix names, or the one file itself.

    Raises:
        ValueError: the mix names a set that is not there.
    """
    if not source.is_dir():
        return {source.stem: source}
    files = {name: source / f"{name}.h5" for name, weight in mix.weights.items() if weight > 0}
    for name, file in files.items():
        if not file.is_file():
            there = ", ".join(sorted(path.stem for path in source.glob("*.h5"))) or "none"
            raise ValueError(f"mix.weights.{name}: there is no such set in {source}; there is {there}")
    return files


def joint_notes(sets: Mapping[str, Samples], names: Skeleton) -> list[str]:
    """What should be known about the sets' joints and the network's: see `skeleton.differences`."""
    return [
        f"{name}: {sentence}" for name, samples in sets.items() for sentence in differences(names, samples.skeleton)
    ]


def pool_of_sets(sets: Mapping[str, Samples], mix: Mix, names: Skeleton, seed: int, share: float = 1.0) -> Pool:
    """The labelled persons for training of one or several sets, each set as often as the mix says.

    Args:
        seed: of the order in which the sets' persons come.

    Raises:
        ValueError: see `pool_of_samples`.
    """
    pools = [pool_of_samples(samples, "train", names, share) for samples in sets.values()]
    if len(pools) == 1:
        return pools[0]
    sizes = [len(pool) for pool in pools]
    starts = np.concatenate([[0], np.cumsum(sizes)])

    def picture(row: int) -> np.ndarray:
        which = int(np.searchsorted(starts, row, side="right")) - 1
        return pools[which].picture(row - int(starts[which]))

    return replace(
        pools[0],
        picture=picture,
        stored_from_image=np.concatenate([pool.stored_from_image for pool in pools]),
        box=np.concatenate([pool.box for pool in pools]),
        joints=np.concatenate([pool.joints for pool in pools]),
        weights=np.concatenate([pool.weights for pool in pools]),
        depth=np.concatenate(
            [np.full(pool.weights.shape, np.nan) if pool.depth is None else pool.depth for pool in pools]
        ),
        order=MixedOrder(sizes, [mix.weights[name] for name in sets], mix.epoch or sum(sizes), seed),
    )


def pools_of_moments(sets: Mapping[str, Samples], mix: Mix, names: Skeleton, seed: int, views: int) -> list[Pool]:
    """The labelled persons for learning cross-view fusion: of a set of several cameras the views of a moment come together.

    Args:
        views: how many cameras are fused.

    Returns:
        A pool of the set that several cameras took, in still pictures, and one of all others, if there are any.

    Raises:
        ValueError: no set is of several cameras, or more than one; fusion learns one rig. No moment has all its views.
    """
    measured = {name: samples for name, samples in sets.items() if samples.space is not None}
    if len(measured) != 1:
        found = ", ".join(measured) or "none"
        raise ValueError(
            f"pretrain.fuse: expected one labelled set of several cameras, such as Human3.6M; there is {found}"
        )
    ((name, samples),) = measured.items()
    others = {other: samples for other, samples in sets.items() if other != name}
    share = mix.weights[name] / sum(mix.weights[each] for each in sets)
    space = samples.space.rows(samples.split == "train")  # type: ignore[union-attr]
    order = np.lexsort([space.view, space.moment])
    moments = np.split(order, np.flatnonzero(np.diff(space.moment[order])) + 1)
    whole = [rows for rows in moments if np.array_equal(space.view[rows], np.arange(views))]
    if not whole:
        raise ValueError(
            f"pretrain.fuse: no moment of '{name}' has the {views} views of network.fusion_views, and no others"
        )
    together = replace(pool_of_samples(samples, "train", names, share), moments=whole, view=space.view, still=True)
    return [together, *([pool_of_sets(others, mix, names, seed, 1 - share)] if others else [])]


class MixedOrder:
    """An endless order of the rows of several sets that lie one after another, each as often as its weight says.

    Which row comes at a place is known from the seed and the place alone, so that a training resumes anywhere.

    Raises:
        ValueError: a set's share of the epoch is nobody.
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
        self._turns: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __getitem__(self, place: int) -> int:
        turn, within = divmod(place, self._epoch)
        found = self._turns.get(turn)
        if found is None:  # another thread, which is further on, may have let go of it
            found = self._turn(turn)
            self._turns = {turn: found} | {k: v for k, v in self._turns.items() if k >= turn - 1}
        which, rank = found
        number = int(which[within])
        return int(self._first[number]) + self._orders[number][turn * int(self._quota[number]) + int(rank[within])]

    def _turn(self, turn: int) -> tuple[np.ndarray, np.ndarray]:
        """For each place of an epoch, of which set the row is, and the how-manieth of that set: (epoch,) int each."""
        which = np.repeat(np.arange(len(self._quota)), self._quota)
        which = np.random.default_rng([*self._seed, turn, 1]).permutation(which)
        rank = np.zeros(self._epoch, dtype=int)
        for number, count in enumerate(self._quota):
            rank[which == number] = np.arange(count)
        return which, rank


def pool_of_samples(samples: Samples, split: str, names: Skeleton, share: float = 1.0) -> Pool:
    """The labelled persons of one split, joints by name; a joint that the data set lacks has weight 0.

    Raises:
        ValueError: the split is empty, or no joint of the network's is labelled.
    """
    rows = np.flatnonzero(samples.split == split)
    joints = reorder(samples.joints[rows], names, samples.skeleton)
    known = np.isfinite(joints).all(axis=-1)  # (rows, joints)
    if not known.any():
        raise ValueError(f"the source has no labelled joint in its split '{split}'; nothing can be learned from it")
    depth = None
    if samples.space is not None:
        measured = samples.space.rows(rows).depth_px(samples.skeleton.root)
        depth = reorder(measured[..., None], names, samples.skeleton)[..., 0]
    return Pool(
        picture=lambda row: samples.picture(rows[row]),
        stored_from_image=samples.crop_from_image[rows],
        box=samples.rectangle[rows],
        joints=joints,
        weights=known.astype(np.float32),
        skeleton=names,
        share=share,
        depth=depth,
    )


def pool_of_labels(
    frames: Frames,
    labels: Labels,
    names: Skeleton,
    share: float = 1.0,
    camera: np.ndarray | None = None,
    fused: bool = False,
) -> Pool:
    """Every (frame, view) of the target with at least one pseudo label; one row a picture.

    Args:
        camera: (frames, views) int, which camera took a picture: then the views of a moment come into the same batch, for a
            loss that compares them.
        fused: a network brings the views together: then all of a moment come where one of them has a label, still ones.

    Raises:
        ValueError: with `fused`, a view has no label at all; labels and frames speak of different frames or views; no label was
            accepted.
    """
    frames.keys.require_same(labels.keys, "labels")
    if frames.views != labels.views:
        raise ValueError(f"labels: of the views {', '.join(labels.views)}, the frames have {', '.join(frames.views)}")
    points = reorder(labels.points, names, labels.skeleton)
    weights = reorder(labels.weights[..., None], names, labels.skeleton)[..., 0]
    weights = np.where(np.isfinite(points).all(axis=-1), np.nan_to_num(weights), 0.0)
    weights = weights * frames.present[..., None]
    learnable = (labels.keys.split == "train")[:, None] & (weights > 0).any(axis=-1)  # (frames, views)
    frame, view = np.nonzero(learnable)
    if len(frame) == 0:
        raise ValueError("labels: not one pseudo label was accepted; loosen the thresholds of the section `pseudo`")
    if fused:
        blind = [name for name, seen in zip(labels.views, learnable.any(axis=0), strict=True) if not seen]
        if blind:
            raise ValueError(f"labels: not one in view {blind[0]}; fusion needs some in each (is it held out?)")
        shown = frames.present & np.isfinite(labels.box).all(axis=-1)
        frame, view = np.nonzero(learnable | (learnable.any(axis=-1, keepdims=True) & shown))
    moments = np.split(np.arange(len(frame)), np.flatnonzero(np.diff(frame)) + 1)
    return Pool(
        picture=lambda row: frames.picture(int(frame[row]), int(view[row])),
        stored_from_image=frames.crop_from_image[frame, view],
        box=labels.box[frame, view],
        joints=points[frame, view],
        weights=weights[frame, view].astype(np.float32),
        skeleton=names,
        share=share,
        moments=None if camera is None else moments,
        view=None if camera is None else camera[frame, view],
        still=fused,
    )
