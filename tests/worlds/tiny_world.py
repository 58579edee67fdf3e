"""The artefacts of a small run: four cameras on the corners of a 6 m square look at a person who moves near the origin.

Detections are the ground truth plus noise; each later round has less of it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.files import frames as frames_file
from pipeline.files import heatmaps as heatmaps_file
from pipeline.files.cameras import write_cameras
from pipeline.files.keys import FrameKeys
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import JointStatus, Poses
from pipeline.files.tables import write_table
from pipeline.files.truth import Truth
from pipeline.geometry.camera import Camera
from pipeline.skeleton import Skeleton, get

SIZE = (512, 512)  # px

# One standing person, mm, x right, y forward, z up, in mpii_16's order.
STANDING = np.array(
    [
        [110, 0, 80], [105, 20, 480], [100, 0, 900], [-100, 0, 900], [-105, 20, 480], [-110, 0, 80],
        [0, 0, 920], [0, 0, 1420], [0, 10, 1500], [0, 30, 1720],
        [300, 40, 900], [260, 0, 1130], [180, 0, 1400], [-180, 0, 1400], [-260, 0, 1130], [-300, 40, 900],
    ],
    dtype=float,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class World:
    """The files' places; `rounds` are the names of the models, "r0" first."""

    root: Path
    rounds: tuple[str, ...]
    cameras: tuple[Camera, ...]
    keys: FrameKeys
    joints: np.ndarray  # (frames, joints, 3) world mm, the ground truth

    @property
    def frames(self) -> Path:
        return self.root / "data/prepared/target.h5"

    @property
    def rig(self) -> Path:
        return self.root / "data/prepared/cameras.toml"

    @property
    def truth(self) -> Path:
        return self.root / "data/prepared/truth.h5"

    def data(self, model: str) -> Path:
        return self.root / "data/rounds" / model

    def metrics(self, model: str) -> Path:
        return self.root / "metrics/rounds" / model

    def plots(self, model: str) -> Path:
        return self.root / "plots/rounds" / model


def camera_ring(count: int = 4) -> tuple[Camera, ...]:
    """Return cameras 4.2 m from the origin and 1.8 m high, all looking at (0, 0, 1000), with barrel distortion."""
    cameras = []
    for number in range(count):
        angle = 2 * np.pi * (number + 0.5) / count
        centre = np.array([4200 * np.cos(angle), 4200 * np.sin(angle), 1800.0])
        forward = np.array([0, 0, 1000.0]) - centre
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        K = np.array([[700.0, 0, 256], [0, 700, 256], [0, 0, 1]])
        cameras.append(
            Camera(
                name=f"cam{number + 1:02d}",
                size=SIZE,
                K=K,
                R=R,
                centre=centre,
                distortion=np.array([-0.1, 0.02, 0.001, -0.001, 0]),
            )
        )
    return tuple(cameras)


def build(
    root: Path, *, rounds: int = 2, views: int = 4, train: int = 12, test: int = 8, origin: str = "truth"
) -> World:
    """Write every artefact that evaluate, evaluate_labels and report read."""
    rng = np.random.default_rng(7)
    skeleton = get("mpii_16")
    cameras = camera_ring(views)
    count = train + test
    keys = FrameKeys(
        np.array(["s1"] * train + ["s2"] * test),
        np.concatenate([np.arange(train), np.arange(test)]) * 3,
        np.array(["train"] * train + ["test"] * test),
        np.array(["ann"] * train + ["bob"] * test),
    )
    joints = _moving(count, rng)
    models = tuple(f"r{number}" for number in range(rounds + 1))
    world = World(root=root, rounds=models, cameras=cameras, keys=keys, joints=joints)
    write_cameras(world.rig, cameras)
    Truth(keys=keys, skeleton=skeleton, joints=joints, head=np.full(count, 165.0), origin=origin).write(world.truth)
    exact = np.stack([camera.project(joints) for camera in cameras], axis=1)  # (frames, views, joints, 2)
    box, crop_from_image = _boxes(exact)
    _write_frames(world, exact, box, crop_from_image)
    names = tuple(camera.name for camera in cameras)
    for number, model in enumerate(world.rounds):
        noise = 9.0 / (1 + number)
        keypoints = exact + rng.normal(0, noise, exact.shape)
        swapped = rng.random(keypoints.shape[:2]) < 0.2 / (1 + number)  # left for right in a whole view
        keypoints[swapped] = keypoints[swapped][:, skeleton.flipped]
        keypoints[rng.random(keypoints.shape[:3]) < 0.03] = np.nan
        _write_heatmaps(world, model, skeleton, keypoints, box=box, rng=rng)
        predicted = joints + rng.normal(0, 6 * noise, joints.shape)
        predicted[rng.random(predicted.shape[:2]) < 0.05] = np.nan
        known = np.isfinite(predicted).all(-1)
        inliers = np.isfinite(keypoints).all(-1) & known[:, None]
        error = np.where(known, 3.0, np.nan)
        status = np.where(known, JointStatus.KNOWN, JointStatus.NO_AGREEMENT)
        Poses(
            keys=keys, views=names, skeleton=skeleton, joints=predicted, inliers=inliers, error_px=error, status=status
        ).write(world.data(model) / "poses.h5")
        rpsm = joints + rng.normal(0, 5 * noise, joints.shape)
        Poses(
            keys=keys,
            views=names,
            skeleton=skeleton,
            joints=rpsm,
            inliers=inliers,
            error_px=np.full(error.shape, 3.0),
            status=np.zeros_like(status),
        ).write(world.data(model) / "rpsm.h5")
        _write_training(world, model, number)
        if number:
            _write_labels(world, model, skeleton, exact, box=box, rng=rng)
    return world


def _moving(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (frames, joints, 3) mm: the standing person turned, shifted, arms raised, with noise on every joint."""
    poses = []
    for frame in range(count):
        angle = 0.25 * frame
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        pose = STANDING + rng.normal(0, 15, STANDING.shape)
        lift = 250 * (1 + np.sin(0.9 * frame))
        pose[[10, 15], 2] += lift
        pose[[11, 14], 2] += lift / 3
        poses.append(pose @ turn.T + [300 * np.sin(0.2 * frame), 200 * np.cos(0.3 * frame), 0])
    return np.array(poses)


def _boxes(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = keypoints.min(2), keypoints.max(2)  # (frames, views, 2)
    centre, side = (low + high) / 2, (high - low).max(-1, keepdims=True) * 1.25
    box = np.concatenate([centre - side / 2, centre + side / 2], axis=-1)
    corner, scale = centre - side * 0.75, 192 / (side[..., 0] * 1.5)  # stored 1.5 times as wide as the box
    crop = np.zeros((*keypoints.shape[:2], 2, 3))
    crop[..., 0, 0] = crop[..., 1, 1] = scale
    crop[..., :, 2] = -corner * scale[..., None]
    return box, crop


def _write_frames(world: World, keypoints: np.ndarray, box: np.ndarray, crop_from_image: np.ndarray) -> None:
    limbs = get("mpii_16").limbs

    def images():
        for frame in range(len(keypoints)):
            for view in range(keypoints.shape[1]):
                image = np.full((192, 192, 3), (150, 160, 150), dtype=np.uint8)
                image[::16] = 130
                crop = crop_from_image[frame, view]
                at = np.rint(keypoints[frame, view] @ crop[:, :2].T + crop[:, 2]).astype(int)
                for parent, child in limbs:
                    cv2.line(image, at[parent].tolist(), at[child].tolist(), (60, 50, 110), 9)
                yield bytes(cv2.imencode(".jpg", image)[1])

    names = tuple(camera.name for camera in world.cameras)
    frames_file.write(
        world.frames, keys=world.keys, views=names, box=box, crop_from_image=crop_from_image, jpegs=images()
    )


def _write_heatmaps(
    world: World, model: str, skeleton: Skeleton, keypoints: np.ndarray, *, box: np.ndarray, rng: np.random.Generator
) -> None:
    names = tuple(camera.name for camera in world.cameras)
    frames, views, num_joints, _ = keypoints.shape
    scores = np.where(np.isfinite(keypoints).all(-1), rng.uniform(0.4, 1, (frames, views, num_joints)), 0)
    image_from_map = np.zeros((frames, views, 2, 3))
    image_from_map[..., 0, 0] = image_from_map[..., 1, 1] = (box[..., 2] - box[..., 0]) / 24
    image_from_map[..., :, 2] = box[..., :2]
    with heatmaps_file.writing(world.data(model) / "heatmaps.h5", world.keys, names, skeleton, (24, 24)) as writer:
        patches = np.zeros((frames, views, num_joints, 2, writer.patch_side, writer.patch_side))
        writer.append(keypoints, scores, image_from_map, (patches, np.zeros((frames, views, num_joints, 2, 2))))


def _write_training(world: World, model: str, number: int) -> None:
    epochs = 6 if number == 0 else 4
    write_table(
        world.plots(model) / "training.csv",
        {
            "epoch": range(1, epochs + 1),
            "step": [100 * epoch for epoch in range(1, epochs + 1)],
            "loss": [0.9 / (number + epoch) for epoch in range(1, epochs + 1)],
        },
    )
    path = world.metrics(model) / "train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"loss": 0.1, "epochs": epochs}))


def _write_labels(
    world: World, model: str, skeleton: Skeleton, exact: np.ndarray, *, box: np.ndarray, rng: np.random.Generator
) -> None:
    names = tuple(camera.name for camera in world.cameras)
    reason = np.where(rng.random(exact.shape[:3]) < 0.7, Reason.ACCEPTED, Reason.TOO_FEW_INLIERS)
    reason[world.keys.split == "test"] = Reason.TEST_SPLIT
    keypoints = exact + rng.normal(0, 4, exact.shape)
    keypoints[reason != Reason.ACCEPTED] = np.nan
    weights = np.where(reason == Reason.ACCEPTED, 1.0, 0.0)
    Labels(
        keys=world.keys,
        views=names,
        skeleton=skeleton,
        keypoints=keypoints,
        weights=weights,
        reason=reason,
        person_box=box,
    ).write(world.data(model) / "labels.h5")
