"""Pretrain: labelled pictures -> the network of round 0, the first teacher.

With `--init` it starts from an ImageNet file, a public pose checkpoint or a model of ours instead of from chance. Labelled
pictures stand alone, so layers of cross-view fusion learn nothing here: they come into being in the first `retrain`, unless
the checkpoint brings them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from pipeline import cli, skeleton
from pipeline.files import scratch
from pipeline.files.atomic import write_json
from pipeline.files.samples import Samples
from pipeline.files.tables import write_table
from pipeline.models import build, checkpoints
from pipeline.models.inference import as_input, predict
from pipeline.runtime import Runtime, half_precision, start_torch
from pipeline.training import ranks, validation
from pipeline.training.augment import Augment
from pipeline.training.batches import Batch, batches
from pipeline.training.loop import Schedule, train
from pipeline.training.losses import Loss, loss_against_targets
from pipeline.training.pools import Mix, joint_notes, pool_of_sets, set_files


@dataclass(frozen=True)
class Pretrain:
    """Section `pretrain` of params.yaml.

    Attributes:
        batch_size: pictures a step.
        sigma: map px, of the Gaussian targets.
        schedule: see training/loop.py.
        loss: see training/losses.py.
        augment: see training/augment.py.
    """

    batch_size: int
    sigma: float
    schedule: Schedule
    loss: Loss
    augment: Augment

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(f"pretrain.batch_size: batch statistics need at least 2 pictures, got {self.batch_size}")
        if self.sigma <= 0:
            raise ValueError(f"pretrain.sigma: expected more than 0 map px, got {self.sigma}")


def main(
    source: Path,
    out: Path,
    metrics: Path,
    curve: Path,
    runtime: Runtime,
    network: build.Network,
    mix: Mix,
    pretrain: Pretrain,
    init: Path | None = None,
) -> None:
    device = start_torch(runtime)
    ranks.join()
    half = half_precision(runtime, device)
    pretrain.loss.require_for(network.name, network.name in build.REGRESSORS, "pretrain")
    files = set_files(source, mix)
    sets = {name: Samples.read(file) for name, file in files.items()}
    names = skeleton.get(network.skeleton)
    for sentence in joint_notes(sets, names):
        print(sentence)
    pool = pool_of_sets(sets, mix, names, runtime.seed)
    fused = init is not None and network.fusion_views > 0 and checkpoints.brings_fusion(init)
    whole = build.build(network if fused else replace(network, fusion_views=0))
    if init is not None and (started := checkpoints.start_from(init, network, whole)):
        print(started)
    model = build.single_view(whole)
    schedule = pretrain.schedule
    prepare = partial(as_input, preprocessing=network.preprocessing)
    root = names.index("pelvis") if network.name == "kinematic" else None

    def from_step(first: int) -> Iterator[Batch]:
        last = schedule.steps * schedule.accumulate
        steps = tqdm(
            range(first, last), initial=first, total=last, desc="pretrain", disable=None if ranks.first() else True
        )
        size, seed, part = network.picture_size, runtime.seed, ranks.rank_and_count()
        given = (pretrain.batch_size, size, pretrain.sigma, pretrain.augment, seed, part, network.stride)
        return batches([pool], steps, *given)

    def loss_terms(stacks: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
        return {"heatmap": loss_against_targets(stacks, batch, pretrain.loss, root)}

    inputs = [*files.values(), *([init] if init is not None else [])]
    kept = scratch.open(__file__, inputs, runtime, network, mix, pretrain, str(device), half)
    with ranks.opened_by_the_first(kept) as folder:
        checkpoint, every = folder / "checkpoint.pt", max(1, schedule.steps // 20)
        learning = (model, from_step, prepare, loss_terms, schedule, device, half, every, checkpoint)
        records = list(train(*learning, compiled=runtime.compile))
        if ranks.first():
            found = float("nan")  # where joints have no place in the picture
            if root is None:
                maps_of = partial(predict, model, device=device)
                found = validation.source_pckh(maps_of, sets, names, network.picture_size, network.stride)
            build.save(out, network, whole.state_dict())
            write_table(curve, {"step": [r.step for r in records], "loss": [round(r.loss, 6) for r in records]})
            write_json(metrics, {"loss": records[-1].loss, "source_pckh_50": found, "steps": schedule.steps})
            kind = f"{str(half or torch.float32).removeprefix('torch.')}, {device}"
            print(f"{out}: {schedule.steps} steps of {pretrain.batch_size} ({kind}); source PCKh@0.5 {found:.1f} %")
    ranks.leave()


if __name__ == "__main__":
    cli.run(main)
