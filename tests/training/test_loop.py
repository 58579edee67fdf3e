import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import params
from pipeline.models.fusion import CrossViewFusion
from pipeline.models.inference import as_input
from pipeline.models.network import PoseNetwork
from pipeline.runtime import Runtime, autocast_dtype
from pipeline.training.batches import Batch, complete_frame_groups
from pipeline.training.loop import Schedule, train
from pipeline.training.losses import Loss, loss_against_targets

SCHEDULE = Schedule(steps=12, learning_rate=0.01, warmup_fraction=0.2, weight_decay=0.0, ema_decay=0.5)
CPU = torch.device("cpu")


class Dots(PoseNetwork):
    """Find bright dots: one convolution, batch statistics, a map a quarter of the image's size."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, x):
        return self.layers(x)


def _batches(first):
    for step in range(first, SCHEDULE.steps):
        rng = np.random.default_rng(step)
        images = rng.integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
        targets, weights = rng.random((4, 1, 4, 4), dtype=np.float32), np.ones((4, 1), dtype=np.float32)
        alone = np.full(4, -1)
        yield Batch(
            images=images,
            targets=targets,
            weights=weights,
            image_from_map=np.zeros((4, 2, 3)),
            mirrored=np.zeros(4, dtype=bool),
            frame_group=alone,
            view=alone,
            keypoints=np.zeros((4, 1, 2)),
            depth=alone,
        )


def learn(model, batches=None, schedule=SCHEDULE, **options):
    """Train on a CPU in float32, with a record every four steps, unless the options differ."""
    defaults: dict[str, Any] = {"device": CPU, "autocast_dtype": None, "record_every": 4}
    return train(model, batches or _batches, as_input, _loss, schedule=schedule, **(defaults | options))


def _loss(stacks, batch):
    return {"heatmap": loss_against_targets(stacks, batch, Loss())}


def _weights(model):
    return torch.cat([value.float().flatten() for value in model.state_dict().values()])


def test_an_interrupted_training_ends_with_the_bytes_of_an_undisturbed_one(tmp_path):
    whole = Dots()
    records = list(learn(whole))
    broken = Dots()
    run: Any = learn(broken, checkpoint=tmp_path / "c.pt", checkpoint_every=3)
    next(run)
    next(run)  # 8 steps done, the last checkpoint is of step 6
    run.close()
    resumed = Dots()
    resumed_records = list(learn(resumed, checkpoint=tmp_path / "c.pt", checkpoint_every=3))
    assert torch.equal(_weights(whole), _weights(resumed))
    assert records == resumed_records
    assert [record.step for record in records] == [4, 8, 12]


def test_training_returns_the_average_of_the_weights():
    plain = replace(SCHEDULE, ema_decay=0.0)
    averaged, last = Dots(), Dots()
    list(learn(averaged))
    list(learn(last, schedule=plain))
    assert not torch.equal(_weights(averaged), _weights(last))
    assert torch.linalg.norm(_weights(averaged) - _weights(last)) < 1


def test_the_learning_rate_rises_and_falls_to_zero():
    rates = [SCHEDULE.learning_rate_at(step) for step in range(SCHEDULE.steps)]
    assert max(rates) <= SCHEDULE.learning_rate
    assert rates[0] < 0.5 * max(rates)
    assert rates[-1] < 0.02 * max(rates)


def test_the_published_rate_falls_to_a_tenth_at_every_milestone():
    schedule = Schedule(
        steps=140,
        learning_rate=1e-3,
        warmup_fraction=0.0,
        weight_decay=0.0,
        ema_decay=0.0,
        optimiser="adam",
        lr_schedule="steps",
        milestones=(90 / 140, 120 / 140),
    )
    rates = [schedule.learning_rate_at(step) for step in (0, 89, 90, 119, 120, 139)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_two_batches_a_step_teach_what_one_of_both_would():
    class Still(nn.Module):  # no batch statistics
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Conv2d(3, 1, 4, 4)

        def forward(self, x):
            return self.layer(x)

    def halves(first):
        for batch in _batches(0):
            yield batch.rows(slice(0, 2))
            yield batch.rows(slice(2, 4))

    one, other = Still(), Still()
    list(learn(one))
    list(learn(other, halves, replace(SCHEDULE, accumulation_steps=2)))
    torch.testing.assert_close(_weights(one), _weights(other), rtol=1e-4, atol=1e-6)


def test_a_batch_that_does_not_fit_is_refused_with_a_size_that_does():
    class Large(Dots):
        def forward(self, x):
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    with pytest.raises(ValueError, match=r"4 images does not fit .* batch_size 2 with schedule.accumulation_steps 2 "):
        list(learn(Large()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 0),
        ("learning_rate", 0.0),
        ("ema_decay", 1.0),
        ("weight_decay", -1.0),
        ("accumulation_steps", 0),
        ("milestones", [1.5]),
    ],
)
def test_a_schedule_that_cannot_be_is_named(key, value):
    with pytest.raises(ValueError, match=f"schedule.{key}"):
        params.build(Schedule, vars(SCHEDULE) | {key: value}, "schedule")


def _views():
    """Return a network that fuses two views of dots."""
    return CrossViewFusion(Dots(), 2, (4, 4))


def _frame_groups(first):
    """Yield two frame groups of two views, one of them in the other order, and an image alone."""
    for step in range(first, SCHEDULE.steps):
        rng = np.random.default_rng(step)
        images = rng.integers(0, 255, (5, 16, 16, 3)).astype(np.uint8)
        targets, weights = rng.random((5, 1, 4, 4), dtype=np.float32), np.ones((5, 1), dtype=np.float32)
        frame_group, view = np.array([0, 0, -1, 3, 3]), np.array([0, 1, -1, 1, 0])
        yield Batch(
            images=images,
            targets=targets,
            weights=weights,
            image_from_map=targets,
            mirrored=np.zeros(5, dtype=bool),
            frame_group=frame_group,
            view=view,
            keypoints=np.zeros((5, 1, 2)),
            depth=np.zeros((5, 1)),
        )


def test_an_interrupted_training_with_fusion_ends_with_the_bytes_of_an_undisturbed_one(tmp_path):
    def learned(**options):
        torch.manual_seed(1)
        model = _views()
        run: Any = learn(model, _frame_groups, fused_views=2, **options)
        return model, run

    whole, run = learned()
    before = _weights(whole.aggre_layer).clone()
    list(run)
    assert not torch.equal(_weights(whole.aggre_layer), before)
    _, run = learned(checkpoint=tmp_path / "c.pt", checkpoint_every=3)
    next(run)
    next(run)
    run.close()
    resumed, run = learned(checkpoint=tmp_path / "c.pt", checkpoint_every=3)
    list(run)
    assert torch.equal(_weights(whole), _weights(resumed))


def test_the_views_of_a_frame_group_are_fused_in_their_order_and_an_image_alone_is_not():
    batch = next(iter(_frame_groups(0)))
    rows = complete_frame_groups(batch, 2)
    assert rows.tolist() == [[0, 1], [4, 3]]
    assert complete_frame_groups(batch, 3).shape == (0, 3)
    torch.manual_seed(1)
    model = _views().eval()
    tensor = as_input(batch.images, CPU)
    raw, fused = model(tensor, torch.from_numpy(rows))
    assert torch.equal(raw[2], fused[2])
    expected = model(tensor[torch.from_numpy(rows)])[1]
    torch.testing.assert_close(fused[[0, 1]], expected[0])
    torch.testing.assert_close(fused[[4, 3]], expected[1])


def _interrupted(tmp_path, **options):
    """Return a trained network, equal to one whose training was interrupted, and the last checkpoint of that."""
    file = tmp_path / "c.pt"
    whole, broken, resumed = Dots(), Dots(), Dots()
    list(learn(whole, **options))
    run: Any = learn(broken, checkpoint=file, checkpoint_every=3, **options)
    next(run)
    next(run)
    run.close()
    list(learn(resumed, checkpoint=file, checkpoint_every=3, **options))
    assert torch.equal(_weights(whole), _weights(resumed))
    return whole, torch.load(file, weights_only=True)


def test_a_training_in_float16_scales_its_gradients_and_resumes_with_their_scale(tmp_path, monkeypatch):
    exact, _ = _interrupted(tmp_path)
    (tmp_path / "c.pt").unlink()
    real = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *a, **k: real(*a, init_scale=2.0**40, growth_interval=4, **k))
    whole, state = _interrupted(tmp_path, autocast_dtype=torch.float16)
    assert not torch.equal(_weights(whole), _weights(exact))
    assert state["scaler"]["scale"] < 2.0**40  # gradients overflowed, so steps were left out


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_network_learns_the_same_within_rounding_and_resumes_with_equal_bytes(tmp_path):
    _interrupted(tmp_path, compiled=True)
    # Losses and not weights: a bias before a batch norm has no gradient but rounding, which Adam makes as large as any.
    plain, compiled = (list(learn(Dots(), compiled=each)) for each in (False, True))
    assert [record.loss for record in compiled] == pytest.approx([record.loss for record in plain], rel=1e-3)


def test_a_network_that_does_not_compile_ends_in_a_sentence(monkeypatch):
    failed = type("BackendCompilerFailed", (RuntimeError,), {"__module__": "torch._dynamo.exc"})

    def compiling(network):
        def call(*_):
            raise failed("\nno compiler found\nmore")

        return call

    monkeypatch.setattr(torch, "compile", compiling)
    with pytest.raises(ValueError, match=r"runtime\.compile: the network does not compile here \(no compiler found\)"):
        list(learn(Dots(), compiled=True))


def test_float16_is_for_gpus():
    runtime = Runtime(seed=1, threads=1, precision="float16")
    assert autocast_dtype(runtime, torch.device("cuda")) is torch.float16
    with pytest.raises(ValueError, match=r"runtime\.precision: float16 is for GPUs"):
        autocast_dtype(runtime, CPU)
