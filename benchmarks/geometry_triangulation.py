"""Triangulation against a plain implementation, and its growth: benchmarks.geometry --only triangulation

The scene: cameras on a ring around people, 3 px of noise, one keypoint in twelve with an error of up to 60 px, lens distortion.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.optimize import least_squares

from benchmarks.timing import Row, at_most, interleaved
from pipeline.files import heatmaps
from pipeline.files.cameras import write_cameras
from pipeline.files.keys import FrameKeys
from pipeline.geometry import agreement, ransac
from pipeline.geometry.camera import Camera
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.skeleton import get

THRESHOLDS = AgreementThresholds(confidence_threshold=0.1, reproj_threshold_px=15.0, min_ray_angle_deg=5.0)


def ring(count: int) -> tuple[Camera, ...]:
    """Return cameras 4.2 m from the origin, looking at (0, 0, 1000), with barrel distortion."""
    cameras = []
    for number in range(count):
        angle = 2 * np.pi * (number + 0.5) / max(count, 3)
        centre = np.array([4200 * np.cos(angle), 4200 * np.sin(angle), 1800.0])
        forward = np.array([0, 0, 1000.0]) - centre
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        K = np.array([[1150.0, 0, 512], [0, 1150, 512], [0, 0, 1]])
        R = np.stack([right, np.cross(forward, right), forward])
        lens = np.array([-0.2, 0.24, -0.001, 0.001, -0.002])
        cameras.append(Camera(name=f"cam{number:02d}", size=(1024, 1024), K=K, R=R, centre=centre, distortion=lens))
    return tuple(cameras)


def scene(views: int, frames: int, joints: int = 17) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[Camera, ...]]:
    """Return ground truth (frames, joints, 3) mm, keypoints (frames, views, joints, 2) px, scores, cameras."""
    rng = np.random.default_rng(views)
    cameras = ring(views)
    truth = rng.uniform([-600, -600, 0], [600, 600, 1800], (frames, joints, 3))
    points = agreement.project(truth, cameras) + rng.normal(0, 3, (frames, views, joints, 2))
    scores = rng.uniform(0.2, 1, points.shape[:-1])
    wrong = rng.random(scores.shape) < 1 / 12
    points[wrong] += rng.uniform(-60, 60, points[wrong].shape)
    return truth, points, scores, cameras


def plain(points: np.ndarray, cameras: tuple[Camera, ...], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate one joint, (views, 2) px, plainly; return (3,) mm, NaN if unknown, and (views,) bool inliers."""
    straight = [camera.undistort(point) for camera, point in zip(cameras, points, strict=True)]
    best: tuple[int, float, np.ndarray, np.ndarray] = (
        1,
        np.inf,
        np.full(3, np.nan),
        np.zeros(len(cameras), dtype=bool),
    )
    for a, b in itertools.combinations(range(len(cameras)), 2):
        rows = [
            straight[view][k] * cameras[view].image_from_world[2] - cameras[view].image_from_world[k]
            for view in (a, b)
            for k in range(2)
        ]
        homogeneous = np.linalg.svd(np.array(rows))[2][-1]
        place = homogeneous[:3] / homogeneous[3]
        errors = np.array(
            [np.linalg.norm(camera.project(place) - point) for camera, point in zip(cameras, points, strict=True)]
        )
        inliers = errors < threshold
        cost = np.minimum(np.nan_to_num(errors, nan=np.inf), threshold) @ np.minimum(
            np.nan_to_num(errors, nan=np.inf), threshold
        )
        if (inliers.sum(), -cost) > (best[0], -best[1]):
            best = (int(inliers.sum()), float(cost), place, inliers)
    chosen = [(camera, point) for camera, point, inside in zip(cameras, points, best[3], strict=True) if inside]
    if len(chosen) < 2:
        return best[2], best[3]
    fit = least_squares(lambda x: np.concatenate([camera.project(x) - point for camera, point in chosen]), best[2])
    return fit.x, best[3]


def opencv_pairs(straight: np.ndarray, cameras: tuple[Camera, ...]) -> None:
    """Triangulate all pairs of views, (views, points, 2) undistorted px, without inliers, refinement or lens."""
    for a, b in itertools.combinations(range(len(cameras)), 2):
        cv2.triangulatePoints(
            cameras[a].image_from_world, cameras[b].image_from_world, straight[a].T.copy(), straight[b].T.copy()
        )


def rows(quick: bool) -> list[Row]:
    rounds = 3 if quick else 9
    return [
        *speed(rounds, 60 if quick else 300),
        *accuracy(20 if quick else 120),
        *growth(rounds),
        *threads(),
        *stage(quick),
    ]


def speed(rounds: int, frames: int) -> list[Row]:
    goals = {4: 0.9, 8: 2.5}
    found = []
    for views in (2, 4, 8, 16):
        truth, points, scores, cameras = scene(views, frames)
        count = truth[..., 0].size
        straight = np.stack([camera.undistort(points[:, v]).reshape(-1, 2) for v, camera in enumerate(cameras)])
        spent = interleaved(
            {
                "ours": partial(ransac.triangulate_ransac, points, scores, cameras, THRESHOLDS, threads=1),
                "huber": partial(
                    ransac.triangulate_ransac, points, scores, cameras, THRESHOLDS, threads=1, huber_px=5.0
                ),
                "opencv": partial(opencv_pairs, straight, cameras),
                "plain": partial(plain, points[0, :, 0], cameras, 15.0),
            },
            rounds,
        )
        ours = spent["ours"] / count * 1e6
        name = f"RANSAC of a joint, {views} views, undistorted and refitted"
        note = "one thread" if views <= ransac.PAIRED_VIEWS else "the pairs of the surest views"
        found.append(
            at_most(name, ours, "us", goals[views], note)
            if views in goals
            else Row(name=name, value=ours, unit="us", note=note)
        )
        found.append(
            Row(name="  Huber's refinement besides", value=(spent["huber"] - spent["ours"]) / count * 1e6, unit="us")
        )
        found.append(Row(name="  plain Python with SciPy, ratio", value=spent["plain"] * 1e6 / ours, unit="x"))
        pairs = "all pairs, which is no inlier, refit or lens yet"
        found.append(
            Row(name="  cv2.triangulatePoints, ratio", value=spent["opencv"] / count * 1e6 / ours, unit="x", note=pairs)
        )
    return found


def accuracy(frames: int) -> list[Row]:
    found = []
    for views in (3, 4, 8):
        truth, points, scores, cameras = scene(views, frames, joints=3)
        ours = ransac.triangulate_ransac(points, scores, cameras, replace(THRESHOLDS, min_ray_angle_deg=0.0))
        theirs, inliers = np.full(truth.shape, np.nan), np.zeros(ours.inliers.shape, dtype=bool)
        for frame, joint in np.ndindex(truth.shape[:2]):
            theirs[frame, joint], inliers[frame, :, joint] = plain(points[frame, :, joint], cameras, 15.0)
        same = (inliers == ours.inliers).all(axis=1)
        apart = np.linalg.norm(ours.joints - theirs, axis=-1)[same]
        error = [np.nanmedian(np.linalg.norm(joints - truth, axis=-1)) for joints in (ours.joints, theirs)]
        note = f"median error {error[0]:.2f} mm against {error[1]:.2f}; {100 * same.mean():.1f} % the same inliers"
        percentile = float(np.nanpercentile(apart, 99))
        found.append(at_most(f"from the plain one, {views} views, 99 % within", percentile, "mm", 0.01, note))
    return found


def growth(rounds: int) -> list[Row]:
    def timed(views: int, frames: int, joints: int) -> Any:
        _, points, scores, cameras = scene(views, frames, joints)
        return lambda: ransac.triangulate_ransac(points, scores, cameras, THRESHOLDS, threads=1)

    spent = interleaved(
        {
            "one": timed(4, 256, 17),
            "frames": timed(4, 512, 17),
            "joints": timed(4, 256, 34),
            "views": timed(8, 256, 17),
        },
        rounds,
    )
    return [
        at_most("twice the frames", spent["frames"] / spent["one"], "x", 2.2),
        at_most("twice the joints", spent["joints"] / spent["one"], "x", 2.2),
        Row(
            name="8 views for 4",
            value=spent["views"] / spent["one"],
            unit="x",
            note="pairs times views: 9.3 times as many",
        ),
    ]


def threads() -> list[Row]:
    _, points, scores, cameras = scene(8, 4000)
    results, wall, cpu = [], [], []
    for number in (1, 2):
        start, begun = time.perf_counter(), time.process_time()
        found = ransac.triangulate_ransac(points, scores, cameras, THRESHOLDS, threads=number)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - begun)
        results.append(b"".join(part.tobytes() for part in (found.joints, found.inliers, found.error_px, found.status)))
    same = float(results[0] == results[1])
    return [
        Row(name="two threads give the bytes of one", value=same, unit="", goal="= 1", met=bool(same)),
        Row(
            name="two threads, processor at work at a time",
            value=cpu[1] / wall[1],
            unit="x",
            note="at most what the machine has free",
        ),
        Row(name="two threads, CPU time of one", value=cpu[1] / cpu[0], unit="x"),
    ]


def stage(quick: bool) -> list[Row]:
    """Measure the stage as a process: memory, start, compilation."""
    sizes = (300, 1000) if quick else (1000, 10000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = folder / "params.yaml"
        params.write_text(
            "held_out: {view: null}\n"
            "triangulate: {confidence_threshold: 0.1, reproj_threshold_px: 15.0, min_inliers: 2, min_ray_angle_deg: 5.0,"
            " refine: none, huber_px: 5.0}\n"
        )
        for frames in (10, *sizes):
            write(folder / f"{frames}.h5", folder / "cameras.toml", frames)
        run(folder, 10)  # fills the caches
        starts = [run(folder, 10) for _ in range(3)]
        few, many = (run(folder, frames)[2] for frames in sizes)
        cold = run(folder, 10, {"NUMBA_CACHE_DIR": str(folder / "cache")})
    wall, cpu = (float(np.median([each[k] for each in starts])) for k in range(2))
    return [
        at_most(
            "the stage on 10 frames, from start to end", cpu, "s CPU", 1.0, f"wall {wall:.2f} s, with compiled caches"
        ),
        at_most("  the same, compiled anew", cold[1], "s CPU", 10.0),
        Row(name=f"  peak memory, {sizes[0]} frames", value=few, unit="MB"),
        Row(name=f"  peak memory, {sizes[1]} frames", value=many, unit="MB"),
        at_most(
            "  memory a frame besides", (many - few) * 1000 / (sizes[1] - sizes[0]), "kB", 1.0, "its keys and error"
        ),
    ]


def write(path: Path, rig: Path, frames: int) -> None:
    """Write a heatmap file of the scene with tiny maps."""
    _, points, scores, cameras = scene(4, frames, 16)
    skeleton = get("mpii_16")
    keys = FrameKeys(np.full(frames, "s1"), np.arange(frames), np.full(frames, "train"), np.full(frames, "somebody"))
    write_cameras(rig, cameras)
    views = tuple(camera.name for camera in cameras)
    with heatmaps.writing(path, keys, views, skeleton, (4, 4)) as writer:
        for start in range(0, frames, 256):
            some = slice(start, start + 256)
            count = len(points[some])
            affine = np.tile(np.eye(2, 3), (count, 4, 1, 1))
            windows, corners = np.zeros((count, 4, 16, 2, 4, 4)), np.zeros((count, 4, 16, 2, 2))
            writer.append(points[some], scores[some], affine, (windows, corners))


def run(folder: Path, frames: int, environment: dict[str, str] | None = None) -> tuple[float, float, float]:
    """Run the stage as a process; return wall seconds, CPU seconds, peak MB."""
    command = [sys.executable, "-m", "stages.triangulate"]
    for flag, value in {
        "heatmaps": folder / f"{frames}.h5",
        "cameras": folder / "cameras.toml",
        "out": folder / "out.h5",
        "metrics": folder / "out.json",
        "params": folder / "params.yaml",
    }.items():
        command += [f"--{flag}", str(value)]
    start = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the stage ended with {process.returncode}: {' '.join(command)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
