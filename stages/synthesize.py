"""Synthesize: numbers -> labelled images of people, an unlabelled calibrated rig, and the rig's ground truth.

The two data sets replace licensed ones and are written in their layouts: MPII's for the people; a calibration file, images
and detections for the rig. The ground truth goes into a folder of its own, which only the evaluation may read.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import scipy.io
from annotated_types import Ge, Gt, Interval
from tqdm import tqdm

from pipeline import cli
from pipeline.datasets.synthetic.body import JOINTS
from pipeline.datasets.synthetic.look import Corruptions, Look
from pipeline.datasets.synthetic.people import photograph
from pipeline.datasets.synthetic.rig import Studio, cameras_of, detect, sequence_of, take_view
from pipeline.geometry.camera import Camera
from pipeline.processors import num_processors

_CHUNK = 20  # images per job of a worker


@dataclass(frozen=True)
class People:
    """Section `synthesize.people`: how many labelled single images."""

    train: Annotated[int, Ge(1)] = 3000  # images of the train split
    valid: Annotated[int, Ge(1)] = 300  # images of the validation split


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Section `synthesize.rig`: the unlabelled sequences.

    Attributes:
        cameras: how many.
        side_px: of the square images, a multiple of 8.
        train_subjects, test_subjects: how many people.
        train_frames, test_frames: of each subject.
        frames_per_second: of the recording.
    """

    cameras: Annotated[int, Ge(2), "one view determines no depth, expected 2 or more"] = 4
    side_px: Annotated[int, Ge(128)] = 512
    train_subjects: Annotated[int, Ge(1)] = 5  # people of the train split
    test_subjects: Annotated[int, Ge(1)] = 3  # people of the held-out test split
    train_frames: Annotated[int, Ge(1)] = 100  # frame groups per train subject
    test_frames: Annotated[int, Ge(1)] = 40  # frame groups per test subject
    frames_per_second: Annotated[float, Gt(0)] = 2.5  # frame rate of the recordings

    def __post_init__(self) -> None:
        if self.side_px % 8:
            raise ValueError(f"synthesize.rig.side_px: expected a multiple of 8 from 128 up, got {self.side_px}")


@dataclass(frozen=True, kw_only=True)
class Synthesize:
    """Section `synthesize` of params.yaml.

    Attributes:
        seed: of all random numbers.
        domain_gap: 0: the rig's images look as the people's images do; 1: as `look` and `corruptions` say; more is worse.
        people: how many labelled images.
        rig: how many cameras, subjects and frames.
        look: the constant look of the rig's images.
        corruptions: what comes and goes in single views.
    """

    seed: Annotated[int, Ge(0)]
    domain_gap: Annotated[float, Interval(ge=0, le=3)]
    people: People
    rig: Rig
    look: Look
    corruptions: Corruptions


def _start_worker() -> None:
    """Give OpenCV one thread, and end with the stage: a pool's workers outlive a killed parent."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def main(*, people: Path, rig: Path, truth: Path, config: Synthesize, workers: int | None = None) -> None:
    """Write the three folders.

    Args:
        people: folder to write the labelled images to.
        rig: folder to write the unlabelled rig to.
        truth: folder to write the rig's ground truth to.
        config: what is drawn.
        workers: number of processes; it changes no byte.
    """
    folders = {path: path.with_name(f".{path.name}.partial") for path in (people, rig, truth)}
    for partial_folder in folders.values():
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
    workers = workers or num_processors()
    # A fresh interpreter per worker: no inherited locks or threads, and the same on every system.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker) as pool:
        total = (
            config.people.train + config.people.valid + sum(n for _, _, n in _sequences(config)) * config.rig.cameras
        )
        with tqdm(total=total, unit=" images", disable=not sys.stderr.isatty()) as progress:
            _write_people(folders[people], config, pool, progress)
            images = _write_rig(folders[rig], config, pool, progress)
    _write_truth(folders[truth], config)
    for path, partial_folder in folders.items():
        shutil.rmtree(path, ignore_errors=True)
        partial_folder.rename(path)
    print(
        f"{people}: {config.people.train} + {config.people.valid} labelled images; "
        f"{rig}: {images} images of {config.rig.cameras} cameras, "
        f"{config.rig.train_subjects} + {config.rig.test_subjects} subjects; {truth}: their joints"
    )


def _studio(config: Synthesize) -> Studio:
    rig = config.rig
    return Studio(
        seed=config.seed,
        num_cameras=rig.cameras,
        side_px=rig.side_px,
        domain_gap=config.domain_gap,
        look=config.look,
        corruptions=config.corruptions,
        frames_per_second=rig.frames_per_second,
    )


def _sequences(config: Synthesize) -> list[tuple[str, int, int]]:
    """Return name, subject and number of frames per sequence: first the training subjects, then the test subjects."""
    rig = config.rig
    frames = [rig.train_frames] * rig.train_subjects + [rig.test_frames] * rig.test_subjects
    return [(f"s{subject + 1}", subject, count) for subject, count in enumerate(frames)]


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, _CHUNK):
        yield range(start, min(start + _CHUNK, count))


def _encode(image: np.ndarray, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()


def _photograph_chunk(folder: Path, seed: int, numbers: range) -> list[tuple[dict, np.ndarray]]:
    annotations = []
    for number in numbers:
        photo = photograph(seed, number)
        name = f"{number:06d}.jpg"
        (folder / name).write_bytes(_encode(photo.image, photo.quality))
        annotations.append((photo.record(name), photo.head_box()))
    return annotations


def _write_people(folder: Path, config: Synthesize, pool: ProcessPoolExecutor, progress: tqdm) -> None:
    (folder / "images").mkdir()
    (folder / "annot").mkdir()
    annotations: list[tuple[dict, np.ndarray]] = []
    count = config.people.train + config.people.valid
    for chunk in pool.map(partial(_photograph_chunk, folder / "images", config.seed), _chunks(count)):
        annotations += chunk
        progress.update(len(chunk))
    train, valid = annotations[: config.people.train], annotations[config.people.train :]
    _write_json(folder / "annot" / "train.json", [record for record, _ in train])
    _write_json(folder / "annot" / "valid.json", [record for record, _ in valid])
    heads = np.stack([head for _, head in valid], axis=-1)  # (2, 2, images)
    (folder / "annot" / "gt_valid.mat").write_bytes(_matlab({"headboxes_src": heads}))


def _matlab(values: dict[str, np.ndarray]) -> bytes:
    """Return a MATLAB 5 file without the date that writers put into its 116 bytes of header text."""
    buffer = BytesIO()
    scipy.io.savemat(buffer, values)
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]


def _view_chunk(folder: Path, studio: Studio, job: tuple[str, int, int, int, range]) -> list[list[dict]]:
    """Write some images of one view; return each image's detections."""
    sequence, subject, frames, view, numbers = job
    name = cameras_of(studio)[view].name
    detections = []
    for frame in numbers:
        taken = take_view(studio, subject, frames, view, frame)
        (folder / "views" / sequence / name / f"{frame:06d}.jpg").write_bytes(_encode(taken.image, taken.quality))
        detections.append(
            [
                {
                    "image_id": f"{sequence}/{name}/{frame:06d}",
                    "category_id": 1,
                    "bbox": [round(float(v), 2) for v in box],
                    "score": round(score, 4),
                }
                for box, score in detect(studio, subject, view, frame, taken.person)
            ]
        )
    return detections


def _write_rig(folder: Path, config: Synthesize, pool: ProcessPoolExecutor, progress: tqdm) -> int:
    studio, sequences = _studio(config), _sequences(config)
    cameras = cameras_of(studio)
    jobs = []
    for name, subject, frames in sequences:
        for view, camera in enumerate(cameras):
            (folder / "views" / name / camera.name).mkdir(parents=True)
            jobs += [(name, subject, frames, view, numbers) for numbers in _chunks(frames)]
    detections: list[dict] = []
    images = 0
    for chunk in pool.map(partial(_view_chunk, folder, studio), jobs):
        for boxes in chunk:
            detections += boxes
        images += len(chunk)
        progress.update(len(chunk))
    (folder / "detections").mkdir()
    _write_json(folder / "detections" / "boxes.json", detections)
    names = [name for name, _, _ in sequences]
    _write_json(
        folder / "split.json", {"train": names[: config.rig.train_subjects], "test": names[config.rig.train_subjects :]}
    )
    (folder / "calibration.toml").write_text(_calibration(cameras), encoding="utf-8")
    return images


def _calibration(cameras: Iterable[Camera]) -> str:
    """Return the cameras in the TOML of Anipose and Pose2Sim: x_camera = R x_world + t in mm, OpenCV's distortion."""

    def row(values: np.ndarray) -> str:
        return "[" + ", ".join(repr(round(float(v), 10)) for v in values) + "]"

    text = ""
    for camera in cameras:
        rotation = cv2.Rodrigues(camera.R)[0].ravel()
        text += (
            f'[{camera.name}]\nname = "{camera.name}"\nsize = [{camera.size[0]}, {camera.size[1]}]\n'
            f"matrix = [{', '.join(row(values) for values in camera.K)}]\n"
            f"distortions = {row(camera.distortion)}\nrotation = {row(rotation)}\n"
            f"translation = {row(camera.translation)}\nfisheye = false\n\n"
        )
    return text + '[metadata]\nunits = "mm"\n'


def _write_truth(folder: Path, config: Synthesize) -> None:
    studio, rate = _studio(config), config.rig.frames_per_second
    for name, subject, frames in _sequences(config):
        joints = sequence_of(studio, subject, frames).pose.joints()  # (frames, joints, 3) world mm
        lines = [
            f"PathFileType\t4\t(X/Y/Z)\t{name}.trc",
            "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
            f"{rate:g}\t{rate:g}\t{frames}\t{len(JOINTS)}\tmm\t{rate:g}\t0\t{frames}",
            "Frame#\tTime\t" + "\t\t\t".join(JOINTS) + "\t\t",
            "\t\t" + "\t".join(f"{axis}{index + 1}" for index in range(len(JOINTS)) for axis in "XYZ"),
            "",
        ]
        # Frame# is the number of the image; the first is 0.
        lines += [
            f"{frame}\t{frame / rate:.4f}\t" + "\t".join(f"{value:.4f}" for value in joints[frame].ravel())
            for frame in range(frames)
        ]
        (folder / f"{name}.trc").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
