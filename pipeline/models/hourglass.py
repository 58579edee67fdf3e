"""Stacked Hourglass (Newell et al. 2016, "Stacked Hourglass Networks for Human Pose Estimation")."""

import torch
from torch import nn

from pipeline.models.network import PoseNetwork
from pipeline.models.resnet import in_full


class StackedHourglass(PoseNetwork):
    """Images (batch, 3, height, width) -> heatmaps (batch, joints, height / 4, width / 4).

    In training mode it returns the maps of all stacks, (stacks, batch, joints, height / 4, width / 4): each has its loss.

    Args:
        num_joints: how many heatmaps.
        stacks: hourglasses, one after another.
        blocks: residual units in the place of each of the paper's.
        features: channels between the hourglasses.
        depth: how often an hourglass halves the size; height and width are multiples of 4 * 2**depth px.
    """

    def __init__(self, num_joints: int, stacks: int, *, blocks: int = 1, features: int = 256, depth: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _residual(64, 128, blocks)
        self.layer2 = _residual(128, features, blocks)
        self.layer3 = _residual(features, features, blocks)
        self.hg = nn.ModuleList(Hourglass(features, blocks, depth) for _ in range(stacks))
        self.res = nn.ModuleList(_residual(features, features, blocks) for _ in range(stacks))
        self.fc = nn.ModuleList(
            nn.Sequential(nn.Conv2d(features, features, 1), nn.BatchNorm2d(features), nn.ReLU(inplace=True))
            for _ in range(stacks)
        )
        self.score = nn.ModuleList(nn.Conv2d(features, num_joints, 1) for _ in range(stacks))
        self.fc_ = nn.ModuleList(nn.Conv2d(features, features, 1) for _ in range(stacks - 1))
        self.score_ = nn.ModuleList(nn.Conv2d(num_joints, features, 1) for _ in range(stacks - 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.layer1(torch.relu(self.bn1(self.conv1(images))))
        x = self.layer3(self.layer2(nn.functional.max_pool2d(x, 2)))
        maps = []
        for i, (hourglass, residual, transform, score) in enumerate(
            zip(self.hg, self.res, self.fc, self.score, strict=True)
        ):
            y = transform(residual(hourglass(x)))
            maps.append(in_full(score, y))
            if i < len(self.fc_):
                x = x + self.fc_[i](y) + self.score_[i](maps[-1])
        return torch.stack(maps) if self.training else maps[-1]


class Hourglass(nn.Module):
    """Halve the size `depth` times and double it again, with a branch at each size; level n's residuals are hg[n - 1]."""

    def __init__(self, features: int, blocks: int, depth: int) -> None:
        super().__init__()
        # per level: the branch, downwards, upwards; the innermost level has one more
        self.hg = nn.ModuleList(
            nn.ModuleList(_residual(features, features, blocks) for _ in range(4 if n == 0 else 3))
            for n in range(depth)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._level(len(self.hg) - 1, x)

    def _level(self, n: int, x: torch.Tensor) -> torch.Tensor:
        level = self.hg[n]
        assert isinstance(level, nn.ModuleList)
        low = level[1](nn.functional.max_pool2d(x, 2))
        low = self._level(n - 1, low) if n else level[3](low)
        return level[0](x) + nn.functional.interpolate(level[2](low), scale_factor=2.0, mode="nearest")


class Residual(nn.Module):
    """A bottleneck with norm and ReLU before each convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, half, 1)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, 1, 1)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, outputs, 1)
        self.downsample = nn.Identity() if inputs == outputs else nn.Sequential(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv1(torch.relu(self.bn1(x)))
        out = self.conv2(torch.relu(self.bn2(out)))
        return self.conv3(torch.relu(self.bn3(out))) + self.downsample(x)


def _residual(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(outputs if k else inputs, outputs) for k in range(blocks)))
