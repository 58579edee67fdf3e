"""A tiny world as it lies on a disk: images, a calibration, a detector's output, a marker file.

Four cameras stand around a person who walks on a circle; the person is drawn as a stick figure. A bystander may stand
behind. `write` makes the raw files; tests then damage one of them.
"""

import json
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.skeleton import get
from tests.worlds.tiny_world import camera_ring

PARAMS = """
target:
  layout: rig
  rig:
    units: auto
    extrinsics: auto
    up: auto
    lens: auto
    frame_rates: {}
    start_offsets: {}
    start_offsets_in: frames
    frame_matching: auto
    frame_stride: 1
    first_frame: 0
    last_frame: null
    test_sequences: []
    test_last_frames: 2
  h36m: {}
  views: []
  detections_format: none
  detections_offset: 0
  boxes: detections
  box_margin: 0.2
  min_box_score: 0.3
  volume_mm: null
  cache_size: 96
  cache_margin: 0.5
  jpeg_quality: 92
truth:
  axes: xyz
  frame_offset: 0
  origin: truth
"""

# A standing person, mm, x to the right, y ahead, z up.
_BODY = {
    "right_ankle": (110, 0, 80), "right_knee": (105, 20, 480), "right_hip": (100, 0, 900),
    "left_hip": (-100, 0, 900), "left_knee": (-105, 20, 480), "left_ankle": (-110, 0, 80),
    "pelvis": (0, 0, 920), "thorax": (0, 0, 1420), "upper_neck": (0, 10, 1500), "head_top": (0, 30, 1720),
    "right_wrist": (400, 300, 1300), "right_elbow": (300, 90, 1180), "right_shoulder": (180, 0, 1440),
    "left_shoulder": (-180, 0, 1440), "left_elbow": (-300, 0, 1180), "left_wrist": (-330, 60, 940),
    "nose": (0, 110, 1600), "left_eye": (-30, 95, 1640), "right_eye": (30, 95, 1640), "left_ear": (-70, 20, 1620),
    "right_ear": (70, 20, 1620), "left_big_toe": (-120, 200, 20), "left_small_toe": (-160, 170, 20),
    "left_heel": (-110, -60, 30), "right_big_toe": (120, 200, 20), "right_small_toe": (160, 170, 20),
    "right_heel": (110, -60, 30),
}  # fmt: skip


def people(joints: tuple[str, ...], frames: int, centre: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(frames, joints, 3) world mm: the person walks on a circle of 300 mm about `centre` and turns with it."""
    body = np.array([_BODY[joint] for joint in joints], dtype=float)
    poses = []
    for frame in range(frames):
        angle = 0.4 * frame
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        poses.append(body @ turn.T + [centre[0] + 300 * np.cos(angle), centre[1] + 300 * np.sin(angle), 0])
    return np.array(poses)


@dataclass(frozen=True)
class Raw:
    """Where the raw files are; `flags` are the stage's."""

    root: Path
    cameras: tuple[Camera, ...]

    @property
    def views(self) -> Path:
        return self.root / "take/views"

    @property
    def calibration(self) -> Path:
        return self.root / "take/calibration.toml"

    @property
    def detections(self) -> Path:
        return self.root / "take/detections"

    @property
    def truth(self) -> Path:
        return self.root / "take/truth.trc"

    @property
    def out(self) -> Path:
        return self.root / "out"

    def prepare_target(self, monkeypatch: pytest.MonkeyPatch, **params: object) -> None:
        flags = {
            "calibration": self.calibration,
            "views": self.views,
            "detections": self.detections,
            "out": self.out / "target.h5",
            "cameras": self.out / "cameras.toml",
            "joints": self.out / "detections.h5",
            "metrics": self.out / "target.json",
            "frame-list": self.out / "frames.txt",
        }
        run("prepare_target", flags, self.root, monkeypatch, **params)

    def prepare_truth(self, monkeypatch: pytest.MonkeyPatch, **params: object) -> None:
        flags = {"truth": self.truth, "frames": self.out / "target.h5", "out": self.out / "truth.h5"}
        run("prepare_truth", flags, self.root, monkeypatch, **params)


def run(stage: str, flags: dict[str, Path], root: Path, monkeypatch: pytest.MonkeyPatch, **params: object) -> None:
    """Run a stage's own command line in-process, some of its params replaced (`frame_stride=2`)."""
    text = PARAMS
    for key, value in params.items():
        section = {"prepare_target": "target", "prepare_truth": "truth"}[stage]
        before, after = text.split(f"\n{section}:\n")
        lines = after.split("\n")
        at = next(number for number, line in enumerate(lines) if line.lstrip().startswith(f"{key}:"))
        lines[at] = f"{lines[at][: lines[at].index(key)]}{key}: {json.dumps(value)}"
        text = f"{before}\n{section}:\n" + "\n".join(lines)
    (root / "params.yaml").write_text(text)
    arguments = [str(word) for key, path in flags.items() for word in (f"--{key}", path)]
    monkeypatch.setattr(sys, "argv", [stage, *arguments, "--params", str(root / "params.yaml")])
    runpy.run_module(f"stages.{stage}", run_name="__main__")


def write(root: Path, frames: int = 6, views: int = 4, video: bool = False) -> Raw:
    """Images (or videos), a calibration in mm that does not say so, boxes, OpenPose files and markers."""
    raw = Raw(root, camera_ring(views))
    raw.views.mkdir(parents=True)
    write_calibration(raw.calibration, raw.cameras)
    skeleton = get("body_25b")
    joints, bystander = people(skeleton.joint_names, frames), people(skeleton.joint_names, frames, (-900.0, 700.0))
    boxes = []
    for view, camera in enumerate(raw.cameras):
        keypoints, other = camera.project(joints), camera.project(bystander)
        images = [
            draw(camera.size, [keypoints[frame], other[frame]] if view < 2 else [keypoints[frame]])
            for frame in range(frames)
        ]
        if video:
            write_video(raw.views / f"{camera.name}.avi", images)
        else:
            (raw.views / camera.name).mkdir()
            for frame, image in enumerate(images):
                cv2.imwrite(str(raw.views / camera.name / f"{frame:04d}.png"), image)
        folder = raw.detections / f"{camera.name}_json"
        folder.mkdir(parents=True)
        for frame in range(frames):
            figures = [keypoints[frame], other[frame]][:: 1 if frame % 2 else -1] if view < 2 else [keypoints[frame]]
            (folder / f"{camera.name}.{frame:04d}.json").write_text(openpose(figures))
            low, high = keypoints[frame].min(0), keypoints[frame].max(0)
            boxes.append(
                {
                    "image_id": f"{camera.name}/{frame:06d}",
                    "category_id": 1,
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "score": 0.9,
                }
            )
    (raw.detections / "boxes.json").write_text(json.dumps(boxes))
    write_markers(raw.truth, get("mpii_16").joint_names, people(get("mpii_16").joint_names, frames))
    return raw


def draw(size: tuple[int, int], figures: list[np.ndarray]) -> np.ndarray:
    """(height, width, 3): stick figures of body_25b joints (joints, 2) px on a checked floor."""
    image = np.full((size[1], size[0], 3), 150, dtype=np.uint8)
    image[::32] = 120
    for points in figures:
        for parent, child in get("body_25b").limbs:
            ends = np.rint(points[[parent, child]]).astype(int).tolist()
            cv2.line(image, ends[0], ends[1], (60, 50, 140), 7)
    return image


def write_video(path: Path, images: list[np.ndarray]) -> None:
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for image in images:
        writer.write(image)
    writer.release()


def write_calibration(
    path: Path, cameras: tuple[Camera, ...], scale: float = 1.0, units: str = "", transposed: tuple[str, ...] = ()
) -> None:
    """A foreign calibration: world mm times `scale`; the named cameras' rotations are written the wrong way round."""
    text = ""
    for camera in cameras:
        R = camera.R.T if camera.name in transposed else camera.R
        text += (
            f'[{camera.name.replace("cam", "Cam_")}]\nname = "{camera.name.replace("cam", "Cam_")}"\n'
            f"size = {[float(side) for side in camera.size]}\nmatrix = {camera.K.tolist()}\n"
            f"distortions = {camera.distortion[:4].tolist()}\nrotation = {Rotation.from_matrix(R).as_rotvec().tolist()}\n"
            f"translation = {(camera.translation * scale).tolist()}\nfisheye = false\n\n"
        )
    path.write_text(text + "[metadata]\nadjusted = false\n" + (f'units = "{units}"\n' if units else ""))


def openpose(figures: list[np.ndarray]) -> str:
    """One frame's json; (joints, 2) px each, every score 0.8, the last joint of all not detected."""
    listed = []
    for points in figures:
        values = np.concatenate([points, np.full((len(points), 1), 0.8)], axis=-1)
        values[-1] = 0
        listed.append({"person_id": [-1], "pose_keypoints_2d": values.ravel().tolist()})
    return json.dumps({"version": 1.3, "people": listed})


def write_markers(
    path: Path, names: tuple[str, ...], points: np.ndarray, units: str = "mm", first: int = 0, scale: float = 1.0
) -> None:
    """A TRC file of (frames, markers, 3) mm; NaN is an empty cell."""
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"25\t25\t{len(points)}\t{len(names)}\t{units}\t25\t0\t{len(points)}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t\t",
        "\t\t" + "\t".join(f"{axis}{number + 1}" for number in range(len(names)) for axis in "XYZ"),
    ]
    for frame, row in enumerate(points * scale):
        cells = ["" if np.isnan(value) else f"{value:.6f}" for value in row.ravel()]
        lines.append("\t".join([str(frame + first), f"{frame / 25:.4f}", *cells]))
    path.write_text("\n".join(lines) + "\n")
