"""PoseResNet (Xiao et al. 2018, "Simple Baselines for Human Pose Estimation"): a ResNet trunk, then deconvolutions.

Any width, any number of blocks: the published sizes (width 64, 256 deconvolution channels) and the thin ones that train
in minutes on a processor.
"""

from collections.abc import Sequence

import torch
from torch import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride, as in torchvision), 1x1 to four times the channels, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = _shortcut(inputs, 4 * channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class PoseResNet(nn.Module):
    """Pictures (batch, 3, height, width) -> heatmaps (batch, joints, height / 4, width / 4), raw values, no activation.

    Args:
        joints: how many heatmaps.
        block: "basic" or "bottleneck".
        layers: blocks in each of the four stages; [2, 2, 2, 2] with "basic" is ResNet-18.
        width: channels of the first stage; each next one has twice as many.
        deconv_channels: channels of each of the three deconvolutions.
    """

    def __init__(self, joints: int, block: str, layers: Sequence[int], width: int, deconv_channels: int) -> None:
        super().__init__()
        kind: type[BasicBlock] | type[Bottleneck] = BasicBlock if block == "basic" else Bottleneck
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        stages: list[nn.Module] = []
        for i, blocks in enumerate(layers):
            stage: list[nn.Module] = []
            for k in range(blocks):
                stage.append(kind(channels, width * 2**i, stride=2 if i > 0 and k == 0 else 1))
                channels = width * 2**i * kind.expansion
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        deconv: list[nn.Module] = []
        for _ in range(3):
            deconv += [
                nn.ConvTranspose2d(channels, deconv_channels, 4, 2, 1, bias=False),
                nn.BatchNorm2d(deconv_channels),
                nn.ReLU(inplace=True),
            ]
            channels = deconv_channels
        self.deconv_layers = nn.Sequential(*deconv)
        self.final_layer = nn.Conv2d(channels, joints, 1)
        self._initialise()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(pictures))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.deconv_layers(x)
        # The last layer stays in float32 under autocast: sub-pixel peaks need more than bfloat16's 8 bits.
        with torch.autocast(x.device.type, enabled=False):
            return self.final_layer(x.float())

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.ConvTranspose2d):
                # Each output pixel of a 4x4 stride-2 deconvolution sums 4 of the 16 taps.
                nn.init.normal_(module.weight, std=(2.0 / (4 * module.in_channels)) ** 0.5)
        # He initialisation of the last layer would start with maps of height 1: start near zero instead.
        nn.init.normal_(self.final_layer.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)  # type: ignore[arg-type]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
