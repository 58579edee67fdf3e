"""Pretrain: labelled pictures -> the network of round 0, the first teacher.

With `--init` it starts from an ImageNet file, a public pose checkpoint or a model of ours instead of from chance. Labelled
pictures stand alone, so layers of cross-view fusion learn nothing here: they come into being in the first `retrain`, unless
the checkpoint brings them, or `pretrain.fuse` says that they are to be learned from a labelled set of several cameras.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from pipeline import cli, skeleton
from pipeline.files import scratch
from pipeline.files.samples import Samples
from pipeline.models import build, checkpoints
from pipeline.models.inference import as_input, predict
from pipeline.runtime import Runtime, half_precision, has_spare_processor, start_torch
from pipeline.training import ranks, validation
from pipeline.training.augment import Augment
from pipeline.training.batches import Batch
from pipeline.training.loop import Schedule, train
from pipeline.training.losses import Loss, loss_against_targets
from pipeline.training.pools import Mix, joint_notes, pool_of_sets, pools_of_moments, set_files
from pipeline.training.session import batches_from, write_records


@dataclass(frozen=True)
class Pretrain:
    """Section `pretrain` of params.yaml.

    Attributes:
        batch_size: pictures a step.
        sigma: map px, of the Gaussian targets.
        schedule: see training/loop.py.
        loss: see training/losses.py.
        augment: see training/augment.py.
        fuse: learn cross-view fusion (`network.fusion_views`) from the labelled sets that several cameras took, Human3.6M: the
            views of a moment come together, as in `retrain`, and maps before and after fusion are taught; others pass by.
    """

    batch_size: int
    sigma: float
    schedule: Schedule
    loss: Loss
    augment: Augment
    fuse: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(f"pretrain.batch_size: batch statistics need at least 2 pictures, got {self.batch_size}")
        if self.sigma <= 0:
            raise ValueError(f"pretrain.sigma: expected more than 0 map px, got {self.sigma}")


def main(
    *,
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
    if pretrain.fuse and not network.fusion_views:
        raise ValueError("pretrain.fuse: learns cross-view fusion, but network.fusion_views is 0")
    views = network.fusion_views if pretrain.fuse else 0
    pools = (
        pools_of_moments(sets, mix, names, runtime.seed, views)
        if views
        else [pool_of_sets(sets, mix, names, runtime.seed)]
    )
    fused = init is not None and network.fusion_views > 0 and checkpoints.brings_fusion(init)
    whole = build.build(network if fused else replace(network, fusion_views=0))
    if init is not None and (started := checkpoints.start_from(init, network, whole)):
        print(started)
    if pretrain.fuse:
        whole = build.with_fusion(network, whole)
    model = whole if pretrain.fuse else build.single_view(whole)
    schedule = pretrain.schedule
    prepare = partial(as_input, preprocessing=network.preprocessing)
    root = names.index("pelvis") if network.name == "kinematic" else None

    shape = (network.picture_size, network.stride, runtime.seed, has_spare_processor(device))
    coming = batches_from("pretrain", pools, pretrain, *shape)

    def loss_terms(stacks: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
        return {"heatmap": loss_against_targets(stacks, batch, pretrain.loss, root)}

    inputs = [*files.values(), *([init] if init is not None else [])]
    kept = scratch.resumable_folder(__file__, inputs, runtime, network, mix, pretrain, str(device), half)
    with ranks.opened_by_the_first(kept) as folder:
        checkpoint, every = folder / "checkpoint.pt", max(1, schedule.steps // 20)
        learning = (model, coming, prepare, loss_terms, schedule, device, half, every, checkpoint)
        records = list(train(*learning, fused_views=views, compiled=runtime.compile))
        if ranks.first():
            found = float("nan")  # where joints have no place in the picture
            if root is None:
                maps_of = partial(predict, model, device=device)
                found = validation.source_pckh(maps_of, sets, names, network.picture_size, network.stride)
            build.save(out, network, whole.state_dict())
            write_records(curve, metrics, records, found, schedule.steps)
            kind = f"{str(half or torch.float32).removeprefix('torch.')}, {device}"
            print(f"{out}: {schedule.steps} steps of {pretrain.batch_size} ({kind}); source PCKh@0.5 {found:.1f} %")
    ranks.leave()


if __name__ == "__main__":
    cli.run(main)
