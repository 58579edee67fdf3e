"""RPSM: time per frame and its parts, how it grows, the stage on a file of heatmaps (benchmarks/geometry.py).

Bodies and heatmaps are simulated: a standing person whose limbs change direction a little in every frame, with noise in the maps.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Row, at_least, at_most, interleaved
from pipeline import crops, params
from pipeline.files import heatmaps as heatmap_file
from pipeline.files.cameras import write_cameras
from pipeline.files.keys import FrameKeys
from pipeline.files.poses import Poses
from pipeline.geometry import agreement, pictorial, ransac
from pipeline.geometry.camera import Camera
from pipeline.geometry.limbs import limb_lengths
from pipeline.geometry.pictorial import Bodies, Search
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.heatmaps.compress import coarse_map, peak_patches
from pipeline.heatmaps.decode import decode_dark
from pipeline.heatmaps.render import render
from pipeline.skeleton import Skeleton, get
from tests.plain import pictorial as plain_pictorial
from tests.worlds.tiny_world import camera_ring

_SEARCH = Search(cube_mm=2000, coarse_bins=16, refine_bins=2, refine_steps=10, limb_tolerance_mm=150, min_heat=1e-2)
_THRESHOLDS = AgreementThresholds(confidence_threshold=0.3, reproj_threshold_px=15, min_ray_angle_deg=5)
_H36M = get("h36m_17")
_STANDING = np.array(
    [
        [0, 0, 950], [0, -130, 0], [0, -10, -450], [0, 0, -440], [0, 130, 0], [0, 10, -450], [0, 0, -440], [0, 0, 230],
        [0, 0, 250], [60, 0, 100], [0, 0, 110], [0, 150, -30], [0, 40, -270], [0, 0, -240], [0, -150, -30], [0, -40, -270],
        [0, 0, -240],
    ],
    dtype=float,
)  # fmt: skip  # mm from each joint's parent


def rows(quick: bool) -> list[Row]:
    rounds, frames = (3, 8) if quick else (9, 24)
    return [
        *_cost(rounds, frames),
        *_against_plain(quick),
        *_growth(rounds, frames, quick),
        *_accuracy(60 if quick else 300),
        *_gpu(),
        *_stage(quick),
    ]


def _bodies(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return (frames, 17, 3) mm; one person whose limbs change direction from frame to frame."""
    joints = np.zeros((frames, len(_H36M), 3))
    joints[:, 0] = _STANDING[0] + rng.uniform(-200, 200, (frames, 3))
    for joint, parent in list(enumerate(_H36M.parents))[1:]:
        limb = _STANDING[joint] + rng.normal(0, 0.3 * np.linalg.norm(_STANDING[joint]), (frames, 3))
        limb *= np.linalg.norm(_STANDING[joint]) / np.linalg.norm(limb, axis=-1, keepdims=True)
        joints[:, joint] = joints[:, parent] + limb
    return joints


def _world(
    frames: int, views: int = 4, side: int = 64, noise: float = 0.02
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[Camera, ...]]:
    """Return bodies, their maps (frames, views, joints, side, side), map_from_image, cameras."""
    rng = np.random.default_rng(1)
    joints, cameras = _bodies(frames, rng), camera_ring(views)
    shown = agreement.project(joints, cameras)
    middle = shown.mean(axis=2)
    map_from_image = crops.crop_from_image(np.concatenate([middle - 220, middle + 220], axis=-1), side)
    maps = render(crops.transform(map_from_image, shown), (side, side), side / 32)
    maps = maps * rng.uniform(0.3, 1, (frames, views, len(_H36M), 1, 1)) + rng.normal(0, noise, maps.shape)
    return joints, maps.astype(np.float32), map_from_image, cameras


def _limbs(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return (frames, joints) mm, the true limb lengths."""
    limb = np.full(joints.shape[:-1], np.nan)
    for parent, child in skeleton.limbs:
        limb[:, child] = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
    return limb


def _arguments(frames: int, views: int = 4, side: int = 64) -> tuple:
    joints, maps, map_from_image, cameras = _world(frames, views, side)
    bodies = Bodies(centres=joints[:, 0] + 20, limb_mm=_limbs(joints, _H36M), parents=_H36M.parents)
    return maps, map_from_image, cameras, bodies


def _some(arguments: tuple, frames: int) -> Any:
    """Return the arguments of a search of the first frames."""
    maps, map_from_image, cameras, bodies = arguments
    return maps[:frames], map_from_image[:frames], cameras, bodies.take(slice(frames))


def _cost(rounds: int, frames: int) -> list[Row]:
    arguments = _arguments(frames)
    maps, map_from_image, cameras, bodies = arguments
    stacked = np.zeros((4, 64, 64, 24), dtype=np.float32)
    energies = np.empty((17, 16**3), dtype=np.float32)
    lenses = pictorial.lens_rows(cameras)
    map_from_lens = map_from_image @ np.stack([camera.K for camera in cameras])
    order, tree, chosen = pictorial.leaves_first(bodies.parents), np.array(bodies.parents), np.zeros(17, dtype=np.int64)
    half = _some(arguments, frames // 2)
    seconds = interleaved(
        {
            "all": lambda: pictorial.search(*arguments, settings=_SEARCH, threads=1),
            "half": lambda: pictorial.search(*half, settings=_SEARCH, threads=1),
            "published": lambda: pictorial.search(
                *arguments, settings=replace(_SEARCH, variant="published"), threads=1
            ),
            "no finer grids": lambda: pictorial.search(
                *arguments, settings=replace(_SEARCH, refine_steps=0), threads=1
            ),
            "stacking": lambda: pictorial._stack(maps[0], stacked),
            "unary": lambda: pictorial._energies_on_grid(
                stacked, lenses, map_from_lens[0], bodies.centres[0], 2000.0, 16, False, 0.01, energies
            ),
            "messages": lambda: pictorial._best_on_grid(
                energies, bodies.limb_mm[0], order, tree, 16, 2000 / 15, 150.0, chosen
            ),
        },
        rounds,
    )
    ms = {name: 1e3 * value for name, value in seconds.items()}
    wall = {
        threads: _wall(lambda t=threads: pictorial.search(*arguments, settings=_SEARCH, threads=t))
        for threads in (1, 2)
    }
    return [
        at_most(
            "4 views, 17 joints, 16^3, 10 finer grids, 64 x 64", ms["all"] / frames, "ms per frame", 1.6, "aim 0.9"
        ),
        Row(name="  published variant", value=ms["published"] / frames, unit="ms per frame"),
        Row(name="  of this: maps to joints innermost", value=ms["stacking"], unit="ms per frame"),
        Row(name="  of this: heat on the coarse grid", value=ms["unary"], unit="ms per frame"),
        Row(name="  of this: messages on the coarse grid", value=ms["messages"], unit="ms per frame"),
        Row(name="  of this: ten finer grids", value=(ms["all"] - ms["no finer grids"]) / frames, unit="ms per frame"),
        Row(name=f"{frames} frames against half of them", value=ms["all"] / ms["half"], unit="x", goal="1.8 to 2.2"),
        Row(name="two threads against one", value=wall[1] / wall[2], unit="x", note="wall time; needs two idle cores"),
    ]


def _wall(call: Callable[[], object]) -> float:
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return min(spent)


def _against_plain(quick: bool) -> list[Row]:
    settings = replace(_SEARCH, coarse_bins=8 if quick else 16, variant="published")
    arguments = _arguments(4)
    maps, map_from_image, cameras, bodies = arguments
    start = time.process_time()
    expected = plain_pictorial.search(maps[0], map_from_image[0], cameras, bodies.take(0), settings)
    plain = time.process_time() - start
    joints, _ = pictorial.search(*arguments, settings=settings)
    fast = interleaved({"fast": lambda: pictorial.search(*arguments, settings=settings, threads=1)}, 5)["fast"] / 4
    name = f"{settings.coarse_bins}^3: tests/plain_pictorial.py against it"
    displacement_mm = np.linalg.norm(joints[0] - expected, axis=-1).max()
    note = f"one plain frame: {plain:.2f} s; largest displacement of a joint {displacement_mm:.1e} mm"
    return [Row(name=name, value=plain / fast, unit="x", note=note)]


def _growth(rounds: int, frames: int, quick: bool) -> list[Row]:
    base = _arguments(frames)
    maps, map_from_image, cameras, bodies = base
    doubled = Bodies(
        centres=bodies.centres,
        limb_mm=np.concatenate([bodies.limb_mm, bodies.limb_mm], axis=1),
        parents=(*bodies.parents, 0, *(parent + 17 for parent in bodies.parents[1:])),
    )  # a second body whose root is a child of the first one's root
    doubled.limb_mm[:, 17] = 100
    twice = np.concatenate([maps, maps], axis=2), map_from_image, cameras, doubled
    eight = _arguments(frames, views=8)
    bins = (8, 16, 32) if quick else (8, 12, 16, 24, 32)
    few = _some(base, 4)
    seconds = interleaved(
        {
            "base": lambda: pictorial.search(*base, settings=_SEARCH, threads=1),
            "joints": lambda: pictorial.search(*twice, settings=_SEARCH, threads=1),
            "views": lambda: pictorial.search(*eight, settings=_SEARCH, threads=1),
        },
        rounds,
    )
    grids = interleaved(
        {
            str(each): lambda each=each: pictorial.search(*few, settings=replace(_SEARCH, coarse_bins=each), threads=1)
            for each in bins
        },
        min(rounds, 5),
    )
    return [
        at_most("17 -> 34 joints", seconds["joints"] / seconds["base"], "x", 2.2),
        at_most("4 -> 8 views", seconds["views"] / seconds["base"], "x", 2.2),
        *(Row(name=f"grid {each}^3", value=1e3 * grids[str(each)] / 4, unit="ms per frame") for each in bins),
        at_most("grid 16 -> 32", grids["32"] / grids["16"], "x", 20),
    ]


def _accuracy(frames: int) -> list[Row]:
    """Compare our own roots and limb lengths with the true ones, which are known of simulated bodies only."""
    joints, maps, map_from_image, cameras = _world(frames, noise=0.05)
    peaks, scores = decode_dark(maps)
    keypoints = crops.transform(crops.inverse(map_from_image), peaks)
    rays = ransac.triangulate_ransac(keypoints, scores, cameras, _THRESHOLDS)
    learned = limb_lengths(rays.joints, rays.inliers.sum(axis=1), np.array(["one"] * frames), _H36M)["one"].length_mm
    ours = pictorial.roots(rays.joints, _H36M.root), np.tile(learned, (frames, 1))
    oracle = joints[:, 0], _limbs(joints, _H36M)
    error_mm = {}
    for name, (centres, limb_mm) in {"ours": ours, "oracle": oracle}.items():
        bodies = Bodies(centres=centres, limb_mm=limb_mm, parents=_H36M.parents)
        predicted, _ = pictorial.search(maps, map_from_image, cameras, bodies, _SEARCH)
        error_mm[name] = float(np.nanmean(np.linalg.norm(predicted - joints, axis=-1)))
    return [
        Row(
            name="MPJPE: triangulated roots, limbs from the poses",
            value=error_mm["ours"],
            unit="mm",
            note="as in the stage",
        ),
        Row(
            name="MPJPE: true roots and limb lengths",
            value=error_mm["oracle"],
            unit="mm",
            note="an oracle, not an option of the stage",
        ),
    ]


def _gpu() -> list[Row]:
    from pipeline.geometry import pictorial_torch

    if not pictorial_torch.has_gpu():
        return [Row(name="on a GPU", value=np.nan, unit="frames per second", goal=">= 10000", met=None, note="no GPU")]
    maps, map_from_image, cameras, bodies = _arguments(512)
    bodies = replace(bodies, limb_mm=np.tile(bodies.limb_mm[:1], (512, 1)))
    pictorial_torch.search(maps, map_from_image, cameras, bodies, _SEARCH)
    spent = _wall(lambda: pictorial_torch.search(maps, map_from_image, cameras, bodies, _SEARCH))
    return [at_least("on a GPU, maps in memory", 512 / spent, "frames per second", 10000)]


def _stage(quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many = (200, 1000) if quick else (1000, 10000)
        real = _recording(folder / "real", 64 if quick else 512, 4, 64, _SEARCH)
        start = _recording(folder / "start", 1, 4, 64, replace(_SEARCH, refine_steps=0))
        # Small maps and grids: only the memory for reading and writing is measured.
        small = {
            n: _recording(folder / str(n), n, 2, 16, replace(_SEARCH, coarse_bins=4, refine_steps=1))
            for n in (few, many)
        }
        fresh = {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        fresh["PYTHONDONTWRITEBYTECODE"] = ""
        _run(start, {**fresh, "NUMBA_CACHE_DIR": str(folder / "other")})  # writes Python's own bytecode
        compiled = _run(start, fresh)
        cached = [_run(start, fresh) for _ in range(3)]
        cpu, wall, _ = min(cached)
        throughput = _run(real, fresh)
        memory = {n: _run(small[n], fresh)[2] for n in (few, many)}
    frames = 64 if quick else 512
    return [
        at_most("compiling the stage, once per machine", compiled[0] - cpu, "s CPU", 10),
        at_most("the stage on one frame, compiled before", wall, "s", 1, f"wall; {cpu:.2f} s CPU"),
        Row(
            name="the stage, 4 views, 17 joints, 64 x 64",
            value=frames / max(throughput[0] - cpu, 1e-9),
            unit="frames per CPU second",
            note=f"after its start; {frames / max(throughput[1] - wall, 1e-9):.0f} per wall second on {os.cpu_count()} cores",
        ),
        Row(name=f"peak memory, {few} frames", value=memory[few], unit="MB"),
        at_most(f"peak memory, {many} frames", memory[many], "MB", memory[few] + 20, "with a file ten times as large"),
    ]


def _recording(folder: Path, frames: int, views: int, side: int, settings: Search) -> list[str]:
    """Write a file of heatmaps, one of poses, cameras and params; return the flags of the stage."""
    folder.mkdir()
    some = min(frames, 16)
    joints, maps, map_from_image, cameras = _world(some, views, side)
    keys = FrameKeys(
        np.array(["walk"] * frames), np.arange(frames), np.array(["train"] * frames), np.array(["ann"] * frames)
    )
    names = tuple(camera.name for camera in cameras)
    points = agreement.project(joints, cameras)
    scores = np.ones(points.shape[:-1])
    with heatmap_file.writing(folder / "heatmaps.h5", keys, names, _H36M, (side, side)) as writer:
        windows, corners = peak_patches(maps, writer.patch_side)
        block = points, scores, crops.inverse(map_from_image), windows, corners, *coarse_map(maps)
        for start in range(0, frames, some):
            first = slice(frames - start)
            keypoints, score, affine, *stored = (each[first] for each in block)
            writer.append(keypoints, score, affine, stored)
    every = np.arange(frames) % some
    inliers, error = np.ones((frames, views, 17), dtype=bool), np.zeros((frames, 17))
    Poses(
        keys=keys,
        views=names,
        skeleton=_H36M,
        joints=joints[every],
        inliers=inliers,
        error_px=error,
        status=np.zeros((frames, 17), dtype=np.uint8),
    ).write(folder / "poses.h5")
    write_cameras(folder / "cameras.toml", cameras)
    config = {**asdict(settings), "reproj_threshold_px": 10.0, "device": "cpu"}
    (folder / "params.yaml").write_text(json.dumps({**params.read(), "rpsm": config}))
    flags = {name: folder / f"{name}.h5" for name in ("heatmaps", "poses")}
    flags |= {"cameras": folder / "cameras.toml", "params": folder / "params.yaml", "out": folder / "rpsm.h5"}
    flags |= {"limbs": folder / "limbs.json", "metrics": folder / "metrics.json"}
    return [str(word) for name, value in flags.items() for word in (f"--{name}", value)]


def _run(flags: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Run the stage in a process of its own; return CPU s, wall s, peak MB."""
    # The peak of the process itself: getrusage's includes the peak of the process that it was forked from.
    code = (
        "import runpy, sys; sys.argv = ['rpsm', *sys.argv[1:]]; runpy.run_module('stages.rpsm', run_name='__main__');"
        "print('peak', next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *flags],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall, float(done.stdout.split("peak")[-1]) / 1024
