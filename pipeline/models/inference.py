"""Run a network over many pictures."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn


@torch.inference_mode()
def predict(
    model: nn.Module, pictures: np.ndarray, device: torch.device, flipped: Sequence[int] | None = None
) -> np.ndarray:
    """Heatmaps of a batch of pictures.

    Args:
        model: in evaluation mode, on `device`.
        pictures: (batch, size, size, 3) uint8 BGR.
        flipped: (joints,) index of each joint's mirror image: the maps of the mirrored pictures, mirrored back, are
            averaged in (the "flip test"). None: they are not.

    Returns:
        (batch, joints, height, width) float32.
    """
    tensor = as_input(pictures, device)
    maps = model(tensor).float()
    if flipped is not None:
        mirrored = model(tensor.flip(-1)).float().flip(-1)[:, list(flipped)]
        maps = (maps + mirrored) / 2
    return maps.cpu().numpy()


def as_input(pictures: np.ndarray, device: torch.device) -> torch.Tensor:
    """(batch, height, width, 3) uint8 BGR -> (batch, 3, height, width) float32 around 0; channels-last in memory."""
    tensor = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
    return tensor.float().sub_(127.5).div_(64.0)
