"""Train in several processes, on several GPUs or machines, as torchrun starts them (`LAUNCH="torchrun ..." dvc repro`).

The result must not depend on the number of processes: each prepares its part of the same batch, batch statistics are those of
the whole batch, losses are divided by the divisor of the whole batch, and only rank 0 writes. Without torchrun there is one
process, and the functions here do nothing.
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
    """Join the process group, if torchrun started one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def leave() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank_and_count() -> tuple[int, int]:
    """Return this process's rank, and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_rank0() -> bool:
    """Return whether this process is the one that writes."""
    return rank_and_count()[0] == 0


def broadcast_from_rank0(value: Value) -> Value:
    """Return rank 0's value in every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def rank0_context(folder: AbstractContextManager[Path]) -> Iterator[Path]:
    """Yield, in every process, the folder that rank 0 opens and closes."""
    if is_rank0():
        with folder as path:
            yield broadcast_from_rank0(path)
    else:
        yield broadcast_from_rank0(Path())


def mean(value: torch.Tensor) -> torch.Tensor:
    """Return the mean over the processes, without a gradient.

    A loss that is a sum divided by this mean of its divisors has, averaged over the processes, the gradient of the whole
    batch's sum divided by the whole batch's divisor.
    """
    value = value.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all processes' images; torch's SyncBatchNorm needs a GPU."""

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


def with_shared_batch_norm(model: nn.Module) -> nn.Module:
    """Return the model, its batch statistics shared by the processes if there are several. Its keys stay."""
    if not dist.is_initialized():
        return model
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm
    return model
