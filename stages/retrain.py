"""Retrain: the student of a round, its teacher's network trained further with source labels and pseudo labels together.

If the teacher's network has `network.fusion_views`, the views of a frame group come together, neither rotated nor mirrored, and
the maps before and after cross-view fusion are both taught; labelled images, and incomplete frame groups, are not fused. The
fusion layers start in the first round, and later rounds keep them. One fusion serves all rigs of the target: their views are
matched by name, so the rigs have to be alike, as those of Human3.6M's subjects are.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval, Unit

from pipeline import cli, skeleton
from pipeline.files import scratch
from pipeline.files.cameras import read_rigs
from pipeline.files.frames import Frames
from pipeline.files.labels import Labels
from pipeline.files.samples import Samples
from pipeline.geometry.camera import Camera
from pipeline.models import build
from pipeline.models.inference import as_input, predict
from pipeline.runtime import Runtime, autocast_dtype, has_spare_processor, start_torch
from pipeline.training import ranks
from pipeline.training.batches import Batch, complete_frame_groups
from pipeline.training.epipolar import EpipolarLoss
from pipeline.training.loop import train
from pipeline.training.losses import consistency_loss, loss_against_targets
from pipeline.training.pools import Mix, pool_of_labels, pool_of_sets, set_files
from pipeline.training.session import Training, batches_from, write_records
from pipeline.training.validation import InputFormat, accuracy_note, source_accuracy


@dataclass(frozen=True, kw_only=True)
class Retrain(Training):
    """Section `retrain` of params.yaml, with the keys of `training`; see `Training`. The teacher's images are not augmented.

    Attributes:
        target_fraction: fraction of each batch with pseudo labels; the rest are source images with labels. 0 trains on the
            source alone, the control for every gain.
        epipolar_weight: per px (no unit if the residual is algebraic); weight of the distance between keypoints and the other
            views' epipolar lines beside the heatmap loss, see training/epipolar.py. Above 0 the views of a frame group come
            into a batch together.
        epipolar_huber_px: px of the full image; distances above it count linearly, below it squared.
        epipolar_joints: "labelled", those with a pseudo label, or "all".
        consistency_weight: of the mean squared difference between maps before and after cross-view fusion.
        epipolar_residual: "sampson", in px of the full image; or "algebraic", the published |x_b^T F x_a| with F scaled to
            F[2, 2] = 1, whose published weight is 5 and which `epipolar_huber_px` does not affect.
    """

    target_fraction: Annotated[float, Interval(ge=0, le=1)]
    epipolar_weight: Annotated[float, Ge(0)]
    epipolar_huber_px: Annotated[float, Gt(0), Unit("px")]
    epipolar_joints: Literal["labelled", "all"]
    consistency_weight: Annotated[float, Ge(0)] = 0.0
    epipolar_residual: Literal["sampson", "algebraic"] = "sampson"

    def __post_init__(self) -> None:
        if self.epipolar_weight > 0 and self.target_fraction == 0:
            raise ValueError("retrain.epipolar_weight: compares views of the target, but retrain.target_fraction is 0")


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
    """Train the student of a round.

    Args:
        init: the teacher's network.
        source: the folder of labelled sets, or the file of one.
        frames: the target's frames.
        labels: the pseudo labels of the round.
        cameras: the target's rig.
        out: the student's model.
        metrics: loss, accuracy on the validation part of the source (see `source_accuracy`), and steps.
        curve: the loss by step.
    """
    device = start_torch(runtime)
    ranks.join()
    dtype = autocast_dtype(runtime, device)
    network, whole = build.load(init)
    fusing = network.fusion_views > 0 and retrain.target_fraction > 0
    if fusing:
        whole = build.with_fusion(network, whole)
    model = whole if fusing else whole.single_view
    if retrain.consistency_weight > 0 and not fusing:
        raise ValueError(
            "retrain.consistency_weight: compares maps before and after fusion, which needs network.fusion_views and a"
            " retrain.target_fraction above 0"
        )
    outputs = build.outputs(network.name)
    retrain.loss.require_for(network.name, outputs.coordinates, "retrain")
    if retrain.epipolar_weight > 0 and outputs.coordinates:
        raise ValueError(f"retrain.epipolar_weight: compares heatmaps, and {network.name} gives coordinates")
    joints = skeleton.get(network.skeleton)
    root = joints.index("pelvis") if outputs.relative else None
    files = set_files(source, mix)
    sets = {name: Samples.read(file) for name, file in files.items()}
    schedule = retrain.schedule
    epipolar, camera = None, None
    if fusing:
        camera, all_cameras = _cameras(frames, cameras)
        if camera.shape[1] != network.fusion_views:
            raise ValueError(
                f"network.fusion_views: the network fuses {network.fusion_views} views, and the rigs of {cameras} have"
                f" {camera.shape[1]} each"
            )
    if retrain.epipolar_weight > 0:
        labelled_only = retrain.epipolar_joints == "labelled"
        camera, all_cameras = _cameras(frames, cameras)
        epipolar = EpipolarLoss(
            all_cameras,
            joints.flipped,
            huber_px=retrain.epipolar_huber_px,
            labelled_only=labelled_only,
            residual=retrain.epipolar_residual,
        )
    pools = []
    if retrain.target_fraction > 0:
        pseudo_labels = (Frames.read(frames), Labels.read(labels))
        pools.append(pool_of_labels(*pseudo_labels, joints, share=retrain.target_fraction, camera=camera, fused=fusing))
    if retrain.target_fraction < 1:
        pools.append(pool_of_sets(sets, mix, joints, runtime.seed, 1 - retrain.target_fraction))

    def loss_terms(stacks: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
        terms = {"heatmap": loss_against_targets(stacks, batch, retrain.loss, root)}
        if epipolar is not None:
            terms["epipolar"] = retrain.epipolar_weight * epipolar(stacks[-1], batch)
        if retrain.consistency_weight > 0:
            rows = torch.from_numpy(complete_frame_groups(batch, network.fusion_views).flatten()).to(stacks[0].device)
            terms["consistency"] = retrain.consistency_weight * consistency_loss(stacks[0][rows], stacks[1][rows])
        return terms

    inputs = [init, *files.values(), frames, labels, cameras]
    folder = scratch.resumable_folder(__file__, inputs, runtime, mix, retrain, str(device), dtype)
    with ranks.rank0_context(folder) as resumable:
        training = train(
            model,
            batches_from(
                "retrain",
                pools,
                retrain,
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
            fused_views=network.fusion_views if fusing else 0,
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
            print(f"{out}: {schedule.steps} steps of {retrain.batch_size} ({kind}); {accuracy_note(accuracy)}")
    ranks.leave()


def _cameras(frames: Path, cameras: Path) -> tuple[np.ndarray, tuple[Camera, ...]]:
    """Return the camera of each image, (frames, views) int, and the cameras of all rigs, one rig after the other."""
    target = Frames.read(frames)
    camera_of = np.zeros((len(target), len(target.views)), dtype=int)
    all_cameras: tuple[Camera, ...] = ()
    for rows, rig in read_rigs(cameras).groups(target.keys, target.views, str(frames)):
        camera_of[rows] = len(all_cameras) + np.arange(len(rig))
        all_cameras += rig
    return camera_of, all_cameras


if __name__ == "__main__":
    cli.run(main)
