"""MRHeatNet1 and 2 (Tran et al. 2020, "Simple multi-resolution representation learning"): heatmaps of three sizes, summed."""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.models.network import PoseNetwork
from pipeline.models.resnet import ResNet, deconvolutions, in_full, initialise


class MRHeatNet(ResNet, PoseNetwork):
    """Images (batch, 3, height, width) -> heatmaps (batch, joints, height / 4, width / 4).

    Args:
        variant: 1 enlarges the low-resolution maps step by step, adding the next to each; 2 enlarges each alone.
        num_joints, block, layers, width, deconv_channels, style: as PoseResNet's.
    """

    def __init__(
        self,
        variant: int,
        num_joints: int,
        block: str,
        layers: Sequence[int],
        *,
        width: int = 64,
        deconv_channels: int = 256,
        style: str = "pytorch",
    ) -> None:
        super().__init__(block, layers, width=width, style=style)
        self.variant = variant
        self.deconv1 = deconvolutions(self.features, [deconv_channels], [4])
        self.deconv2 = deconvolutions(deconv_channels, [deconv_channels], [4])
        self.deconv3 = deconvolutions(deconv_channels, [deconv_channels], [4])
        self.s_conv1 = _maps(deconv_channels, num_joints)
        self.s_conv2 = _maps(deconv_channels, num_joints)
        self.s_deconv1 = deconvolutions(num_joints, [num_joints], [4])
        if variant == 2:
            self.s_deconv12 = nn.ConvTranspose2d(num_joints, num_joints, 4, 2, 1, bias=False)
        self.s_deconv2 = nn.ConvTranspose2d(num_joints, num_joints, 4, 2, 1, bias=False)
        self.final_layer = nn.Conv2d(deconv_channels, num_joints, 1)
        initialise(self, self.final_layer)
        for plain in (self.s_deconv2, *((self.s_deconv12,) if variant == 2 else ())):
            nn.init.normal_(plain.weight, std=0.001)  # they end in the output, as the last layer does

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        sixteenth = self.deconv1(super().forward(images))
        eighth = self.deconv2(sixteenth)
        maps = in_full(self.final_layer, self.deconv3(eighth))
        low, middle = self.s_deconv1(self.s_conv1(sixteenth)), self.s_conv2(eighth)
        if self.variant == 1:
            return maps + in_full(self.s_deconv2, middle + low)
        return maps + in_full(self.s_deconv12, low) + in_full(self.s_deconv2, middle)


def _maps(inputs: int, num_joints: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, num_joints, 1), nn.BatchNorm2d(num_joints), nn.ReLU(inplace=True))
