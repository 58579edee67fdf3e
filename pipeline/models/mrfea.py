"""MRFeaNet1 and 2 (Tran et al. 2020, "Simple multi-resolution representation learning"): the mean of all stages' features."""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.models.network import PoseNetwork
from pipeline.models.resnet import ResNet, deconvolutions, in_full, initialise


class MRFeaNet(ResNet, PoseNetwork):
    """Images (batch, 3, height, width) -> heatmaps (batch, joints, height / 4, width / 4).

    Args:
        variant: 1 reduces all features to 256 channels at once; 2 halves the channels with every doubling of the size.
        num_joints, block, layers, width, style: as PoseResNet's; bottlenecks only, whose first stage has 4 * width channels.
    """

    def __init__(
        self,
        variant: int,
        num_joints: int,
        block: str,
        layers: Sequence[int],
        *,
        width: int = 64,
        style: str = "pytorch",
    ) -> None:
        if block != "bottleneck":
            raise ValueError(
                "network.block: MRFeaNet adds up features of bottlenecks; basic ones have too few channels"
            )
        super().__init__(block, layers, width=width, style=style)
        c = 4 * width
        self.deconv11 = deconvolutions(8 * c, [4 * c if variant == 2 else c], [4])
        self.deconv12 = deconvolutions(4 * c if variant == 2 else c, [2 * c if variant == 2 else c], [4])
        self.deconv13 = deconvolutions(2 * c if variant == 2 else c, [c], [4])
        self.deconv21 = deconvolutions(4 * c, [2 * c if variant == 2 else c], [4])
        self.deconv22 = deconvolutions(2 * c if variant == 2 else c, [c], [4])
        self.deconv3 = deconvolutions(2 * c, [c], [4])
        self.final_layer = nn.Conv2d(c, num_joints, 1)
        initialise(self, self.final_layer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x1, x2, x3, x4 = self.pyramid(images)
        x2 = self.deconv3(x2)
        x3 = self.deconv22(self.deconv21(x3))
        x4 = self.deconv13(self.deconv12(self.deconv11(x4)))
        return in_full(self.final_layer, (x1 + x2 + x3 + x4) / 4)
