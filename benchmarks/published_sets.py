"""The drawn sets of benchmarks/published.py: labelled people, and a labelled rig in the record files of Human3.6M.

Every subject has a rig of its own, as in Human3.6M: the same four places and lenses, but for what a new installation changes.
"""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.datasets.h36m.takes import TEST_SUBJECTS, take_name
from pipeline.datasets.synthetic.body import Pose
from pipeline.datasets.synthetic.people import SIDE, photograph
from pipeline.datasets.synthetic.rig import Studio, cameras_of, sequence_of, take_view
from pipeline.files import images, samples
from pipeline.files.space import Space
from pipeline.geometry.camera import Camera
from pipeline.skeleton import get

ACTION, SUBACTION = 2, 1  # of every take
VIEWS = 4
_NOSE_MM = 90.0  # ahead of the middle of the head
# Joints of Human3.6M that the drawn body has under another name; `nose` is computed.
_OTHER_NAMES = {"spine": "waist", "neck": "thorax", "head": "head_top"}


def write_people(path: Path, seed: int, *, train: int, valid: int, in_space: bool) -> None:
    """Write drawn persons as a prepared set, at half their images' size.

    Args:
        path: the file of samples to write.
        seed: of all that is drawn.
        train, valid: how many persons.
        in_space: write the persons' 3D joints, too, and exact keypoints of all joints, as motion capture has them; without
            them the set is one of single labelled images, such as MPII, with an annotator's errors.
    """
    drawn = [photograph(seed, number) for number in range(train + valid)]
    boxes = np.array([person.box for person in drawn])
    spaces = [Space.of(each.joints[None], each.camera, np.array([at]), view=0, rig=0) for at, each in enumerate(drawn)]
    keypoints = np.array([np.where(each.inside[:, None], each.keypoints, np.nan) for each in drawn])
    if in_space:
        keypoints = np.array([each.true_keypoints for each in drawn])
    half = [cv2.resize(each.image, (SIDE // 2,) * 2, interpolation=cv2.INTER_AREA) for each in drawn]
    samples.write(
        path,
        skeleton=get("mpii_16"),
        key=np.array([f"{at:06}" for at in range(len(drawn))]),
        split=np.array(["train"] * train + ["valid"] * valid),
        keypoints=keypoints,
        visible=np.isfinite(keypoints).all(axis=-1),
        box=np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=-1),
        head=np.array([0.6 * np.linalg.norm(np.diff(each.head_box(), axis=0)) for each in drawn]),
        crop_from_image=np.tile(np.eye(3)[:2] / 2 - [[0, 0, 0.25], [0, 0, 0.25]], (len(drawn), 1, 1)),
        jpegs=(images.encode(image) for image in half),
        space=Space.concatenated(spaces) if in_space else None,
    )


def write_human36m(folder: Path, studio: Studio, frames: dict[int, int]) -> None:
    """Write annot/h36m_train.pkl, annot/h36m_validation.pkl and images/: one take of every subject.

    Args:
        folder: to write to.
        studio: its numbers; each subject has a studio with a seed of its own.
        frames: subject of Human3.6M -> its number of frame groups.
    """
    (folder / "annot").mkdir(parents=True)
    records: dict[str, list[dict[str, Any]]] = {"h36m_train": [], "h36m_validation": []}
    for order, (subject, count) in enumerate(frames.items()):
        own = replace(studio, seed=studio.seed * 100 + subject)
        file = "h36m_validation" if subject in TEST_SUBJECTS else "h36m_train"
        records[file] += _take(folder / "images", own, subject, count, first_video=order * VIEWS)
    for file, rows in records.items():
        (folder / "annot" / f"{file}.pkl").write_bytes(pickle.dumps(rows, protocol=2))


def _take(folder: Path, studio: Studio, subject: int, frames: int, first_video: int) -> list[dict[str, Any]]:
    """Draw one take, and return its records."""
    joints = human36m_joints(sequence_of(studio, subject, frames).pose)  # (frames, 17, 3) world mm
    records = []
    for view, camera in enumerate(cameras_of(studio)):
        video = f"{take_name(subject, ACTION, SUBACTION)}_ca_{view + 1:02}"
        (folder / video).mkdir(parents=True)
        numbers, keypoints, in_camera = _numbers(camera), camera.project(joints), camera.camera_from_world(joints)
        for frame in range(frames):
            taken = take_view(studio, subject, frames, view, frame)
            name = f"{video}/{video}_{frame + 1:06}.jpg"
            (folder / name).write_bytes(images.encode(taken.image, taken.quality))
            records.append(
                {
                    "image": name,
                    "joints_2d": keypoints[frame],
                    "joints_3d_camera": in_camera[frame],
                    "joints_vis": np.ones((17, 3)),
                    "video_id": first_video + view,
                    "image_id": frame + 1,
                    "subject": subject,
                    "action": ACTION,
                    "subaction": SUBACTION,
                    "camera_id": view,
                    "source": "h36m",
                    "camera": numbers,
                }
            )
    return records


def _numbers(camera: Camera) -> dict[str, np.ndarray]:
    """Return a camera as the records have it: T is its centre."""
    k1, k2, p1, p2, k3 = camera.distortion
    return {
        "R": camera.R,
        "T": camera.centre[:, None],
        "fx": camera.K[:1, 0],
        "fy": camera.K[1:2, 1],
        "cx": camera.K[:1, 2],
        "cy": camera.K[1:2, 2],
        "k": np.array([[k1], [k2], [k3]]),
        "p": np.array([[p1], [p2]]),
    }


def human36m_joints(pose: Pose) -> np.ndarray:
    """Return (..., 17, 3) world mm, the joints of Human3.6M of a drawn body."""
    points = dict(pose.points)
    middle = (points["upper_neck"] + points["head_top"]) / 2
    points["nose"] = middle + pose.frames["head"] @ np.array([0.0, _NOSE_MM, 0.0])
    return np.stack([points[_OTHER_NAMES.get(name, name)] for name in get("h36m_17").joint_names], axis=-2)
