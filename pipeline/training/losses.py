"""Losses on heatmaps and on coordinates. Targets come from pipeline/heatmaps/render.py; weights say which joints count."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from pipeline.training import ranks
from pipeline.training.batches import Batch


@dataclass(frozen=True)
class Loss:
    """What a training makes small.

    Attributes:
        name: "foreground" is ours; "joints_mse" that of Simple Baselines and HRNet; "summed_mse" that of the cross-view
            fusion papers; "hard_joints" online hard key-point mining; "integral_l1" and "integral_l2" are for networks that
            give coordinates, integral, direct and kinematic regression. A network of several stacks is taught at each.
        foreground: of the loss of that name.
        hard_joints: of the loss of that name; how many joints of each picture count.
    """

    name: Literal["foreground", "joints_mse", "summed_mse", "hard_joints", "integral_l1", "integral_l2"] = "foreground"
    foreground: float = 10.0
    hard_joints: int = 8

    def __post_init__(self) -> None:
        if self.foreground < 0:
            raise ValueError(f"loss.foreground: expected 0 or more, got {self.foreground}")
        if self.hard_joints < 1:
            raise ValueError(f"loss.hard_joints: expected at least 1, got {self.hard_joints}")

    def require_for(self, network: str, coordinates: bool, section: str) -> None:
        """Refuse a loss on heatmaps for a network that gives coordinates, and the other way round.

        Args:
            network: its name.
            coordinates: whether it gives these, and not heatmaps.
            section: of params.yaml that the loss is of.
        """
        if self.name.startswith("integral") == coordinates:
            return
        fit, given = ("integral_l1 or integral_l2", "coordinates"), ("a loss on heatmaps", "heatmaps")
        expected, gives = fit if coordinates else given
        raise ValueError(f"{section}.loss.name: {network} gives {gives}; expected {expected}, got {self.name}")


def loss_against_targets(stacks: list[torch.Tensor], batch: Batch, loss: Loss, root: int | None = None) -> torch.Tensor:
    """The loss of what a network gives against the targets of its batch, summed over the stacks of the network.

    Args:
        stacks: heatmaps, (batch, joints, height, width) each, or coordinates, (batch, joints, 2 or 3) each.
        root: coordinates are relative to this joint; None: to the middle of the picture.
    """
    if loss.name in ("integral_l1", "integral_l2"):
        return _on_coordinates(stacks, batch, loss, root)
    targets, weights = (torch.from_numpy(array).to(stacks[0].device) for array in (batch.targets, batch.weights))
    each = [_on_maps(maps, targets, weights, loss) for maps in stacks]
    return each[0] if len(each) == 1 else torch.stack(each).sum()


def _on_coordinates(stacks: list[torch.Tensor], batch: Batch, loss: Loss, root: int | None) -> torch.Tensor:
    """Depth is a share of the crop's width, from the root on; where it is not known it counts for nothing, as published."""
    height, width = batch.targets.shape[-2:]
    places = torch.from_numpy(np.nan_to_num(batch.points)).to(stacks[0].device)  # (batch, joints, 2)
    places = places / places.new_tensor([width, height]) - 0.5
    weights = torch.from_numpy(batch.weights).to(places.device)
    if root is not None:
        places, weights = places - places[:, root, None], weights * weights[:, root, None]
    deep, known = np.nan_to_num(batch.depth) / width, np.isfinite(batch.depth).astype(np.float32)
    places = torch.cat([places, torch.from_numpy(deep).to(places)[..., None]], -1)  # (batch, joints, 3)
    in_depth = weights * torch.from_numpy(known).to(places)
    weights = torch.stack([weights, weights, in_depth], -1)
    order: Literal["L1", "L2"] = "L1" if loss.name == "integral_l1" else "L2"
    each = [
        coordinate_loss(points, places[..., : points.shape[-1]], weights[..., : points.shape[-1]], order)
        for points in stacks
    ]
    return each[0] if len(each) == 1 else torch.stack(each).sum()


def _on_maps(maps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, loss: Loss) -> torch.Tensor:
    match loss.name:
        case "foreground":
            return foreground_mse(maps, targets, weights, loss.foreground)
        case "joints_mse":
            return joints_mse(maps, targets, weights)
        case "summed_mse":
            return 2 * maps.shape[1] * joints_mse(maps, targets, weights)
        case _:
            return hard_joints_mse(maps, targets, weights, loss.hard_joints)


def foreground_mse(
    maps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, foreground: float = 10.0
) -> torch.Tensor:
    """Squared error of heatmaps, weighted towards the foreground.

    Plain squared error spends most of its gradient on the empty background; `(1 + foreground * target)` learns the same
    maps in about two thirds of the steps on small budgets.

    Args:
        maps: (batch, joints, height, width) predicted.
        targets: the same shape, in [0, 1].
        weights: (batch, joints) >= 0; 0 leaves a joint out.
        foreground: how much more a target's peak counts than background.

    Returns:
        A scalar: mean over pixels, then the weighted mean over joints. 0 when no joint counts.
    """
    per_joint = ((maps - targets) ** 2 * (1 + foreground * targets)).mean(dim=(-2, -1))  # (batch, joints)
    return (per_joint * weights).sum() / ranks.mean(weights.sum()).clamp(min=1e-6)


def joints_mse(maps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Half the mean squared error, as Simple Baselines (Xiao 2018) and HRNet (Sun 2019) have it.

    The mean is over pictures, joints and pixels alike, those that do not count included; a weight scales the map and so
    enters squared. The cross-view fusion papers (Qiu 2019) sum over the joints and halve nothing: 2 * joints times as much.

    Args:
        maps, targets: (batch, joints, height, width).
        weights: (batch, joints).
    """
    off = (maps - targets) * weights[..., None, None]
    return 0.5 * off.square().sum() / _everywhere(off.numel(), off)


def hard_joints_mse(maps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, hardest: int) -> torch.Tensor:
    """Online hard key-point mining (Chen 2018): of each picture, only the joints with the largest error count.

    Args:
        maps, targets: (batch, joints, height, width).
        weights: (batch, joints), entering squared.
        hardest: how many joints of each picture.
    """
    per_joint = 0.5 * ((maps - targets) * weights[..., None, None]).square().mean(dim=(-2, -1))  # (batch, joints)
    hard = per_joint.topk(min(hardest, per_joint.shape[1]), dim=1).values
    return hard.sum() / _everywhere(hard.numel(), hard)


def coordinate_loss(
    points: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, order: Literal["L1", "L2"]
) -> torch.Tensor:
    """The loss of integral and direct regression (Sun 2018): summed over coordinates, a mean over pictures.

    Args:
        points, targets: (batch, joints, 2 or 3), normalised by the size of the crop.
        weights: a shape that goes with theirs, in [0, 1]: a joint may have a place in the picture but no known depth.
        order: absolute or squared differences.
    """
    off = (points - targets) * weights
    return (off.abs() if order == "L1" else off.square()).sum() / _everywhere(len(points), points)


def consistency_loss(raw: torch.Tensor, fused: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between a view's own maps and those that the other views have been fused into.

    Args:
        raw, fused: (pictures, joints, height, width); 0 of no pictures.
    """
    if raw.numel() == 0:
        return (raw - fused).sum()
    return (raw - fused).square().sum() / _everywhere(raw.numel(), raw)


def _everywhere(count: int, like: torch.Tensor) -> torch.Tensor:
    """A count of things as a divisor: the mean of the processes' counts."""
    return ranks.mean(torch.tensor(float(count), dtype=like.dtype, device=like.device))
