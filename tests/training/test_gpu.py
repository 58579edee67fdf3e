"""Training on a GPU, held against the same on the processor. Skipped without a GPU."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from pipeline.models import build
from pipeline.models.inference import as_input
from pipeline.training import ranks
from pipeline.training.batches import Batch
from pipeline.training.loop import Schedule, train
from pipeline.training.losses import Loss, loss_against_targets

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SMALL = build.Network(
    name="poseresnet",
    block="basic",
    layers=(1, 1, 1, 1),
    width=8,
    deconv_channels=16,
    input_size=64,
    skeleton="mpii_16",
)
SCHEDULE = Schedule(steps=4, learning_rate=0.01, warmup_fraction=0.0, weight_decay=0.0, ema_decay=0.0)


def _batches(first):
    for step in range(first, SCHEDULE.steps):
        rng = np.random.default_rng(step)
        alone = np.full(8, -1)
        yield Batch(
            images=rng.integers(0, 255, (8, 64, 64, 3), dtype=np.uint8),
            targets=rng.random((8, 16, 16, 16), dtype=np.float32),
            weights=np.ones((8, 16), dtype=np.float32),
            image_from_map=np.zeros((8, 2, 3)),
            mirrored=np.zeros(8, dtype=bool),
            frame_group=alone,
            view=alone,
            keypoints=np.zeros((8, 16, 2), dtype=np.float32),
            depth=np.full((8, 16), np.nan, dtype=np.float32),
        )


def _network():
    torch.manual_seed(0)
    return build.build(SMALL)


def _losses(device, autocast_dtype):
    """Return the loss of every step, and the trained network."""
    model = _network()
    options: dict[str, Any] = {"device": device, "autocast_dtype": autocast_dtype, "record_every": 1}
    records = list(train(model, _batches, as_input, _terms, schedule=SCHEDULE, **options))
    return [record.loss for record in records], model


def _terms(stacks, batch):
    return {"heatmap": loss_against_targets(stacks, batch, Loss())}


@pytest.mark.parametrize(("autocast_dtype", "tolerance"), [(None, 1e-3), (torch.bfloat16, 0.05)])
def test_a_training_has_the_losses_of_the_processor_within_the_precision(autocast_dtype, tolerance):
    expected, _ = _losses(CPU, None)
    losses, model = _losses(GPU, autocast_dtype)
    assert losses == pytest.approx(expected, rel=tolerance)
    assert all(value.dtype == torch.float32 for value in model.parameters())
    assert all(torch.isfinite(value).all() for value in model.parameters())


def test_a_training_in_bfloat16_repeats_its_bytes():
    (one, first), (other, second) = _losses(GPU, torch.bfloat16), _losses(GPU, torch.bfloat16)
    assert one == other
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_batch_that_does_not_fit_is_refused_with_a_size_that_does():
    class Large(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 16, 4, 4)

        def forward(self, x):
            if len(x) > 4:
                torch.empty(2**50, device=x.device)
            return self.layer(x)

    with pytest.raises(ValueError, match=r"8 images does not fit into the memory of cuda; 4 do"):
        list(
            train(
                Large(), _batches, as_input, _terms, schedule=SCHEDULE, device=GPU, autocast_dtype=None, record_every=1
            )
        )


@pytest.fixture
def process_group(tmp_path):
    """A group of one process that communicates by NCCL."""
    dist.init_process_group("nccl", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_one_distributed_step_has_the_gradients_of_a_plain_one(process_group):
    plain = _network().to(GPU).train()
    shared = ranks.with_shared_batch_norm(copy.deepcopy(plain))
    assert any(type(module) is ranks.SharedBatchNorm for module in shared.modules())
    network = DistributedDataParallel(shared, broadcast_buffers=False)
    batch = next(_batches(0))
    for model in (plain, network):
        maps = model(as_input(batch.images, GPU)).float()
        loss_against_targets([maps], batch, Loss()).backward()
    for one, other in zip(plain.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-5 + 1e-3 * one.grad.abs().max().item())
    assert ranks.broadcast_from_rank0("a folder") == "a folder"


def test_a_step_may_take_several_batches():
    schedule = replace(SCHEDULE, steps=2, accumulation_steps=2)
    model = _network()
    options: dict[str, Any] = {"device": GPU, "autocast_dtype": torch.bfloat16, "record_every": 1}
    records = list(train(model, _batches, as_input, _terms, schedule=schedule, **options))
    assert [record.step for record in records] == [1, 2]
    assert all(np.isfinite(record.loss) for record in records)
