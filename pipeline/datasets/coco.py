"""COCO keypoints, as pycocotools reads them, and the records that the field's top-down systems make of them.

annot/ or annotations/ hold person_keypoints_<set>.json (image_info_<set>.json for sets without labels, such as
test-dev2017); the images are in images/<set>/, <set>/, images/<set>.zip or <set>.zip, or directly in images/. The images
of test-dev2017 are test2017's.

Persons are selected as published with Simple Baselines (Xiao et al., ECCV 2018): no crowd, with an area, a box whose sides
stay positive inside the image, and at least one keypoint; 149,813 of train2017. A keypoint is labelled if its flag is 1
(occluded) or 2. With a detection file (`COCO_val2017_detections_AP_H_56_person.json`) the persons are its boxes,
without keypoints.
"""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import archives, images
from pipeline.datasets.archives import Images
from pipeline.datasets.records import Records, load_json, numbers, whole
from pipeline.skeleton import Skeleton, get

SKELETON: Skeleton = get("coco_17")
PUBLISHED = {"train2017": 149813, "val2017": 6352}  # persons with keypoints
_MARGIN = 1.25  # side of the network's square over the box's longer side


def read(
    folder: Path,
    train: Sequence[str] = ("train2017",),
    valid: Sequence[str] = ("val2017",),
    detections: str | None = None,
    min_score: float = 0.0,
) -> Records:
    """Return the persons of both splits.

    Args:
        folder: COCO's; or the parent of a folder `coco` in either spelling.
        train, valid: the sets of each split.
        detections: a file in the folder whose boxes replace the persons of `valid`.
        min_score: of such a box.

    Raises:
        ValueError: a file is missing or not what it should be; the sentence names the file and the annotation.
    """
    root = _root(folder)
    if not train and not valid:
        raise ValueError(f"{folder}: expected at least one set to read, such as train2017")
    if len({*train, *valid}) < len(train) + len(valid):
        raise ValueError(f"{folder}: a set is named twice in {', '.join((*train, *valid))}")
    rows: list[tuple[str, str, str, np.ndarray, np.ndarray, float, tuple[int, int]]] = []
    files, stores, notes = [], {}, []
    for split, name in [*(("train", name) for name in train), *(("valid", name) for name in valid)]:
        path = _annotations(root, name)
        info = _load(path)
        detected = split == "valid" and detections is not None
        if path.name.startswith("image_info") and not detected:
            raise ValueError(f"{path}: '{name}' has no labels, and no detection file says where its persons are")
        if detected:
            boxes = images.inside(root, str(detections), "detections")
            persons = _detected(boxes, info, min_score)
            files.append(boxes)
        else:
            persons, dropped = _labelled(path, info)
            if dropped:
                notes.append(f"{path}: {dropped} annotations left out (crowds, no keypoint, no area, no box)")
        sizes = {image["file_name"]: (image["width"], image["height"]) for image in info.dataset["images"]}
        for image, key, keypoints, corners, score in persons:
            rows.append((split, f"{name}/{image}", f"{name}/{image}#{key}", keypoints, corners, score, sizes[image]))
        files.append(path)
        stores[name] = archives.open_store(_places(root, name), (name, _folder(name)), f"{root}: {name}")
    if not rows:
        raise ValueError(f"{files[0]}: there is no person with a keypoint")
    split_names, image_names, keys, all_keypoints, all_corners, scores, all_sizes = zip(*rows, strict=True)
    return Records(
        skeleton=SKELETON,
        image_name=np.array(image_names, dtype=str),
        key=np.array(keys, dtype=str),
        split=np.array(split_names),
        keypoints=np.array(all_keypoints),
        box=np.array([_square(corners) for corners in all_corners]),
        head=np.full(len(rows), np.nan),
        score=np.array(scores),
        images=Images(stores),
        files=tuple(files),
        notes=tuple(notes),
        size=np.array(all_sizes, dtype=int),
        extent=np.array([_extent(corners) for corners in all_corners]),
    )


def _root(folder: Path) -> Path:
    if not folder.is_dir():
        other = archives.find(folder.parent, folder.name)
        if other is None or not other.is_dir():
            raise ValueError(f"{folder}: there is no such folder; expected COCO's annotations and images")
        folder = other
    if archives.find(folder, "annot", "annotations", "images") is None:
        return archives.find(folder, "coco") or folder
    return folder


def _annotations(root: Path, name: str) -> Path:
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"{root}: expected the name of a set, such as train2017, got '{name}'")
    for folder in (archives.find(root, "annot"), archives.find(root, "annotations"), root):
        path = folder and archives.find(folder, f"person_keypoints_{name}.json", f"image_info_{name}.json")
        if path is not None:
            return path
    raise ValueError(f"{root}: expected annot/ or annotations/ with person_keypoints_{name}.json (or image_info_...)")


def _folder(name: str) -> str:
    return name.replace("test-dev", "test")


def _places(root: Path, name: str) -> list[tuple[Path, str]]:
    images_folder = archives.find(root, "images") or root / "images"
    folder = _folder(name)
    return [
        (images_folder, folder),
        (root, folder),
        (images_folder, f"{folder}.zip"),
        (root, f"{folder}.zip"),
        (root, "images"),
        (root, "images.zip"),
    ]


def _load(path: Path) -> Any:
    """Return the file as pycocotools' COCO, after checks that pycocotools omits."""
    from pycocotools.coco import COCO

    loaded = load_json(path, "COCO annotations")
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected COCO annotations (a mapping), got {type(loaded).__name__}")
    sections = ("images",) if path.name.startswith("image_info") else ("images", "annotations", "categories")
    for section in sections:
        entries = loaded.get(section)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path}: expected a list of mappings as '{section}'")
        identities: set[int] = set()
        for entry in entries:
            identity = whole(entry.get("id"), "id", f"{path}: an entry of '{section}'")
            if identity in identities:
                raise ValueError(f"{path}: '{section}' holds the id {identity} twice")
            identities.add(identity)
    for image in loaded["images"]:
        what = f"{path}: image {image['id']}"
        if not isinstance(image.get("file_name"), str):
            raise ValueError(f"{what}: expected the image's name as 'file_name', got {image.get('file_name')!r}")
        images.inside(Path("images"), image["file_name"], what)
        width, height = (whole(image.get(side), side, what) for side in ("width", "height"))
        if width < 1 or height < 1:
            raise ValueError(f"{what}: {width}x{height} px is no image")
    image_ids = {image["id"] for image in loaded["images"]}
    names = {image["file_name"] for image in loaded["images"]}
    if len(names) < len(image_ids):
        raise ValueError(f"{path}: {len(image_ids) - len(names)} images have a file_name that is taken")
    if len(sections) > 1:
        _check_annotations(path, loaded, image_ids)
    coco = COCO()
    coco.dataset = loaded
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _check_annotations(path: Path, loaded: dict[str, Any], image_ids: set[int]) -> None:
    persons = [category for category in loaded["categories"] if category.get("name") == "person"]
    if len(persons) != 1:
        raise ValueError(f"{path}: expected one category 'person', got {len(persons)}")
    if persons[0].get("keypoints") != list(SKELETON.joint_names):
        raise ValueError(f"{path}: expected COCO's 17 keypoints in their order, got {persons[0].get('keypoints')}")
    categories = {category["id"] for category in loaded["categories"]}
    for annotation in loaded["annotations"]:
        what = f"{path}: annotation {annotation['id']}"
        if whole(annotation.get("image_id"), "image_id", what) not in image_ids:
            raise ValueError(f"{what}: of the image {annotation['image_id']}, which the file does not have")
        if whole(annotation.get("category_id"), "category_id", what) not in categories:
            raise ValueError(f"{what}: of the category {annotation['category_id']}, which the file does not have")
        if annotation.get("iscrowd", 0) not in (0, 1):
            raise ValueError(f"{what}: expected iscrowd 0 or 1, got {annotation['iscrowd']!r}")
        for field in ("bbox", "area", "keypoints"):
            if field not in annotation:
                raise ValueError(f"{what}: '{field}' is missing")


def _labelled(path: Path, coco: Any) -> tuple[list[tuple[str, str, np.ndarray, np.ndarray, float]], int]:
    """Return name, key, keypoints, x1 y1 x2 y2 and score of each selected person, image by image; and how many are dropped."""
    persons, categories = [], coco.getCatIds(catNms=["person"])
    for image in coco.loadImgs(coco.getImgIds()):
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]], catIds=categories, iscrowd=False)):
            what = f"{path}: annotation {annotation['id']}"
            values = numbers(annotation["keypoints"], (3 * len(SKELETON),), "keypoints", what).reshape(-1, 3)
            flags = values[:, 2]
            if not np.isin(flags, (0, 1, 2)).all():
                raise ValueError(f"{what}: expected flags 0, 1 or 2 of the keypoints, got {flags.tolist()}")
            corners = _clean(numbers(annotation["bbox"], (4,), "bbox", what), image)
            area = float(numbers(annotation["area"], (), "area", what))
            if area <= 0 or corners is None or values.max() == 0:
                continue
            keypoints = np.where(values[:, 2:] > 0, values[:, :2], np.nan)
            persons.append((image["file_name"], str(annotation["id"]), keypoints, corners, 1.0))
    return persons, len(coco.dataset["annotations"]) - len(persons)


def _detected(path: Path, coco: Any, min_score: float) -> list[tuple[str, str, np.ndarray, np.ndarray, float]]:
    """Return a detector's boxes as `_labelled` does, in the file's order; the keypoints are NaN."""
    loaded = load_json(path, "a detector's boxes (COCO results)")
    if not isinstance(loaded, list):
        raise ValueError(f"{path}: expected a list of boxes (COCO results), got {type(loaded).__name__}")
    persons = []
    for number, entry in enumerate(loaded):
        what = f"{path}: box {number}"
        if not isinstance(entry, dict) or not {"image_id", "category_id", "bbox", "score"} <= entry.keys():
            raise ValueError(f"{what}: expected image_id, category_id, bbox and score")
        identity = whole(entry["image_id"], "image_id", what)
        if identity not in coco.imgs:
            raise ValueError(f"{what}: of the image {identity}, which the set does not have")
        x, y, width, height = numbers(entry["bbox"], (4,), "bbox", what)
        score = float(numbers(entry["score"], (), "score", what))
        if whole(entry["category_id"], "category_id", what) != 1 or score < min_score:
            continue
        if width <= 0 or height <= 0:
            raise ValueError(f"{what}: expected positive sides, got {width} x {height} px")
        corners = np.array([x, y, x + width, y + height])
        keypoints = np.full((len(SKELETON), 2), np.nan)
        persons.append((coco.imgs[identity]["file_name"], f"d{number}", keypoints, corners, score))
    return persons


def _clean(box: np.ndarray, image: dict[str, Any]) -> np.ndarray | None:
    """Return x1 y1 x2 y2 of a box x, y, width, height, in px of the keypoints, clipped to the image; None if it is outside."""
    low = np.maximum(box[:2], 0)
    high = np.minimum(low + np.maximum(box[2:] - 1, 0), [image["width"] - 1, image["height"] - 1])
    return np.concatenate([low, high]) if (high >= low).all() else None


def _square(corners: np.ndarray) -> np.ndarray:
    """Return the square about a box's centre; a box of one px, which the published filter keeps, has a side of one px."""
    centre, half = (corners[:2] + corners[2:]) / 2, max(float((corners[2:] - corners[:2]).max()), 1.0) * _MARGIN / 2
    return np.concatenate([centre - half, centre + half])


def _extent(corners: np.ndarray) -> np.ndarray:
    """Return (2,) px: width and height of a person's rectangle with its margin; the longer one is the square's side."""
    sides = corners[2:] - corners[:2]
    return np.maximum(sides, 1.0 if sides.max() < 1 else 0.0) * _MARGIN
