"""A tiny Human3.6M in every layout: two subjects walk on a circle between four cameras, which were placed anew for each.

Images are grey with a bright dot at every keypoint. Labels follow Human3.6M's own lens formula.
"""

import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cdflib.cdfwrite import CDF
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera

SIZE = (200, 202)  # px
CAMERAS = ("54138969", "55011271", "58860488", "60457274")
OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 16, 14, 15, 17, 18, 19, 25, 26, 27]
ACTION_NAMES = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting", "SittingDown"),
    *("Smoking", "TakingPhoto", "Waiting", "Walking", "WalkingDog", "WalkingTogether"),
)
TRIALS = {(2, 1): "Directions 1", (2, 2): "Directions", (5, 1): "Greeting 1", (5, 2): "Greeting"}
# A standing person in the order of h36m_17, mm, x right, y ahead, z up.
_BODY = np.array(
    [
        [0, 0, 920], [130, 0, 920], [130, 20, 480], [120, 0, 80], [-130, 0, 920], [-130, 20, 480], [-120, 0, 80],
        [0, 0, 1150], [0, 0, 1420], [0, 110, 1540], [0, 30, 1640],
        [-180, 0, 1400], [-260, 40, 1130], [-300, 100, 900], [180, 0, 1400], [290, 40, 1150], [400, 300, 1200],
    ],
    dtype=float,
)  # fmt: skip


@dataclass
class World:
    """`takes`: (subject, action, subaction) -> (frames, 17, 3) world mm; `rigs`: subject -> cameras."""

    takes: dict[tuple[int, int, int], np.ndarray]
    rigs: dict[int, tuple[Camera, ...]]
    angles: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def keypoints(self, key: tuple[int, int, int]) -> np.ndarray:
        """Return (frames, views, 17, 2) px."""
        return np.stack([camera.project(self.takes[key]) for camera in self.rigs[key[0]]], axis=1)

    def in_cameras(self, key: tuple[int, int, int]) -> np.ndarray:
        """Return (frames, views, 17, 3) mm in the cameras' axes."""
        return np.stack([camera.camera_from_world(self.takes[key]) for camera in self.rigs[key[0]]], axis=1)

    def images(self, key: tuple[int, int, int], view: int) -> list[np.ndarray]:
        drawn = []
        for keypoints in self.keypoints(key)[:, view]:
            image = np.full((SIZE[1], SIZE[0], 3), 90, dtype=np.uint8)
            for x, y in keypoints.round().astype(int).tolist():
                cv2.circle(image, (x, y), 2, (40, 230, 230), -1)
            drawn.append(image)
        return drawn


def world(subjects: tuple[int, ...] = (1, 9), frames: int = 6, convention: str = "h36m") -> World:
    made = World({}, {})
    for subject in subjects:
        cameras = []
        for view, name in enumerate(CAMERAS):
            turn = 0.7 + np.pi / 2 * view + 0.02 * subject
            centre = np.array([4500 * np.cos(turn), 4500 * np.sin(turn), 1550.0 + 10 * subject])
            forward = np.array([0, 0, 1000.0]) - centre
            forward /= np.linalg.norm(forward)
            right = np.cross(forward, [0, 0, 1.0])
            right /= np.linalg.norm(right)
            R = np.stack([right, np.cross(forward, right), forward])
            made.angles[subject, view] = Rotation.from_matrix(R).as_euler("XYZ")
            K = np.array([[229.0 + view, 0, 102.4], [0, 228.0, 101.6], [0, 0, 1]])
            distortion = np.array([-0.2, 0.24, -0.0009, -0.0014, -0.002])
            cameras.append(
                Camera(
                    name=name,
                    size=SIZE,
                    K=K,
                    R=R,
                    centre=centre,
                    distortion=distortion,
                    convention=convention,  # type: ignore[arg-type]
                )
            )
        made.rigs[subject] = tuple(cameras)
        for at, (action, subaction) in enumerate(TRIALS):
            steps = 0.3 * np.arange(frames + at) + subject
            poses = []
            for angle in steps:
                turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
                poses.append(_BODY @ turned.T + [300 * np.cos(angle), 300 * np.sin(angle), 0])
            made.takes[subject, action, subaction] = np.array(poses)
    return made


def name(subject: int, action: int, subaction: int, view: int, number: int | None = None) -> str:
    tail = "" if number is None else f"_{number:06}.jpg"
    return f"s_{subject:02}_act_{action:02}_subact_{subaction:02}_ca_{view + 1:02}{tail}"


# Layout (a): the record files of the multiview code


def record_list(made: World) -> list[dict[str, Any]]:
    records = []
    for video, (key, view) in enumerate((key, view) for key in made.takes for view in range(4)):
        camera = made.rigs[key[0]][view]
        k1, k2, p1, p2, k3 = camera.distortion
        numbers = {
            "R": camera.R,
            "T": camera.centre[:, None],
            "fx": camera.K[:1, 0],
            "fy": camera.K[1:2, 1],
            "cx": camera.K[:1, 2],
            "cy": camera.K[1:2, 2],
            "k": np.array([[k1], [k2], [k3]]),
            "p": np.array([[p1], [p2]]),
        }
        keypoints, joints = made.keypoints(key)[:, view], made.in_cameras(key)[:, view]
        for frame in range(len(keypoints)):
            records.append(
                {
                    "image": f"{name(*key, view)}/{name(*key, view, frame + 1)}",
                    "joints_2d": keypoints[frame],
                    "joints_3d": universal(joints[frame]),
                    "joints_3d_camera": joints[frame],
                    "joints_vis": np.ones((17, 3)),
                    "video_id": video,
                    "image_id": frame + 1,
                    "subject": key[0],
                    "action": key[1],
                    "subaction": key[2],
                    "camera_id": view,
                    "source": "h36m",
                    "camera": numbers,
                    "center": (100.0, 100.0),
                    "scale": (1.0, 1.0),
                    "box": np.zeros(4),
                }
            )
    return records


def universal(joints: np.ndarray) -> np.ndarray:
    """Return the pose of a taller skeleton: limbs longer by a third, the root unchanged."""
    return joints[:1] + (joints - joints[:1]) * 4 / 3


def write_records(
    root: Path, made: World, change: Callable[[list[dict[str, Any]]], object] | None = None, protocol: int = 2
) -> Path:
    """Write annot/h36m_train.pkl and h36m_validation.pkl; `change` may edit the records before."""
    records = record_list(made)
    if change is not None:
        change(records)
    folder = root / "annot"
    folder.mkdir(parents=True, exist_ok=True)
    tested = [isinstance(each, dict) and str(each.get("image")).startswith(("s_09", "s_11")) for each in records]
    for file, test in (("h36m_train", False), ("h36m_validation", True)):
        part = [record for record, own in zip(records, tested, strict=True) if own == test]
        if part:
            (folder / f"{file}.pkl").write_bytes(pickle.dumps(part, protocol))
    return folder


def write_images(root: Path, made: World) -> Path:
    for key in made.takes:
        for view in range(4):
            folder = root / "images" / name(*key, view)
            folder.mkdir(parents=True, exist_ok=True)
            for frame, image in enumerate(made.images(key, view)):
                cv2.imwrite(str(folder / name(*key, view, frame + 1)), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return root / "images"


def zip_images(folder: Path, inner: str = "images/") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.jpg")):
            archive.write(file, inner + file.relative_to(folder).as_posix())
    return path


# Layout (b): the official download


def write_metadata(path: Path, made: World) -> Path:
    subjects = [f"S{number}" for number in range(1, 12)]
    rows = ["".join(f"<td>{cell}</td>" for cell in ("action", "subaction", *subjects))]
    for action in range(1, 17):
        for subaction in (1, 2):
            trial = TRIALS.get((action, subaction), f"Other{action} {subaction}")
            rows.append("".join(f"<td>{cell}</td>" for cell in (action, subaction, *[trial] * 11)))
    names = ["_ALL", *ACTION_NAMES]
    numbers = np.zeros(300)
    for subject, cameras in made.rigs.items():
        for view, camera in enumerate(cameras):
            k1, k2, p1, p2, k3 = camera.distortion
            numbers[6 * (view * 11 + subject - 1) :][:6] = [*made.angles[subject, view], *camera.centre]
            numbers[264 + 9 * view :][:9] = [*np.diag(camera.K)[:2], *camera.K[:2, 2], k1, k2, k3, p1, p2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "<?xml version='1.0'?><metadata><mapping>"
        + "".join(f"<tr>{row}</tr>" for row in rows)
        + f"</mapping><actionnames>{''.join(f'<td>{each}</td>' for each in names)}</actionnames><dbcameras><index2id>"
        + "".join(f"<td>{camera}</td>" for camera in CAMERAS)
        + f"</index2id></dbcameras><w0>[{' '.join(map(repr, numbers.tolist()))}]</w0></metadata>"
    )
    return path


def of_32(joints: np.ndarray) -> np.ndarray:
    """Return (1, frames, 32 * coordinates), the pose files' form, of (frames, 17, coordinates); other joints are 7."""
    full = np.full((len(joints), 32, joints.shape[-1]), 7.0)
    full[:, OF_32] = joints
    full[:, 13] = joints[:, 8]
    return full.reshape(1, len(joints), -1)


def write_cdf(
    path: Path, poses: np.ndarray, compressed: bool = False, variable: str = "Pose", column_major: bool = False
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name("scratch")  # the writer would cut `Directions 1.54138969` at its dot
    majority = "Column_major" if column_major else "Row_major"
    file = CDF(scratch, cdf_spec={"Majority": majority} | ({"Compressed": 6} if compressed else {}))
    kind = {"Variable": variable, "Data_Type": 45, "Num_Elements": 1, "Rec_Vary": True, "Var_Type": "zVariable"}
    shape = poses.shape
    if column_major:  # the writer sets the flag only; the bytes are ordered here
        poses = np.ascontiguousarray(poses.transpose(0, 2, 1)).reshape(shape)
    file.write_var({**kind, "Dim_Sizes": list(shape[1:])}, var_data=poses)
    file.close()
    scratch.with_suffix(".cdf").rename(path)


def write_video(path: Path, images: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 50, SIZE)
    for image in images:
        out.write(image)
    out.release()


def write_release(
    root: Path,
    made: World,
    kinds: tuple[str, ...] = ("D2_Positions", "D3_Positions", "D3_Positions_mono"),
    videos: bool = True,
) -> Path:
    """Write S1/MyPoseFeatures/D2_Positions/Directions 1.54138969.cdf, S1/Videos/..., metadata.xml."""
    write_metadata(root / "metadata.xml", made)
    for key, joints in made.takes.items():
        trial, own = TRIALS[key[1:]], root / f"S{key[0]}"
        if "D3_Positions" in kinds:
            write_cdf(own / "MyPoseFeatures/D3_Positions" / f"{trial}.cdf", of_32(joints))
        for view, camera in enumerate(CAMERAS):
            file = f"{trial}.{camera}"
            mono = made.in_cameras(key)[:, view]
            poses = {
                "D2_Positions": made.keypoints(key)[:, view],
                "D3_Positions_mono": mono,
                "D3_Positions_mono_universal": np.stack([universal(each) for each in mono]),
            }
            for kind in poses.keys() & set(kinds):
                write_cdf(own / f"MyPoseFeatures/{kind}/{file}.cdf", of_32(poses[kind]), compressed=view == 1)
            if videos:
                write_video(own / f"Videos/{file}.mp4", made.images(key, view))
    return root


def pack(root: Path, kind: str = "tgz") -> None:
    """Replace each subject's folders by archives as they are downloaded, `Poses_D2_Positions_S1.tgz`."""
    for own in sorted(root.glob("S*")):
        for folder in [*sorted((own / "MyPoseFeatures").iterdir()), *own.glob("Videos")]:
            prefix = "" if folder.name == "Videos" else "Poses_"
            target = root / f"{prefix}{folder.name}_{own.name}.{kind}"
            if kind == "zip":
                with zipfile.ZipFile(target, "w") as archive:
                    for file in sorted(folder.iterdir()):
                        archive.write(file, file.relative_to(root).as_posix())
            else:
                with tarfile.open(target, "w:gz") as packed:
                    packed.add(folder, folder.relative_to(root).as_posix())
        shutil.rmtree(own)


# Layout (c): matlab_meta.txt


def write_matlab(root: Path, made: World) -> Path:
    for key, joints in made.takes.items():
        for view, camera in enumerate(made.rigs[key[0]]):
            k1, k2, p1, p2, k3 = camera.distortion
            lines = [
                f"{len(joints)}",
                f"{name(*key, view)} {SIZE[0]} {SIZE[1]}",
                _line("R", camera.R.T.ravel()),
                _line("T", camera.centre),
                _line("f", np.diag(camera.K)[:2]),
                _line("c", camera.K[:2, 2]),
                _line("k", np.array([k1, k2, k3])),
                _line("p", np.array([p1, p2])),
                "jt_list " + " ".join(str(joint + 1) for joint in OF_32),
                *[_line(f"{frame + 1}", pose) for frame, pose in enumerate(of_32(joints)[0])],
            ]
            path = root / "annot" / name(*key, view) / "matlab_meta.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
    return root / "annot"


def _line(label: str, values: np.ndarray) -> str:
    return " ".join([label, *map(repr, np.asarray(values, dtype=float).tolist())])


def write_challenge_detections(root: Path, made: World) -> None:
    """Write a 2D network's results on the images of `write_challenge`: the exact keypoints."""
    entries = [
        {"image_id": f"{part}/{at:05}", "keypoints": np.insert(keypoints, 2, 1, axis=1).ravel().tolist()}
        for part, key in (("Train", (1, 2, 1)), ("Val", (9, 2, 1)))
        for at, keypoints in enumerate(made.keypoints(key)[:, 0], start=1)
    ]
    (root / "detections.json").write_text(json.dumps(entries))


def write_challenge(root: Path, made: World) -> Path:
    """Write Train and Val with one image per frame of one view, and Test."""
    for part, key in (("Train", (1, 2, 1)), ("Val", (9, 2, 1)), ("Test", (9, 2, 2))):
        (root / part / "IMG").mkdir(parents=True)
        (root / part / "POSE").mkdir()
        joints = made.in_cameras(key)[:, 0]
        for at, image in enumerate(made.images(key, 0), start=1):
            cv2.imwrite(str(root / part / f"IMG/{at:05}.jpg"), image)
            if part != "Test":
                pose = joints[at - 1] - joints[at - 1, :1]
                buffer = io.StringIO()
                np.savetxt(buffer, pose, delimiter=",")
                (root / part / f"POSE/{at:05}.csv").write_text(buffer.getvalue())
    return root


def undistorted(made: World) -> World:
    """Return the same world with lenses without distortion."""
    rigs = {s: tuple(replace(camera, distortion=np.zeros(5)) for camera in rig) for s, rig in made.rigs.items()}
    return World(made.takes, rigs, made.angles)


def matrix(angles: np.ndarray) -> np.ndarray:
    return Rotation.from_euler("XYZ", angles).as_matrix()


def euler(R: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(R).as_euler("XYZ")
