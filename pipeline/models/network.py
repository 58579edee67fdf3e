"""The contract of every pose network: what its `forward` returns, and how it takes images."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a network returns.

    Attributes:
        coordinates: coordinates, (batch, joints, 2 or 3), and not heatmaps, (batch, joints, height / stride, width / stride).
        depth: the third coordinate is depth; False: there are two coordinates.
        relative: coordinates are relative to the root, so that joints have no place in the image.
    """

    coordinates: bool = False
    depth: bool = False
    relative: bool = False


class PoseNetwork(nn.Module):
    """A network from images, (batch, 3, height, width), to heatmaps or coordinates.

    Attributes:
        outputs: what `forward` returns.
        preprocessing: how images become numbers, see models/inference.py; `build.build` sets it.
    """

    outputs: Outputs = Outputs()
    preprocessing: str = "centred"

    @property
    def single_view(self) -> "PoseNetwork":
        """The network of one view: itself, or the network inside of a cross-view fusion."""
        return self

    def coordinates_and_scores(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (batch, joints, 2) in [-0.5, 0.5) of the image's sides, and scores, (batch, joints), of a network that gives
        coordinates; the scores are 1 if it does not estimate how sure it is."""
        coordinates = self(images).float()[..., :2]
        return coordinates, torch.ones_like(coordinates[..., 0])
