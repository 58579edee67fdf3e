"""Cross-view fusion (Qiu et al. 2019, "Cross View Fusion for 3D Human Pose Estimation") around any heatmap network.

It learns one arrangement of cameras: the epipolar line in a view for each pixel of another. Rigs that are alike share it, as the
published model does for Human3.6M's subjects, whose cameras were placed anew but nearly equally. Another rig needs another
training.
"""

import torch
from torch import nn

from pipeline.models.network import PoseNetwork
from pipeline.models.resnet import in_full


class CrossViewFusion(PoseNetwork):
    """Images of all views -> heatmaps of each view alone, and heatmaps fused with those of the other views.

    Args:
        network: (n, 3, height, width) -> (n, joints, map height, map width); its keys begin with `resnet.`, as published.
        views: how many, always in the same order; at least two.
        map_size: (width, height) px of a heatmap.
    """

    def __init__(self, network: PoseNetwork, views: int, map_size: tuple[int, int]) -> None:
        if views < 2:
            raise ValueError(f"network.fusion_views: fusion needs at least 2 views, got {views}")
        super().__init__()
        self.views = views
        self.resnet = network
        self.aggre_layer = Aggregation(views, map_size[0] * map_size[1])

    @property
    def single_view(self) -> PoseNetwork:
        return self.resnet

    def forward(self, images: torch.Tensor, multiview: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return maps without and with fusion; a loss takes both.

        Args:
            images: (batch, views, 3, height, width); or (batch, 3, height, width), of which only some belong to frame groups.
            multiview: (batch,) bool; where False the "views" are unrelated images, whose maps are not fused. None: all True.
                For images without an axis of views: (frame groups, views) int, the rows that belong together; the maps of all
                others are not fused.

        Returns:
            raw and fused, (batch, views, joints, map height, map width) each, or without the axis of views.
        """
        if images.dim() == 4:
            assert multiview is not None
            self._require(multiview.shape[1])
            raw = self.resnet(images)
            fused = in_full(self.aggre_layer, raw[multiview]).flatten(0, 1)
            return raw, raw.index_copy(0, multiview.flatten(), fused.to(raw.dtype))
        batch, views = images.shape[:2]
        self._require(views)
        raw = self.resnet(images.flatten(0, 1)).unflatten(0, (batch, views))
        fused = in_full(self.aggre_layer, raw)
        if multiview is not None:
            fused = torch.where(multiview[:, None, None, None, None], fused, raw)
        return raw, fused

    def _require(self, views: int) -> None:
        if views != self.views:
            raise ValueError(f"the network fuses {self.views} views, and got {views}")


class Aggregation(nn.Module):
    """0.4 of a view's own map plus 0.6 shared by the other views' maps (0.2 each if there are four views)."""

    def __init__(self, views: int, pixels: int) -> None:
        super().__init__()
        # for each view, one layer for each of the others in ascending order
        self.aggre = nn.ModuleList(PixelwiseLinear(pixels) for _ in range(views * (views - 1)))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        views = maps.shape[1]
        fused = []
        for i in range(views):
            others = [j for j in range(views) if j != i]
            layers = self.aggre[i * (views - 1) : (i + 1) * (views - 1)]
            from_others = sum(layer(maps[:, j]) for layer, j in zip(layers, others, strict=True))
            fused.append(0.4 * maps[:, i] + 0.6 / (views - 1) * from_others)
        return torch.stack(fused, 1)


class PixelwiseLinear(nn.Module):
    """A linear layer from every pixel of a map to every pixel of another, the same for all joints."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(pixels, pixels).uniform_(0, 0.1))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return (maps.flatten(-2) @ self.weight).reshape(maps.shape)


def memory(views: int, map_size: tuple[int, int]) -> str:
    """Return a sentence on the memory that the fusion layers of these views take."""
    parameters = views * (views - 1) * (map_size[0] * map_size[1]) ** 2
    gib = parameters * 4 / 2**30
    return (
        f"cross-view fusion of {views} views, maps of {map_size[0]} x {map_size[1]} px: {parameters:,} parameters, "
        f"{gib:.2f} GiB, and {4 * gib:.2f} GiB with gradients and Adam's state in training"
    )
