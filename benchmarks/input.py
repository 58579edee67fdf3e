"""Measure how fast images are read in training, and the cost of preparing them: python -m benchmarks.input [--quick]

The plain chain, which published code runs for every sample of every epoch, decodes a JPEG of 1000x1002 px (280 kB), cuts
the network's input out of it and normalises that. It is compared with the same person from the cache that prepare_source
writes, read from its file; as in training, the device normalises. For a network of 256 px the stored crop is 384 px wide, 1.5
times as much; for the default network of 128 px it has the size in params.yaml. Process CPU time of one thread, in turn,
medians. Images are those of shared/data/coco, enlarged, or noise if they are absent.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import h5py
import numpy as np

from benchmarks.timing import Row, at_least, at_most, interleaved, table
from pipeline import crops
from pipeline.datasets import images
from pipeline.files import images as jpegs
from pipeline.files import samples
from pipeline.files.samples import Samples
from pipeline.skeleton import get

_REAL = Path(__file__).resolve().parents[2] / "shared/data/coco/images"
_FULL, _JPEG_BYTES = (1000, 1002), 285_000
# Side of the network's input, px -> side of a person's box in the stored crop, px (source_cache.cache_size).
_SIDES = {256: 274, 128: 160}
_MARGIN, _QUALITY = 0.4, 92
_BOX = np.array([240.0, 230.0, 760.0, 750.0])  # px, as large as Human3.6M's
_MEAN, _SPREAD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def main(quick: bool) -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(table(rows(Path(folder), quick)))


def rows(folder: Path, quick: bool) -> list[Row]:
    full = full_images(4 if quick else 8)
    caches = {size: write_cache(folder / f"{size}.h5", full, side, 40) for size, side in _SIDES.items()}

    def plain(size: int) -> None:
        affine = crops.crop_from_image(_BOX, size)
        for data in full:
            image = jpegs.decode(np.frombuffer(data, np.uint8))
            normalised(cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR))

    def cached(size: int) -> list[np.ndarray]:
        input_from_image, stored = crops.crop_from_image(_BOX, size), caches[size]
        affines = [
            crops.compose(input_from_image, crops.inverse(stored.crop_from_image[row])) for row in range(len(full))
        ]
        return [crops.warp(stored.image(row), affine, size) for row, affine in enumerate(affines)]

    contestants: dict[str, Callable[[], object]] = {}
    for size in _SIDES:
        contestants[f"plain {size}"] = partial(plain, size)
        contestants[f"cached {size}"] = partial(cached, size)
        contestants[f"normalised {size}"] = partial(lambda size: [normalised(each) for each in cached(size)], size)
    rounds = 3 if quick else 15
    each = {name: seconds / len(full) for name, seconds in interleaved(contestants, rounds).items()}
    measured = []
    for size in _SIDES:
        times, side = each[f"plain {size}"] / each[f"cached {size}"], caches[size].image(0).shape[0]
        normalised_too = each[f"plain {size}"] / each[f"normalised {size}"]
        measured += [
            Row(name=f"decode 1000x1002, cut {size}, normalise", value=1 / each[f"plain {size}"], unit="images/s"),
            Row(name=f"stored crop of {side}, cut {size}", value=1 / each[f"cached {size}"], unit="images/s"),
            at_least("... against the plain chain", times, "x", 4, f"{normalised_too:.1f} with NumPy's normalising"),
        ]
    return [*measured, *reading(folder / "256.h5", caches[256], rounds), *memory(folder, quick)]


def reading(path: Path, stored: Samples, rounds: int) -> list[Row]:
    """Measure the time to read one stored image's bytes, at random rows."""
    order, starts = np.random.default_rng(0).permutation(len(stored)).tolist(), stored.jpeg_start
    with h5py.File(path) as file:
        spent = interleaved(
            {
                "ours": lambda: [stored.jpeg[starts[row] : starts[row + 1]] for row in order],
                "h5py": lambda: [file["jpeg"][starts[row] : starts[row + 1]] for row in order],
            },
            rounds,
        )
    ours, theirs = spent["ours"] / len(order), spent["h5py"] / len(order)
    return [
        Row(name="a stored image's bytes, read from the file", value=1e6 * ours, unit="us"),
        at_least("... against h5py, which holds all threads meanwhile", theirs / ours, "x", 1),
    ]


def memory(folder: Path, quick: bool) -> list[Row]:
    small, large, times = peak_memory(folder, quick)
    return [at_most(f"memory of preparing {times} times as many", large - small, "MB more", 8, f"peak {small:.0f} MB")]


def normalised(image: np.ndarray) -> np.ndarray:
    """Return (3, height, width) float32 RGB, normalised by ImageNet's mean and spread, of (height, width, 3) uint8 BGR."""
    return np.ascontiguousarray(((image[..., ::-1].astype(np.float32) / 255 - _MEAN) / _SPREAD).transpose(2, 0, 1))


def full_images(count: int) -> list[bytes]:
    """Return JPEGs of 1000x1002 px, each of the quality that makes it about 285 kB."""
    encoded = []
    real = sorted(_REAL.glob("*.jpg"))
    for number in range(count):
        if real:
            image = images.read(real[number % len(real)])
        else:
            image = np.random.default_rng(number).integers(0, 256, (250, 250, 3), dtype=np.uint8)
        image = cv2.resize(image, _FULL, interpolation=cv2.INTER_CUBIC)
        qualities = ((jpegs.encode(image, quality), quality) for quality in range(98, 40, -2))
        encoded.append(next(data for data, quality in qualities if len(data) <= _JPEG_BYTES or quality == 42))
    return encoded


def write_cache(path: Path, full: list[bytes], side: int, count: int) -> Samples:
    """Return the images' persons, repeated, as prepare_source stores them: a box takes `side` px."""
    affine, kept = crops.stored(_BOX, _MARGIN, side)
    decoded = [jpegs.decode(np.frombuffer(data, np.uint8)) for data in full]
    cut = [jpegs.encode(crops.warp(image, affine, kept), _QUALITY) for image in decoded]
    skeleton = get("mpii_16")
    samples.write(
        path,
        skeleton=skeleton,
        key=np.array([str(row) for row in range(count)]),
        split=np.full(count, "train"),
        keypoints=np.zeros((count, len(skeleton), 2)),
        visible=np.ones((count, len(skeleton)), dtype=bool),
        box=np.tile(_BOX, (count, 1)),
        head=np.full(count, np.nan),
        crop_from_image=np.tile(affine, (count, 1, 1)),
        jpegs=(cut[row % len(cut)] for row in range(count)),
    )
    return Samples.read(path)


def peak_memory(folder: Path, quick: bool) -> tuple[float, float, int]:
    """Return the peak memory, MB, of preparing some persons and of preparing n times as many, and n."""
    persons, times = (20, 5) if quick else (60, 10)
    people = folder / "people"
    (people / "annot").mkdir(parents=True)
    (people / "images").mkdir()
    for number, data in enumerate(full_images(4)):
        (people / f"images/{number}.jpg").write_bytes(data)
    (folder / "params.yaml").write_text(
        f"source_cache: {{cache_size: {_SIDES[256]}, cache_margin: {_MARGIN}, jpeg_quality: {_QUALITY}, unreadable: refuse}}\n"
        f"sources: {{people: {{path: {people}, layout: mpii, valid: []}}}}\n"
    )
    peaks = []
    for count in (persons, persons * times):
        records = [
            {
                "image": f"{row % 4}.jpg",
                "center": [500.0, 500.0],
                "scale": 2.1,
                "joints": [[400 + 10 * joint, 500 + row % 50] for joint in range(16)],
                "joints_vis": [1] * 16,
            }
            for row in range(count)
        ]
        (people / "annot/train.json").write_text(json.dumps(records))
        flags = ["--data", str(people), "--name", "people", "--out", "out.h5", "--metrics", "out.json"]
        command = [sys.executable, "-c", _WATCHED, *flags]
        environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[1]), "POSE_WORKERS": "2"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / (1 << 20 if sys.platform == "darwin" else 1 << 10))
    return peaks[0], peaks[1], times


_WATCHED = """
import resource, runpy
runpy.run_module("stages.prepare_source", run_name="__main__")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes: does it run at all?")
    main(parser.parse_args().quick)
