"""The training loop: a `for` over batches. It yields a record now and then; the stage decides what to keep."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.training.batches import Batch


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: optimiser steps.
        learning_rate: at its highest; it rises over `warm_up` of the steps and falls to zero along a cosine.
        warm_up: share of the steps.
        weight_decay: of AdamW.
        average: decay a step of the running average of the weights, which is what a training returns; 0 = no average.
        foreground: see losses.heatmap_loss.
    """

    steps: int
    learning_rate: float
    warm_up: float
    weight_decay: float
    average: float
    foreground: float

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"schedule.steps: expected at least 1, got {self.steps}")
        if self.learning_rate <= 0:
            raise ValueError(f"schedule.learning_rate: expected more than 0, got {self.learning_rate}")
        for key in ("warm_up", "average"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"schedule.{key}: expected at least 0 and less than 1, got {getattr(self, key)}")
        for key in ("weight_decay", "foreground"):
            if getattr(self, key) < 0:
                raise ValueError(f"schedule.{key}: expected 0 or more, got {getattr(self, key)}")

    def learning_rate_at(self, step: int) -> float:
        """One cycle (Smith 2018) as a function of the step alone, so that a resumed training needs no state of it."""
        done = (step + 0.5) / self.steps
        if done < self.warm_up:
            return self.learning_rate * (0.04 + 0.96 * done / self.warm_up)
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
    loss_terms: Callable[[torch.Tensor, Batch], dict[str, torch.Tensor]],
    schedule: Schedule,
    device: torch.device,
    half: bool,
    record_every: int,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
) -> Iterator[Record]:
    """Train `model` in place; when the iterator ends, the model holds the averaged weights.

    Args:
        batches_from: step -> the batches from that step on.
        prepare: a batch's pictures -> the network's input.
        loss_terms: (heatmaps, batch) -> scalars by name; their sum is the loss.
        half: compute in bfloat16 where that is safe (weights, loss and the last layer stay float32).
        record_every: steps.
        checkpoint: a file to resume from and to keep for a later one; training goes on to the same bytes.
    """
    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    first, losses, records = 0, [], []
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average, first, losses = state["average"], state["step"], state["losses"]
        records = [Record(**record) for record in state["records"]]
        yield from records
    for step, batch in enumerate(batches_from(first), start=first):
        rate = schedule.learning_rate_at(step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            maps = model(prepare(batch.pictures, device))
        terms = loss_terms(maps.float(), batch)
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        _follow(average, model, schedule.average, step)
        losses.append({name: float(term.detach()) for name, term in terms.items()})
        if (step + 1) % record_every == 0 or step + 1 == schedule.steps:
            means = {name: sum(each[name] for each in losses) / len(losses) for name in losses[0]}
            records.append(Record(step + 1, sum(means.values()), rate, means))
            losses = []
            yield records[-1]
        if checkpoint is not None and (step + 1) % checkpoint_every == 0:
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average}
            state |= {"step": step + 1, "losses": losses, "records": [vars(record) for record in records]}
            _keep(checkpoint, state)
    model.load_state_dict(average)
    model.eval()


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
