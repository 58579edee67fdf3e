"""Integral regression (Sun et al. 2018, "Integral Human Pose Regression"): the expectation of a heatmap or a volume."""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.models.network import Outputs, PoseNetwork
from pipeline.models.resnet import ResNet, deconvolutions, in_full

_SCORE_RADIUS = 3.0  # map px


class IntegralPose(PoseNetwork):
    """Images (batch, 3, height, width) -> coordinates (batch, joints, 3 or 2), in [-0.5, 0.5) of the image's sides.

    Args:
        num_joints: how many joints.
        depth_bins: cells of a volume in depth; 0: maps, and two coordinates.
        block, layers, width, deconv_channels: as PoseResNet's.
    """

    outputs = Outputs(coordinates=True, depth=True)

    def __init__(
        self,
        num_joints: int,
        depth_bins: int,
        block: str,
        layers: Sequence[int],
        *,
        width: int = 64,
        deconv_channels: int = 256,
    ) -> None:
        super().__init__()
        self.num_joints, self.depth_bins = num_joints, depth_bins
        if depth_bins == 0:
            self.outputs = Outputs(coordinates=True)
        self.backbone = ResNet(block, layers, width=width)
        self.head = VolumeHead(self.backbone.features, deconv_channels, num_joints * max(1, depth_bins))

    def volume(self, images: torch.Tensor) -> torch.Tensor:
        """Return (batch, joints * depth_bins, height / 4, width / 4), raw; channel joint * depth_bins + z."""
        return self.head(self.backbone(images))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return soft_argmax(self.volume(images), self.num_joints, self.depth_bins)

    def coordinates_and_scores(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return coordinates as `PoseNetwork` does; the score is the mass within 3 px of the map around them."""
        volume = self.volume(images).float()
        coordinates = soft_argmax(volume, self.num_joints, self.depth_bins)[..., :2]
        mass = masses(volume, self.num_joints, self.depth_bins).sum(2)  # (batch, joints, height, width)
        height, width = mass.shape[-2:]
        x, y = ((coordinates + 0.5) * coordinates.new_tensor([width, height])).unbind(-1)
        column, row = torch.arange(width, device=x.device), torch.arange(height, device=x.device)
        in_columns = ((column - x[..., None]).abs() <= _SCORE_RADIUS)[..., None, :]
        in_rows = ((row - y[..., None]).abs() <= _SCORE_RADIUS)[..., None]
        return coordinates, (mass * (in_columns & in_rows)).sum((-2, -1))


class VolumeHead(nn.Module):
    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.deconv_layers = deconvolutions(inputs, [channels] * 3, [4, 4, 4])
        self.final_layer = nn.Conv2d(channels, outputs, 1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return in_full(self.final_layer, self.deconv_layers(x))


def soft_argmax(volume: torch.Tensor, num_joints: int, depth_bins: int) -> torch.Tensor:
    """Return the expectation of the softmax over a joint's whole map or volume.

    Args:
        volume: (batch, joints * max(1, depth_bins), height, width) raw.
        depth_bins: 0: maps.

    Returns:
        (batch, joints, 3) x, y, z, or (batch, joints, 2) x, y: index of the cell / number of cells - 0.5. As published,
        the index of a cell, not its centre, and the number of cells, not one less.
    """
    mass = masses(volume, num_joints, depth_bins)
    marginals = [mass.sum((2, 3)), mass.sum((2, 4))] + ([mass.sum((3, 4))] if depth_bins else [])
    return torch.stack(
        [
            (m * torch.arange(m.shape[-1], dtype=m.dtype, device=m.device)).sum(-1) / m.shape[-1] - 0.5
            for m in marginals
        ],
        dim=-1,
    )


def masses(volume: torch.Tensor, num_joints: int, depth_bins: int) -> torch.Tensor:
    """Return the softmax over a joint's whole map or volume: (batch, joints, depth or 1, height, width)."""
    batch, _, height, width = volume.shape
    mass = volume.reshape(batch, num_joints, -1).softmax(-1)
    return mass.reshape(batch, num_joints, max(1, depth_bins), height, width)
