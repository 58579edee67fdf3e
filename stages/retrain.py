"""Retrain: a round's student, its teacher's network taught further by source labels and pseudo labels together.

With `network.fusion_views` in the teacher's network the views of a moment come together, neither turned nor mirrored, and
the maps before and after cross-view fusion are both taught; labelled pictures, and moments that lack a view, pass by. The
fusion layers begin in the first round and are kept by the later ones.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pipeline import cli, skeleton
from pipeline.files import scratch
from pipeline.files.cameras import read_rigs
from pipeline.files.frames import Frames
from pipeline.files.labels import Labels
from pipeline.files.samples import Samples
from pipeline.geometry.camera import Camera
from pipeline.models import build
from pipeline.models.inference import as_input, predict
from pipeline.runtime import Runtime, half_precision, has_spare_processor, start_torch
from pipeline.training import ranks, validation
from pipeline.training.augment import Augment
from pipeline.training.batches import Batch, whole_moments
from pipeline.training.epipolar import EpipolarLoss
from pipeline.training.loop import Schedule, train
from pipeline.training.losses import Loss, consistency_loss, loss_against_targets
from pipeline.training.pools import Mix, pool_of_labels, pool_of_sets, set_files
from pipeline.training.session import batches_from, write_records


@dataclass(frozen=True)
class Retrain:
    """Section `retrain` of params.yaml.

    Attributes:
        batch_size: pictures a step.
        target_share: how much of each batch has pseudo labels; the rest are source pictures with true labels. 0 trains
            on the source alone, the control that every gain is measured against.
        sigma: map px, of the Gaussian targets.
        schedule: see training/loop.py.
        loss: see training/losses.py.
        augment: of the student's pictures, see training/augment.py; the teacher saw them as they are.
        epipolar_weight: per px; how much the views' distance from each other's epipolar lines counts beside the heatmap
            loss, see training/epipolar.py. Above 0 the views of a moment come into a batch together.
        epipolar_huber_px: distances above it (px of the full picture) count linearly, below it squared.
        epipolar_joints: "labelled", those with a pseudo label, or "all".
        consistency_weight: of the mean squared difference between maps before and after cross-view fusion.
    """

    batch_size: int
    target_share: float
    sigma: float
    schedule: Schedule
    loss: Loss
    augment: Augment
    epipolar_weight: float
    epipolar_huber_px: float
    epipolar_joints: Literal["labelled", "all"]
    consistency_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(f"retrain.batch_size: batch statistics need at least 2 pictures, got {self.batch_size}")
        if not 0 <= self.target_share <= 1:
            raise ValueError(f"retrain.target_share: expected a number in [0, 1], got {self.target_share}")
        if self.sigma <= 0:
            raise ValueError(f"retrain.sigma: expected more than 0 map px, got {self.sigma}")
        if self.epipolar_weight < 0:
            raise ValueError(f"retrain.epipolar_weight: expected 0 or more, got {self.epipolar_weight}")
        if self.epipolar_weight > 0 and self.target_share == 0:
            raise ValueError("retrain.epipolar_weight: compares views of the target, but retrain.target_share is 0")
        if self.epipolar_huber_px <= 0:
            raise ValueError(f"retrain.epipolar_huber_px: expected more than 0 px, got {self.epipolar_huber_px}")
        if self.consistency_weight < 0:
            raise ValueError(f"retrain.consistency_weight: expected 0 or more, got {self.consistency_weight}")


def main(
    *,
    init: Path,
    source: Path,
    frames: Path,
    labels: Path,
    cameras: Path,
    out: Path,
    metrics: Path,
    curve: Path,
    runtime: Runtime,
    mix: Mix,
    retrain: Retrain,
) -> None:
    device = start_torch(runtime)
    ranks.join()
    half = half_precision(runtime, device)
    network, whole = build.load(init)
    fusing = network.fusion_views > 0 and retrain.target_share > 0
    if fusing:
        whole = build.with_fusion(network, whole)
    model = whole if fusing else build.single_view(whole)
    if retrain.consistency_weight > 0 and not fusing:
        raise ValueError(
            "retrain.consistency_weight: compares maps before and after fusion, which needs network.fusion_views and a"
            " retrain.target_share above 0"
        )
    retrain.loss.require_for(network.name, network.name in build.REGRESSORS, "retrain")
    if retrain.epipolar_weight > 0 and network.name in build.REGRESSORS:
        raise ValueError(f"retrain.epipolar_weight: compares heatmaps, and {network.name} gives coordinates")
    names = skeleton.get(network.skeleton)
    prepare = partial(as_input, preprocessing=network.preprocessing)
    root = names.index("pelvis") if network.name == "kinematic" else None
    files = set_files(source, mix)
    sets = {name: Samples.read(file) for name, file in files.items()}
    schedule = retrain.schedule
    epipolar, camera = None, None
    if fusing:
        camera, all_rigs = _cameras(frames, cameras)
        if len(all_rigs) != network.fusion_views:
            raise ValueError(
                f"network.fusion_views: fuses {network.fusion_views} views of one rig, and {cameras} has {len(all_rigs)}"
                " cameras in all"
            )
    if retrain.epipolar_weight > 0:
        labelled_only = retrain.epipolar_joints == "labelled"
        camera, all_rigs = _cameras(frames, cameras)
        epipolar = EpipolarLoss(all_rigs, names.flipped, retrain.epipolar_huber_px, labelled_only)
    pools = []
    if retrain.target_share > 0:
        pseudo = (Frames.read(frames), Labels.read(labels))
        pools.append(pool_of_labels(*pseudo, names, retrain.target_share, camera, fusing))
    if retrain.target_share < 1:
        pools.append(pool_of_sets(sets, mix, names, runtime.seed, 1 - retrain.target_share))

    shape = (network.picture_size, network.stride, runtime.seed, has_spare_processor(device))
    coming = batches_from("retrain", pools, retrain, *shape)

    def loss_terms(stacks: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
        terms = {"heatmap": loss_against_targets(stacks, batch, retrain.loss, root)}
        if epipolar is not None:
            terms["epipolar"] = retrain.epipolar_weight * epipolar(stacks[-1], batch)
        if retrain.consistency_weight > 0:
            rows = torch.from_numpy(whole_moments(batch, network.fusion_views).flatten()).to(stacks[0].device)
            terms["consistency"] = retrain.consistency_weight * consistency_loss(stacks[0][rows], stacks[1][rows])
        return terms

    inputs = [init, *files.values(), frames, labels, cameras]
    kept = scratch.resumable_folder(__file__, inputs, runtime, mix, retrain, str(device), half)
    with ranks.opened_by_the_first(kept) as folder:
        checkpoint, every = folder / "checkpoint.pt", max(1, schedule.steps // 20)
        learning = (model, coming, prepare, loss_terms, schedule, device, half, every, checkpoint)
        views = network.fusion_views if fusing else 0
        records = list(train(*learning, fused_views=views, compiled=runtime.compile))
        if ranks.first():
            found = float("nan")  # where joints have no place in the picture
            if root is None:
                maps_of = partial(predict, model, device=device)
                found = validation.source_pckh(maps_of, sets, names, network.picture_size, network.stride)
            build.save(out, network, whole.state_dict())
            write_records(curve, metrics, records, found, schedule.steps)
            kind = f"{str(half or torch.float32).removeprefix('torch.')}, {device}"
            print(f"{out}: {schedule.steps} steps of {retrain.batch_size} ({kind}); source PCKh@0.5 {found:.1f} %")
    ranks.leave()


def _cameras(frames: Path, cameras: Path) -> tuple[np.ndarray, tuple[Camera, ...]]:
    """The cameras of all rigs, one rig after the other, and which of them took each picture: (frames, views) int."""
    target = Frames.read(frames)
    taken = np.zeros((len(target), len(target.views)), dtype=int)
    every: tuple[Camera, ...] = ()
    for rows, rig in read_rigs(cameras).groups(target.keys, target.views, str(frames)):
        taken[rows] = len(every) + np.arange(len(rig))
        every += rig
    return taken, every


if __name__ == "__main__":
    cli.run(main)
