"""Where and how learning runs: seed, threads, device, deterministic kernels. Imports torch only when asked to."""

import ctypes
import os
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers of mallopt's parameters


@dataclass(frozen=True)
class Runtime:
    """Section `runtime` of params.yaml: what changes the bytes of a trained network without being about learning.

    Attributes:
        seed: of initialisation, order and augmentation.
        threads: CPU threads of a training; another number gives other bytes, so it is pinned here.
        precision: of the convolutions while training; "auto" is bfloat16 on processors and GPUs that compute in it (about
            1.8 times as fast), else float32. "float16" is for GPUs that have no bfloat16; its gradients are scaled. Weights,
            loss and inference are float32 always.
        compile: whether the network is compiled before it is trained (torch.compile): minutes first, then faster steps with
            a large network on a GPU. Other bytes, the same within rounding.
    """

    seed: int
    threads: int
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    compile: bool = False

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
    _keep_freed_memory()
    import cv2
    import torch

    cv2.setNumThreads(1)
    random.seed(runtime.seed)
    np.random.seed(runtime.seed % 2**32)  # noqa: NPY002 - for libraries that draw from it; our code never does
    torch.manual_seed(runtime.seed)
    torch.set_num_threads(runtime.threads)
    torch.use_deterministic_algorithms(True)
    # to fill memory before it is written takes a quarter of a step's time, and nothing reads it before
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # torchrun gives every process of a machine its GPU
    name = os.environ.get("POSE_DEVICE") or (own if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _keep_freed_memory() -> None:
    """Let glibc's malloc keep what is freed for the next step, which asks for the same blocks again.

    Else every step takes its activations from the kernel page by page, thousands of page faults: up to a fifth of its time.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def has_spare_processor(device: "torch.device") -> bool:
    """Whether a training leaves a processor to prepare its batches on."""
    import torch

    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return device.type != "cpu" or torch.get_num_threads() < own


def autocast_dtype(runtime: Runtime, device: "torch.device") -> "torch.dtype | None":
    """In what to train on this device, if not in float32.

    Raises:
        ValueError: float16 on a processor, which computes faster in any other.
    """
    import torch

    match runtime.precision:
        case "float32":
            return None
        case "bfloat16":
            return torch.bfloat16
        case "float16":
            if device.type != "cuda":
                raise ValueError(f"runtime.precision: float16 is for GPUs, and this is {device}; expected auto")
            return torch.float16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if _processor_has_bfloat16() else None


def _processor_has_bfloat16() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:  # not Linux
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))
