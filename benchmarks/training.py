"""Measure how fast training runs, and how much of it is waiting: python -m benchmarks.training on an idle machine.

Times are wall times, as images are prepared while the network computes; contestants take turns, and medians count. "Constant
input" is the same network on the same tensors again and again: the difference is the cost of the input pipeline.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from benchmarks.timing import Row, at_least, at_most, table
from pipeline import params, skeleton
from pipeline.files import images
from pipeline.models import build
from pipeline.models.inference import as_input
from pipeline.runtime import Runtime, autocast_dtype, has_spare_processor, start_torch
from pipeline.training.batches import Batch, Pool, batches
from pipeline.training.loop import Schedule, train
from pipeline.training.losses import Loss, loss_against_targets
from stages.prepare_source import SourceCache
from stages.pretrain import Pretrain

_PEOPLE = 512
_ROUNDS = 5


def main(steps: int, deep: bool) -> None:
    runtime = params.load(Runtime)
    device = start_torch(runtime)
    dtype = autocast_dtype(runtime, device)
    settings, network = params.load(Pretrain), params.load(build.Network)
    pool = _people(params.load(SourceCache), skeleton.get(network.skeleton))
    rows = _input_rows(network, settings, pool, seed=runtime.seed, steps=steps, device=device, dtype=dtype)
    if deep:
        wide = build.Network(
            name="poseresnet",
            block="bottleneck",
            layers=(3, 4, 6, 3),
            width=64,
            deconv_channels=256,
            input_size=256,
            skeleton=network.skeleton,
        )
        rows += _precision_rows(wide, device)
    print(table(rows))


def _input_rows(
    network: build.Network,
    settings: Pretrain,
    pool: Pool,
    *,
    seed: int,
    steps: int,
    device: torch.device,
    dtype: torch.dtype | None,
) -> list[Row]:
    """Return rows on the default network's training, on the same with constant input, and on the input pipeline alone."""

    def prepared(count: int) -> Iterator[Batch]:
        return batches(
            [pool],
            range(count),
            batch_size=settings.batch_size,
            size=network.image_size,
            sigma=settings.sigma,
            augment=settings.augment,
            seed=seed,
            prefetch=has_spare_processor(device),
        )

    (constant,) = prepared(1)
    model = build.build(network)

    def step_s(source: Callable[[int], Iterator[Batch]]) -> float:
        schedule = Schedule(steps=steps + 3, learning_rate=1e-3, warmup_fraction=0.0, weight_decay=0.0, ema_decay=0.0)
        ticks: list[float] = []

        def watched(first: int) -> Iterator[Batch]:
            for batch in source(schedule.steps):
                ticks.append(time.perf_counter())
                yield batch

        def terms(outputs: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
            return {"heatmap": loss_against_targets(outputs, batch, Loss())}

        training = train(
            model,
            watched,
            as_input,
            terms,
            schedule=schedule,
            device=device,
            autocast_dtype=dtype,
            record_every=schedule.steps,
        )
        list(training)
        return (ticks[-1] - ticks[3]) / (len(ticks) - 4)  # without the first, which filled the queue

    def input_s(count: int) -> float:
        start = time.perf_counter()
        for _ in prepared(count):
            pass
        return (time.perf_counter() - start) / count

    full, alone, only_input = [], [], []
    for _ in range(_ROUNDS):
        full.append(step_s(prepared))
        alone.append(step_s(lambda count: iter([constant] * count)))
        only_input.append(input_s(steps))
    size = len(constant.images)
    step, fed, made = (statistics.median(each) for each in (full, alone, only_input))
    name = f"{network.name}, {network.input_size} px, batches of {size}"
    return [
        Row(name=f"training, {name}", value=size / step, unit="images/s"),
        Row(name=f"constant input, {name}", value=size / fed, unit="images/s"),
        Row(name="input pipeline alone", value=size / made, unit="images/s"),
        at_most("cost of the input pipeline", 100 * (step / fed - 1), "%", 10),
    ]


def _precision_rows(network: build.Network, device: torch.device) -> list[Row]:
    """Return rows on a ResNet-50 in float32 against bfloat16 with channels last: a step, and inference."""
    model = build.build(network).to(device)
    rng = np.random.default_rng(0)
    size, batch = network.input_size, 8 if device.type == "cpu" else 64
    images = rng.integers(0, 255, (batch, size, size, 3), dtype=np.uint8)
    target = torch.rand(batch, len(skeleton.get(network.skeleton)), size // 4, size // 4, device=device)

    def step(bfloat16: bool, layout: torch.memory_format) -> None:
        model.train().to(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            maps = model(as_input(images, device).contiguous(memory_format=layout))
        (maps.float() - target).square().mean().backward()
        model.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()

    def infer(bfloat16: bool, layout: torch.memory_format) -> None:
        model.eval().to(memory_format=layout)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            model(as_input(images, device).contiguous(memory_format=layout)).float().cpu()

    contestants = {
        "step float32": partial(step, False, torch.contiguous_format),
        "step bfloat16": partial(step, True, torch.channels_last),
        "inference float32": partial(infer, False, torch.contiguous_format),
        "inference bfloat16": partial(infer, True, torch.channels_last),
    }
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(3):
        for name, call in contestants.items():
            call()
            start = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - start)
    median = {name: statistics.median(each) for name, each in spent.items()}
    rows = [
        Row(name=f"ResNet-50, {size} px, {name}", value=batch / each, unit="images/s") for name, each in median.items()
    ]
    for what in ("step", "inference"):
        ratio = median[f"{what} float32"] / median[f"{what} bfloat16"]
        rows.append(at_least(f"{what}: bfloat16 with channels last over float32", ratio, "x", 2))
    return rows


def _people(cache: SourceCache, names: skeleton.Skeleton) -> Pool:
    """Return a pool of stored crops as prepare_source writes them, of noise that compresses like a photograph."""
    rng = np.random.default_rng(0)
    side = int(cache.cache_size * (1 + cache.cache_margin))
    stored = []
    for _ in range(16):
        rough = rng.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
        stored.append(images.encode(np.kron(rough, np.ones((8, 8, 1), dtype=np.uint8)), cache.jpeg_quality))
    affine = np.tile(np.eye(3)[:2], (_PEOPLE, 1, 1))
    margin = (side - cache.cache_size) / 2
    box = np.tile([margin, margin, side - margin, side - margin], (_PEOPLE, 1))
    keypoints = rng.uniform(margin, side - margin, (_PEOPLE, len(names), 2))
    weights = np.ones((_PEOPLE, len(names)), dtype=np.float32)
    decoded = [np.frombuffer(each, dtype=np.uint8) for each in stored]
    return Pool(
        image=lambda row: images.decode(decoded[row % len(decoded)]),
        stored_from_image=affine,
        box=box,
        keypoints=keypoints,
        weights=weights,
        skeleton=names,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, help="of a round")
    parser.add_argument("--deep", action="store_true", help="also a ResNet-50 in both precisions, minutes on a CPU")
    arguments = parser.parse_args()
    main(arguments.steps, arguments.deep)
