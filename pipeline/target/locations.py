"""The released keypoints of the cross-view fusion and self-training code: an HDF5 file with `locations`, as a first teacher."""

from pathlib import Path

import h5py
import numpy as np

from pipeline.files.detections import Detections
from pipeline.skeleton import get
from pipeline.target.raw import RawTarget

_SKELETONS = {16: "compatible_16", 17: "h36m_17"}  # by the number of joints


def is_released(path: Path) -> bool:
    """Return whether detections are such a file, and no folder."""
    return path.is_file() and path.suffix.lower() in (".h5", ".hdf5")


def read_locations(path: Path, target: RawTarget) -> Detections:
    """Return the keypoints of a released file of heatmaps; the heatmaps themselves are not read.

    The file has no keys: its rows are frame groups in the order of their keys, and the views of each. So it must have as many
    rows as all frames of the target have views, or as those of its test or its train split, and the other frames get NaN.

    Raises:
        ValueError: not such a file, joints of another vocabulary, or another number of rows.
    """
    try:
        with h5py.File(path) as file:
            locations = np.asarray(file["locations"][...], dtype=np.float64)
            order = np.asarray(file["joint_names_order"][...], dtype=int).ravel()
    except (OSError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"{path}: expected the released HDF5 of heatmaps, with locations and joint_names_order"
        ) from None
    if locations.ndim != 3 or locations.shape[2] != 3 or locations.shape[1] not in _SKELETONS:
        raise ValueError(f"{path}: locations: expected rows x 16 or 17 joints x (x, y, score), got {locations.shape}")
    num_joints = locations.shape[1]
    if sorted(order.tolist()) != list(range(num_joints)):
        raise ValueError(
            f"{path}: joint_names_order: expected each of 0 to {num_joints - 1} once, got {order.tolist()}"
        )
    num_views = len(target.view_names)
    parts = {"frames": np.ones(len(target.keys), dtype=bool)}
    parts |= {f"{split} frames": target.keys.split == split for split in ("test", "train")}
    fitting = [name for name, rows in parts.items() if rows.any() and rows.sum() * num_views == len(locations)]
    if not fitting:
        expected = ", ".join(f"{rows.sum() * num_views} of the {name}" for name, rows in parts.items())
        raise ValueError(f"{path}: its {len(locations)} rows fit no part of the target: expected {expected}")
    rows = parts[fitting[0]]
    if len(fitting) > 1 and not rows.all():
        raise ValueError(f"{path}: its {len(locations)} rows fit the {' and the '.join(fitting)}")
    in_order = np.empty_like(locations)
    in_order[:, order] = locations
    seen = np.full((len(target.keys), num_views, num_joints, 3), np.nan)
    seen[rows] = in_order.reshape(-1, num_views, num_joints, 3)
    known = np.isfinite(seen).all(-1)
    return Detections(
        keys=target.keys,
        views=target.view_names,
        skeleton=get(_SKELETONS[num_joints]),
        keypoints=np.where(known[..., None], seen[..., :2], np.nan),
        scores=np.where(known, np.clip(np.nan_to_num(seen[..., 2]), 0, 1), 0.0),
    )
