"""The training loop: a `for` over batches. It yields a record now and then; the stage decides what to keep."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.training import ranks
from pipeline.training.batches import Batch, whole_moments


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: optimiser steps.
        learning_rate: at its highest; it rises over `warm_up` of the steps and falls to zero along a cosine.
        warm_up: share of the steps.
        weight_decay: of AdamW.
        average: decay a step of the running average of the weights, which is what a training returns; 0 = no average.
        optimiser: "adamw", or "adam" as published, whose weight decay is added to the gradient.
        decay: of the learning rate: "cosine" to zero, or "steps": a tenth of it from each of the milestones on.
        milestones: shares of `steps`; the published 90 and 120 of 140 epochs are 0.643 and 0.857.
        accumulate: batches whose gradients make one step together; batch statistics stay those of each.
    """

    steps: int
    learning_rate: float
    warm_up: float
    weight_decay: float
    average: float
    optimiser: Literal["adamw", "adam"] = "adamw"
    decay: Literal["cosine", "steps"] = "cosine"
    milestones: tuple[float, ...] = ()
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"schedule.steps: expected at least 1, got {self.steps}")
        if self.learning_rate <= 0:
            raise ValueError(f"schedule.learning_rate: expected more than 0, got {self.learning_rate}")
        for key in ("warm_up", "average"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"schedule.{key}: expected at least 0 and less than 1, got {getattr(self, key)}")
        if self.weight_decay < 0:
            raise ValueError(f"schedule.weight_decay: expected 0 or more, got {self.weight_decay}")
        if any(not 0 < milestone < 1 for milestone in self.milestones):
            raise ValueError(f"schedule.milestones: expected shares between 0 and 1, got {list(self.milestones)}")
        if self.decay == "steps" and not self.milestones:
            raise ValueError("schedule.milestones: a decay in steps needs at least one")
        if self.accumulate < 1:
            raise ValueError(f"schedule.accumulate: expected at least 1 batch, got {self.accumulate}")

    def learning_rate_at(self, step: int) -> float:
        """One cycle (Smith 2018) as a function of the step alone, so that a resumed training needs no state of it."""
        done = (step + 0.5) / self.steps
        if done < self.warm_up:
            return self.learning_rate * (0.04 + 0.96 * done / self.warm_up)
        if self.decay == "steps":
            return self.learning_rate * 0.1 ** sum(step >= round(share * self.steps) for share in self.milestones)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up)))


@dataclass(frozen=True)
class Record:
    """The mean loss of the steps since the last record, and that of each of its terms."""

    step: int
    loss: float
    learning_rate: float
    terms: dict[str, float]


def train(
    model: nn.Module,
    batches_from: Callable[[int], Iterable[Batch]],
    prepare: Callable[[np.ndarray, torch.device], torch.Tensor],
    loss_terms: Callable[[list[torch.Tensor], Batch], dict[str, torch.Tensor]],
    schedule: Schedule,
    device: torch.device,
    half: torch.dtype | None,
    record_every: int,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    fused_views: int = 0,
    compiled: bool = False,
) -> Iterator[Record]:
    """Train `model` in place; when the iterator ends, the model holds the averaged weights.

    Started by torchrun, the processes share every batch (see ranks.py), and the first keeps the checkpoints.

    Args:
        batches_from: n -> all batches from the n-th on; a step takes `schedule.accumulate` of them.
        prepare: a batch's pictures -> the network's input.
        loss_terms: (heatmaps or coordinates of each stack, batch) -> scalars by name; their sum is the loss.
        half: bfloat16 or float16, what to compute in where that is safe (weights, loss and the last layer stay float32).
            Gradients of float16 are scaled, and a step whose gradients overflow is left out.
        record_every: steps.
        checkpoint: a file to resume from and to keep for a later one; training goes on to the same bytes.
        fused_views: of how many views of a moment the network fuses the maps, see models/fusion.py; 0: it fuses none.
        compiled: by torch.compile.

    Raises:
        ValueError: a batch does not fit into the GPU's memory, and the sentence says which would; or nothing compiles here.
    """
    ranks.shared(model).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    network = model if ranks.rank_and_count()[1] == 1 else DistributedDataParallel(model, broadcast_buffers=False)
    if compiled:
        network = torch.compile(network)  # type: ignore[assignment]
    scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[schedule.optimiser]
    fused = device.type in ("cpu", "cuda")  # one pass over each parameter instead of ten
    optimiser = kind(model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=fused)
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    first, losses, records = 0, [], []
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        scaler.load_state_dict(state["scaler"])
        average, first, losses = state["average"], state["step"], state["losses"]
        records = [Record(**record) for record in state["records"]]
        yield from records
    learn = partial(_learn, network, prepare, loss_terms, schedule.accumulate, device, half, fused_views, scaler)
    coming = iter(batches_from(first * schedule.accumulate))
    for step in range(first, schedule.steps):
        rate = schedule.learning_rate_at(step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        for batch in islice(coming, schedule.accumulate):
            try:
                losses.append(learn(batch))
            except torch.OutOfMemoryError:
                raise ValueError(_what_fits(network, learn, batch, schedule.accumulate, device)) from None
            except RuntimeError as error:
                if not (compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))):
                    raise
                reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise ValueError(f"runtime.compile: the network does not compile here ({reason.strip()})") from None
        scaler.step(optimiser)
        scaler.update()
        _follow(average, model, schedule.average, step)
        if (step + 1) % record_every == 0 or step + 1 == schedule.steps:
            means = {name: _mean([each[name] for each in losses], device) for name in losses[0]}
            records.append(Record(step + 1, sum(means.values()), rate, means))
            losses = []
            yield records[-1]
        if checkpoint is not None and (step + 1) % checkpoint_every == 0 and ranks.first():
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average}
            state |= {
                "scaler": scaler.state_dict(),
                "step": step + 1,
                "losses": losses,
                "records": [vars(record) for record in records],
            }
            _keep(checkpoint, state)
    model.load_state_dict(average)
    model.eval()


def _learn(
    network: nn.Module,
    prepare: Callable[[np.ndarray, torch.device], torch.Tensor],
    loss_terms: Callable[[list[torch.Tensor], Batch], dict[str, torch.Tensor]],
    accumulate: int,
    device: torch.device,
    half: torch.dtype | None,
    fused_views: int,
    scaler: torch.amp.GradScaler,
    batch: Batch,
) -> dict[str, float]:
    """Add a batch's gradients to those of the step; returns the terms of its loss."""
    together = [torch.from_numpy(whole_moments(batch, fused_views)).to(device)] if fused_views else []
    with torch.autocast(device.type, half or torch.bfloat16, enabled=bool(half)):
        maps = network(prepare(batch.pictures, device), *together)
    terms = loss_terms(_stacks(maps), batch)
    scaler.scale(torch.stack(list(terms.values())).sum() / accumulate).backward()
    return {name: float(term.detach()) for name, term in terms.items()}


def _stacks(given: torch.Tensor | Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What a network gives -> the maps, or coordinates, of each of its stacks."""
    if isinstance(given, torch.Tensor):
        given = given.unbind(0) if given.dim() == 5 else (given,)  # stacked hourglasses
    return [each.float() for each in given]


def _what_fits(
    network: nn.Module, learn: Callable[[Batch], object], batch: Batch, accumulate: int, device: torch.device
) -> str:
    """A sentence about a batch that does not fit into memory, with half of it, a quarter, ... that does."""
    whole = len(batch.pictures)
    said = f"a batch of {whole} pictures does not fit into the memory of {device}"
    fits = whole // 2
    while fits >= 2:
        network.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            part = Batch(*(array[:fits] for array in vars(batch).values()))
            learn(part)
        except torch.OutOfMemoryError:
            fits //= 2
            continue
        times = -(-whole * accumulate // fits)
        return f"{said}; {fits} do: batch_size {fits} with schedule.accumulate {times} makes steps of the same size"
    return f"{said}, and neither do 2"


def _mean(values: list[float], device: torch.device) -> float:
    """Over the steps, and over the processes."""
    mean = sum(values) / len(values)
    return mean if ranks.rank_and_count()[1] == 1 else float(ranks.mean(torch.tensor(mean, device=device)))


def _follow(average: dict[str, torch.Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and batch statistics; short at first, so the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                average[key].lerp_(value, 1 - decay)
            else:
                average[key].copy_(value)


def _keep(checkpoint: Path, state: dict[str, Any]) -> None:
    scratch = checkpoint.with_suffix(".part")
    torch.save(state, scratch)
    scratch.replace(checkpoint)
