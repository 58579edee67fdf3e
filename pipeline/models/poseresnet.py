"""PoseResNet (Xiao et al. 2018, "Simple Baselines for Human Pose Estimation"): a ResNet trunk, then deconvolutions.

Any width, any number of blocks: the published sizes (width 64, 256 deconvolution channels) and the thin ones that train
in minutes on a processor.
"""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.models.network import PoseNetwork
from pipeline.models.resnet import ResNet, deconvolutions, in_full, initialise


class PoseResNet(ResNet, PoseNetwork):
    """Images (batch, 3, height, width) -> heatmaps (batch, joints, height / 4, width / 4), raw values, no activation.

    Args:
        num_joints: how many heatmaps.
        block: "basic" or "bottleneck".
        layers: blocks in each of the four stages; [2, 2, 2, 2] with "basic" is ResNet-18.
        width: channels of the first stage; each next one has twice as many.
        deconv_channels: channels of each of the deconvolutions.
        style: where a bottleneck strides, "pytorch" or "caffe".
        deconv_kernels: 4, 3 or 2, of each deconvolution; three of them give stride 4, two stride 8.
        final_kernel: 1 or 3, of the last convolution.
        deconv_bias: whether deconvolutions have a bias.
    """

    def __init__(
        self,
        num_joints: int,
        block: str,
        layers: Sequence[int],
        *,
        width: int = 64,
        deconv_channels: int = 256,
        style: str = "pytorch",
        deconv_kernels: Sequence[int] = (4, 4, 4),
        final_kernel: int = 1,
        deconv_bias: bool = False,
    ) -> None:
        super().__init__(block, layers, width=width, style=style)
        channels = [deconv_channels] * len(deconv_kernels)
        self.deconv_layers = deconvolutions(self.features, channels, deconv_kernels, deconv_bias)
        self.final_layer = nn.Conv2d(deconv_channels, num_joints, final_kernel, padding=final_kernel // 2)
        initialise(self, self.final_layer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return in_full(self.final_layer, self.deconv_layers(super().forward(images)))
