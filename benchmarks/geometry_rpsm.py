"""RPSM: what a frame costs and of what, how that grows, the stage from a file of heatmaps (benchmarks/geometry.py).

Bodies and heatmaps are made up: a standing person whose limbs point a little elsewhere in every frame, with noise in the maps.
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
from pipeline.geometry.pictorial import Search
from pipeline.heatmaps.compress import coarse_map, peak_patches
from pipeline.heatmaps.decode import decode_dark
from pipeline.heatmaps.render import render
from pipeline.skeleton import Skeleton, get
from tests import plain_pictorial
from tests.tiny_world import camera_ring

_SEARCH = Search(2000, 16, 2, 10, 150, 1e-2)
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
        *_against_the_plain_one(quick),
        *_growth(rounds, frames, quick),
        *_accuracy(60 if quick else 300),
        *_gpu(),
        *_stage(quick),
    ]


def _bodies(frames: int, rng: np.random.Generator) -> np.ndarray:
    """(frames, 17, 3) mm; limbs of one person, that point elsewhere each time."""
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
    """Bodies, their maps (frames, views, joints, side, side), map_from_image, cameras."""
    rng = np.random.default_rng(1)
    joints, cameras = _bodies(frames, rng), camera_ring(views)
    shown = agreement.project(joints, cameras)
    middle = shown.mean(axis=2)
    map_from_image = crops.crop_from_image(np.concatenate([middle - 220, middle + 220], axis=-1), side)
    maps = render(crops.transform(map_from_image, shown), (side, side), side / 32)
    maps = maps * rng.uniform(0.3, 1, (frames, views, len(_H36M), 1, 1)) + rng.normal(0, noise, maps.shape)
    return joints, maps.astype(np.float32), map_from_image, cameras


def _limbs(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(frames, joints) mm, the true ones."""
    limb = np.full(joints.shape[:-1], np.nan)
    for parent, child in skeleton.limbs:
        limb[:, child] = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
    return limb


def _arguments(frames: int, views: int = 4, side: int = 64) -> tuple:
    joints, maps, map_from_image, cameras = _world(frames, views, side)
    return maps, map_from_image, cameras, joints[:, 0] + 20, _limbs(joints, _H36M), _H36M.parents


def _cost(rounds: int, frames: int) -> list[Row]:
    arguments = _arguments(frames)
    maps, map_from_image, cameras, centres, limb, parents = arguments
    stacked = np.zeros((4, 64, 64, 24), dtype=np.float32)
    energies = np.empty((17, 16**3), dtype=np.float32)
    lenses = pictorial.lens_rows(cameras)
    map_from_lens = map_from_image @ np.stack([camera.K for camera in cameras])
    order, tree, chosen = pictorial.leaves_first(parents), np.array(parents), np.zeros(17, dtype=np.int64)
    half: Any = [each[: frames // 2] if isinstance(each, np.ndarray) else each for each in arguments]
    seconds = interleaved(
        {
            "all": lambda: pictorial.search(*arguments, settings=_SEARCH, threads=1),
            "half": lambda: pictorial.search(*half, settings=_SEARCH, threads=1),
            "published": lambda: pictorial.search(
                *arguments, settings=replace(_SEARCH, semantics="published"), threads=1
            ),
            "no later grids": lambda: pictorial.search(*arguments, settings=replace(_SEARCH, depth=0), threads=1),
            "stacking": lambda: pictorial._stack(maps[0], stacked),
            "unary": lambda: pictorial._energies_on_grid(
                stacked, lenses, map_from_lens[0], centres[0], 2000.0, 16, False, 0.01, energies
            ),
            "messages": lambda: pictorial._best_on_grid(energies, limb[0], order, tree, 16, 2000 / 15, 150.0, chosen),
        },
        rounds,
    )
    ms = {name: 1e3 * value for name, value in seconds.items()}
    wall = {
        threads: _wall(lambda t=threads: pictorial.search(*arguments, settings=_SEARCH, threads=t))
        for threads in (1, 2)
    }
    return [
        at_most("4 views, 17 joints, 16^3, depth 10, 64 x 64", ms["all"] / frames, "ms a frame", 1.6, "aim 0.9"),
        Row("  published semantics", ms["published"] / frames, "ms a frame"),
        Row("  of it: maps to joints innermost", ms["stacking"], "ms a frame"),
        Row("  of it: heat on the first grid", ms["unary"], "ms a frame"),
        Row("  of it: messages on the first grid", ms["messages"], "ms a frame"),
        Row("  of it: ten later grids", (ms["all"] - ms["no later grids"]) / frames, "ms a frame"),
        Row(f"{frames} frames against half of them", ms["all"] / ms["half"], "x", "1.8 to 2.2"),
        Row("two threads against one", wall[1] / wall[2], "x", note="wall time; needs two idle cores"),
    ]


def _wall(call: Callable[[], object]) -> float:
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return min(spent)


def _against_the_plain_one(quick: bool) -> list[Row]:
    settings = replace(_SEARCH, first_bins=8 if quick else 16, semantics="published")
    maps, map_from_image, cameras, centres, limb, parents = _arguments(4)
    start = time.process_time()
    expected = plain_pictorial.search(maps[0], map_from_image[0], cameras, centres[0], limb[0], parents, settings)
    plain = time.process_time() - start
    arguments = maps, map_from_image, cameras, centres, limb, parents
    found, _ = pictorial.search(*arguments, settings=settings)
    fast = interleaved({"fast": lambda: pictorial.search(*arguments, settings=settings, threads=1)}, 5)["fast"] / 4
    name = f"{settings.first_bins}^3: tests/plain_pictorial.py against it"
    off = np.linalg.norm(found[0] - expected, axis=-1).max()
    return [Row(name, plain / fast, "x", note=f"one plain frame: {plain:.2f} s; farthest joint {off:.1e} mm off")]


def _growth(rounds: int, frames: int, quick: bool) -> list[Row]:
    maps, map_from_image, cameras, centres, limb, parents = _arguments(frames)
    base = (maps, map_from_image, cameras, centres, limb, parents)
    twice = (
        np.concatenate([maps, maps], axis=2), map_from_image, cameras, centres, np.concatenate([limb, limb], axis=1),
        (*parents, 0, *(parent + 17 for parent in parents[1:])),
    )  # fmt: skip  # a second body that hangs on the first one's root
    twice[4][:, 17] = 100
    eight = _arguments(frames, views=8)
    bins = (8, 16, 32) if quick else (8, 12, 16, 24, 32)
    few: Any = [each[:4] if isinstance(each, np.ndarray) else each for each in base]
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
            str(each): lambda each=each: pictorial.search(*few, settings=replace(_SEARCH, first_bins=each), threads=1)
            for each in bins
        },
        min(rounds, 5),
    )
    return [
        at_most("17 -> 34 joints", seconds["joints"] / seconds["base"], "x", 2.2),
        at_most("4 -> 8 views", seconds["views"] / seconds["base"], "x", 2.2),
        *(Row(f"grid {each}^3", 1e3 * grids[str(each)] / 4, "ms a frame") for each in bins),
        at_most("grid 16 -> 32", grids["32"] / grids["16"], "x", 20),
    ]


def _accuracy(frames: int) -> list[Row]:
    """What our own roots and limb lengths cost: both are known here alone, of bodies that are made up."""
    joints, maps, map_from_image, cameras = _world(frames, noise=0.05)
    peaks, scores = decode_dark(maps)
    points = crops.transform(crops.inverse(map_from_image), peaks)
    rays = ransac.triangulate_ransac(
        points, scores, cameras, confidence_threshold=0.3, reproj_threshold_px=15, min_inliers=2, min_ray_angle_deg=5
    )
    learned = limb_lengths(rays.joints, rays.inliers.sum(axis=1), np.array(["one"] * frames), _H36M)["one"].length_mm
    ours = pictorial.roots(rays.joints, _H36M.root), np.tile(learned, (frames, 1))
    oracle = joints[:, 0], _limbs(joints, _H36M)
    found = {}
    for name, (centres, limb) in {"ours": ours, "oracle": oracle}.items():
        places, _ = pictorial.search(maps, map_from_image, cameras, centres, limb, _H36M.parents, _SEARCH)
        found[name] = np.nanmean(np.linalg.norm(places - joints, axis=-1))
    return [
        Row("MPJPE: triangulated roots, limbs from the poses", found["ours"], "mm", note="as the stage does"),
        Row(
            "MPJPE: true roots and limb lengths", found["oracle"], "mm", note="an oracle; the stage has no such option"
        ),
    ]


def _gpu() -> list[Row]:
    from pipeline.geometry import pictorial_torch

    if not pictorial_torch.has_gpu():
        return [Row("on a GPU", np.nan, "frames a second", ">= 10000", None, "no GPU here")]
    maps, map_from_image, cameras, centres, limb, parents = _arguments(512)
    limb = np.tile(limb[:1], (512, 1))
    pictorial_torch.search(maps, map_from_image, cameras, centres, limb, parents, _SEARCH)
    spent = _wall(lambda: pictorial_torch.search(maps, map_from_image, cameras, centres, limb, parents, _SEARCH))
    return [at_least("on a GPU, maps in memory", 512 / spent, "frames a second", 10000)]


def _stage(quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many = (200, 1000) if quick else (1000, 10000)
        real = _recording(folder / "real", 64 if quick else 512, 4, 64, _SEARCH)
        start = _recording(folder / "start", 1, 4, 64, replace(_SEARCH, depth=0))
        # Small maps and grids: the memory of what is read and written is in question.
        small = {n: _recording(folder / str(n), n, 2, 16, replace(_SEARCH, first_bins=4, depth=1)) for n in (few, many)}
        fresh = {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        fresh["PYTHONDONTWRITEBYTECODE"] = ""
        _run(start, {**fresh, "NUMBA_CACHE_DIR": str(folder / "other")})  # leaves Python's own bytecode
        compiled = _run(start, fresh)
        cached = [_run(start, fresh) for _ in range(3)]
        cpu, wall, _ = min(cached)
        throughput = _run(real, fresh)
        memory = {n: _run(small[n], fresh)[2] for n in (few, many)}
    frames = 64 if quick else 512
    return [
        at_most("compiling the stage, once on a machine", compiled[0] - cpu, "s CPU", 10),
        at_most("the stage on one frame, compiled before", wall, "s", 1, f"wall; {cpu:.2f} s CPU"),
        Row(
            "the stage, 4 views, 17 joints, 64 x 64",
            frames / max(throughput[0] - cpu, 1e-9),
            "frames a CPU second",
            note=f"after its start; {frames / max(throughput[1] - wall, 1e-9):.0f} a second of wall on {os.cpu_count()} cores",
        ),
        Row(f"peak memory, {few} frames", memory[few], "MB"),
        at_most(f"peak memory, {many} frames", memory[many], "MB", memory[few] + 20, "of a file ten times as large"),
    ]


def _recording(folder: Path, frames: int, views: int, side: int, settings: Search) -> list[str]:
    """A file of heatmaps, one of poses, cameras and params; the flags of the stage."""
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
        windows, corners = peak_patches(maps, writer.window)
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
        error=error,
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
    """The stage in a process of its own: CPU s, wall s, peak MB."""
    # The peak of the process itself: getrusage's includes that of the process it was forked from.
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
