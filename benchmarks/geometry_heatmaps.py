"""Heatmaps: drawing, decoding, what a file costs and loses on maps of a trained network (benchmarks/geometry.py).

The trained network is the study's or the pipeline's, whichever is at hand. Its maps are read from the images again, in
full, at 32 px; maps of 64 px are these enlarged (bicubic), with peaks as wide in the image. Nothing is trained here.
"""

import math
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import cv2
import h5py
import numpy as np
import yaml

from benchmarks.timing import Row, at_least, at_most, interleaved
from pipeline import crops
from pipeline.files import heatmaps as heatmap_file
from pipeline.files.cameras import read_cameras, select_views
from pipeline.files.keys import FrameKeys
from pipeline.files.poses import Poses
from pipeline.geometry import pictorial
from pipeline.geometry.limbs import limb_lengths
from pipeline.heatmaps.compress import coarse_map, compress, decompress, peak_patches
from pipeline.heatmaps.decode import decode_dark, decode_quarter
from pipeline.heatmaps.render import render
from pipeline.skeleton import get

_SIDE, _VIEWS = 64, 4
_SIGMA = 2.0
# model, its heatmaps, its poses, frames, cameras
_TRAINED = (
    ("data/studies/seed1/self-training/r2", "data/studies/seed1"),
    ("data/studies/seed1/r0", "data/studies/seed1"),
    ("data/rounds/r0", "data/prepared"),
)


def rows(quick: bool) -> list[Row]:
    rounds = 3 if quick else 9
    return [*_decoding(rounds), *_file(rounds, 64 if quick else 1024), *_loss(24 if quick else 300), *_memory(quick)]


def _decoding(rounds: int) -> list[Row]:
    rng = np.random.default_rng(0)
    points = rng.uniform(4, _SIDE - 5, (17, 2))
    size = (_SIDE, _SIDE)
    maps = render(points, size, _SIGMA) + rng.normal(0, 0.01, (17, _SIDE, _SIDE)).astype(np.float32)
    seconds = interleaved(
        {
            "draw": lambda: render(points, size, _SIGMA),
            "draw, plain": lambda: _plain_draw(points),
            "quarter": lambda: decode_quarter(maps),
            "dark": lambda: decode_dark(maps),
            "dark, blur": lambda: decode_dark(maps, blur=2.0),
            "dark, plain": lambda: _plain_dark(maps),
        },
        rounds,
    )
    us = {name: 1e6 * value for name, value in seconds.items()}
    return [
        at_most("Gaussian targets, 17 maps of 64 x 64", us["draw"], "us", 20),
        Row(name="  against np.exp over whole maps", value=us["draw, plain"] / us["draw"], unit="x"),
        at_most("argmax with quarter offset, 17 maps", us["quarter"], "us", 50),
        at_most("DARK, 17 maps", us["dark"], "us", 64),
        at_most("DARK after a blur of 13 taps, 17 maps", us["dark, blur"], "us", 64),
        Row(
            name="  against cv2.GaussianBlur and np.log of whole maps",
            value=us["dark, plain"] / us["dark, blur"],
            unit="x",
        ),
    ]


def _plain_draw(points: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:_SIDE, :_SIDE]
    distance = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    return np.exp(-distance / (2 * _SIGMA**2)).astype(np.float32)


def _plain_dark(maps: np.ndarray) -> np.ndarray:
    found = []
    for grid in maps:
        y, x = divmod(int(grid.argmax()), _SIDE)
        log = np.log(np.maximum(cv2.GaussianBlur(grid, (13, 13), 2.0), 1e-10))
        slope = np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]]) / 2
        cross = (log[y + 1, x + 1] - log[y + 1, x - 1] - log[y - 1, x + 1] + log[y - 1, x - 1]) / 4
        across = (log[y, x + 2] - 2 * log[y, x] + log[y, x - 2]) / 4
        down = (log[y + 2, x] - 2 * log[y, x] + log[y - 2, x]) / 4
        found.append([x, y] - np.linalg.solve([[across, cross], [cross, down]], slope))
    return np.array(found)


def _file(rounds: int, frames: int) -> list[Row]:
    rng = np.random.default_rng(0)
    size = (_SIDE, _SIDE)
    shape = (16, _VIEWS, 17)
    maps = render(rng.uniform(4, 60, (*shape, 2)), size, _SIGMA)
    maps += rng.normal(0, 0.01, maps.shape).astype(np.float32)
    text = np.array(["a"] * frames)
    keys = FrameKeys(text, np.arange(frames), np.array(["test"] * frames), text)
    views = tuple(f"cam{k}" for k in range(_VIEWS))
    points, scores = decode_dark(maps)
    affine = np.zeros((16, _VIEWS, 2, 3))
    some = rng.integers(0, frames, 64)
    with tempfile.TemporaryDirectory() as folder:
        path, plain = Path(folder) / "maps.h5", Path(folder) / "plain.h5"

        def write() -> None:
            with heatmap_file.writing(path, keys, views, get("h36m_17"), size) as writer:
                for _ in range(frames // 16):
                    writer.append(points, scores, affine, compress(maps, writer.patch_side))

        def write_plain() -> None:
            with h5py.File(plain, "w") as file:
                values = file.create_dataset("maps", (frames, *maps.shape[1:]), np.float32)
                for start in range(0, frames, 16):
                    values[start : start + 16] = maps

        def read() -> None:
            with heatmap_file.reading_maps(path) as reader:
                for frame in some:
                    reader.maps([frame])

        def read_stored() -> None:
            with heatmap_file.reading_maps(path) as reader:
                for frame in some:
                    reader.stored([frame])

        def read_blocks() -> None:
            for _ in heatmap_file.map_blocks(path):
                pass

        write(), write_plain()  # also compiles
        seconds = interleaved({"write": write, "plain": write_plain}, rounds)
        seconds |= interleaved({"stored": read_stored, "read": read, "blocks": read_blocks}, rounds)
        bytes_ratio = plain.stat().st_size / path.stat().st_size
    return [
        at_least("file, float32 maps' bytes against ours, 64 x 64", bytes_ratio, "x", 14, "points and keys included"),
        at_least("  written, cutting included", frames / seconds["write"], "frames/s", 5000, "4 views, 17 joints"),
        Row(name="  float32 written", value=frames / seconds["plain"], unit="frames/s"),
        at_least("  one frame as stored (windows, background), at random", 64 / seconds["stored"], "frames/s", 10000),
        at_least("  whole maps of one frame, at random", 64 / seconds["read"], "frames/s", 10000),
        Row(name="  whole maps, in order, blocks of 16", value=frames / seconds["blocks"], unit="frames/s"),
    ]


def _loss(frames: int) -> list[Row]:
    """How far RPSM moves when it reads the file's maps instead of the network's."""
    for folder, data in ((Path(model), Path(prepared)) for model, prepared in _TRAINED):
        study = [folder / "model.pt", folder / "heatmaps.h5", folder / "poses.h5"]
        if all(path.is_file() for path in [*study, data / "target.h5", data / "cameras.toml"]):
            return _moved(folder, data, frames)
    note = "no trained model at hand: run `dvc repro` or benchmarks/self_training.py first"
    return [
        Row(name="RPSM on maps of a trained network", value=math.nan, unit="mm", goal="<= 0.1", met=None, note=note)
    ]


def _moved(folder: Path, data: Path, frames: int) -> list[Row]:
    import torch

    from pipeline.files.frames import Frames
    from pipeline.models import build
    from pipeline.models.inference import predict
    from pipeline.training.batches import network_input

    torch.set_num_threads(1)
    network, net = build.load(folder / "model.pt")
    seen, poses = Frames.read(data / "target.h5"), Poses.read(folder / "poses.h5")
    head = heatmap_file.Heatmaps.read(folder / "heatmaps.h5", maps=False)
    rig = select_views(read_cameras(data / "cameras.toml"), head.views, str(data))
    lengths = limb_lengths(poses.joints, poses.inliers.sum(axis=1), head.keys.person, head.skeleton)
    centres = pictorial.roots(poses.joints, head.skeleton.root)
    limb_mm = np.array([lengths[person].length_mm for person in head.keys.person.tolist()])
    config = yaml.safe_load(Path("params.yaml").read_text())["rpsm"]
    settings = pictorial.Search(**{each.name: config[each.name] for each in fields(pictorial.Search)})
    rooted = np.flatnonzero(np.isfinite(centres).all(axis=-1) & seen.present.all(axis=1))
    chosen = rooted[:: max(1, len(rooted) // frames)][:frames]

    side = network.map_size
    sizes = (side, 64) if side != 64 else (64,)
    before: dict[int, list[np.ndarray]] = {size: [] for size in sizes}
    after: dict[int, list[np.ndarray]] = {size: [] for size in sizes}
    for frame in chosen:
        images = [
            network_input(
                seen.image(frame, view),
                seen.crop_from_image[frame, view],
                seen.box[frame, view],
                network.image_size,
            )
            for view in range(len(head.views))
        ]
        own = predict(net, np.stack([image for image, _ in images]), torch.device("cpu"), None)
        for size in sizes:
            maps = np.stack(
                [cv2.resize(m, (size, size), interpolation=cv2.INTER_CUBIC) for m in own.reshape(-1, side, side)]
            )
            maps = maps.reshape(1, *own.shape[:2], size, size)
            scale = side / size
            own_from_map = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
            image_from_map = crops.compose(np.stack([affine for _, affine in images]), own_from_map)[None]
            kept = *peak_patches(maps, heatmap_file.patch_side((size, size))), *coarse_map(maps)
            for given, found in ((maps, before[size]), (decompress(*kept, (size, size)), after[size])):
                body = pictorial.Bodies(
                    centres=centres[[frame]], limb_mm=limb_mm[[frame]], parents=head.skeleton.parents
                )
                found.append(pictorial.search(given, crops.inverse(image_from_map), rig, body, settings)[0][0])
    result = []
    for size in sizes:
        full, ours = np.array(before[size]), np.array(after[size])
        moved = np.linalg.norm(ours - full, axis=-1)
        note = f"{folder}, {len(full)} frames; half of the joints move less than {np.nanmedian(moved):.3g} mm"
        result.append(
            Row(
                name=f"RPSM on the file's maps, {size} px, moves by, mean",
                value=float(np.nanmean(moved)),
                unit="mm",
                goal="",
                met=None,
                note=note,
            )
        )
        truth = _truth(data, head.skeleton, chosen)
        if truth is not None:
            error = [np.nanmean(np.linalg.norm(joints - truth, axis=-1)) for joints in (full, ours)]
            change = float(abs(error[1] - error[0]))
            result.append(at_most(f"  its MPJPE changes by, {size} px", change, "mm", 0.1, f"of {error[0]:.1f} mm"))
    return result


def _truth(data: Path, skeleton, chosen: np.ndarray) -> np.ndarray | None:  # type: ignore[no-untyped-def]
    from pipeline.skeleton import reorder

    path = data / "truth.h5"
    if not path.is_file():
        return None
    with h5py.File(path) as file:  # a study's may be older than pipeline/files/truth.py
        return reorder(file["joints"][...], skeleton, get(file.attrs["skeleton"]))[chosen]


_WRITES = """
import resource, sys, tempfile
import numpy as np
from pathlib import Path
from benchmarks import geometry_heatmaps as bench
from pipeline.files import heatmaps as heatmap_file
from pipeline.files.keys import FrameKeys
from pipeline.heatmaps.compress import compress
from pipeline.heatmaps.decode import decode_dark
from pipeline.skeleton import get
frames = int(sys.argv[1])
maps = np.random.default_rng(0).random((16, 4, 17, 64, 64)).astype(np.float32)
text = np.array(["a"] * frames)
keys = FrameKeys(text, np.arange(frames), np.array(["test"] * frames), text)
with tempfile.TemporaryDirectory() as folder:
    with heatmap_file.writing(Path(folder) / "a.h5", keys, tuple("abcd"), get("h36m_17"), (64, 64)) as writer:
        for _ in range(frames // 16):
            writer.append(*decode_dark(maps), np.zeros((16, 4, 2, 3)), compress(maps, writer.window))
    for _ in heatmap_file.map_blocks(Path(folder) / "a.h5"):
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _memory(quick: bool) -> list[Row]:
    """Peak memory of a process that decodes, cuts, writes and reads maps: what the stage does besides the network."""
    few, many = (64, 128) if quick else (512, 4096)
    peak = {
        frames: float(
            subprocess.run([sys.executable, "-c", _WRITES, str(frames)], check=True, capture_output=True).stdout
        )
        for frames in (few, many)
    }
    note = f"{peak[few]:.0f} MB"
    return [
        Row(name=f"peak memory of {few} frames", value=peak[few], unit="MB"),
        at_most(f"  of {many} frames", peak[many], "MB", round(1.1 * peak[few]), note),
    ]
