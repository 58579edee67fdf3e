"""Direct regression of 3D joints: a ResNet, the mean of its features, one linear layer (Sun et al. 2018's baseline)."""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.models.network import Outputs, PoseNetwork
from pipeline.models.resnet import ResNet, in_full


class DirectPose(PoseNetwork):
    """Images (batch, 3, height, width) -> coordinates (batch, joints, 3), normalised as those of IntegralPose."""

    outputs = Outputs(coordinates=True, depth=True)

    def __init__(self, num_joints: int, block: str, layers: Sequence[int], *, width: int = 64) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.backbone = ResNet(block, layers, width=width)
        self.head = MeanHead(self.backbone.features, 3 * num_joints)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images)).reshape(-1, self.num_joints, 3)


class MeanHead(nn.Module):
    """The mean over the image, and a linear layer: (batch, channels, height, width) -> (batch, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return in_full(self.fc, x.mean((2, 3)))
