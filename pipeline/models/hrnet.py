"""HRNet (Sun et al. 2019, "Deep High-Resolution Representation Learning for Human Pose Estimation")."""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.models.network import PoseNetwork
from pipeline.models.resnet import BasicBlock, Bottleneck, in_full


class HRNet(PoseNetwork):
    """Images (batch, 3, height, width) -> heatmaps (batch, joints, height / 4, width / 4).

    Args:
        num_joints: how many heatmaps.
        width: channels of the finest branch, 32 or 48 in the published ones; each coarser branch has twice as many.
        modules: exchange modules in the stages of two, three and four branches.
        blocks: basic blocks of a branch between two exchanges.
    """

    def __init__(self, num_joints: int, width: int, modules: Sequence[int] = (1, 4, 3), blocks: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(*(Bottleneck(256 if k else 64, 64, 1) for k in range(4)))
        widths = [width * 2**i for i in range(4)]
        self.transition1 = _transition([256], widths[:2])
        self.stage2 = _stage(widths[:2], modules[0], blocks)
        self.transition2 = _transition(widths[:2], widths[:3])
        self.stage3 = _stage(widths[:3], modules[1], blocks)
        self.transition3 = _transition(widths[:3], widths)
        self.stage4 = _stage(widths, modules[2], blocks, last=True)
        self.final_layer = nn.Conv2d(width, num_joints, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)  # type: ignore[arg-type]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(images)))
        x = torch.relu(self.bn2(self.conv2(x)))
        branches = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # a new branch starts from the coarsest one
            branches = stage([step(branches[min(i, len(branches) - 1)]) for i, step in enumerate(transition)])
        return in_full(self.final_layer, branches[0])


class Exchange(nn.Module):
    """Branches of strides 4, 8, ...: some blocks in each branch alone, then the sum of all at every resolution."""

    def __init__(self, widths: Sequence[int], blocks: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(c, c, 1) for _ in range(blocks))) for c in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_bring(widths, j, i) for j in range(len(widths))) for i in range(outputs)
        )

    def forward(self, branches: list[torch.Tensor]) -> list[torch.Tensor]:
        branches = [branch(x) for branch, x in zip(self.branches, branches, strict=True)]
        exchanged = []
        for row in self.fuse_layers:
            assert isinstance(row, nn.ModuleList)
            total = row[0](branches[0])
            for step, x in zip(row[1:], branches[1:], strict=True):
                total = total + step(x)
            exchanged.append(torch.relu(total))
        return exchanged


def _bring(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Return the layers that bring branch `source` to the size and channels of branch `target`."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(widths[source], widths[target], 1, bias=False),
            nn.BatchNorm2d(widths[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps: list[nn.Module] = [_step(widths[source], widths[source], 2) for _ in range(target - source - 1)]
    last = nn.Sequential(nn.Conv2d(widths[source], widths[target], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[target]))
    return nn.Sequential(*steps, last)


def _step(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    steps: list[nn.Module] = []
    for i, channels in enumerate(after):
        if i >= len(before):
            steps.append(nn.Sequential(_step(before[-1], channels, 2)))
        else:
            steps.append(nn.Identity() if before[i] == channels else _step(before[i], channels, 1))
    return nn.ModuleList(steps)


def _stage(widths: Sequence[int], modules: int, blocks: int, last: bool = False) -> nn.Sequential:
    """Return the modules of a stage; the last module of the last stage has one output, the finest."""
    return nn.Sequential(
        *(Exchange(widths, blocks, 1 if last and m == modules - 1 else len(widths)) for m in range(modules))
    )
