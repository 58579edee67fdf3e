"""MPII Human Pose in its json form: annot/{train,valid}.json, annot/gt_valid.mat, images/.

A record is `image`, `center` (x y, 1-based px), `scale` (height / 200 px), `joints` (16 x y, 1-based px) and `joints_vis`
(16 of 0 or 1). What other tools call the person's box is derived: see `_box`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import images
from pipeline.skeleton import Skeleton, get

SKELETON: Skeleton = get("mpii_16")


@dataclass(frozen=True, eq=False)
class Records:
    """The annotated persons of one or several splits, in file order.

    Attributes:
        image: (persons,) text, the picture's name inside the images folder.
        key: (persons,) text, unique: the picture's name and the person's number in it.
        split: (persons,) text, "train" or "valid".
        joints: (persons, 16, 2) px; NaN where there is no label.
        box: (persons, 4) px, square.
        head: (persons,) px, the head size that PCKh is measured in; NaN where not known.
    """

    image: np.ndarray
    key: np.ndarray
    split: np.ndarray
    joints: np.ndarray
    box: np.ndarray
    head: np.ndarray

    def __len__(self) -> int:
        return len(self.key)


def read(folder: Path) -> Records:
    """Read the records of both splits.

    Raises:
        ValueError: a file is missing or not what it should be; the sentence names the file and the record.
    """
    parts = []
    for split in ("train", "valid"):
        path = folder / "annot" / f"{split}.json"
        parts.append(_split(path, split, folder / "images"))
    image, split_name, joints, box, head = (np.concatenate(column) for column in zip(*parts, strict=True))
    seen: dict[str, int] = {}
    keys = []
    for name in image.tolist():
        seen[name] = seen.get(name, -1) + 1
        keys.append(f"{name}#{seen[name]}")
    return Records(image, np.array(keys), split_name, joints, box, head)


def _split(path: Path, split: str, pictures: Path) -> tuple[np.ndarray, ...]:
    records = _load(path)
    count = len(records)
    joints, box = np.full((count, len(SKELETON), 2), np.nan), np.zeros((count, 4))
    names = []
    for row, record in enumerate(records):
        what = f"{path}: record {row}"
        if not isinstance(record, dict):
            raise ValueError(f"{what}: expected a mapping, got {type(record).__name__}")
        missing = sorted({"image", "center", "scale", "joints", "joints_vis"} - set(record))
        if missing:
            raise ValueError(f"{what}: '{missing[0]}' is missing")
        if not isinstance(record["image"], str):
            raise ValueError(f"{what}: expected the picture's name as 'image', got {record['image']!r}")
        images.inside(pictures, record["image"], what)
        names.append(record["image"])
        box[row] = _box(_numbers(record, "center", (2,), what), float(_numbers(record, "scale", (), what)), what)
        labelled = _numbers(record, "joints_vis", (len(SKELETON),), what) > 0
        one_based = _numbers(record, "joints", (len(SKELETON), 2), what)
        joints[row] = np.where(labelled[:, None], one_based - 1, np.nan)
    head = _head_sizes(path.parent / "gt_valid.mat", count) if split == "valid" else np.full(count, np.nan)
    return np.array(names, dtype=str), np.full(count, split), joints, box, head


def _box(centre: np.ndarray, scale: float, what: str) -> np.ndarray:
    """The square that the field's MPII loaders cut: the centre 15 `scale` lower, the side 200 px times 1.25 `scale`."""
    if scale <= 0:
        raise ValueError(f"{what}: scale must be positive, got {scale}")
    if centre[0] != -1:
        centre = centre + [0, 15 * scale]
        scale = scale * 1.25
    centre = centre - 1
    half = 200 * scale / 2
    return np.concatenate([centre - half, centre + half])


def _head_sizes(path: Path, count: int) -> np.ndarray:
    """(valid persons,) px: 0.6 times the diagonal of the head box, MPII's own rule; NaN without the file."""
    if not path.is_file():
        return np.full(count, np.nan)
    from scipy.io import loadmat

    try:
        boxes = np.asarray(loadmat(path)["headboxes_src"], dtype=np.float64)
    except KeyError:
        raise ValueError(f"{path}: expected the matrix 'headboxes_src'") from None
    except Exception as error:  # noqa: BLE001  scipy raises half a dozen kinds for files that are not MATLAB's
        raise ValueError(f"{path}: not readable as a MATLAB file ({error})") from None
    if boxes.shape != (2, 2, count):
        raise ValueError(f"{path}: expected headboxes_src of shape (2, 2, {count}), as valid.json, got {boxes.shape}")
    return 0.6 * np.linalg.norm(boxes[1] - boxes[0], axis=0)


def _load(path: Path) -> list[Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; expected MPII annotations as a json list") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as json ({error})") from None
    if not isinstance(loaded, list) or not loaded:
        raise ValueError(f"{path}: expected a list of records, got {'an empty one' if loaded == [] else type(loaded)}")
    return loaded


def _numbers(record: dict[str, Any], field: str, shape: tuple[int, ...], what: str) -> np.ndarray:
    try:
        values = np.array(record[field], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{what}: '{field}' holds something that is no number") from None
    if values.shape != shape:
        raise ValueError(f"{what}: expected '{field}' of shape {shape}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{what}: '{field}' holds NaN or infinity; an unlabelled joint has joints_vis 0")
    return values
