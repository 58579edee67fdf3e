"""Synthesize: numbers -> labelled pictures of people, an unlabelled calibrated rig, and the rig's truth.

The two data sets stand in for licensed ones and are written in their layouts: MPII's for the people, a calibration
file, pictures and detections for the rig. The truth goes into a folder of its own, which only the evaluation may read.
"""

import argparse
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

import cv2
import numpy as np
import scipy.io
from tqdm import tqdm

from pipeline import params
from pipeline.datasets.synthetic.body import JOINTS
from pipeline.datasets.synthetic.look import Look, Trouble
from pipeline.datasets.synthetic.people import photograph
from pipeline.datasets.synthetic.rig import Studio, cameras_of, detect, sequence_of, take_view
from pipeline.geometry.camera import Camera

_CHUNK = 20  # pictures a worker takes at a time


@dataclass(frozen=True)
class People:
    """Section `synthesize.people`: the labelled single pictures."""

    train: int = 3000
    valid: int = 300


@dataclass(frozen=True)
class Rig:
    """Section `synthesize.rig`: the unlabelled sequences."""

    cameras: int = 4
    side_px: int = 512
    train_subjects: int = 5
    test_subjects: int = 3
    train_frames: int = 100  # of each subject
    test_frames: int = 40
    frames_per_second: float = 2.5


@dataclass(frozen=True)
class Synthesize:
    """Section `synthesize` of params.yaml."""

    seed: int
    gap: float  # 0: the rig's pictures look as the people's do; 1: as `look` and `trouble` say; more is worse
    people: People
    rig: Rig
    look: Look
    trouble: Trouble

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"synthesize.seed: expected 0 or more, got {self.seed}")
        if not 0 <= self.gap <= 3:
            raise ValueError(f"synthesize.gap: expected a number in [0, 3], got {self.gap}")
        if self.people.train < 1 or self.people.valid < 1:
            raise ValueError(
                f"synthesize.people: expected at least one picture to train and to validate, got {self.people}"
            )
        if self.rig.cameras < 2:
            raise ValueError(
                f"synthesize.rig.cameras: one view makes no depth, expected 2 or more, got {self.rig.cameras}"
            )
        if self.rig.side_px < 128 or self.rig.side_px % 8:
            raise ValueError(f"synthesize.rig.side_px: expected a multiple of 8 from 128 up, got {self.rig.side_px}")
        for name in ("train_subjects", "test_subjects", "train_frames", "test_frames"):
            if getattr(self.rig, name) < 1:
                raise ValueError(f"synthesize.rig.{name}: expected 1 or more, got {getattr(self.rig, name)}")
        if self.rig.frames_per_second <= 0:
            raise ValueError(
                f"synthesize.rig.frames_per_second: expected more than 0, got {self.rig.frames_per_second}"
            )
        if not 0 <= self.trouble.share < 1:
            raise ValueError(f"synthesize.trouble.share: expected a share in [0, 1), got {self.trouble.share}")
        if not 1 <= self.look.jpeg_quality <= 100:
            raise ValueError(f"synthesize.look.jpeg_quality: expected 1 to 100, got {self.look.jpeg_quality}")


def _start_worker() -> None:
    """One thread for OpenCV, and no life after the stage: a pool's workers outlive a parent that was killed."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def main(*, people: Path, rig: Path, truth: Path, config: Synthesize, workers: int | None = None) -> None:
    """Write the three folders; `workers` is the number of processes and changes no byte."""
    folders = {path: path.with_name(f".{path.name}.partial") for path in (people, rig, truth)}
    for partial_folder in folders.values():
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
    workers = workers or os.cpu_count() or 1
    # A fresh interpreter a worker: no inherited locks or threads, and the same on every system.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker) as pool:
        total = (
            config.people.train + config.people.valid + sum(n for _, _, n in _sequences(config)) * config.rig.cameras
        )
        with tqdm(total=total, unit=" pictures", disable=not sys.stderr.isatty()) as progress:
            _write_people(folders[people], config, pool, progress)
            pictures = _write_rig(folders[rig], config, pool, progress)
    _write_truth(folders[truth], config)
    for path, partial_folder in folders.items():
        shutil.rmtree(path, ignore_errors=True)
        partial_folder.rename(path)
    print(
        f"{people}: {config.people.train} + {config.people.valid} labelled pictures; "
        f"{rig}: {pictures} pictures of {config.rig.cameras} cameras, "
        f"{config.rig.train_subjects} + {config.rig.test_subjects} subjects; {truth}: their joints"
    )


def _studio(config: Synthesize) -> Studio:
    rig = config.rig
    return Studio(config.seed, rig.cameras, rig.side_px, config.gap, config.look, config.trouble, rig.frames_per_second)


def _sequences(config: Synthesize) -> list[tuple[str, int, int]]:
    """Name, subject and number of frames of every sequence: first the training subjects, then the test subjects."""
    rig = config.rig
    frames = [rig.train_frames] * rig.train_subjects + [rig.test_frames] * rig.test_subjects
    return [(f"s{subject + 1}", subject, count) for subject, count in enumerate(frames)]


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, _CHUNK):
        yield range(start, min(start + _CHUNK, count))


def _encode(picture: np.ndarray, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()


def _photograph_chunk(folder: Path, seed: int, numbers: range) -> list[tuple[dict, np.ndarray]]:
    made = []
    for number in numbers:
        photo = photograph(seed, number)
        name = f"{number:06d}.jpg"
        (folder / name).write_bytes(_encode(photo.picture, photo.quality))
        made.append((photo.record(name), photo.head_box()))
    return made


def _write_people(folder: Path, config: Synthesize, pool: ProcessPoolExecutor, progress: tqdm) -> None:
    (folder / "images").mkdir()
    (folder / "annot").mkdir()
    made: list[tuple[dict, np.ndarray]] = []
    count = config.people.train + config.people.valid
    for chunk in pool.map(partial(_photograph_chunk, folder / "images", config.seed), _chunks(count)):
        made += chunk
        progress.update(len(chunk))
    train, valid = made[: config.people.train], made[config.people.train :]
    _write_json(folder / "annot" / "train.json", [record for record, _ in train])
    _write_json(folder / "annot" / "valid.json", [record for record, _ in valid])
    heads = np.stack([head for _, head in valid], axis=-1)  # (2, 2, pictures)
    (folder / "annot" / "gt_valid.mat").write_bytes(_matlab({"headboxes_src": heads}))


def _matlab(values: dict[str, np.ndarray]) -> bytes:
    """A MATLAB 5 file without the date that writers put into its 116 bytes of header text."""
    buffer = BytesIO()
    scipy.io.savemat(buffer, values)
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]


def _view_chunk(folder: Path, studio: Studio, job: tuple[str, int, int, int, range]) -> list[list[dict]]:
    """Write some pictures of one view; return, for each, what the detector found."""
    sequence, subject, frames, view, numbers = job
    name = cameras_of(studio)[view].name
    made = []
    for frame in numbers:
        seen = take_view(studio, subject, frames, view, frame)
        (folder / "views" / sequence / name / f"{frame:06d}.jpg").write_bytes(_encode(seen.picture, seen.quality))
        made.append(
            [
                {
                    "image_id": f"{sequence}/{name}/{frame:06d}",
                    "category_id": 1,
                    "bbox": [round(float(v), 2) for v in box],
                    "score": round(score, 4),
                }
                for box, score in detect(studio, subject, view, frame, seen.person)
            ]
        )
    return made


def _write_rig(folder: Path, config: Synthesize, pool: ProcessPoolExecutor, progress: tqdm) -> int:
    studio, sequences = _studio(config), _sequences(config)
    cameras = cameras_of(studio)
    jobs = []
    for name, subject, frames in sequences:
        for view, camera in enumerate(cameras):
            (folder / "views" / name / camera.name).mkdir(parents=True)
            jobs += [(name, subject, frames, view, numbers) for numbers in _chunks(frames)]
    detections: list[dict] = []
    pictures = 0
    for chunk in pool.map(partial(_view_chunk, folder, studio), jobs):
        for found in chunk:
            detections += found
        pictures += len(chunk)
        progress.update(len(chunk))
    (folder / "detections").mkdir()
    _write_json(folder / "detections" / "boxes.json", detections)
    names = [name for name, _, _ in sequences]
    _write_json(
        folder / "split.json", {"train": names[: config.rig.train_subjects], "test": names[config.rig.train_subjects :]}
    )
    (folder / "calibration.toml").write_text(_calibration(cameras), encoding="utf-8")
    return pictures


def _calibration(cameras: Iterable[Camera]) -> str:
    """Cameras as Anipose and Pose2Sim write them: x_camera = R x_world + t, OpenCV's distortion, here in mm."""

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
        # Frame# is the number of the pictures, which start at 0.
        lines += [
            f"{frame}\t{frame / rate:.4f}\t" + "\t".join(f"{value:.4f}" for value in joints[frame].ravel())
            for frame in range(frames)
        ]
        (folder / f"{name}.trc").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, sort_keys=True) + "\n", encoding="utf-8")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, required=True, help="folder to write the labelled pictures to")
    parser.add_argument("--rig", type=Path, required=True, help="folder to write the unlabelled rig to")
    parser.add_argument("--truth", type=Path, required=True, help="folder to write the rig's true joints to")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    return parser.parse_args()


if __name__ == "__main__":
    flags = vars(parse_args())
    main(config=params.load(Synthesize, flags.pop("params")), **flags)
