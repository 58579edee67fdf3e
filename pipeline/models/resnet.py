"""The ResNet trunk (He et al. 2016) of most pose networks here; its keys are torchvision's, without `fc`.

Its blocks equal torchvision's, which a test checks. They are not imported from there because `import torchvision` takes as long
as `import torch`, in every process that loads a network.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

DEPTHS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}


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
    """1x1, 3x3, 1x1 to four times the channels, and a shortcut.

    Args:
        stride: of the 3x3 (as in torchvision), or of the first 1x1 (as in Caffe's networks): the same weights fit both.
    """

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int, style: str = "pytorch") -> None:
        super().__init__()
        first, second = (stride, 1) if style == "caffe" else (1, stride)
        self.conv1 = nn.Conv2d(inputs, channels, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, second, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = _shortcut(inputs, 4 * channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class ResNet(nn.Module):
    """Images (batch, 3, height, width) -> features of stride 32.

    Args:
        block: "basic" or "bottleneck".
        layers: blocks in each of the four stages.
        width: channels of the first stage; each next one has twice as many.
        style: where a bottleneck strides: "pytorch" or "caffe".
    """

    def __init__(self, block: str, layers: Sequence[int], *, width: int = 64, style: str = "pytorch") -> None:
        super().__init__()
        if style == "caffe" and block != "bottleneck":
            raise ValueError(
                "network.style: caffe differs from pytorch in bottlenecks only, and network.block is basic"
            )
        self.style = style
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        stages: list[nn.Module] = []
        for i, blocks in enumerate(layers):
            stage: list[nn.Module] = []
            for k in range(blocks):
                stride = 2 if i > 0 and k == 0 else 1
                if block == "basic":
                    stage.append(BasicBlock(channels, width * 2**i, stride))
                    channels = width * 2**i
                else:
                    stage.append(Bottleneck(channels, width * 2**i, stride, style))
                    channels = 4 * width * 2**i
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.features = channels

    def pyramid(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return features of strides 4, 8, 16 and 32."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pyramid(images)[-1]


def deconvolutions(inputs: int, channels: Sequence[int], kernels: Sequence[int], bias: bool = False) -> nn.Sequential:
    """Return a chain of stride-2 deconvolution, batch norm and ReLU, each of which doubles the size."""
    layers: list[nn.Module] = []
    for (before, after), kernel in zip(pairwise((inputs, *channels)), kernels, strict=True):
        padding, more = {4: (1, 0), 3: (1, 1), 2: (0, 0)}[kernel]
        layers += [
            nn.ConvTranspose2d(before, after, kernel, 2, padding, more, bias=bias),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def initialise(model: nn.Module, last: nn.Conv2d) -> None:
    """Initialise all layers as He proposed, and the last one near zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None and module is not last:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.ConvTranspose2d):
            # Each output pixel of a 4x4 stride-2 deconvolution sums 4 of the 16 taps.
            nn.init.normal_(module.weight, std=(2.0 / (4 * module.in_channels)) ** 0.5)
    # He initialisation of the last layer would start with maps of height 1: start near zero instead.
    nn.init.normal_(last.weight, std=0.001)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]


def in_full(last: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the last layer's result in float32, under autocast too: sub-pixel peaks need more than bfloat16's 8 bits."""
    with torch.autocast(x.device.type, enabled=False):
        return last(x if x.dtype == torch.float64 else x.float())


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
