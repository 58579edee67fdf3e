"""What a training draws from: labelled samples, and a target's frames with pseudo labels."""

import numpy as np

from pipeline.files.frames import Frames
from pipeline.files.labels import Labels
from pipeline.files.samples import Samples
from pipeline.skeleton import Skeleton, reorder
from pipeline.training.batches import Pool


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
    return Pool(
        picture=lambda row: samples.picture(rows[row]),
        stored_from_image=samples.crop_from_image[rows],
        box=samples.box[rows],
        joints=joints,
        weights=known.astype(np.float32),
        flipped=names.flipped,
        share=share,
    )


def pool_of_labels(frames: Frames, labels: Labels, names: Skeleton, share: float = 1.0, together: bool = False) -> Pool:
    """Every (frame, view) of the target with at least one pseudo label; one row a picture.

    Args:
        together: the views of a moment come into the same batch, for a loss that compares them.

    Raises:
        ValueError: labels and frames speak of different frames or views, or no label was accepted.
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
    moments = np.split(np.arange(len(frame)), np.flatnonzero(np.diff(frame)) + 1)
    return Pool(
        picture=lambda row: frames.picture(int(frame[row]), int(view[row])),
        stored_from_image=frames.crop_from_image[frame, view],
        box=labels.box[frame, view],
        joints=points[frame, view],
        weights=weights[frame, view].astype(np.float32),
        flipped=names.flipped,
        share=share,
        moments=moments if together else None,
        view=view if together else None,
    )
