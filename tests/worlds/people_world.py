"""MPII and COCO in their official layouts: three or four images of noise, each with one or two labelled people."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

from pipeline.skeleton import get

JOINTS = np.array([[60 + 4 * joint, 40 + 7 * joint] for joint in range(17)])  # px


def write_images(folder: Path, names: list[str]) -> None:
    """Write images of smooth noise, 200 x 180 px, all different."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        rough = np.random.default_rng(number).integers(0, 256, (18, 20), dtype=np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(rough, (200, 180)))


# MPII's json


def mpii_record(image: str, **changes: object) -> dict[str, Any]:
    """A person of 120 px around (90, 100)."""
    base = {"image": image, "center": [91.0, 92.0], "scale": 0.6, "joints": (JOINTS[:16] + 1).tolist()}
    return base | {"joints_vis": [1] * 16} | changes


def write_mpii(folder: Path) -> Path:
    """Write two images to train on, one of them with two people, and one to validate on."""
    (folder / "annot").mkdir(parents=True)
    write_images(folder / "images", ["a.jpg", "b.jpg", "c.jpg"])
    people = {
        "train": [mpii_record("b.jpg"), mpii_record("a.jpg"), mpii_record("b.jpg", center=[30.0, 30.0], scale=0.2)],
        "valid": [mpii_record("c.jpg")],
    }
    for split, records in people.items():
        (folder / f"annot/{split}.json").write_text(json.dumps(records))
    savemat(folder / "annot/gt_valid.mat", {"headboxes_src": np.array([[[50.0], [40.0]], [[80.0], [80.0]]])})
    return folder


# MPII's own mat: a struct of MATLAB's is an array of records, even of one record


def structs(*records: Mapping[str, Any]) -> np.ndarray:
    names = list(dict.fromkeys(name for record in records for name in record))
    array = np.empty((1, len(records)), dtype=[(name, object) for name in names])
    for place, record in enumerate(records):
        for name in names:
            array[0, place][name] = record.get(name, np.zeros((0, 0)))
    return array


def mpii_person(**changes: Any) -> dict[str, Any]:
    """The person of `mpii_record`, with a head box of 30 x 40 px; right ankle and pelvis are occluded."""
    points = [
        {
            "x": float(x + 1),
            "y": float(y + 1),
            "id": joint,
            "is_visible": np.array([]) if joint in (8, 9) else joint > 6,
        }
        for joint, (x, y) in enumerate(JOINTS[:16])
    ]
    base = {"x1": 50, "y1": 40, "x2": 80, "y2": 80, "scale": 0.6, "objpos": structs({"x": 91, "y": 92})}
    return base | {"annopoints": structs({"point": structs(*points)})} | changes


def release(*images: tuple[str, list[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return RELEASE of (name, people, is in the official training set)."""
    annolist = structs(
        *(
            {"image": structs({"name": name}), "annorect": structs(*people) if people else np.zeros((0, 0))}
            for name, people, _ in images
        )
    )
    apart = np.empty((len(images), 1), dtype=object)  # the first person of each image stands apart
    for place, (_, people, _) in enumerate(images):
        apart[place, 0] = np.array([1]) if people else np.zeros((0, 0))
    for_training = np.array([[each for _, _, each in images]], dtype=np.uint8)
    return {"annolist": annolist, "img_train": for_training, "single_person": apart, "version": "12"}


def write_mpii_mat(folder: Path, **changes: Any) -> Path:
    """Write four images: one person, two people, no annotated person, and one of the official test set."""
    unannotated = {"x1": 1, "y1": 1, "x2": 9, "y2": 9}
    content = release(
        ("a.jpg", [mpii_person()], True),
        ("b.jpg", [mpii_person(), mpii_person(objpos=structs({"x": 31, "y": 31}), scale=0.2)], True),
        ("c.jpg", [unannotated], True),
        ("d.jpg", [{"objpos": structs({"x": 5, "y": 5}), "scale": 1.0}], False),
    )
    write_images(folder / "images", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": content | changes})
    return folder


# COCO


def coco_person(number: int, image: int, **changes: Any) -> dict[str, Any]:
    """A person in the box x 50, y 30, 81 x 121 px; the left ear is not labelled, the right one occluded."""
    flags = np.full((17, 1), 2)
    flags[3], flags[4] = 0, 1
    points = np.hstack([np.where(flags > 0, JOINTS, 0), flags])
    base = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "area": 5000.0,
        "bbox": [50.0, 30.0, 81.0, 121.0],
    }
    return base | {"keypoints": points.ravel().tolist(), "num_keypoints": 16} | changes


def coco(images: list[tuple[int, str]], people: list[dict[str, Any]]) -> dict[str, Any]:
    person = {"id": 1, "name": "person", "keypoints": list(get("coco_17").joint_names), "skeleton": []}
    listed = [{"id": number, "file_name": name, "width": 200, "height": 180} for number, name in images]
    return {"images": listed, "annotations": people, "categories": [person]}


def write_coco(folder: Path) -> Path:
    """Write two images to train on, the first with two people and a crowd, and one to validate on."""
    (folder / "annotations").mkdir(parents=True)
    names = {"train2017": [(9, "000000000009.jpg"), (25, "000000000025.jpg")], "val2017": [(785, "000000000785.jpg")]}
    people = {
        "train2017": [
            coco_person(1, 25),
            coco_person(2, 9),
            coco_person(3, 9, bbox=[150.0, 100.0, 80.0, 60.0]),  # extends beyond the image
            coco_person(4, 9, iscrowd=1),
            coco_person(5, 9, keypoints=[0] * 51, num_keypoints=0),
            coco_person(6, 9, area=0),
            coco_person(7, 9, bbox=[250.0, 30.0, 20.0, 20.0]),  # is outside of the image
        ],
        "val2017": [coco_person(8, 785)],
    }
    for name, images in names.items():
        write_images(folder / "images" / name, [file for _, file in images])
        (folder / f"annotations/person_keypoints_{name}.json").write_text(json.dumps(coco(images, people[name])))
    return folder
