"""Pretrain: labelled images -> the network of round 0, the first teacher.

With `--init` the network starts from an ImageNet file, a public pose checkpoint or a model of this project, else from random
weights. Labelled images stand alone, so layers of cross-view fusion learn nothing here: they are added in the first `retrain`,
unless the checkpoint has them, or `pretrain.fuse` asks for learning them from a labelled set of several cameras.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from pipeline import cli, skeleton
from pipeline.files import scratch
from pipeline.files.samples import Samples
from pipeline.models import build
from pipeline.models.checkpoints.start import brings_fusion, start_from
from pipeline.models.inference import as_input, predict
from pipeline.runtime import Runtime, autocast_dtype, has_spare_processor, start_torch
from pipeline.training import ranks
from pipeline.training.batches import Batch
from pipeline.training.loop import train
from pipeline.training.losses import loss_against_targets
from pipeline.training.pools import Mix, joint_notes, pool_of_sets, pools_of_frame_groups, set_files
from pipeline.training.session import Training, batches_from, write_records
from pipeline.training.validation import InputFormat, accuracy_note, source_accuracy


@dataclass(frozen=True, kw_only=True)
class Pretrain(Training):
    """Section `pretrain` of params.yaml, with the keys of `training`; see `Training`.

    Attributes:
        fuse: learn cross-view fusion (`network.fusion_views`) from the labelled set that several cameras recorded, Human3.6M:
            the views of a frame group come together, as in `retrain`, and maps before and after fusion are taught; images
            that stand alone are not fused.
    """

    fuse: bool = False


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
    """Train the network of round 0.

    Args:
        source: the folder of labelled sets, or the file of one.
        out: the model.
        metrics: loss, accuracy on the validation part of the source (see `source_accuracy`), and steps.
        curve: the loss by step.
        init: a checkpoint to start from; without it, random weights.
    """
    device = start_torch(runtime)
    ranks.join()
    dtype = autocast_dtype(runtime, device)
    pretrain.loss.require_for(network.name, build.outputs(network.name).coordinates, "pretrain")
    files = set_files(source, mix)
    sets = {name: Samples.read(file) for name, file in files.items()}
    joints = skeleton.get(network.skeleton)
    for sentence in joint_notes(sets, joints):
        print(sentence)
    if pretrain.fuse and not network.fusion_views:
        raise ValueError("pretrain.fuse: learns cross-view fusion, but network.fusion_views is 0")
    views = network.fusion_views if pretrain.fuse else 0
    pools = (
        pools_of_frame_groups(sets, mix, joints, runtime.seed, views)
        if views
        else [pool_of_sets(sets, mix, joints, runtime.seed)]
    )
    fused = init is not None and network.fusion_views > 0 and brings_fusion(init)
    whole = build.build(network if fused else replace(network, fusion_views=0))
    if init is not None and (report := start_from(init, network, whole)):
        print(report)
    if pretrain.fuse:
        whole = build.with_fusion(network, whole)
    model = whole if pretrain.fuse else whole.single_view
    schedule = pretrain.schedule
    root = joints.index("pelvis") if build.outputs(network.name).relative else None

    def loss_terms(stacks: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
        return {"heatmap": loss_against_targets(stacks, batch, pretrain.loss, root)}

    inputs = [*files.values(), *([init] if init is not None else [])]
    folder = scratch.resumable_folder(__file__, inputs, runtime, network, mix, pretrain, str(device), dtype)
    with ranks.rank0_context(folder) as resumable:
        training = train(
            model,
            batches_from(
                "pretrain",
                pools,
                pretrain,
                size=network.image_size,
                stride=network.stride,
                seed=runtime.seed,
                prefetch=has_spare_processor(device),
            ),
            partial(as_input, preprocessing=network.preprocessing),
            loss_terms,
            schedule=schedule,
            device=device,
            autocast_dtype=dtype,
            record_every=max(1, schedule.steps // 20),
            checkpoint=resumable / "checkpoint.pt",
            fused_views=views,
            compiled=runtime.compile,
        )
        records = list(training)
        if ranks.is_rank0():
            accuracy = {"source_pckh_50": float("nan")}  # for joints without a place in the image
            if root is None:
                maps_of = partial(predict, model, device=device)
                input_format = InputFormat(size=network.image_size, stride=network.stride)
                accuracy = source_accuracy(maps_of, sets, joints, input_format)
            build.save(out, network, whole.state_dict())
            write_records(curve, metrics, records, accuracy, schedule.steps)
            kind = f"{str(dtype or torch.float32).removeprefix('torch.')}, {device}"
            print(f"{out}: {schedule.steps} steps of {pretrain.batch_size} ({kind}); {accuracy_note(accuracy)}")
    ranks.leave()


if __name__ == "__main__":
    cli.run(main)
