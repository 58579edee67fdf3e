"""MobileNetV2 (Sandler et al. 2018) with the deconvolution head of PoseResNet."""

import torch
from torch import nn

from pipeline.models.network import PoseNetwork
from pipeline.models.resnet import deconvolutions, in_full, initialise

# expansion, channels, blocks, stride of the first block
TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class PoseMobileNetV2(PoseNetwork):
    """Images (batch, 3, height, width) -> heatmaps (batch, joints, height / 4, width / 4)."""

    def __init__(self, num_joints: int, deconv_channels: int = 256) -> None:
        super().__init__()
        self.mobilenetv2 = Trunk()
        self.deconv_layers = deconvolutions(TABLE[-1][1], [deconv_channels] * 3, [4, 4, 4])
        self.final_layer = nn.Conv2d(deconv_channels, num_joints, 1)
        initialise(self, self.final_layer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return in_full(self.final_layer, self.deconv_layers(self.mobilenetv2(images)))


class Trunk(nn.Module):
    """Features of stride 32 and 320 channels."""

    def __init__(self) -> None:
        super().__init__()
        stem: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(inplace=True)]
        features: list[nn.Module] = [nn.Sequential(*stem)]
        inputs = 32
        for expansion, channels, blocks, stride in TABLE:
            for k in range(blocks):
                features.append(InvertedResidual(inputs, channels, stride if k == 0 else 1, expansion))
                inputs = channels
        self.features = nn.Sequential(*features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 within each channel, 1x1 to fewer channels; a shortcut if the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        steps: list[nn.Module] = []
        if expansion != 1:
            steps += [nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True)]
        steps += [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide)]
        steps += [nn.ReLU6(inplace=True), nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*steps)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)
