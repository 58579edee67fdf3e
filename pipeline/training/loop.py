"""The training loop: a `for` over batches. It yields a record at intervals; the stage decides what to keep."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.training import ranks
from pipeline.training.batches import Batch, complete_frame_groups


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a network learns.

    Attributes:
        steps: optimiser steps.
        learning_rate: the highest; it rises during the warm-up and falls to zero along a cosine.
        warmup_fraction: fraction of the steps in which the learning rate rises.
        weight_decay: of AdamW.
        ema_decay: decay per step of the exponential moving average of the weights, which a training returns; 0: no average.
        optimiser: "adamw", or "adam" as published, whose weight decay is added to the gradient.
        lr_schedule: "cosine" to zero, or "steps": a tenth of the learning rate from each of the milestones on.
        milestones: fractions of `steps`; the published 90 and 120 of 140 epochs are 0.643 and 0.857.
        accumulation_steps: batches whose gradients make one step together; batch statistics stay those of each batch.
    """

    steps: Annotated[int, Ge(1)]
    learning_rate: Annotated[float, Gt(0)]
    warmup_fraction: Annotated[float, Ge(0), Lt(1)]
    weight_decay: Annotated[float, Ge(0)]
    ema_decay: Annotated[float, Ge(0), Lt(1)]
    optimiser: Literal["adamw", "adam"] = "adamw"
    lr_schedule: Literal["cosine", "steps"] = "cosine"
    milestones: tuple[Annotated[float, Gt(0), Lt(1)], ...] = ()
    accumulation_steps: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        if self.lr_schedule == "steps" and not self.milestones:
            raise ValueError("schedule.milestones: a decay in steps needs at least one")

    def learning_rate_at(self, step: int) -> float:
        """Return one cycle (Smith 2018) as a function of the step alone, so that a resumed training needs no state of it."""
        done = (step + 0.5) / self.steps
        if done < self.warmup_fraction:
            return self.learning_rate * (0.04 + 0.96 * done / self.warmup_fraction)
        if self.lr_schedule == "steps":
            return self.learning_rate * 0.1 ** sum(step >= round(share * self.steps) for share in self.milestones)
        falling = 1 + math.cos(math.pi * (done - self.warmup_fraction) / (1 - self.warmup_fraction))
        return self.learning_rate * 0.5 * falling


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
    *,
    schedule: Schedule,
    device: torch.device,
    autocast_dtype: torch.dtype | None,
    record_every: int,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    fused_views: int = 0,
    compiled: bool = False,
) -> Iterator[Record]:
    """Train `model` in place; when the iterator ends, the model holds the average of its weights.

    Processes started by torchrun share every batch (see ranks.py), and rank 0 keeps the checkpoints.

    Args:
        batches_from: n -> all batches from the n-th on; a step takes `schedule.accumulation_steps` of them.
        prepare: a batch's images -> the network's input.
        loss_terms: (heatmaps or coordinates per stack, batch) -> scalars by name; their sum is the loss.
        autocast_dtype: bfloat16 or float16, the type to compute in where that is safe (weights, loss and the last layer stay
            float32); None: float32. With float16 gradients are scaled, and a step whose gradients overflow is left out.
        record_every: steps.
        checkpoint: a file to resume from and to write for a later resumption; a resumed training ends with the same bytes.
        checkpoint_every: steps.
        fused_views: the number of views whose maps the network fuses, see models/fusion.py; 0: it fuses none.
        compiled: whether torch.compile compiles the network first.

    Raises:
        ValueError: a batch does not fit into the GPU's memory, and the sentence names a size that does; or torch.compile fails.
    """
    ranks.with_shared_batch_norm(model).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    network = model if ranks.rank_and_count()[1] == 1 else DistributedDataParallel(model, broadcast_buffers=False)
    if compiled:
        network = torch.compile(network)  # type: ignore[assignment]
    scaler = torch.amp.GradScaler(device.type, enabled=autocast_dtype is torch.float16)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[schedule.optimiser]
    fused = device.type in ("cpu", "cuda")  # one pass over each parameter instead of ten
    optimiser = kind(model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=fused)
    ema = {key: value.detach().clone() for key, value in model.state_dict().items()}
    start, losses, records = 0, [], []
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        scaler.load_state_dict(state["scaler"])
        ema, start, losses = state["ema"], state["step"], state["losses"]
        records = [Record(**record) for record in state["records"]]
        yield from records
    add_gradients = partial(
        _add_gradients,
        network=network,
        prepare=prepare,
        loss_terms=loss_terms,
        accumulation_steps=schedule.accumulation_steps,
        device=device,
        autocast_dtype=autocast_dtype,
        fused_views=fused_views,
        scaler=scaler,
    )
    upcoming = iter(batches_from(start * schedule.accumulation_steps))
    for step in range(start, schedule.steps):
        rate = schedule.learning_rate_at(step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        for batch in islice(upcoming, schedule.accumulation_steps):
            try:
                losses.append(add_gradients(batch))
            except torch.OutOfMemoryError:
                raise ValueError(
                    _fitting_batch_size(network, add_gradients, batch, schedule.accumulation_steps, device)
                ) from None
            except RuntimeError as error:
                if not (compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))):
                    raise
                reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise ValueError(f"runtime.compile: the network does not compile here ({reason.strip()})") from None
        scaler.step(optimiser)
        scaler.update()
        _update_ema(ema, model, schedule.ema_decay, step)
        if (step + 1) % record_every == 0 or step + 1 == schedule.steps:
            means = {name: _mean([terms[name] for terms in losses], device) for name in losses[0]}
            records.append(Record(step + 1, sum(means.values()), rate, means))
            losses = []
            yield records[-1]
        if checkpoint is not None and (step + 1) % checkpoint_every == 0 and ranks.is_rank0():
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema}
            state |= {
                "scaler": scaler.state_dict(),
                "step": step + 1,
                "losses": losses,
                "records": [vars(record) for record in records],
            }
            _write_checkpoint(checkpoint, state)
    model.load_state_dict(ema)
    model.eval()


def _add_gradients(
    batch: Batch,
    *,
    network: nn.Module,
    prepare: Callable[[np.ndarray, torch.device], torch.Tensor],
    loss_terms: Callable[[list[torch.Tensor], Batch], dict[str, torch.Tensor]],
    accumulation_steps: int,
    device: torch.device,
    autocast_dtype: torch.dtype | None,
    fused_views: int,
    scaler: torch.amp.GradScaler,
) -> dict[str, float]:
    """Add a batch's gradients to those of the step; return the terms of its loss."""
    frame_groups = [torch.from_numpy(complete_frame_groups(batch, fused_views)).to(device)] if fused_views else []
    with torch.autocast(device.type, autocast_dtype or torch.bfloat16, enabled=bool(autocast_dtype)):
        outputs = network(prepare(batch.images, device), *frame_groups)
    terms = loss_terms(_stacks(outputs), batch)
    scaler.scale(torch.stack(list(terms.values())).sum() / accumulation_steps).backward()
    return {name: float(term.detach()) for name, term in terms.items()}


def _stacks(outputs: torch.Tensor | Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the maps, or coordinates, of each of a network's stacks."""
    if isinstance(outputs, torch.Tensor):
        outputs = outputs.unbind(0) if outputs.dim() == 5 else (outputs,)  # stacked hourglasses
    return [each.float() for each in outputs]


def _fitting_batch_size(
    network: nn.Module,
    add_gradients: Callable[[Batch], object],
    batch: Batch,
    accumulation_steps: int,
    device: torch.device,
) -> str:
    """Return a sentence about a batch that does not fit into memory, with half of it, a quarter, ... that does."""
    count = len(batch.images)
    sentence = f"a batch of {count} images does not fit into the memory of {device}"
    fits = count // 2
    while fits >= 2:
        network.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            add_gradients(batch.rows(slice(fits)))
        except torch.OutOfMemoryError:
            fits //= 2
            continue
        times = -(-count * accumulation_steps // fits)
        return (
            f"{sentence}; {fits} do: batch_size {fits} with schedule.accumulation_steps {times} makes steps of the same"
            " size"
        )
    return f"{sentence}, and neither do 2"


def _mean(values: list[float], device: torch.device) -> float:
    """Return the mean over the steps, and over the processes."""
    mean = sum(values) / len(values)
    return mean if ranks.rank_and_count()[1] == 1 else float(ranks.mean(torch.tensor(mean, device=device)))


def _update_ema(ema: dict[str, torch.Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Update the average of weights and batch statistics; its window is short at first, so that the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                ema[key].lerp_(value, 1 - decay)
            else:
                ema[key].copy_(value)


def _write_checkpoint(checkpoint: Path, state: dict[str, Any]) -> None:
    part = checkpoint.with_suffix(".part")
    torch.save(state, part)
    part.replace(checkpoint)
