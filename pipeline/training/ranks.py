"""Training in several processes, on several GPUs or machines, as torchrun starts them (`LAUNCH="torchrun ..." dvc repro`).

What a batch teaches must not depend on how many processes share it: each makes its part of the same batch, batch statistics
are those of the whole batch, losses are divided by what counts in the whole batch, and the first process alone writes.
Without torchrun there is one process, and nothing here does anything.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce

Value = TypeVar("Value")


def join() -> None:
    """Meet the other processes, if torchrun has started some."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank_and_count() -> tuple[int, int]:
    """Which process this is, and of how many."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def first() -> bool:
    """Whether this process writes."""
    return rank_and_count()[0] == 0


def as_the_first(value: Value) -> Value:
    """What the first process has here, in every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def opened_by_the_first(folder: AbstractContextManager[Path]) -> Iterator[Path]:
    """A folder that the first process opens, and closes, for all."""
    if first():
        with folder as path:
            yield as_the_first(path)
    else:
        yield as_the_first(Path())


def mean(value: torch.Tensor) -> torch.Tensor:
    """The mean over the processes, without a gradient.

    A loss that is a sum divided by this mean of its divisors has, averaged over the processes, the gradient of the whole
    batch's sum divided by the whole batch's divisor.
    """
    value = value.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all processes' pictures; torch's own SyncBatchNorm needs a GPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        wide = x.float()
        count = wide.numel() // wide.shape[1]
        sums = torch.cat([wide.sum(dim=(0, 2, 3)), wide.square().sum(dim=(0, 2, 3)), wide.new_tensor([count])])
        sums = all_reduce(sums)
        channels = wide.shape[1]
        total = sums[-1]
        mean = sums[:channels] / total
        variance = sums[channels:-1] / total - mean.square()
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * total / (total - 1), self.momentum)
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def shared(model: nn.Module) -> nn.Module:
    """The model with batch statistics that the processes share; itself where there is one process. Its keys stay."""
    if not dist.is_initialized():
        return model
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm
    return model
