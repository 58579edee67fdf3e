"""Losses on heatmaps and on coordinates. Targets come from pipeline/heatmaps/render.py; weights say which joints count."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge

from pipeline.training import ranks
from pipeline.training.batches import Batch


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The quantity that a training minimises.

    Attributes:
        name: "foreground" is ours; "joints_mse" that of Simple Baselines and HRNet; "summed_mse" that of the cross-view
            fusion papers; "hard_joints" online hard keypoint mining; "integral_l1" and "integral_l2" are for networks that
            give coordinates: integral, direct and kinematic regression. A network of several stacks has the loss at each.
        foreground_weight: of "foreground"; how much more a target's peak counts than the background.
        ohkm_top_k: of "hard_joints"; how many joints of each image count.
    """

    name: Literal["foreground", "joints_mse", "summed_mse", "hard_joints", "integral_l1", "integral_l2"] = "foreground"
    foreground_weight: Annotated[float, Ge(0)] = 10.0
    ohkm_top_k: Annotated[int, Ge(1)] = 8

    def require_for(self, network: str, coordinates: bool, section: str) -> None:
        """Refuse a loss on heatmaps for a network that gives coordinates, and the other way round.

        Args:
            network: its name.
            coordinates: whether it gives coordinates, and not heatmaps.
            section: the section of params.yaml that the loss belongs to.
        """
        if self.name.startswith("integral") == coordinates:
            return
        expected, gives = (
            ("integral_l1 or integral_l2", "coordinates") if coordinates else ("a loss on heatmaps", "heatmaps")
        )
        raise ValueError(f"{section}.loss.name: {network} gives {gives}; expected {expected}, got {self.name}")


def loss_against_targets(
    outputs: list[torch.Tensor], batch: Batch, loss: Loss, root: int | None = None
) -> torch.Tensor:
    """Return the loss of a network's outputs against the targets of its batch, summed over the stacks of the network.

    Args:
        outputs: per stack heatmaps, (batch, joints, height, width), or coordinates, (batch, joints, 2 or 3).
        root: coordinates are relative to this joint; None: to the centre of the image.
    """
    if loss.name in ("integral_l1", "integral_l2"):
        return _on_coordinates(outputs, batch, loss, root)
    targets, weights = (torch.from_numpy(array).to(outputs[0].device) for array in (batch.targets, batch.weights))
    losses = [_on_maps(maps, targets, weights, loss) for maps in outputs]
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _on_coordinates(outputs: list[torch.Tensor], batch: Batch, loss: Loss, root: int | None) -> torch.Tensor:
    """Depth is a fraction of the crop's width, relative to the root; an unknown depth counts for nothing, as published."""
    height, width = batch.targets.shape[-2:]
    targets = torch.from_numpy(np.nan_to_num(batch.keypoints)).to(outputs[0].device)  # (batch, joints, 2)
    targets = targets / targets.new_tensor([width, height]) - 0.5
    weights = torch.from_numpy(batch.weights).to(targets.device)
    if root is not None:
        targets, weights = targets - targets[:, root, None], weights * weights[:, root, None]
    depth, has_depth = np.nan_to_num(batch.depth) / width, np.isfinite(batch.depth).astype(np.float32)
    targets = torch.cat([targets, torch.from_numpy(depth).to(targets)[..., None]], -1)  # (batch, joints, 3)
    depth_weights = weights * torch.from_numpy(has_depth).to(targets)
    weights = torch.stack([weights, weights, depth_weights], -1)
    order: Literal["L1", "L2"] = "L1" if loss.name == "integral_l1" else "L2"
    losses = [
        coordinate_loss(
            coordinates, targets[..., : coordinates.shape[-1]], weights[..., : coordinates.shape[-1]], order
        )
        for coordinates in outputs
    ]
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _on_maps(maps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, loss: Loss) -> torch.Tensor:
    match loss.name:
        case "foreground":
            return foreground_mse(maps, targets, weights, loss.foreground_weight)
        case "joints_mse":
            return joints_mse(maps, targets, weights)
        case "summed_mse":
            return 2 * maps.shape[1] * joints_mse(maps, targets, weights)
        case _:
            return hard_joints_mse(maps, targets, weights, loss.ohkm_top_k)


def foreground_mse(
    maps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, foreground_weight: float = 10.0
) -> torch.Tensor:
    """Return the squared error of heatmaps, weighted towards the foreground.

    The plain squared error spends most of its gradient on the empty background. The factor `1 + foreground_weight * target`
    gives the same maps in about two thirds of the steps on small budgets.

    Args:
        maps: (batch, joints, height, width) predicted.
        targets: the same shape, in [0, 1].
        weights: (batch, joints) >= 0; 0 leaves a joint out.
        foreground_weight: how much more a target's peak counts than the background.

    Returns:
        A scalar: the mean over pixels, then the weighted mean over joints. 0 when no joint counts.
    """
    per_joint = ((maps - targets) ** 2 * (1 + foreground_weight * targets)).mean(dim=(-2, -1))  # (batch, joints)
    return (per_joint * weights).sum() / ranks.mean(weights.sum()).clamp(min=1e-6)


def joints_mse(maps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return half the mean squared error, as Simple Baselines (Xiao 2018) and HRNet (Sun 2019) define it.

    The mean is over images, joints and pixels, including joints that do not count. A weight scales the map, so it enters
    squared. The cross-view fusion papers (Qiu 2019) sum over the joints and halve nothing: 2 * joints times as much.

    Args:
        maps, targets: (batch, joints, height, width).
        weights: (batch, joints).
    """
    error = (maps - targets) * weights[..., None, None]
    return 0.5 * error.square().sum() / _mean_count(error.numel(), error)


def hard_joints_mse(maps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, top_k: int) -> torch.Tensor:
    """Return the loss of online hard keypoint mining (Chen 2018): only the joints with the largest errors count.

    Args:
        maps, targets: (batch, joints, height, width).
        weights: (batch, joints), entering squared.
        top_k: how many joints of each image count.
    """
    per_joint = 0.5 * ((maps - targets) * weights[..., None, None]).square().mean(dim=(-2, -1))  # (batch, joints)
    hard = per_joint.topk(min(top_k, per_joint.shape[1]), dim=1).values
    return hard.sum() / _mean_count(hard.numel(), hard)


def coordinate_loss(
    coordinates: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, order: Literal["L1", "L2"]
) -> torch.Tensor:
    """Return the loss of integral and direct regression (Sun 2018): the sum over coordinates, the mean over images.

    Args:
        coordinates, targets: (batch, joints, 2 or 3), normalised by the size of the crop.
        weights: broadcast against them, in [0, 1]; a joint may have a place in the image without a known depth.
        order: absolute or squared differences.
    """
    error = (coordinates - targets) * weights
    return (error.abs() if order == "L1" else error.square()).sum() / _mean_count(len(coordinates), coordinates)


def consistency_loss(raw: torch.Tensor, fused: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference between maps before and after cross-view fusion.

    Args:
        raw, fused: (images, joints, height, width); the loss of zero images is 0.
    """
    if raw.numel() == 0:
        return (raw - fused).sum()
    return (raw - fused).square().sum() / _mean_count(raw.numel(), raw)


def _mean_count(count: int, like: torch.Tensor) -> torch.Tensor:
    """Return a count as a divisor: the mean of the processes' counts."""
    return ranks.mean(torch.tensor(float(count), dtype=like.dtype, device=like.device))
