"""Where and how learning runs: seed, threads, device, deterministic kernels. Imports torch only when asked to."""

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Runtime:
    """Section `runtime` of params.yaml: what changes the bytes of a trained network without being about learning.

    Attributes:
        seed: of initialisation, order and augmentation.
        threads: CPU threads of a training; another number gives other bytes, so it is pinned here.
    """

    seed: int
    threads: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"runtime.seed: expected 0 or more, got {self.seed}")
        if self.threads < 1:
            raise ValueError(f"runtime.threads: expected at least 1, got {self.threads}")


def start_torch(runtime: Runtime) -> "torch.device":
    """Seed every generator, pin threads, forbid kernels that differ from run to run, choose the device.

    The device is the environment's affair (`POSE_DEVICE`, e.g. `cuda:0`; by default a GPU where there is one).
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    import cv2
    import torch

    cv2.setNumThreads(1)
    random.seed(runtime.seed)
    np.random.seed(runtime.seed % 2**32)  # libraries that draw from the global generator; our code never does
    torch.manual_seed(runtime.seed)
    torch.set_num_threads(runtime.threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    name = os.environ.get("POSE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
