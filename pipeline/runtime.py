"""Set up torch for learning: seed, threads, device, deterministic kernels. torch is imported inside the functions."""

import ctypes
import os
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Ge

from pipeline.processors import num_processors

if TYPE_CHECKING:
    import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers of mallopt's parameters


@dataclass(frozen=True)
class Runtime:
    """Section `runtime` of params.yaml: settings that change the bytes of a trained network, but not the method.

    Attributes:
        seed: of initialisation, order and augmentation.
        threads: CPU threads of a training; another number gives other bytes.
        precision: of the convolutions in training; "auto" is bfloat16 on processors and GPUs that compute in it (about 1.8
            times as fast), else float32. "float16" is for GPUs without bfloat16; its gradients are scaled. Weights, loss and
            inference are always float32.
        compile: whether torch.compile compiles the network before training: it takes minutes, and makes the steps of a large
            network on a GPU faster. The bytes differ, the results are equal within rounding.
    """

    seed: Annotated[int, Ge(0)]
    threads: Annotated[int, Ge(1)]
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    compile: bool = False


def start_torch(runtime: Runtime) -> "torch.device":
    """Return the device, after seeding every generator, pinning threads and forbidding kernels that differ between runs.

    The environment variable `POSE_DEVICE` names the device, such as `cuda:0`; by default it is a GPU if there is one.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    _keep_freed_memory()
    import cv2
    import torch

    cv2.setNumThreads(1)
    random.seed(runtime.seed)
    np.random.seed(runtime.seed % 2**32)  # noqa: NPY002 - for libraries that draw from it; this project does not
    torch.manual_seed(runtime.seed)
    torch.set_num_threads(runtime.threads)
    torch.use_deterministic_algorithms(True)
    # Filling memory before it is written takes a quarter of a step's time, and nothing reads it before.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # torchrun gives every process of a machine its GPU
    name = os.environ.get("POSE_DEVICE") or (own if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _keep_freed_memory() -> None:
    """Let glibc's malloc keep freed memory for the next step, which allocates the same blocks again.

    Otherwise every step gets its activations from the kernel page by page, with thousands of page faults: up to a fifth of its
    time. Nothing is done where malloc is another one: on macOS, Windows, or with musl.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def has_spare_processor(device: "torch.device") -> bool:
    """Return whether a training leaves a processor free to prepare its batches."""
    import torch

    return device.type != "cpu" or torch.get_num_threads() < num_processors()


def autocast_dtype(runtime: Runtime, device: "torch.device") -> "torch.dtype | None":
    """Return the type to train in on this device; None for float32.

    Raises:
        ValueError: float16 on a processor, which is slower than every other type.
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
